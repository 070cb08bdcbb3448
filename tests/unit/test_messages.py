from __future__ import annotations

import re

import msgspec
import pytest

from lookout.messages import Crop, DeadLetter, crop_id, track_id

CROP = Crop(
    id=crop_id("t", 0),
    track_id="t",
    camera_id="entrance",
    camera_group="doors",
    captured_at_us=1_790_000_000_000_001,
    track_started_at_us=1_790_000_000_000_000,
    track_seen_at_us=1_790_000_000_000_002,
    deadline_us=1_790_000_060_000_000,
    box_xyxy=(0.5, 1.0, 20.5, 31.0),
    landmarks=[(5.25, 6.5), (15.0, 6.5)],
    quality=0.75,
    jpeg=b"\xff\xd8\x00\xff",
)
LETTER = DeadLetter(id="m", crop_ids=["a", "b"], error="ValueError: no", attempts=4, failed_at_us=1_790_000_000_000_000)


@pytest.mark.parametrize("message", [CROP, LETTER], ids=["crop", "dead letter"])
def test_messages_arrive_as_they_were_sent(message: Crop | DeadLetter) -> None:
    data = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(data, type=type(message)) == message


@pytest.mark.parametrize(
    ("field", "value"),
    [("captured_at_us", "now"), ("landmarks", [(1.0,)]), ("box_xyxy", [1.0, 2.0, 3.0]), ("jpeg", 5), ("quality", None)],
)
def test_a_message_of_wrong_types_is_refused(field: str, value: object) -> None:
    fields = {**msgspec.to_builtins(CROP, builtin_types=(bytes,)), field: value}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Crop)


def test_a_message_without_a_field_is_refused() -> None:
    fields = msgspec.to_builtins(CROP, builtin_types=(bytes,))
    del fields["deadline_us"]
    with pytest.raises(msgspec.ValidationError, match="deadline_us"):
        msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Crop)


def test_a_field_that_a_newer_sender_adds_does_no_harm() -> None:
    fields = {**msgspec.to_builtins(CROP, builtin_types=(bytes,)), "added_later": 1}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Crop) == CROP


def test_a_crop_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        CROP.quality = 1.0  # type: ignore[misc]


def test_ids_are_derived_so_that_the_same_thing_has_the_same_id() -> None:
    assert track_id("entrance", 17, 3) == track_id("entrance", 17, 3)
    assert crop_id("t", 0) == crop_id("t", 0)


def test_different_things_have_different_ids() -> None:
    ids = [
        track_id("entrance", 17, 3),
        track_id("lobby", 17, 3),
        track_id("entrance", 18, 3),
        track_id("entrance", 17, 4),
        track_id("entrance", 1, 73),
        crop_id("t", 0),
        crop_id("t", 1),
        crop_id("u", 0),
    ]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
