"""What would help: one sentence's end for each reason why a photo cannot be enrolled."""

from __future__ import annotations

from collections.abc import Iterable

from lookout.faces.gates import USUAL, Gates

#: Reason -> remedy. Reasons are for programs and never change; remedies are for people.
REMEDIES = {
    # of the file
    "unreadable": "check that the file is there and that Lookout may read it",
    "empty": "copy the file again",
    "too_large": "reduce it first",
    "not_a_picture": "use JPEG, PNG, WebP, HEIC, AVIF, BMP, TIFF, GIF",
    "damaged": "copy the file again",
    # of the photo
    "no_face": "use a photo where the face is clearly seen from the front",
    "several_faces": "choose one of them, counted from the left",
    # of the face
    "small": "the face must be at least {min_face_px} pixels wide: use a larger photo, or one taken closer",
    "blurred": "use a sharper photo",
    "dark": "use a photo with more light on the face",
    "extreme_pose": "use a photo where the person looks towards the camera",
    "low_score": "use a photo where the face is clearly and wholly seen",
}


def remedies(reasons: Iterable[str], gates: Gates = USUAL) -> tuple[str, ...]:
    """What would help against each reason, in their order, each said once."""
    return tuple(dict.fromkeys(REMEDIES[reason].format(min_face_px=gates.min_face_px) for reason in reasons))
