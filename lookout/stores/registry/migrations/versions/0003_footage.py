"""Footage, videos, exports"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("blur_others", sa.Boolean(), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("moments", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.Column("blob", sa.String(length=200), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name=op.f("ck_exports_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    with op.batch_alter_table("exports", schema=None) as batch_op:
        batch_op.create_index("ix_exports_page", ["created_at_us", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_exports_user_id"), ["user_id"], unique=False)

    op.create_table(
        "videos",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("camera_id", sa.String(length=60), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("file_name", sa.String(length=200), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.BigInteger(), nullable=False),
        sa.Column("height", sa.BigInteger(), nullable=False),
        sa.Column("codec", sa.String(length=40), nullable=False),
        sa.Column("analysed_fps", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error", sa.String(length=500), nullable=False),
        sa.Column("upload", sa.String(length=200), nullable=True),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("parts_done", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("crops", sa.BigInteger(), nullable=False),
        sa.Column("broken_frames", sa.BigInteger(), nullable=False),
        sa.Column("broken_at_s", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_videos_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_videos")),
        sa.UniqueConstraint(
            "camera_id", "sha256", "started_at_us", name=op.f("uq_videos_camera_id_sha256_started_at_us")
        ),
    )
    with op.batch_alter_table("videos", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_videos_camera_id"), ["camera_id"], unique=False)
        batch_op.create_index("ix_videos_page", ["created_at_us", "id"], unique=False)

    op.create_table(
        "segments",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("camera_id", sa.String(length=60), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("codec", sa.String(length=40), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name=op.f("fk_segments_video_id_videos")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
    )
    with op.batch_alter_table("segments", schema=None) as batch_op:
        batch_op.create_index("ix_segments_place", ["camera_id", "started_at_us"], unique=False)
        batch_op.create_index(batch_op.f("ix_segments_started_at_us"), ["started_at_us"], unique=False)
        batch_op.create_index(batch_op.f("ix_segments_video_id"), ["video_id"], unique=False)

    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("retrospective", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("held_at_us", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("held_by", sa.String(length=100), nullable=True))
        batch_op.create_index("ix_alerts_crop_id", ["crop_id"], unique=False)
        batch_op.create_index(
            "ix_alerts_held",
            ["held_at_us"],
            unique=False,
            sqlite_where=sa.text("held_at_us IS NOT NULL"),
            postgresql_where=sa.text("held_at_us IS NOT NULL"),
        )

    with op.batch_alter_table("cameras", schema=None) as batch_op:
        batch_op.add_column(sa.Column("record", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("record_audio", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("footage_hours", sa.BigInteger(), nullable=False, server_default=sa.text("72")))
        batch_op.add_column(sa.Column("footage_gb", sa.Double(), nullable=False, server_default=sa.text("50")))

    with op.batch_alter_table("sightings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("video_id", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("indexed", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.create_index("ix_sightings_place", ["camera_id", "ended_at_us"], unique=False)
        batch_op.create_index("ix_sightings_age", ["camera_id", "created_at_us"], unique=False)
        batch_op.create_index(batch_op.f("ix_sightings_video_id"), ["video_id"], unique=False)
        batch_op.create_index(
            "ix_sightings_waiting",
            ["model"],
            unique=False,
            sqlite_where=sa.text("NOT indexed"),
            postgresql_where=sa.text("NOT indexed"),
        )
        batch_op.create_foreign_key(batch_op.f("fk_sightings_video_id_videos"), "videos", ["video_id"], ["id"])

    # The defaults were for the rows that were there.
    defaults = {
        "alerts": ("retrospective",),
        "cameras": ("record", "record_audio", "footage_hours", "footage_gb"),
        "sightings": ("indexed",),
    }
    for table, columns in defaults.items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for column in columns:
                batch_op.alter_column(column, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("sightings", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_sightings_video_id_videos"), type_="foreignkey")
        batch_op.drop_index("ix_sightings_waiting")
        batch_op.drop_index(batch_op.f("ix_sightings_video_id"))
        batch_op.drop_index("ix_sightings_age")
        batch_op.drop_index("ix_sightings_place")
        batch_op.drop_column("indexed")
        batch_op.drop_column("video_id")
    with op.batch_alter_table("cameras", schema=None) as batch_op:
        for column in ("footage_gb", "footage_hours", "record_audio", "record"):
            batch_op.drop_column(column)
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_index("ix_alerts_held")
        batch_op.drop_index("ix_alerts_crop_id")
        for column in ("held_by", "held_at_us", "retrospective"):
            batch_op.drop_column(column)
    for table in ("segments", "videos", "exports"):
        op.drop_table(table)
