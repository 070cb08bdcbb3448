"""Thresholds by error rate, gates, calibrations, models in use"""

import math
import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: Cosines of MobileFaceNet-192, the one model there was, and the share of strangers' comparisons that reached them.
_POINTS = ((0.35, -2.0), (0.45, -3.0), (0.53, -4.0), (0.60, -5.0), (0.68, -6.0))
_DEFAULTS = {"possible_strangers": 500, "likely_strangers": 10_000}
#: What a registry that holds nobody yet begins with.
_MODELS = {"detector": "yunet", "embedder": "fusion-320"}


def upgrade() -> None:
    with op.batch_alter_table("watchlists", schema=None) as batch_op:
        batch_op.add_column(sa.Column("possible_strangers", sa.BigInteger(), nullable=False, server_default="500"))
        batch_op.add_column(sa.Column("likely_strangers", sa.BigInteger(), nullable=False, server_default="10000"))
        batch_op.add_column(sa.Column("min_face_px", sa.BigInteger(), nullable=False, server_default="40"))
        batch_op.add_column(sa.Column("min_quality", sa.Double(), nullable=False, server_default="0.5"))
    _state_rates()
    with op.batch_alter_table("watchlists", schema=None) as batch_op:
        batch_op.drop_column("possible_threshold")
        batch_op.drop_column("likely_threshold")
        for column in ("possible_strangers", "likely_strangers", "min_face_px", "min_quality"):
            batch_op.alter_column(column, server_default=None)

    op.create_table(
        "calibrations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=100), nullable=False),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("sightings", sa.BigInteger(), nullable=False),
        sa.Column("comparisons", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
    )
    with op.batch_alter_table("calibrations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_calibrations_model"), ["model"], unique=False)
    _models()


def _models() -> None:
    """What is there goes on with the embedder that made it, until somebody switches."""
    chosen = op.create_table(
        "models_in_use",
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("changed_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("role", name=op.f("pk_models_in_use")),
    )
    connection = op.get_bind()
    made_by = [
        connection.execute(sa.text(f"SELECT model FROM {table} WHERE model IS NOT NULL LIMIT 1")).scalar()  # noqa: S608
        for table in ("targets", "sightings")
    ]
    embedder = next(filter(None, made_by), _MODELS["embedder"])
    now_us = time.time_ns() // 1000
    op.bulk_insert(
        chosen,
        [
            {"role": role, "name": name, "changed_at_us": now_us}
            for role, name in {**_MODELS, "embedder": embedder}.items()
        ],
    )
    for owner, column, more in (
        ("reference", sa.Column("template", sa.LargeBinary(), nullable=False), []),
        (
            "sighting",
            sa.Column("template_sum", sa.LargeBinary(), nullable=False),
            [sa.Column("crops", sa.BigInteger(), nullable=False)],
        ),
    ):
        table, key = f"next_{owner}s", f"{owner}_id"
        op.create_table(
            table,
            sa.Column(key, sa.String(length=32), nullable=False),
            sa.Column("model", sa.String(length=100), nullable=False),
            column,
            *more,
            sa.ForeignKeyConstraint(
                [key], [f"{owner}s.id"], name=op.f(f"fk_{table}_{key}_{owner}s"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint(key, "model", name=op.f(f"pk_{table}")),
        )


def _state_rates() -> None:
    """Say of watchlists that had cosines of their own what error rate these were at their size."""
    connection = op.get_bind()
    counted = "SELECT count(*) FROM targets WHERE targets.watchlist_id = w.id AND erased_at_us IS NULL"
    rows = connection.execute(
        sa.text(f"SELECT w.id, possible_threshold, likely_threshold, ({counted}) AS size FROM watchlists w")  # noqa: S608
    ).all()
    for row in rows:
        possible = _strangers(row.possible_threshold, row.size, _DEFAULTS["possible_strangers"])
        likely = max(possible, _strangers(row.likely_threshold, row.size, _DEFAULTS["likely_strangers"]))
        connection.execute(
            sa.text("UPDATE watchlists SET possible_strangers = :possible, likely_strangers = :likely WHERE id = :id"),
            {"possible": possible, "likely": likely, "id": row.id},
        )


def _strangers(cosine: float | None, size: int, default: int) -> int:
    """Of how many strangers one reached a cosine."""
    if cosine is None:
        return default
    below = [pair for pair in _POINTS[:-1] if pair[0] <= cosine] or [_POINTS[0]]
    (left, left_power), (right, right_power) = below[-1], _POINTS[_POINTS.index(below[-1]) + 1]
    power = left_power + (right_power - left_power) / (right - left) * (cosine - left)
    rate = min(1.0, 10.0**power)
    fpir = -math.expm1(max(1, size) * math.log1p(-rate)) if rate < 1 else 1.0
    return min(1_000_000, max(1, round(1 / max(fpir, 1e-6))))


def downgrade() -> None:
    for table in ("next_sightings", "next_references", "models_in_use", "calibrations"):
        op.drop_table(table)
    with op.batch_alter_table("watchlists", schema=None) as batch_op:
        # What error rate they stand for cannot be said without the model: they get the model's own again.
        batch_op.add_column(sa.Column("possible_threshold", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("likely_threshold", sa.Double(), nullable=True))
        for column in ("min_quality", "min_face_px", "likely_strangers", "possible_strangers"):
            batch_op.drop_column(column)
