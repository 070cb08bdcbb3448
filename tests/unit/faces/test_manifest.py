from __future__ import annotations

from pathlib import Path

import pytest

from lookout.errors import BadInputError, NotFoundError
from lookout.faces.alignment import TEMPLATES
from lookout.faces.calibration import Calibration
from lookout.faces.manifest import Detector, Embedder, FusedEmbedder, FusedPart, OwnEmbedder, load_manifest

SHA = "0" * 64
OWN = f"""
[models.arcface]
role = "embedder"
file = "arcface.onnx"
sha256 = "{SHA}"
licence = "ours"
source = "made by us"

[models.arcface.contract]
size = 112
template = "arcface112"
colour = "rgb"
layout = "nchw"
mean = 127.5
scale = 127.5
dimension = 512

[models.arcface.calibration]
operating_points = {{ 1e-3 = 0.30, 1e-4 = 0.36 }}
"""


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    file = tmp_path / "models.toml"
    file.write_text(OWN)
    return file


def test_the_built_in_manifest_is_whole() -> None:
    manifest = load_manifest()

    assert set(manifest.models) >= {"yunet", "mobilefacenet-192", "dlib-resnet-128"}
    assert set(manifest.fusions) == {"fusion-320"}
    assert set(manifest.media) == {
        "single_face.jpg",
        "single_face.mp4",
        "multi_face.jpg",
        "face_noface.mov",
        "noface_face.mov",
        "no_face.mp4",
        "WolfgangLanger_Pexels.mp4",
        "htmx.min.js",
        *manifest.calibration_pictures,
    }
    assert {*manifest.calibration_pictures, *manifest.held_pictures} <= set(manifest.media)
    assert not {*manifest.calibration_pictures} & {*manifest.held_pictures}
    packed = [name for archive in manifest.archives for name in manifest.packed_in(archive)]
    assert sorted(packed) == sorted(manifest.assets), "each asset names an archive of the manifest"
    assert all(name == Path(medium.member).name for name, medium in manifest.media.items())


def test_the_default_models_state_their_contracts() -> None:
    manifest = load_manifest()

    detector, embedder = manifest.detector("yunet"), manifest.embedder("mobilefacenet-192")

    assert isinstance(detector, Detector)
    assert (detector.contract.colour, detector.contract.side_multiple) == ("bgr", 32)
    assert isinstance(embedder, Embedder)
    contract = embedder.contract
    assert (contract.layout, contract.mean, contract.scale, contract.dimension) == ("nhwc", 127.5, 128, 192)
    assert embedder.calibration.score_at(1e-4) == pytest.approx(0.53, abs=0.005)
    assert "Labeled Faces in the Wild" in embedder.calibration.source
    assert TEMPLATES[contract.template][0] == contract.size
    assert "attributes nobody" in embedder.source


def test_a_user_adds_an_embedder(extra: Path) -> None:
    manifest = load_manifest(extra)

    own = manifest.embedder("arcface")

    assert isinstance(own, OwnEmbedder)
    assert own.file == extra.parent / "arcface.onnx", "relative to the file that names it"
    assert own.parts == (own.file,)
    assert own.calibration.operating_points == {1e-3: 0.30, 1e-4: 0.36}
    assert set(manifest.models) == {*load_manifest().models, "arcface"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [("/models/a.onnx", Path("/models/a.onnx")), ("~/a.onnx", Path.home() / "a.onnx")],
)
def test_where_a_users_file_lies(extra: Path, written: str, expected: Path) -> None:
    extra.write_text(OWN.replace("arcface.onnx", written))

    own = load_manifest(extra).embedder("arcface")

    assert isinstance(own, OwnEmbedder)
    assert own.file == expected


def test_an_ir_has_two_parts(extra: Path) -> None:
    extra.write_text(OWN.replace("arcface.onnx", "/m/arcface.xml"))

    own = load_manifest(extra).embedder("arcface")

    assert isinstance(own, OwnEmbedder)
    assert own.parts == (Path("/m/arcface.xml"), Path("/m/arcface.bin"))


