"""Crops in, sightings and alerts out: embed -> match -> store -> alert -> deliver; housekeeping."""
