from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lookout.camera_settings import SCHEMES, Camera, load_cameras
from lookout.errors import CameraFileError

GOOD = """\
# the house
[[camera]]
id = "entrance"
url = "rtsp://admin:geheim@10.0.0.7:554/main"
analysed_fps = 5.0

[[camera]]
id = "lobby"
name = "Lobby, left"
url = "rtsp://10.0.0.8/main"
group = "inside"
transport = "udp"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cameras.toml"
    path.write_text(GOOD, "utf-8")
    return path


def test_cameras_and_what_is_left_out(file: Path) -> None:
    entrance, lobby = load_cameras(file)

    assert (entrance.id, entrance.name, entrance.group) == ("entrance", "entrance", "entrance")
    assert (entrance.analysed_fps, entrance.transport) == (5.0, "tcp")
    assert entrance.url == "rtsp://admin:geheim@10.0.0.7:554/main"
    assert (lobby.name, lobby.group, lobby.transport) == ("Lobby, left", "inside", "udp")


def test_a_byte_order_mark_of_windows_does_not_matter(file: Path) -> None:
    file.write_text(GOOD, "utf-8-sig")

    assert len(load_cameras(file)) == 2


@pytest.mark.parametrize(
    ("right", "wrong", "line", "field", "what"),
    [
        ('id = "lobby"', 'id = "Lobby"', 8, "id", "matching regex"),
        ('id = "lobby"', 'id = ""', 8, "id", "matching regex"),
        ('id = "lobby"', 'id = "lobby\\n"', 8, "id", "matching regex"),
        ('id = "lobby"', 'id = "' + "l" * 61 + '"', 8, "id", "length <= 60"),
        ('id = "lobby"', "id = 7", 8, "id", "Expected `str`, got `int`"),
        ('id = "lobby"', 'id = "entrance"', 8, "id", "`entrance` is used twice (first in line 3)"),
        ('id = "lobby"\n', "", 7, "id", "missing required field"),
        ('url = "rtsp://10.0.0.8/main"\n', "", 7, "url", "missing required field"),
        ('"rtsp://10.0.0.8/main"', '"10.0.0.8"', 10, "url", "Expected a URL like `rtsp://"),
        ('"rtsp://10.0.0.8/main"', '"rtsp:///main"', 10, "url", "Expected a URL like `rtsp://"),
        ('"rtsp://10.0.0.8/main"', '"ftp://10.0.0.8/main"', 10, "url", "Expected a URL like `rtsp://"),
        ('"rtsp://10.0.0.8/main"', '"rtsp://10.0.0.8:high/main"', 10, "url", "Expected a URL like `rtsp://"),
        ('"rtsp://10.0.0.8/main"', '"rtsp://10.0.0.8:99999/main"', 10, "url", "Expected a URL like `rtsp://"),
        ('"rtsp://10.0.0.8/main"', '"rtsp://[10.0.0.8/main"', 10, "url", "Expected a URL like `rtsp://"),
        ('"rtsp://10.0.0.8/main"', '"file:"', 10, "url", "Expected a URL like `rtsp://"),
        ('"rtsp://10.0.0.8/main"', '""', 10, "url", "length >= 1"),
        ('"rtsp://10.0.0.8/main"', '["rtsp://10.0.0.8/main"]', 10, "url", "Expected `str`, got `array`"),
        ('group = "inside"', 'grupp = "inside"', 11, "grupp", "unknown field `grupp`"),
        ('group = "inside"', "group = false", 11, "group", "Expected `str`, got `bool`"),
        ('transport = "udp"', 'transport = "quic"', 12, "transport", "Invalid enum value 'quic'"),
        ("analysed_fps = 5.0", "analysed_fps = 0", 5, "analysed_fps", "Expected `float` >= 0.1"),
        ("analysed_fps = 5.0", "analysed_fps = 31", 5, "analysed_fps", "Expected `float` <= 30.0"),
        ("analysed_fps = 5.0", "analysed_fps = nan", 5, "analysed_fps", "Expected `float`"),
        ("analysed_fps = 5.0", "analysed_fps = 1e-300", 5, "analysed_fps", "Expected `float` >= 0.1"),
        ("analysed_fps = 5.0", 'analysed_fps = "5"', 5, "analysed_fps", "Expected `float`, got `str`"),
        ("analysed_fps = 5.0", '"analysed_fps"=1979-05-27', 5, "analysed_fps", "Expected `float`, got `date`"),
        ("# the house", "retention = 3", 1, "retention", "unknown field `retention`"),
    ],
)
def test_a_fault_is_named_with_file_line_and_field(
    file: Path, right: str, wrong: str, line: int, field: str, what: str
) -> None:
    assert right in GOOD
    file.write_text(GOOD.replace(right, wrong), "utf-8")

    with pytest.raises(CameraFileError) as caught:
        load_cameras(file)

    message = str(caught.value)
    assert message.startswith(f"{file}, line {line}: field `{field}`: ")
    assert what in message
    assert "geheim" not in message


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("[[cameras]]\nid = 'a'\n", ", line 1: field `cameras`: Object contains unknown field"),
        ("\n[camera]\nid = 'a'\n", ", line 2: field `camera`: Expected `array`, got `object`"),
        ("\n\ncamera = 3\n", ", line 3: field `camera`: Expected `array`, got `int`"),
        ("", ", line 1: field `camera`: Object missing required field `camera`"),
        ("camera = []\n", " names no camera: write at least one [[camera]] block."),
        ("[[camera]]\nid = 'a'\nurl = 3 3\n", " is no valid TOML: Expected newline or end of document"),
        ('[[camera]]\nid = "a\n', " is no valid TOML: Illegal character '\\n' (at line 2, column 8)"),
        ("[[camera]]\nid = 'a'\nid = 'b'\n", " is no valid TOML: Cannot overwrite a value (at line 3, column 9)"),
        ("a = " + "1" * 5000, " is no valid TOML: "),
        ("a = " + "[" * 5000, " is no valid TOML: "),
    ],
)
def test_a_file_of_another_shape(file: Path, text: str, start: str) -> None:
    file.write_text(text, "utf-8")

    with pytest.raises(CameraFileError) as caught:
        load_cameras(file)

    assert str(caught.value).startswith(f"{file}{start}")


@pytest.mark.parametrize(
    "text", ["[[camera]]\nid = 'a'\nurl = 3 3", '[[camera]]\nid = "a\nurl = 3', "[[camera]\nid = 1"]
)
def test_a_syntax_error_says_the_line(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")

    with pytest.raises(CameraFileError, match=r"is no valid TOML: .*\(at line \d+, column \d+\)"):
        load_cameras(file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes("# Tür".encode("latin-1"))

    with pytest.raises(CameraFileError, match=r"none\.toml does not exist\. Write one \[\[camera\]\] block a stream"):
        load_cameras(tmp_path / "none.toml")
    with pytest.raises(CameraFileError, match="cannot be read as UTF-8 text"):
        load_cameras(tmp_path / "latin.toml")
    with pytest.raises(CameraFileError, match="cannot be read"):
        load_cameras(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:geheim@host/path",
        "rtsp://admin:geheim@10.0.0.7:554/path?a=b",
        "rtsp://geheim@host/path",
        "rtsp://admin:ge@heim@host/path",
        "rtsp://admin:ge@he/im@host/path",
        "rtsp://host/user=admin&password=geheim&channel=1",
        "http://host/video?user=admin&PWD=geheim",
    ],
)
def test_no_repr_shows_a_password(url: str) -> None:
    camera = Camera(id="door", url=url)

    for text in (repr(camera), str(camera), f"{[camera]}"):
        assert "door" in text
        assert "host" in text or "10.0.0.7" in text
        assert not re.search("geheim|ge@|im@", text)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:ge/heim@host/path",
        "gopher://admin:geheim@host/path",
        "rtsp://admin:geheim@host\N{ACCOUNT OF}/path",
        "rtsp://admin:geheim@[host/path",
        "rtsp://admin:geheim@host:high/path",
    ],
)
def test_a_refused_url_shows_no_password(file: Path, url: str) -> None:
    file.write_text(f'[[camera]]\nid = "a"\nurl = "{url}"\n', "utf-8")

    with pytest.raises(CameraFileError) as caught:
        load_cameras(file)

    message = str(caught.value)
    assert message.startswith(f"{file}, line 3: field `url`: Expected a URL")
    assert not re.search("geheim|ge/|heim@", message)


SAME_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

values = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.text(st.characters(exclude_characters="'\n\r", exclude_categories=["C"])).map(lambda value: f"'{value}'"),
    st.sampled_from([f"{scheme}://u:geheim@host/x" for scheme in SCHEMES]).map(lambda value: f"'{value}'"),
    st.sampled_from(["[]", "{}", "1979-05-27", "07:32:00", "'a'"]),
)
fields = st.sampled_from([*Camera.__struct_fields__, "fps", "'url '", "a.b"])
lines = st.one_of(
    st.sampled_from(["[[camera]]", "[[camera]]", "[camera]", "[[cameras]]", "[camera.url]", "# -", "", "[["]),
    st.builds("{} = {}".format, fields, values),
)


@SAME_FILE
@example("[[camera]]\nid = 'a'\n'rtsp://u:geheim@host/x' = 1")
@given(text=st.one_of(st.lists(lines, max_size=12).map("\n".join), st.text()))
@example("[[camera]]\nid = 'a'\nurl = 'rtsp://h/ - at `$.x`' \nname = 3")
def test_whatever_the_file_says(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except UnicodeEncodeError:  # a lone surrogate is in no file
        return
    try:
        cameras = load_cameras(file)
    except CameraFileError as error:
        said = str(error)
    else:
        assert cameras
        assert all(camera.url and camera.group and 0.1 <= camera.analysed_fps <= 30 for camera in cameras)
        said = f"{file} {cameras}"
    assert said.startswith(str(file))
    assert "geheim" not in said
