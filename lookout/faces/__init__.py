"""Pixels to templates: assets, detection, alignment, embedding, quality. OpenVINO is imported only here."""

import sys

# Importing OpenVINO makes a telemetry object that writes to the home folder and looks up an analytics host. Nothing of
# Lookout phones home: with this entry the import of that package fails, and OpenVINO uses its own empty stand-in.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
