from __future__ import annotations

import hashlib
from pathlib import Path

from lookout.evaluation.provenance import provenance
from lookout.faces.assets import AssetCache


def test_everything_is_named_by_its_hash(assets: AssetCache, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_bytes(b"1\n")
    found = provenance(assets, "yunet", "fusion-320", [tmp_path / "pairs.txt"], 7, "ab").as_json()
    assert found["embedder"] == "fusion-320"
    assert (found["pictures"], found["pictures_sha256"]) == (7, "ab")
    assert found["lists"] == {"pairs.txt": hashlib.sha256(b"1\n").hexdigest()}
    models = {one["name"]: one for one in found["models"]}
    assert list(models) == ["yunet", *assets.manifest.files_of("fusion-320")]
    assert models["yunet"]["precision"] == "as published"
    graph = assets.model("yunet")
    both = graph.read_bytes() + graph.with_suffix(".bin").read_bytes()
    assert models["yunet"]["sha256"] == hashlib.sha256(both).hexdigest()
    assert all(len(one["sha256"]) == 64 for one in models.values())
    assert len({one["sha256"] for one in models.values()}) == len(models)
