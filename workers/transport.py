"""Kombu's Redis transport, with a worker that goes on after Redis was away."""

from __future__ import annotations

from kombu.transport import redis, virtual


class QoS(redis.QoS):
    """Which messages this worker holds.

    Kombu keeps a message whose end it could not tell Redis. A worker that may hold only that one would then never take
    another, not even when Redis is back. Here it lets go: the message comes back by itself, and done twice it changes
    nothing.
    """

    def ack(self, delivery_tag: str) -> None:
        """Tell Redis that a message is done."""
        try:
            super().ack(delivery_tag)
        finally:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Tell Redis to give a message to somebody else."""
        try:
            super().reject(delivery_tag, requeue)
        finally:
            virtual.QoS.ack(self, delivery_tag)


class Channel(redis.Channel):
    """A channel that counts its messages so."""

    QoS = QoS


class Transport(redis.Transport):
    """A transport with such channels."""

    Channel = Channel
