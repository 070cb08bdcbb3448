"""Targets: the people on a watchlist, their photos, and how both come and go."""

from lookout.targets.enrolment import add_target
from lookout.targets.photos import Photo, read_photos

__all__ = ["Photo", "add_target", "read_photos"]
