"""The SQL registry: what Lookout knows, and the only place that decides what exists."""

from lookout.stores.registry.engine import Registry, do_last

__all__ = ["Registry", "do_last"]
