"""Templates in Milvus: an index that can be rebuilt from the registry at any time.

Each model has its own two collections, `targets_<model>` and `sightings_<model>`. Services name the model whose
templates they hold, so that a template is never compared with another model's, whatever is switched meanwhile; the
aliases `targets` and `sightings` show others which is in use. A target has one row, its combined template; a sighting
has one, too, with camera and time, so that a search is narrowed where it happens.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
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
#: As many as Milvus finds at once.
MOST_HITS = 16_384
#: Of the graph that real Milvus searches sightings by: neighbours a node, and how widely it looks while it is built
#: and while it is searched. docs/architecture.md, "Index of sightings", has the measurements.
HNSW = {"M": 32, "efConstruction": 200}
HNSW_EF = 1536
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


@dataclass(frozen=True, slots=True)
class SightingRow:
    """What Milvus knows of a sighting beside its template."""

    id: str
    camera_id: str
    camera_group: str
    started_at_us: int
    ended_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which sightings to search.

    Attributes:
        cameras: ids; None: all.
        groups: names of the cameras' groups; None: all.
        since_us, until_us: those that overlap this span; None: open.
    """

    cameras: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    since_us: int | None = None
    until_us: int | None = None

    @property
    def nothing(self) -> bool:
        """Whether it admits no sighting at all."""
        return (self.cameras is not None and not self.cameras) or (self.groups is not None and not self.groups)

    def expression(self) -> str:
        """As Milvus reads it; empty if there is no limit.

        It is built, as Milvus 2.3 knows no templates of expressions. JSON's strings are Milvus's, too.
        """
        parts = []
        if self.cameras is not None:
            parts.append(f"camera_id in {json.dumps(list(self.cameras), ensure_ascii=False)}")
        if self.groups is not None:
            parts.append(f"camera_group in {json.dumps(list(self.groups), ensure_ascii=False)}")
        if self.since_us is not None:
            parts.append(f"ended_at_us >= {int(self.since_us)}")
        if self.until_us is not None:
            parts.append(f"started_at_us <= {int(self.until_us)}")
        return " and ".join(parts)


EVERYWHERE = Where()