def test_the_users_file_need_not_exist(tmp_path: Path) -> None:
    assert load_manifest(tmp_path / "models.toml") == load_manifest()


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('role = "embedder"', 'role = "detector"', "models.arcface.role: Invalid value 'detector'"),
        ('"arcface.onnx"', '"arcface.pt"', "models.arcface: `file` must end in .onnx"),
        ('"arcface.onnx"', "3", "models.arcface.file: "),
        ('licence = "ours"\n', "", "models.arcface: Object missing required field `licence`"),
        ('licence = "ours"', 'licence = ""', "models.arcface.licence: Expected `str` of length >= 1"),
        ('licence = "ours"', 'license = "ours"', "models.arcface: Object contains unknown field `license`"),
        (SHA, "abc", "models.arcface.sha256: Expected `str` matching regex"),
        ("size = 112", "size = 96", "models.arcface.contract.size: Invalid enum value 96"),
        ("size = 112", "size = 150", "models.arcface.contract: `template` arcface112 is not of `size` 150"),
        ("arcface112", "dlib68", "models.arcface.contract.template: Invalid enum value 'dlib68'"),
        ('"rgb"', '"grey"', "models.arcface.contract.colour: Invalid enum value 'grey'"),
        ('"nchw"', '"chw"', "models.arcface.contract.layout: Invalid enum value 'chw'"),
        ("mean = 127.5", 'mean = "middle"', "models.arcface.contract.mean: Expected `float`, got `str`"),
        ("scale = 127.5", "scale = 0", "models.arcface.contract.scale: Expected `float` > 0.0"),
        ("dimension = 512", "dimension = 0", "models.arcface.contract.dimension: Expected `int` >= 1"),
        ("1e-3 = 0.30", "1e-3 = 2", "models.arcface.calibration.operating_points: Expected `float` <= 1.0"),
        ("1e-3 = 0.30", "3 = 0.30", "models.arcface.calibration.operating_points: Expected `float` < 1.0"),
        ("1e-3 = 0.30", "rare = 0.30", "models.arcface.calibration.operating_points: Expected `float`, got `str`"),
        ("1e-3 = 0.30", "1e-3 = 0.40", "models.arcface.calibration: `operating_points` must name a higher cosine"),
        ("1e-3 = 0.30, 1e-4 = 0.36", "", "models.arcface.calibration: `operating_points` needs at least one"),
        ("[models.arcface]", "[models.'Arc Face']", "models.Arc Face: names are of lower-case letters"),
        ("[models.arcface]", "[[models.arcface]]", "models.arcface: Expected `object`, got `array`"),
        ("[models.arcface]", "[model.arcface]", "model: only tables [models.NAME] are known here"),
        ("[models.arcface]", "[models.arcface", "cannot be read as TOML"),
        ("made by us", "\udcff", "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_named_with_file_and_field(extra: Path, right: str, wrong: str, message: str) -> None:
    changed = OWN.replace(right, wrong)
    assert changed != OWN
    if right == "[models.arcface]":
        changed = changed.partition("[models.arcface.contract]")[0]
    extra.write_bytes(changed.encode(errors="surrogateescape"))

    with pytest.raises(BadInputError) as caught:
        load_manifest(extra)

    assert str(caught.value).startswith(f"{extra}: {message}")


def test_the_name_of_a_built_in_model_is_refused(extra: Path) -> None:
    extra.write_text(OWN.replace("models.arcface", "models.mobilefacenet-192"))

    with pytest.raises(BadInputError, match=r"models\.mobilefacenet-192: this name is taken"):
        load_manifest(extra)


@pytest.mark.parametrize(
    ("lookup", "name", "known"),
    [
        ("detector", "mobilefacenet-192", "yunet"),
        ("embedder", "yunet", "There are: dlib-resnet-128, fusion-320, mobilefacenet-192."),
        ("model", "no_face.mp4", "There are: dlib-resnet-128, mobilefacenet-192"),
        ("medium", "yunet", "multi_face.jpg"),
        ("asset", "nothing", "single_face.jpg"),
    ],
)
def test_what_does_not_exist_is_answered_with_what_does(lookup: str, name: str, known: str) -> None:
    with pytest.raises(NotFoundError, match=known):
        getattr(load_manifest(), lookup)(name)


def test_a_fusion_stands_for_its_parts() -> None:
    manifest = load_manifest()

    assert manifest.files_of("fusion-320") == ("mobilefacenet-192", "dlib-resnet-128")
    assert manifest.files_of("yunet") == ("yunet",)
    assert manifest.dimension("fusion-320") == 320
    assert manifest.dimension("dlib-resnet-128") == 128
    with pytest.raises(NotFoundError, match="single embedder"):
        manifest.single_embedder("fusion-320")


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.6), (0.2, 0.2)])
def test_a_fusion_is_of_two_and_more_whose_weights_make_1(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="at least two models, whose weights make 1"):
        FusedEmbedder(
            parts=tuple(FusedPart(model=f"{weight}", weight=weight) for weight in weights),
            calibration=Calibration(operating_points={1e-3: 0.5}),
        )
