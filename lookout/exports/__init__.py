"""Exports: what somebody takes away of sightings, as a ZIP with clips, pictures and a report (docs/exports.md)."""