class Vectors:
    """Milvus, or `milvus-lite server`, at a URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: MilvusClient | None = None
        self._lite: bool | None = None

    def missing(self, model: str) -> frozenset[str]:
        """Aliases whose collection of the model is not there, or is as an older Lookout made it."""
        with self._milvus() as client:
            return frozenset(alias for alias in (TARGETS, SIGHTINGS) if not _is_whole(client, alias, model))

    def prepare(self, model: str, dimension: int) -> bool:
        """Make the collections of the model in use if they are missing, and point the aliases at them.

        Returns:
            Whether one was made anew, so that the registry must fill it.
        """
        made = self.make(model, dimension)
        with self._milvus() as client:
            for alias in (TARGETS, SIGHTINGS):
                _point(client, alias, collection_name(alias, model))
        return made

    def make(self, model: str, dimension: int) -> bool:
        """Make the collections of a model if they are missing; returns whether one was."""
        made = False
        with self._milvus() as client:
            for alias in (TARGETS, SIGHTINGS):
                collection = collection_name(alias, model)
                if not _is_whole(client, alias, model):
                    _drop(client, alias, collection)
                    self._create(client, alias, collection, dimension)
                    made = True
                client.load_collection(collection)
        return made

    def drop_others(self, model: str) -> None:
        """Remove the collections of all other models; the aliases point at this one's from then on."""
        with self._milvus() as client:
            for alias in (TARGETS, SIGHTINGS):
                _point(client, alias, collection_name(alias, model))
            named = set(client.list_collections(timeout=REQUEST_TIMEOUT_S))
            targets = {one for one in named if one.startswith(f"{TARGETS}_")} - {collection_name(TARGETS, model)}
            # Sightings that no targets belong to are a measurement's.
            for collection in targets | {one.replace(TARGETS, SIGHTINGS, 1) for one in targets} & named:
                client.drop_collection(collection)

    def upsert_targets(self, model: str, ids: Sequence[str], templates: Floats) -> None:
        """Write templates `(N, D)` of length 1 that the model made under the targets' ids; one there is replaced."""
        self._upsert(collection_name(TARGETS, model), [{"id": one} for one in ids], templates)

    def upsert_sightings(self, model: str, sightings: Sequence[SightingRow], templates: Floats) -> None:
        """Write sightings with the templates `(N, D)` of length 1 that the model made; one that exists is replaced."""
        self._upsert(collection_name(SIGHTINGS, model), [asdict(one) for one in sightings], templates)

    def _upsert(self, collection: str, rows: Sequence[dict[str, Any]], templates: Floats) -> None:
        with self._milvus() as client:
            for start in range(0, len(rows), ROWS_PER_REQUEST):
                part = slice(start, start + ROWS_PER_REQUEST)
                whole = [
                    {**row, "template": template} for row, template in zip(rows[part], templates[part], strict=True)
                ]
                client.upsert(collection, whole, timeout=REQUEST_TIMEOUT_S)

    def delete(self, alias: str, ids: Sequence[str]) -> None:
        """Remove templates, whichever model made them; ids that are not there do no harm."""
        with self._milvus() as client:
            named = client.list_collections(timeout=REQUEST_TIMEOUT_S)
            for collection in [one for one in named if one.startswith(f"{alias}_")]:
                for start in range(0, len(ids), ROWS_PER_REQUEST):
                    some = list(ids[start : start + ROWS_PER_REQUEST])
                    client.delete(collection, ids=some, timeout=REQUEST_TIMEOUT_S)

    def search_targets(self, model: str, templates: Floats, limit: int) -> list[list[Hit]]:
        """The `limit` targets most alike to each template of `(N, D)` of a model, best first, in one request."""
        return self._search(collection_name(TARGETS, model), templates, limit, "", {}, "Strong")

    def search_sightings(
        self, model: str, templates: Floats, limit: int, where: Where = EVERYWHERE, *, fresh: bool = True
    ) -> list[list[Hit]]:
        """The `limit` sightings most alike to each template of `(N, D)` of a model, best first, in one request.

        Args:
            model: which made the templates.
            templates: of length 1.
            limit: how many for each, at most `MOST_HITS`.
            where: which to search.
            fresh: whether all that was written before must be found; a real Milvus takes 0.2 s longer then.
        """
        if where.nothing:
            return [[] for _ in templates]
        wide = {} if self.is_lite() else {"ef": min(32_768, max(HNSW_EF, 2 * limit))}
        collection, consistency = collection_name(SIGHTINGS, model), "Strong" if fresh else "Bounded"
        return self._search(collection, templates, limit, where.expression(), wide, consistency)

    def count_sightings(self, model: str, where: Where = EVERYWHERE) -> int:
        """How many sightings of a model a search would compare. Milvus Lite takes 50 µs a row: ask the registry."""
        if where.nothing:
            return 0
        with self._milvus() as client:
            collection = collection_name(SIGHTINGS, model)
            rows = client.query(
                collection,
                filter=where.expression(),
                output_fields=["count(*)"],
                consistency_level="Bounded",
                timeout=REQUEST_TIMEOUT_S,
            )
        return int(rows[0]["count(*)"])

    def kind(self) -> tuple[str, str]:
        """Milvus's version, and the kind of index that sightings are searched by."""
        with self._milvus() as client:
            version = client.get_server_version(timeout=REQUEST_TIMEOUT_S)
        return version, "FLAT" if self.is_lite() else "HNSW"

    def make_sightings(self, model: str, dimension: int) -> None:
        """Make a collection of sightings that no alias points at, for measurements."""
        with self._milvus() as client:
            self._create(client, SIGHTINGS, collection_name(SIGHTINGS, model), dimension)
            client.load_collection(collection_name(SIGHTINGS, model))

    def drop_sightings(self, model: str) -> None:
        """Remove such a collection."""
        with self._milvus() as client:
            client.drop_collection(collection_name(SIGHTINGS, model))

    def settle_sightings(self, model: str, timeout_s: float = 3600.0) -> None:
        """Wait until all that was written is part of the index.

        Raises:
            UnavailableError: it takes too long.
        """
        collection = collection_name(SIGHTINGS, model)
        deadline = time.monotonic() + timeout_s
        with self._milvus() as client:
            client.flush(collection, timeout=timeout_s)
            while not self.is_lite() and not _is_settled(client, collection):
                if time.monotonic() > deadline:
                    raise UnavailableError(f"Milvus did not build the index of {collection} in {timeout_s:.0f} s.")
                time.sleep(1)

    def _search(
        self,
        collection: str,
        templates: Floats,
        limit: int,
        expression: str,
        params: dict[str, Any],
        consistency: str,
    ) -> list[list[Hit]]:
        if not len(templates):
            return []
        with self._milvus() as client:
            found = client.search(
                collection,
                data=list(templates),
                filter=expression,
                limit=limit,
                anns_field="template",
                search_params={"metric_type": "COSINE", "params": params},
                consistency_level=consistency,
                timeout=REQUEST_TIMEOUT_S,
            )
        return [[Hit(str(hit["id"]), float(hit["distance"])) for hit in hits] for hits in found]

    def is_lite(self) -> bool:
        """Whether it is Milvus Lite, which scans whatever index is asked of it."""
        if self._lite is None:
            with self._milvus() as client:
                # The real one that PyPI ships is called `v2.3.5-lite`.
                self._lite = client.get_server_version(timeout=REQUEST_TIMEOUT_S).startswith("milvus_lite")
        return self._lite

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

    def _create(self, client: MilvusClient, alias: str, collection: str, dimension: int) -> None:
        from pymilvus import DataType
        from pymilvus.exceptions import MilvusException

        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=ID_LENGTH)
        schema.add_field("template", DataType.FLOAT_VECTOR, dim=dimension)
        index = client.prepare_index_params()
        # Exact search: a watchlist of 10,000 costs milliseconds, and an approximate index would miss people. Milvus
        # Lite scans in any case.
        graph = alias == SIGHTINGS and not self.is_lite()
        kind: dict[str, Any] = {"index_type": "HNSW", "params": HNSW} if graph else {"index_type": "FLAT"}
        index.add_index("template", metric_type="COSINE", **kind)
        if alias == SIGHTINGS:
            # A name of 100 letters may take four bytes for each of them.
            schema.add_field("camera_id", DataType.VARCHAR, max_length=400)
            schema.add_field("camera_group", DataType.VARCHAR, max_length=400)
            schema.add_field("started_at_us", DataType.INT64)
            schema.add_field("ended_at_us", DataType.INT64)
        # Strong: what was enrolled must be found by the very next search.
        try:
            client.create_collection(collection, schema=schema, index_params=index, consistency_level="Strong")
        except MilvusException:
            if not _appears(client, collection):
                raise


