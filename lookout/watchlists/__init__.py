"""Watchlists: their records, when they are looked for, and what a score means."""
