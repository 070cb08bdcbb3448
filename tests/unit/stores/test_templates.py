from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from lookout.errors import SealError
from lookout.sealing import Keyring
from lookout.stores.templates import pack, reference_place, sighting_place, unpack, unpack_many

KEYRING = Keyring.parse(Keyring.new_key())
PLACE = reference_place("r")
FLOATS = st.floats(-1, 1, width=32)
TEMPLATES = arrays.arrays(np.float32, st.integers(0, 600), elements=FLOATS)


def there_and_back(template: NDArray[np.float32]) -> NDArray[np.float32]:
    return unpack(pack(template, KEYRING, PLACE), KEYRING, PLACE)


@given(TEMPLATES)
def test_unpacks_what_was_packed(template: NDArray[np.float32]) -> None:
    unpacked = there_and_back(template)
    assert unpacked.dtype == np.float32
    np.testing.assert_array_equal(unpacked, template)


@pytest.mark.parametrize("order", ["<f4", ">f4"])
def test_bytes_are_the_same_on_every_machine(order: str) -> None:
    values = (0.5, -1.0, 0.25)
    sealed = pack(np.array(values, order).astype(np.float32), KEYRING, PLACE)
    assert KEYRING.open(sealed, PLACE) == struct.pack("<3f", *values)


def test_a_strided_view_is_packed_as_it_reads() -> None:
    assert there_and_back(np.arange(6, dtype=np.float32)[::2]).tolist() == [0, 2, 4]


def test_what_is_unpacked_can_be_changed() -> None:
    template = there_and_back(np.zeros(2, np.float32))
    template += 1
    assert template.tolist() == [1, 1]


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=FLOATS))
def test_unpacks_many(templates: NDArray[np.float32]) -> None:
    places = [sighting_place(str(number)) for number in range(len(templates))]
    sealed = {place: pack(one, KEYRING, place) for place, one in zip(places, templates, strict=True)}
    np.testing.assert_array_equal(unpack_many(sealed, KEYRING), templates)


def test_unpacks_none() -> None:
    assert unpack_many({}, KEYRING).shape == (0, 0)


def test_a_template_of_another_row_is_refused() -> None:
    sealed = pack(np.zeros(2, np.float32), KEYRING, reference_place("a"))
    for place in (reference_place("b"), sighting_place("a")):
        with pytest.raises(SealError, match=f"{place} cannot be opened"):
            unpack(sealed, KEYRING, place)
