from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from lookout.stores.templates import pack, unpack, unpack_many

FLOATS = st.floats(-1, 1, width=32)
TEMPLATES = arrays.arrays(np.float32, st.integers(0, 600), elements=FLOATS)


@given(TEMPLATES)
def test_unpacks_what_was_packed(template: NDArray[np.float32]) -> None:
    unpacked = unpack(pack(template))
    assert unpacked.dtype == np.float32
    np.testing.assert_array_equal(unpacked, template)


def test_bytes_are_the_same_on_every_machine() -> None:
    values = (0.5, -1.0, 0.25)
    expected = struct.pack("<3f", *values)
    assert pack(np.array(values, "<f4").astype(np.float32)) == expected
    assert pack(np.array(values, ">f4").astype(np.float32)) == expected


def test_a_strided_view_is_packed_as_it_reads() -> None:
    assert unpack(pack(np.arange(6, dtype=np.float32)[::2])).tolist() == [0, 2, 4]


def test_what_is_unpacked_can_be_changed() -> None:
    template = unpack(pack(np.zeros(2, np.float32)))
    template += 1
    assert template.tolist() == [1, 1]


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=FLOATS))
def test_unpacks_many(templates: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(unpack_many([pack(one) for one in templates]), templates)


def test_unpacks_none() -> None:
    assert unpack_many([]).shape == (0, 0)


def test_a_cut_off_template_is_an_error() -> None:
    with pytest.raises(ValueError, match="multiple of element size"):
        unpack(pack(np.zeros(2, np.float32))[:-1])
