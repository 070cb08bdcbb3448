"""What the API and the page of cameras share."""

from __future__ import annotations

import re

from lookout import cameras
from lookout.accounts.rights import Identity
from lookout.camera_settings import Camera
from lookout.errors import NotFoundError, RefusedError
from lookout.stores.cameras import CameraBoard, TestResult
from lookout.stores.registry.tables import new_id
from search.parts import Parts


def board_of(parts: Parts) -> CameraBoard:
    """The part of Redis that is about cameras."""
    return CameraBoard(parts.redis, parts.keyring)


def publish(parts: Parts) -> None:
    """Tell ingest of what was just committed."""
    cameras.publish_soon(parts.registry, parts.redis, parts.keyring)


def check_group(who: Identity, camera: Camera) -> None:
    """Refuse to put a camera where its maker could not see it.

    Raises:
        RefusedError: there is no right to its group.
    """
    if not who.sees_group(camera.group):
        raise RefusedError(f"group: {who.name} has no right to the camera group {camera.group}.")


def picture_of(parts: Parts, who: Identity, camera_id: str) -> bytes:
    """A camera's last picture as JPEG; it is written down who looks.

    Raises:
        NotFoundError: there is no such camera, or no picture of its last minute.
    """
    with parts.registry.reading() as session:
        cameras.find_camera(session, camera_id, groups=who.camera_groups)
    board = board_of(parts)
    picture = board.picture(camera_id)
    if picture is None:
        raise NotFoundError(f"there is no picture of the camera {camera_id} of the last minute.")
    cameras.record_views(parts.registry, board, who, [camera_id])
    return picture.jpeg


def begin_test(parts: Parts, who: Identity, url: str, transport: str, camera_id: str | None) -> TestResult:
    """Have a URL tried; of a camera that is there already with its password and masks.

    Raises:
        NotFoundError: there is no such camera.
        BadInputError: it is no URL of a camera.
    """
    if camera_id is None:
        camera = cameras.make_camera(id="test", url=url, transport=transport)
    else:
        with parts.registry.reading() as session:
            row = cameras.find_camera(session, camera_id, groups=who.camera_groups)
        url = cameras.completed_url(url, row, parts.keyring)
        camera = cameras.make_camera(id=row.id, url=url, transport=transport, masks=row.masks)
    return board_of(parts).ask_test(new_id(), camera)


def find_test(parts: Parts, test_id: str) -> TestResult:
    """What became of a test.

    Raises:
        NotFoundError: there is none of that id, or it is too long ago.
    """
    result = board_of(parts).test_result(test_id) if re.fullmatch(r"[0-9a-f]{32}", test_id) else None
    if result is None:
        raise NotFoundError(f"there is no test {test_id}, or it is too long ago.")
    return result
