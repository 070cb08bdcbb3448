from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookout.errors import BadInputError
from lookout.evaluation.protocols import Entry, Pair, read_groups, read_pairs, read_protocol

PAIRS = "2 1\nA 1 2\nA 1 B 3\nB 2 3\nB 1 C 1\n"
HEAD = "identity,role,path\n"
PROTOCOL = HEAD + "A,gallery,A/1.jpg\nA,gallery,A/2.jpg\nA,probe_known,A/3.jpg\nX,probe_unknown,x.jpg\n"


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[str], Path]:
    def listed(text: str) -> Path:
        (tmp_path / "list").write_text(text)
        return tmp_path / "list"

    return listed


Listed = Callable[[str], Path]


def test_pairs_of_labeled_faces_in_the_wild(listed: Listed, tmp_path: Path) -> None:
    (tmp_path / "B").mkdir()
    (tmp_path / "B" / "B_0003.png").touch()
    assert read_pairs(listed(PAIRS), tmp_path) == [
        [
            Pair("A/A_0001.jpg", "A/A_0002.jpg", ("A", "A")),
            Pair("A/A_0001.jpg", "B/B_0003.png", ("A", "B")),
        ],
        [
            Pair("B/B_0002.jpg", "B/B_0003.png", ("B", "B")),
            Pair("B/B_0001.jpg", "C/C_0001.jpg", ("B", "C")),
        ],
    ]


def test_a_single_fold_names_only_its_size(listed: Listed, tmp_path: Path) -> None:
    (fold,) = read_pairs(listed("1\nA\t1\t2\n\nA 1 B 3\n"), tmp_path)
    assert [pair.mated for pair in fold] == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: the number of folds"),
        ("0 1\n", ":1: the number of folds"),
        ("1 0\n", ":1: the number of folds"),
        ("1 2 3\n", ":1: the number of folds"),
        ("-1\n", ":1: the number of folds"),
        ("1\nA 1 2\n", "1 mated and 1 non-mated pairs were announced, 1 pairs found"),
        ("1\nA 1 2\nB 1 2\n", ":3: `name number name number`"),
        ("1\nA 1 B 2\nA 1 B 2\n", ":2: `name number number`"),
        ("1\nA 1 2\nA 1 A 2\n", ":3: A twice"),
        ("1\nA 1 x\nA 1 B 2\n", ":2: 'x' is not the number"),
        ("1\n../A 1 2\nA 1 B 2\n", "does not lie in the folder"),
        ("1\n/A 1 2\nA 1 B 2\n", "does not lie in the folder"),
    ],
)
def test_pairs_that_do_not_hold(listed: Listed, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read_pairs(listed(text), tmp_path)
    assert message in str(caught.value)


def test_a_protocol(listed: Listed) -> None:
    assert read_protocol(listed("\ufeff" + PROTOCOL)) == [
        Entry("A", "gallery", "A/1.jpg"),
        Entry("A", "gallery", "A/2.jpg"),
        Entry("A", "probe_known", "A/3.jpg"),
        Entry("X", "probe_unknown", "x.jpg"),
    ]


def test_distractors_are_left_out_unless_asked_for(listed: Listed) -> None:
    file = listed(PROTOCOL + "D,distractor_gallery,d.jpg\n")
    assert len(read_protocol(file)) == 4
    assert read_protocol(file, distractors=True)[-1] == Entry("D", "distractor_gallery", "d.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: the columns must be identity, role, path"),
        ("identity,path,role\n", ":1: the columns must be"),
        (HEAD + "A,gallery\n", ":2: identity, role, path are expected"),
        (HEAD + "A,gallery,a.jpg,more\n", ":2: identity, role, path are expected"),
        (HEAD + ",gallery,a.jpg\n", ":2: identity, role, path are expected"),
        (HEAD + "A,guest,a.jpg\n", ":2: there is no role 'guest'"),
        (HEAD + "A,gallery,../a.jpg\n", ":2: '../a.jpg' does not lie"),
        (PROTOCOL + "A,probe_unknown,a.jpg\n", "A is in the gallery and among the unknown probes"),
        (PROTOCOL + "B,probe_known,b.jpg\n", "B is a known probe and has no picture"),
        (HEAD + "A,gallery,a.jpg\n", "nobody has the role probe_known"),
        (HEAD + "A,gallery,a.jpg\nA,probe_known,a.jpg\n", "nobody has the role probe_unknown"),
    ],
)
def test_protocols_that_do_not_hold(listed: Listed, text: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read_protocol(listed(text))
    assert message in str(caught.value)


def test_groups(listed: Listed) -> None:
    assert read_groups(listed('identity,group\nA,old\n"B, too",new\nA,old\n')) == {"A": "old", "B, too": "new"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("identity\n", ":1: the columns must be identity, group"),
        ("identity,group\nA,\n", ":2: identity and group are expected"),
        ("identity,group\nA,old,x\n", ":2: identity and group are expected"),
        ("identity,group\nA,old\nA,new\n", ":3: A is in the group old already"),
    ],
)
def test_groups_that_do_not_hold(listed: Listed, text: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read_groups(listed(text))
    assert message in str(caught.value)


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xff\xfe\x00")
    for file in (tmp_path / "list", tmp_path / "nowhere", tmp_path):
        with pytest.raises(BadInputError, match="cannot be read"):
            read_groups(file)


#: What breaks lists: digits that are no numbers, numbers and names beyond all bounds, quotes that are never closed.
breaking = st.sampled_from(
    [
        "0",
        "-1",
        "²",
        "٣",
        "1" * 5000,
        "x" * 300,
        "x" * 200_000,
        "..",
        "/",
        "\x00",
        '"',
        ",",
        "\n",
        "\r",
        "\x0b",
        "\u2028",
    ]
) | st.text(max_size=5)


@st.composite
def broken_lists(draw: st.DrawFn) -> bytes:
    """A list that holds, with something else in place of a word or two."""
    words = re.split(r"([\s,]+)", draw(st.sampled_from([PAIRS, PROTOCOL, "identity,group\nA,old\n"])))
    for _ in range(draw(st.integers(1, 2))):
        words[draw(st.integers(0, len(words) - 1))] = draw(breaking)
    return "".join(words).encode()


@settings(max_examples=500)
@given(broken_lists() | st.binary(max_size=40))
def test_whatever_a_list_holds_it_is_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "list")
        file.write_bytes(data)
        for read in (lambda: read_pairs(file, file.parent), lambda: read_protocol(file), lambda: read_groups(file)):
            with contextlib.suppress(BadInputError):
                read()
