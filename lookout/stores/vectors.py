"""Templates in Milvus: an index that can be rebuilt from the registry at any time.

Each model has its own two collections, `targets_<model>` and `sightings_<model>`; services read and write through
the aliases `targets` and `sightings`, so that a switch of models is one step. A target has one row, its combined
template; a sighting has one, too.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookout.errors import UnavailableError

if TYPE_CHECKING:
    from pymilvus import MilvusClient

Floats = NDArray[np.float32]

TARGETS = "targets"
SIGHTINGS = "sightings"
ID_LENGTH = 64
#: Milvus takes at most 64 MB a request: 5,000 templates of 512 floats are 10 MB.
ROWS_PER_REQUEST = 5000
REQUEST_TIMEOUT_S = 10.0
GRPC_OPTIONS = {
    # Without the pool that channels share, gRPC would wait up to two minutes after Milvus has come back.
    "grpc.use_local_subchannel_pool": 1,
    # pymilvus pings every 10 s, and Milvus Lite hangs up on whoever pings an idle connection that often.
    "grpc.keepalive_time_ms": 600_000,
}


@dataclass(frozen=True, slots=True)
class Hit:
    """A target or a sighting that resembles a template.

    Attributes:
        id: its id in the registry, which decides whether it still exists.
        score: cosine, -1..1.
    """

    id: str
    score: float


class Vectors:
    """Milvus, or `milvus-lite server`, at a URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: MilvusClient | None = None

    def prepare(self, model: str, dimension: int) -> bool:
        """Make the model's collections if they are missing, and point the aliases at them.

        Returns:
            Whether the targets' was made anew, so that the registry must fill them.
        """
        made = False
        with self._milvus() as client:
            for alias in (TARGETS, SIGHTINGS):
                collection = collection_name(alias, model)
                if not client.has_collection(collection):
                    self._create(client, collection, dimension)
                    made |= alias == TARGETS
                client.load_collection(collection)
                _point(client, alias, collection)
        return made

    def upsert(self, alias: str, ids: Sequence[str], templates: Floats) -> None:
        """Write templates `(N, D)` of length 1 under their ids; one that exists is replaced."""
        with self._milvus() as client:
            for start in range(0, len(ids), ROWS_PER_REQUEST):
                part = slice(start, start + ROWS_PER_REQUEST)
                rows = [
                    {"id": row_id, "template": template}
                    for row_id, template in zip(ids[part], templates[part].tolist(), strict=True)
                ]
                client.upsert(alias, rows, timeout=REQUEST_TIMEOUT_S)

    def delete(self, alias: str, ids: Sequence[str]) -> None:
        """Remove templates; ids that are not there do no harm."""
        with self._milvus() as client:
            for start in range(0, len(ids), ROWS_PER_REQUEST):
                client.delete(alias, ids=list(ids[start : start + ROWS_PER_REQUEST]), timeout=REQUEST_TIMEOUT_S)

    def search_targets(self, templates: Floats, limit: int) -> list[list[Hit]]:
        """The `limit` targets most alike to each template of `(N, D)`, best first, in one request."""
        return self._search(TARGETS, templates, limit)

    def search_sightings(self, templates: Floats, limit: int) -> list[list[Hit]]:
        """The `limit` sightings most alike to each template of `(N, D)`, best first, in one request."""
        return self._search(SIGHTINGS, templates, limit)

    def _search(self, alias: str, templates: Floats, limit: int) -> list[list[Hit]]:
        if not len(templates):
            return []
        with self._milvus() as client:
            found = client.search(
                alias,
                data=list(templates),
                limit=limit,
                anns_field="template",
                search_params={"metric_type": "COSINE"},
                timeout=REQUEST_TIMEOUT_S,
            )
        return [[Hit(str(hit["id"]), float(hit["distance"])) for hit in hits] for hits in found]

    def check(self) -> None:
        """Ask Milvus for a sign of life.

        Raises:
            UnavailableError: it does not answer.
        """
        with self._milvus() as client:
            client.list_collections(timeout=REQUEST_TIMEOUT_S)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextlib.contextmanager
    def _milvus(self) -> Iterator[MilvusClient]:
        # pymilvus brings pandas and gRPC: imported where it is used, after a worker's fork.
        import grpc
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException

        # It logs each failed call with its traceback; what matters of it is in the UnavailableError.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        client = self._client
        try:
            if client is None:
                client = MilvusClient(self.uri, timeout=REQUEST_TIMEOUT_S, grpc_options=GRPC_OPTIONS)
                # Milvus Lite forgets at a restart which collections were loaded.
                for collection in client.list_collections():
                    client.load_collection(collection)
                self._client = client
            yield client
        except (MilvusException, grpc.RpcError) as error:
            # A channel that broke is not used again: a restarted Milvus may listen behind it.
            self._client = None
            if client is not None:
                with contextlib.suppress(Exception):
                    client.close()
            raise UnavailableError(f"Milvus at {self.uri} does not answer: {_first_line(error)}") from error

    @staticmethod
    def _create(client: MilvusClient, collection: str, dimension: int) -> None:
        from pymilvus import DataType
        from pymilvus.exceptions import MilvusException

        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=ID_LENGTH)
        schema.add_field("template", DataType.FLOAT_VECTOR, dim=dimension)
        index = client.prepare_index_params()
        # Exact search: a watchlist of 10,000 costs milliseconds, and an approximate index would miss people.
        index.add_index("template", index_type="FLAT", metric_type="COSINE")
        # Strong: what was enrolled must be found by the very next search.
        try:
            client.create_collection(collection, schema=schema, index_params=index, consistency_level="Strong")
        except MilvusException:
            if not client.has_collection(collection):  # another process was faster
                raise


def collection_name(alias: str, model: str) -> str:
    """The collection of a model behind an alias; Milvus allows letters, digits and `_`."""
    return f"{alias}_{re.sub(r'[^0-9A-Za-z]', '_', model)}"


def _point(client: MilvusClient, alias: str, collection: str) -> None:
    from pymilvus.exceptions import MilvusException

    current: Any
    try:
        current = client.describe_alias(alias).get("collection_name")
    except MilvusException:
        current = None
    if current is None:
        try:
            client.create_alias(collection, alias)
        except MilvusException:  # another process was faster
            client.alter_alias(collection, alias)
    elif current != collection:
        client.alter_alias(collection, alias)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
