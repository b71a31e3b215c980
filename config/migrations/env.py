"""Run by Alembic, through config.schema alone, which hands in a connection inside the transaction that upgrades."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
)
with context.begin_transaction():
    context.run_migrations()
