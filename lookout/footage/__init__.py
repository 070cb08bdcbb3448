"""Recorded footage: where it lies, and which piece of it shows a moment."""
