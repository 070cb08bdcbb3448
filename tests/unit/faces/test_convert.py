from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from openvino import opset13 as op

from lookout.errors import AssetError
from lookout.faces.assets import AssetCache
from lookout.faces.convert import convert
from lookout.faces.convert.elf import float_arrays
from lookout.faces.convert.mobilefacenet import _fuse_activations, mobilefacenet
from lookout.faces.convert.yunet import yunet

Arrays = Mapping[str, NDArray[np.float32]]

HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
#: Layer -> channels in and out, of all 3 x 3 separable convolutions of YuNet.
SEPARABLE = {
    "backbone__model0_dp": (16, 16),
    **{
        f"backbone__model{unit}_dp{half}": channels
        for unit, inner, outer in ((1, 16, 32), (2, 32, 64), (3, 64, 64), (4, 64, 64), (5, 64, 64))
        for half, channels in ((1, (inner, inner)), (2, (inner, outer)))
    },
    **{f"neck__lateral_convs__{level}": (64, 64) for level in range(3)},
    **{f"bbox_head__multi_level_{head}__{level}": (64, outer) for head, outer in HEADS.items() for level in range(3)},
}


def yunet_weights() -> dict[str, NDArray[np.float32]]:
    """Random weights under the names and sizes of the library."""
    sizes = {"backbone__model0_pw_weight": 16 * 32, "backbone__model0_pw_bias": 16}
    for layer, (inner, outer) in SEPARABLE.items():
        sizes |= {f"{layer}_pw_weight": inner * outer, f"{layer}_pw_bias": outer}
        sizes |= {f"{layer}_dw_weight": 9 * outer, f"{layer}_dw_bias": outer}
    rng = np.random.default_rng(7)
    return {name: rng.normal(0, 0.1, size).astype(np.float32) for name, size in sizes.items()}


def elf(arrays: Arrays) -> bytes:
    """A shared library that exports these arrays and nothing else, for which it has four sections."""
    header, address = 64, 0x1000
    data = b"".join(array.astype("<f4").tobytes() for array in arrays.values())
    names = b"\0" + b"".join(name.encode() + b"\0" for name in arrays)
    symbols = bytes(24)
    name_at, value_at = 1, 0
    for name, array in arrays.items():
        symbols += struct.pack("<IBBHQQ", name_at, 0x11, 0, 1, address + value_at, array.nbytes)
        name_at += len(name) + 1
        value_at += array.nbytes
    sections = [(0, 0, b"", 0), (1, address, data, 0), (3, 0, names, 0), (11, 0, symbols, 2)]
    table, content = b"", b""
    for kind, at, section, link in sections:
        table += struct.pack("<IIQQQQIIQQ", 0, kind, 0, at, header + len(content), len(section), link, 0, 1, 24)
        content += section
    start = struct.pack("<16s24xQ10xHHH", b"\x7fELF\x02\x01\x01", header + len(content), 64, len(sections), 0)
    return start + content + table


SMALL = {"a_weight": np.arange(6, dtype=np.float32), "b_bias": np.ones(2, np.float32), "c": np.ones(1, np.float32)}
SMALL_ELF = elf(SMALL)


def replaced(offset: int, layout: str, value: int) -> bytes:
    changed = bytearray(SMALL_ELF)
    struct.pack_into(layout, changed, offset, value)
    return bytes(changed)


def section_field(section: int, field_offset: int) -> int:
    (table,) = struct.unpack_from("<Q", SMALL_ELF, 0x28)
    return int(table) + 64 * section + field_offset


def symbol_field(symbol: int, field_offset: int) -> int:
    (symbols,) = struct.unpack_from("<Q", SMALL_ELF, section_field(3, 24))
    return int(symbols) + 24 * symbol + field_offset


def test_exported_arrays_are_read_by_their_endings() -> None:
    arrays = float_arrays(SMALL_ELF, suffixes=("_weight", "_bias"))

    assert set(arrays) == {"a_weight", "b_bias"}
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, SMALL[name])


@pytest.mark.parametrize(
    ("library", "message"),
    [
        (b"", "no 64-bit little-endian ELF"),
        (b"\x7fELF\x01\x01" + SMALL_ELF[6:], "no 64-bit little-endian ELF"),
        (SMALL_ELF[:50], "table of sections lies outside"),
        (SMALL_ELF[:-1], "table of sections lies outside"),
        (replaced(0x28, "<Q", 2**64 - 1), "table of sections lies outside"),
        (replaced(0x3C, "<H", 0), "no table of exported symbols"),
        (replaced(section_field(3, 4), "<I", 2), "no table of exported symbols"),
        (replaced(section_field(3, 32), "<Q", 2**63), "a section lies outside"),
        (replaced(section_field(3, 32), "<Q", 25), "symbols is cut off"),
        (replaced(section_field(3, 40), "<I", 9), "a section that it does not have"),
        (replaced(section_field(2, 4), "<I", 8), "a section lies outside"),
        (replaced(section_field(1, 4), "<I", 8), "a_weight lies outside"),
        (replaced(section_field(1, 24), "<Q", 2**60), "a_weight lies outside"),
        (replaced(symbol_field(1, 8), "<Q", 0), "a_weight lies outside"),
        (replaced(symbol_field(2, 16), "<Q", 2**40), "b_bias lies outside"),
        (replaced(symbol_field(2, 16), "<Q", 6), "b_bias lies outside"),
    ],
)
def test_a_damaged_library_is_refused(library: bytes, message: str) -> None:
    with pytest.raises(AssetError, match=message):
        float_arrays(library, suffixes=("_weight", "_bias"))


