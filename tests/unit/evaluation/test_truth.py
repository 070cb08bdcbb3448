from __future__ import annotations

from pathlib import Path

import pytest

from lookout.errors import BadInputError
from lookout.evaluation.truth import Appearance, listed_of, read_recordings, read_truth, too_late

HEAD = "identity,camera,start_s,end_s\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_truth_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "truth.csv", "\ufeff" + HEAD + 'Ann,gate,0,12.5\n"Bo, Jr.",hall, 3 ,4\n')
    assert read_truth(file, ["gate", "hall"]) == [
        Appearance("Ann", "gate", 0.0, 12.5),
        Appearance("Bo, Jr.", "hall", 3.0, 4.0),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ":1: the columns must be identity, camera, start_s, end_s"),
        ("name,camera,start_s,end_s\n", ":1: the columns must be"),
        (HEAD, "it names nobody"),
        (HEAD + "Ann,gate,0,1\nAnn,door,0,1\n", ":3: there is no camera 'door'; the camera file has gate"),
        (HEAD + "Ann,gate,5,5\n", ":2: it ends at 5 s, before it begins"),
        (HEAD + "Ann,gate,5,2\n", ":2: it ends at 2 s, before it begins"),
        (HEAD + "Ann,gate,0:05,9\n", ":2: '0:05' is no time: give seconds"),
        (HEAD + "Ann,gate,0,nan\n", ":2: 'nan' is no time"),
        (HEAD + "Ann,gate,0,inf\n", ":2: 'inf' is no time"),
        (HEAD + "Ann,gate,-1,2\n", ":2: '-1' is no time"),
        (HEAD + "Ann,gate,0\n", ":2: '' is no time"),
        (HEAD + ",gate,0,1\n", ":2: identity, camera, start_s, end_s are expected"),
        (HEAD + "Ann,gate,0,1,2\n", ":2: identity, camera, start_s, end_s are expected"),
    ],
)
def test_what_is_wrong_with_truth_is_told_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = write(tmp_path / "truth.csv", text)
    with pytest.raises(BadInputError) as error:
        read_truth(file, ["gate"])
    assert says in str(error.value)
    assert str(file) in str(error.value)


def test_truth_of_strangers_alone_measures_nothing(tmp_path: Path) -> None:
    truth = [Appearance("Ann", "gate", 0, 1), Appearance("Bob", "gate", 0, 1)]
    file = tmp_path / "truth.csv"
    assert listed_of(file, truth, {"Bob", "Cleo"}) == truth[1:]
    with pytest.raises(BadInputError, match=r"nobody in it is on a watchlist.*these are Cleo, Dan"):
        listed_of(file, truth, {"Dan", "Cleo"})


def test_who_appears_after_the_end_is_told() -> None:
    truth = [Appearance("Ann", "gate", 9.5, 12), Appearance("Bob", "gate", 75, 80)]
    assert too_late(Path("truth.csv"), truth, {"gate": 10.0}) == [
        "truth.csv: Bob appears on gate at 75 s, but its recording ends at 10.0 s: correct it."
    ]


def test_recordings_lie_beside_the_list_or_anywhere(tmp_path: Path) -> None:
    beside = write(tmp_path / "gate one.mp4", "")
    (tmp_path / "lists").mkdir()
    near = write(tmp_path / "lists" / "hall.mp4", "")
    file = write(
        tmp_path / "lists" / "cameras.toml",
        f'[[camera]]\nid = "gate"\nurl = "{beside.as_uri()}"\ngroup = "doors"\n'
        '[[camera]]\nid = "hall"\nurl = "file:hall.mp4"\n',
    )
    found = read_recordings(file)
    assert [(one.camera.id, one.camera.group, one.file) for one in found] == [
        ("gate", "doors", beside),
        ("hall", "hall", near),
    ]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("rtsp://operator:secret@10.0.0.1/door", "camera door is no recording: record its stream first"),
        ("files:", "camera door is no recording"),
        ("file://host/door.mp4", "camera door is no recording"),
        ("file:door.mp4", "door.mp4 is not there; correct its url"),
    ],
)
def test_only_recordings_are_evaluated(tmp_path: Path, url: str, says: str) -> None:
    file = write(tmp_path / "cameras.toml", f'[[camera]]\nid = "door"\nurl = "{url}"\n')
    with pytest.raises(BadInputError) as error:
        read_recordings(file)
    assert says in str(error.value)
    assert "secret" not in str(error.value)
