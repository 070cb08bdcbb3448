from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookout.errors import AssetError, BadInputError, NotFoundError
from lookout.faces.alignment import TEMPLATES
from lookout.faces.assets import AssetCache
from lookout.faces.models import asset_cache, load_detector, load_embedder, template_model
from lookout.settings import Settings

OWN = """
[models.own]
role = "embedder"
file = "own.onnx"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
licence = "ours"
source = "this test"

[models.own.contract]
size = 112
template = "arcface112"
colour = "bgr"
layout = "nchw"
mean = 0
scale = 255
dimension = 512

[models.own.calibration]
operating_points = { 1e-4 = 0.4 }
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "models.toml").write_text(OWN)
    return tmp_path


def test_the_default_models_run(assets: AssetCache, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, cache=assets.root)

    detector, embedder = load_detector(settings, "yunet"), load_embedder(settings, "fusion-320")

    assert detector.detect(np.zeros((64, 64, 3), np.uint8)) == []
    face = embedder.align(np.zeros((200, 200, 3), np.uint8), TEMPLATES["arcface112"][1])
    assert [part.shape for part in face] == [(112, 112, 3), (150, 150, 3)]
    assert embedder.embed([face]).shape == (1, template_model(settings, "fusion-320").dimension) == (1, 320)


def test_threads_and_device_come_from_the_settings(assets: AssetCache, tmp_path: Path) -> None:
    one = Settings(home=tmp_path, cache=assets.root, inference_threads=1)
    two = Settings(home=tmp_path, cache=assets.root, inference_threads=2)
    picture = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    single, double = (load_embedder(settings, "fusion-320") for settings in (one, two))
    face = single.align(picture, TEMPLATES["arcface112"][1])

    np.testing.assert_allclose(single.embed([face]), double.embed([face]), atol=1e-4)
    nowhere = Settings(home=tmp_path, cache=assets.root, inference_device="NOSUCH")
    with pytest.raises(AssetError, match="LOOKOUT_INFERENCE_DEVICE"):
        load_detector(nowhere, "yunet")
    with pytest.raises(AssetError, match="LOOKOUT_INFERENCE_DEVICE"):
        load_embedder(nowhere, "fusion-320")


def test_a_contract_is_read_without_a_model(home: Path) -> None:
    model = template_model(Settings(home=home, cache=home / "cache"), "own")

    assert (model.name, model.dimension, model.calibration.operating_points) == ("own", 512, {1e-4: 0.4})
    assert not (home / "cache").exists()


def test_the_cache_knows_the_users_models(home: Path) -> None:
    models = asset_cache(Settings(home=home, cache=home / "cache")).manifest.models

    assert set(models) >= {"yunet", "mobilefacenet-192", "own"}


@pytest.mark.parametrize(
    ("chosen", "load", "message"),
    [
        ("nosuch", load_embedder, "There are: dlib-resnet-128, fusion-320, mobilefacenet-192, own"),
        ("yunet", load_embedder, "no embedder 'yunet'"),
        ("nosuch", template_model, "no embedder 'nosuch'"),
        ("own", load_detector, "no detector 'own'. There are: "),
    ],
)
def test_a_model_of_another_role_or_none_is_refused(
    home: Path, chosen: str, load: Callable[[Settings, str], object], message: str
) -> None:
    with pytest.raises(NotFoundError, match=message):
        load(Settings(home=home, cache=home / "cache"), chosen)


def test_an_own_model_whose_file_is_missing_is_named(home: Path) -> None:
    with pytest.raises(AssetError, match=r"The embedder own cannot be used: .*own\.onnx is not there"):
        load_embedder(Settings(home=home, cache=home / "cache"), "own")


def test_a_broken_models_toml_is_named(home: Path) -> None:
    (home / "models.toml").write_text(OWN.replace("nchw", "chwn"))

    with pytest.raises(BadInputError, match=r"models\.toml: models\.own\.contract\.layout"):
        load_detector(Settings(home=home, cache=home / "cache"), "yunet")


def run_apart(code: str, home: Path) -> dict[str, bool]:
    """What a fresh interpreter prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LOOKOUT_HOME": str(home), "HOME": str(home)},
        capture_output=True,
        timeout=60,
        check=True,
        text=True,
    )
    answer: dict[str, bool] = json.loads(done.stdout)
    return answer


def test_who_only_reads_a_contract_does_not_load_openvino(tmp_path: Path) -> None:
    loaded = run_apart(
        "import sys, json\n"
        "from lookout.faces.models import template_model\n"
        "from lookout.settings import Settings\n"
        "template_model(Settings(), 'fusion-320')\n"
        "print(json.dumps({name: name in sys.modules for name in ('openvino', 'cv2', 'numpy')}))",
        tmp_path,
    )

    assert loaded == {"openvino": False, "cv2": False, "numpy": False}


def test_openvino_does_not_phone_home(tmp_path: Path) -> None:
    found = run_apart(
        "import sys, json, pathlib\n"
        "import lookout.faces.runtime\n"
        "telemetry = [name for name, module in sys.modules.items() if 'openvino_telemetry' in name and module]\n"
        "print(json.dumps({'telemetry': bool(telemetry), 'openvino': 'openvino' in sys.modules,\n"
        "                  'written': any(pathlib.Path.home().iterdir())}))",
        tmp_path,
    )

    assert found == {"telemetry": False, "openvino": True, "written": False}