def collection_name(alias: str, model: str) -> str:
    """The collection of a model behind an alias; Milvus allows letters, digits and `_`."""
    return f"{alias}_{re.sub(r'[^0-9A-Za-z]', '_', model)}"


def _is_whole(client: MilvusClient, alias: str, model: str) -> bool:
    collection = collection_name(alias, model)
    if not client.has_collection(collection):
        return False
    fields = {field["name"] for field in client.describe_collection(collection)["fields"]}
    return alias == TARGETS or "camera_group" in fields


def _appears(client: MilvusClient, collection: str) -> bool:
    """Whether another process was faster, and is perhaps still making it."""
    deadline = time.monotonic() + 2
    while not (there := client.has_collection(collection)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(there)


def _is_settled(client: MilvusClient, collection: str) -> bool:
    """Whether no segment waits for its index, and none that is searched is without."""
    progress = client.describe_index(collection, "template")
    return progress.get("state") == "Finished" and not progress.get("pending_index_rows")


def _drop(client: MilvusClient, alias: str, collection: str) -> None:
    from pymilvus.exceptions import MilvusException

    if client.has_collection(collection):
        with contextlib.suppress(MilvusException):  # what an alias points at cannot be dropped
            client.drop_alias(alias)
        client.drop_collection(collection)


def _point(client: MilvusClient, alias: str, collection: str) -> None:
    from pymilvus.exceptions import MilvusException

    # Milvus Lite fails where two processes do this at once; the other one may have done it then.
    for attempts_left in reversed(range(5)):
        current: Any
        try:
            current = client.describe_alias(alias).get("collection_name")
        except MilvusException:
            current = None
        try:
            if current is None:
                client.create_alias(collection, alias)
            elif current != collection:
                client.alter_alias(collection, alias)
        except MilvusException:
            if not attempts_left:
                raise
            time.sleep(0.1)
        else:
            return


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
