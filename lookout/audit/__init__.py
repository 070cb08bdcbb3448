"""The audit log: who did what, when, from where, and why."""

from lookout.audit.log import BEGIN, SYSTEM, Actor, Verification, entries, entry_hash, record, verify

__all__ = ["BEGIN", "SYSTEM", "Actor", "Verification", "entries", "entry_hash", "record", "verify"]
