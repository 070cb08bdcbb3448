"""The work queue: what the sender and the receiver of a task must agree on."""

from __future__ import annotations

from typing import Any

from celery import Celery
from redis import Redis

from lookout.settings import Settings

#: Crops to be embedded and matched: seconds count.
CROPS = "crops"
#: Webhooks: another machine may take its time, so they never stand in front of crops.
DELIVERIES = "deliveries"
#: Housekeeping.
MAINTENANCE = "maintenance"
#: What is to be deleted: large, and never urgent.
RETENTION = "retention"
#: Clips that people asked for.
EXPORTS = "exports"
QUEUES = (CROPS, DELIVERIES, MAINTENANCE, RETENTION, EXPORTS)

EMBED_CROPS = "lookout.embed_crops"
DELIVER = "lookout.deliver"
CLOSE_EPISODES = "lookout.close_episodes"
RELAY_DELIVERIES = "lookout.relay_deliveries"
UPDATE_INDEX = "lookout.update_index"
PUBLISH_CAMERAS = "lookout.publish_cameras"
TIDY = "lookout.tidy"
INDEX_SIGHTINGS = "lookout.index_sightings"
REGISTER_FOOTAGE = "lookout.register_footage"
SWEEP = "lookout.sweep"
EXPORT = "lookout.export"

_ROUTES = {
    EMBED_CROPS: {"queue": CROPS},
    DELIVER: {"queue": DELIVERIES},
    CLOSE_EPISODES: {"queue": MAINTENANCE},
    RELAY_DELIVERIES: {"queue": MAINTENANCE},
    UPDATE_INDEX: {"queue": MAINTENANCE},
    PUBLISH_CAMERAS: {"queue": MAINTENANCE},
    TIDY: {"queue": MAINTENANCE},
    INDEX_SIGHTINGS: {"queue": MAINTENANCE},
    REGISTER_FOOTAGE: {"queue": MAINTENANCE},
    SWEEP: {"queue": RETENTION},
    EXPORT: {"queue": EXPORTS},
}

#: Seconds after which a message that a worker took and did not finish goes to another one. The messages of a killed
#: worker wait so long: well below a crop's deadline, and well above what a batch takes. One that only took longer is
#: done twice, which changes nothing.
VISIBILITY_TIMEOUT_S = 10


def celery_app(settings: Settings) -> Celery:
    """The Celery application, for sending and for receiving.

    Messages are acknowledged when their work is done, so a killed worker loses none; every task is idempotent.
    """
    app = Celery("lookout", broker=settings.redis_url.get_secret_value(), set_as_current=False)
    config: dict[str, Any] = {
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_store_eager_result": False,
        "task_routes": _ROUTES,
        "task_default_queue": MAINTENANCE,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_acks_on_failure_or_timeout": True,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
        # A task that outlives a broken connection is done twice, which changes nothing.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": 2,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "health_check_interval": 5,
        },
        "timezone": "UTC",
    }
    app.conf.update(config)
    return app


def backlog(redis: Redis, queue: str) -> int:
    """Messages of a queue that wait, and those of all queues that workers hold."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.llen(queue)
        pipe.hlen("unacked")
        waiting, held = pipe.execute()
    return int(waiting) + int(held)