@given(st.binary(max_size=300), st.integers(0, len(SMALL_ELF)))
def test_whatever_the_bytes_nothing_but_an_asset_error_is_raised(noise: bytes, at: int) -> None:
    overwritten = SMALL_ELF[:at] + noise + SMALL_ELF[at + len(noise) :]
    for library in (noise, b"\x7fELF\x02\x01" + noise, SMALL_ELF[:at], overwritten):
        try:
            arrays = float_arrays(library, suffixes=("_weight", "_bias"))
        except AssetError:
            continue
        assert all(values.dtype == np.float32 for values in arrays.values())


def test_yunet_is_built_around_the_weights(tmp_path: Path) -> None:
    library, xml = tmp_path / "library.so", tmp_path / "model.xml"
    library.write_bytes(elf(yunet_weights()))

    convert("yunet", [library], xml)

    outputs = run(xml, np.zeros((2, 3, 64, 96), np.float32))
    assert {name: values.shape for name, values in outputs.items()} == {
        f"{head}_{stride}": (2, 64 * 96 // stride**2, channels)
        for head, channels in HEADS.items()
        for stride in (8, 16, 32)
    }
    assert xml.with_suffix(".bin").stat().st_size >= 4 * 50_000, "f32, not compressed"


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda weights: weights.pop(name)


def with_array(name: str, size: int) -> Callable[[dict[str, Any]], Any]:
    return lambda weights: weights.update({name: np.zeros(size, np.float32)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("backbone__model3_dp1_pw_bias"), "backbone__model3_dp1_pw_bias is missing"),
        (with_array("backbone__model0_dp_dw_bias", 17), "backbone__model0_dp_dw_bias is of 17 numbers"),
        (with_array("backbone__model6_bias", 1), "backbone__model6_bias belongs to no layer"),
    ],
)
def test_the_weights_of_another_yunet_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    weights = yunet_weights()
    change(weights)
    library = tmp_path / "library.so"
    library.write_bytes(elf(weights))

    with pytest.raises(AssetError, match=message):
        yunet(library)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + bytes(100), b"\xff" * 200])
def test_a_broken_tflite_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "MobileFaceNet.tflite"
    file.write_bytes(content)

    with pytest.raises(AssetError, match=r"MobileFaceNet\.tflite cannot be read"):
        mobilefacenet(file)


def test_another_network_is_refused(tmp_path: Path) -> None:
    picture = op.parameter([1, 160, 160, 3], np.float32)
    file = tmp_path / "facenet.xml"
    ov.save_model(ov.Model([op.relu(picture)], [picture], "other"), file)

    with pytest.raises(AssetError, match=r"facenet\.xml holds another network: its shapes are \[1,160,160,3\]"):
        mobilefacenet(file)


def test_the_unfolded_activation_is_fused_and_nothing_else() -> None:
    slopes = np.linspace(-0.3, 0.4, 5, dtype=np.float32).reshape(1, 5, 1, 1)

    def build() -> ov.Model:
        picture = op.parameter([1, 5, 4, 4], np.float32)
        unfolded = op.add(op.relu(picture), op.multiply(op.subtract(picture, op.abs(picture)), op.constant(slopes)))
        plain_sum = op.add(op.relu(unfolded), op.multiply(unfolded, op.constant(slopes)))
        return ov.Model([op.result(plain_sum)], [picture], "activation")

    fused = build()
    assert _fuse_activations(fused) == 1

    assert "Abs" not in {node.get_type_name() for node in fused.get_ops()}
    picture = np.random.default_rng(1).normal(size=(1, 5, 4, 4)).astype(np.float32)
    results = [ov.Core().compile_model(model, "CPU")([picture])[0] for model in (build(), fused)]
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


def test_the_real_yunet_gives_what_the_reference_conversion_gave(assets: AssetCache) -> None:
    bgr = np.random.default_rng(5).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)

    outputs = run(assets.model("yunet"), bgr)

    expected = {
        "cls_8": [0.47803],
        "obj_16": [0.00017],
        "bbox_16": [0.61935, 0.35869, -0.22016, -0.12475],
        "kps_32": [0.18241, 0.33078, 0.67070, 0.11822, 0.54741, 0.69366, 0.28689, 0.78391, 0.70000, 0.66820],
    }
    for name, last_cell in expected.items():
        np.testing.assert_allclose(outputs[name][0, -1], last_cell, atol=1e-4)


def test_the_real_mobilefacenet_gives_what_the_reference_conversion_gave(assets: AssetCache) -> None:
    faces = np.random.default_rng(5).normal(size=(3, 112, 112, 3)).astype(np.float32)

    (embeddings,) = run(assets.model("mobilefacenet-192"), faces).values()

    assert embeddings.shape == (3, 192)
    expected = [[-0.1241, 0.9270, 0.3896], [-0.2300, 0.9791, 0.3645], [-0.3331, 1.2167, 0.3549]]
    np.testing.assert_allclose(embeddings[:, :3], expected, atol=1e-3)
    (alone,) = run(assets.model("mobilefacenet-192"), faces[1:2]).values()
    np.testing.assert_allclose(alone[0], embeddings[1], atol=1e-4)


def test_converting_reports_to_nobody(tmp_path: Path) -> None:
    """OpenVINO asks an analytics service for its address as soon as it is imported, unless it is kept from it."""
    (tmp_path / "library.so").write_bytes(elf(yunet_weights()))
    (tmp_path / "home").mkdir()
    script = """
import sys
from pathlib import Path
sys.addaudithook(lambda event, args: print(event, args) if event.startswith("socket.") else None)
from lookout.faces.convert import convert
convert("yunet", [Path("library.so")], Path("model.xml"))
"""

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == ""
    assert list((tmp_path / "home").iterdir()) == [], "nor does it leave an id of this machine"


def run(xml: Path, tensor: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    compiled = ov.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([tensor])
    return {port.get_any_name(): results[port] for port in compiled.outputs}
