"""Reads `/metrics` of the running parts, and adds counters up over restarts, as Prometheus would."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import httpx2
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Meter:
    """Counters and gauges of some endpoints, by name and labels."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = urls
        self._last: dict[tuple[str, str, Labels], float] = {}
        self._totals: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self._client = httpx2.Client(timeout=1.0)
        self.gauges: dict[tuple[str, Labels], float] = {}

    def read(self) -> None:
        """Scrape all endpoints; one that does not answer keeps its last numbers."""
        for process, url in self._urls.items():
            try:
                text = self._client.get(url).raise_for_status().text
            except httpx2.HTTPError:
                continue
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    labels = frozenset(sample.labels.items())
                    if family.type == "gauge":
                        self.gauges[sample.name, labels] = sample.value
                    elif sample.name.endswith("_total"):
                        last = self._last.get((process, sample.name, labels), 0.0)
                        # A counter that fell began again at 0: its process was restarted.
                        self._totals[sample.name, labels] += sample.value - (last if sample.value >= last else 0.0)
                        self._last[process, sample.name, labels] = sample.value

    def total(self, name: str, **labels: str) -> int:
        """Sum of a counter over all series that carry these labels."""
        wanted = frozenset(labels.items())
        return round(sum(value for (one, found), value in self._totals.items() if one == name and wanted <= found))

    def gauge(self, name: str, **labels: str) -> float:
        """A gauge's last value; 0 if nobody told one."""
        return self.gauges.get((name, frozenset(labels.items())), 0.0)

    def camera_state(self, camera: str) -> str:
        """The state that a camera's gauges show."""
        for (name, labels), value in self.gauges.items():
            found = dict(labels)
            if name == "lookout_camera_state" and found.get("camera") == camera and value == 1:
                return found["state"]
        return "unknown"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
