from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset13 as op

from lookout.errors import AssetError
from lookout.faces.assets import AssetCache
from lookout.faces.convert.mtcnn import mtcnn
from lookout.faces.runtime import compile_model

Floats = NDArray[np.float32]

#: Of each network, how many values its outputs have, and the side of what it takes.
NETWORKS = {"pnet": ((2, 4), 30), "rnet": ((2, 4), 24), "onet": ((2, 4, 10), 48)}


def kernel(count: int) -> Floats:
    """One pixel wide and three long, so that rows and columns are not the same."""
    return np.random.default_rng(count).normal(size=(count, 3, 1, 3)).astype(np.float32)


def network(name: str, *, channels: int = 3) -> ov.Model:
    """A stand-in of one layer for a network: P-Net gives a map, the others the sum over theirs."""
    counts, side = NETWORKS[name]
    picture = op.parameter([1, side, side, channels], np.float32, name="input")
    x = op.transpose(picture, op.constant(np.array([0, 3, 1, 2])))
    results = []
    for count in counts:
        weights = np.repeat(kernel(count)[:, :1], channels, axis=1)
        y = op.convolution(x, op.constant(weights), [1, 1], [0, 0], [0, 0], [1, 1])
        if name == "pnet":
            results.append(op.result(op.transpose(y, op.constant(np.array([0, 2, 3, 1])))))
        else:
            results.append(op.result(op.reduce_sum(y, op.constant(np.array([2, 3])), keep_dims=False)))
    return ov.Model(results, [picture], name)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """OpenVINO reads its own format as it reads TensorFlow Lite's."""
    paths = {name: tmp_path / f"{name}.xml" for name in NETWORKS}
    for name, path in paths.items():
        ov.save_model(network(name), path, compress_to_fp16=False)
    return paths


def expected(name: str, bgr: Floats) -> dict[str, Floats]:
    """What the stand-ins give for pictures in rows, reckoned without OpenVINO: the kernel lies along the columns."""
    outputs = {}
    for output, count in zip(("score", "box", "landmarks"), NETWORKS[name][0], strict=False):
        weights = kernel(count)[:, 0, 0]  # (count, 3); each channel has the same
        summed = bgr.sum(axis=3)
        y = sum(weights[:, k] * summed[:, k : summed.shape[1] - 2 + k, :, None] for k in range(3))
        outputs[f"{name}_{output}"] = np.asarray(y if name == "pnet" else np.sum(y, axis=(1, 2)), np.float32)
    return outputs


@pytest.mark.parametrize(("name", "shape"), [("pnet", (1, 20, 33)), ("rnet", (5, 24, 24)), ("onet", (2, 48, 48))])
def test_each_network_comes_out_by_name_free_and_upright(
    files: dict[str, Path], tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    xml = tmp_path / "model.xml"
    ov.save_model(mtcnn(*files.values()), xml, compress_to_fp16=False)
    pictures = np.random.default_rng(3).normal(size=(*shape, 3)).astype(np.float32)

    compiled = compile_model(xml, network=name)
    results = compiled([pictures])

    found = {port.get_any_name(): results[port] for port in compiled.outputs}
    wanted = expected(name, pictures)
    assert set(found) == set(wanted)
    for output, values in wanted.items():
        np.testing.assert_allclose(found[output], values, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("order", [("rnet", "pnet", "onet"), ("pnet", "onet", "rnet"), ("pnet", "rnet", "pnet")])
def test_another_network_is_refused_by_name(files: dict[str, Path], order: tuple[str, str, str]) -> None:
    first_wrong = next(f"{given}.xml" for given, wanted in zip(order, NETWORKS, strict=True) if given != wanted)

    with pytest.raises(AssetError, match=f"{first_wrong} holds another network than"):
        mtcnn(*(files[name] for name in order))


def test_a_network_that_takes_no_pictures_in_colour_is_refused(files: dict[str, Path]) -> None:
    ov.save_model(network("rnet", channels=1), files["rnet"], compress_to_fp16=False)

    with pytest.raises(AssetError, match="another network than rnet: its shapes are"):
        mtcnn(*files.values())


def test_what_is_no_network_is_refused(files: dict[str, Path]) -> None:
    files["onet"].write_bytes(b"no network")

    with pytest.raises(AssetError, match=r"onet\.xml cannot be read"):
        mtcnn(*files.values())


def test_the_real_networks_give_what_the_published_files_give(assets: AssetCache) -> None:
    # From the TensorFlow Lite files themselves, fed with columns: the last place's values.
    wanted = {
        "pnet_score": [0.99754, 0.00246],
        "pnet_box": [0.18933, 0.14544, -0.24316, -0.06784],
        "rnet_score": [0.97755, 0.02245],
        "rnet_box": [0.07056, 0.02629, -0.16382, 0.05075],
        "onet_score": [0.99918, 0.00082],
        "onet_box": [0.08888, -0.05134, -0.15276, -0.05828],
        "onet_landmarks": [0.26429, 0.63248, 0.43049, 0.29729, 0.58295, 0.31002, 0.27903, 0.51008, 0.81030, 0.80543],
    }
    random = np.random.default_rng(5)
    found: dict[str, Floats] = {}
    for name, (height, width) in {"pnet": (14, 12), "rnet": (24, 24), "onet": (48, 48)}.items():
        picture = (random.integers(0, 256, (1, height, width, 3)) - 127.5).astype(np.float32) / 128
        compiled = compile_model(assets.model("mtcnn"), network=name)
        results = compiled([picture])
        found |= {
            port.get_any_name(): results[port].reshape(-1, results[port].shape[-1])[-1] for port in compiled.outputs
        }

    assert set(found) == set(wanted)
    for output, values in wanted.items():
        np.testing.assert_allclose(found[output], np.array(values), atol=2e-4)
