"""Alerts: their records, the wall that shows them, what people say of them, their end, and who is told."""
