"""The one place that talks to OpenVINO."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

import openvino as ov
from openvino import CompiledModel, InferRequest

from lookout.errors import AssetError

__all__ = ["CompiledModel", "InferRequest", "Requests", "compile_model"]


@cache
def _core() -> ov.Core:
    return ov.Core()


#: What OpenVINO keeps, compiled for a shape of input, to use it again; its own limit is 5,000. The detector is called
#: with pictures of any size: measured over 240 sizes up to 1280 px, memory grew to 770 MB and on, here to 350 MB.
CACHED_KERNELS = 500


def compile_model(path: Path, *, network: str = "", threads: int = 1, device: str = "CPU") -> CompiledModel:
    """Read an IR or ONNX file and compile it.

    Call it after a fork, never before: OpenVINO's threads do not survive one.

    Args:
        path: the file.
        network: of a file that holds several, the one whose input has this name; its outputs' names start with it.
        threads: how many a call may use on a CPU.
        device: OpenVINO's name of it.

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
        model = _part(_core().read_model(path), network) if network else path
        return _core().compile_model(model, device, config)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise AssetError(
            f"OpenVINO cannot load {path} on {device}: {reason}. "
            f"Devices here: {', '.join(_core().available_devices)}; choose one by LOOKOUT_INFERENCE_DEVICE."
        ) from error


def _part(model: ov.Model, network: str) -> ov.Model:
    results = [result for result in model.get_results() if result.output(0).get_any_name().startswith(network)]
    return ov.Model(results, [model.input(network).get_node()], network)


class Requests:
    """A compiled model that serves many threads, each with its own inference request."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled
        self._local = threading.local()

    def mine(self) -> InferRequest:
        """The calling thread's request."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        request: InferRequest = self._local.request
        return request
