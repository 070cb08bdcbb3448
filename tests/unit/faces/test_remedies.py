from __future__ import annotations

import pytest

from lookout.faces.quality import Quality
from lookout.faces.remedies import REMEDIES, remedies


def test_every_reason_of_quality_has_a_remedy() -> None:
    assert Quality.__doc__ is not None
    reasons = {word.strip("`.") for word in Quality.__doc__.split("reasons: ")[1].split(", ")}

    assert reasons <= REMEDIES.keys()


def test_what_helps_twice_is_said_once() -> None:
    assert remedies(["empty", "blurred", "damaged"]) == ("copy the file again", "use a sharper photo")


def test_an_unknown_reason_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        remedies(["beautiful"])
