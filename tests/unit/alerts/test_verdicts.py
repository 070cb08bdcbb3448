"""What becomes of an alert by what people say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookout.alerts.verdicts import Word, last_words, outcome

SAID = st.sampled_from(["confirmed", "rejected"])


@pytest.mark.parametrize(
    ("verdicts", "needed", "becomes"),
    [
        ([], 1, "unverified"),
        (["confirmed"], 1, "confirmed"),
        (["confirmed", "rejected"], 1, "rejected"),
        ([], 2, "unverified"),
        (["rejected"], 2, "unverified"),
        (["rejected", "rejected"], 2, "rejected"),
        (["confirmed", "rejected"], 2, "unverified"),
        (["confirmed", "confirmed", "rejected"], 2, "unverified"),
        (["confirmed", "confirmed", "confirmed"], 2, "confirmed"),
    ],
)
def test_outcome(verdicts: list[str], needed: int, becomes: str) -> None:
    assert outcome(verdicts, needed) == becomes


@given(st.lists(SAID, max_size=5))
def test_two_persons_settle_nothing_that_one_of_them_denies(verdicts: list[str]) -> None:
    settled = outcome(verdicts, 2)

    assert settled == "unverified" or (len(verdicts) >= 2 and set(verdicts) == {settled})


@given(st.lists(st.tuples(st.sampled_from("abc"), SAID)))
def test_of_each_person_the_last_word_counts(said: list[tuple[str, str]]) -> None:
    words = [Word(user, user, verdict, "", at_us) for at_us, (user, verdict) in enumerate(said)]

    last = last_words(words)

    assert {word.user: word.verdict for word in last} == dict(said)
    assert [word.at_us for word in last] == sorted(word.at_us for word in last)
