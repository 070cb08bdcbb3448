"""Sightings: found by face, grouped by visit, and removed."""
