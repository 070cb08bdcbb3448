"""The one place that talks to OpenVINO."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import openvino as ov
from openvino import CompiledModel, InferRequest

from lookout.errors import AssetError

__all__ = ["CompiledModel", "InferRequest", "compile_model"]


@cache
def _core() -> ov.Core:
    return ov.Core()


#: What OpenVINO keeps, compiled for a shape of input, to use it again; its own limit is 5,000. The detector is called
#: with pictures of any size: measured over 240 sizes up to 1280 px, memory grew to 770 MB and on, here to 350 MB.
CACHED_KERNELS = 500


def compile_model(path: Path, *, threads: int = 1, device: str = "CPU") -> CompiledModel:
    """Read an IR or ONNX file and compile it.

    Call it after a fork, never before: OpenVINO's threads do not survive one.

    Raises:
        AssetError: the file cannot be read, or the device is not there.
    """
    config: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        # Pinning is off because several processes would otherwise all pin themselves to the first core.
        config |= {
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "f32",
            "CPU_RUNTIME_CACHE_CAPACITY": CACHED_KERNELS,
        }
    try:
        return _core().compile_model(path, device, config)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise AssetError(
            f"OpenVINO cannot load {path} on {device}: {reason}. "
            f"Devices here: {', '.join(_core().available_devices)}; choose one by LOOKOUT_INFERENCE_DEVICE."
        ) from error
