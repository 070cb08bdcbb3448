"""Runs the migrations on the connection that `Registry.migrate` hands in."""

from alembic import context

from lookout.stores.registry.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
