"""Which schema a database has, which this Mellanrum needs, and the way from one to the other.

The durable and the transient tables have a chain of migrations each, in `config/migrations/`, since on SQLite they
stand in two files; on PostgreSQL both chains run in one database, and each keeps its place in a table of its own.
Migrations go forward only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, func, inspect, select

from config.database import Database, durable, transient
from config.errors import DatabaseDamaged, NotInitialised, SchemaTooNew, SchemaTooOld, SchemaUnlike, TransientDamaged

MIGRATIONS = Path(__file__).parent / "migrations"
#: One number for PostgreSQL's advisory lock, so that two machines never migrate at once.
_LOCK = 0x6D656C6C616E


@dataclass(frozen=True, slots=True)
class Chain:
    """One line of migrations: the folder under config/migrations, and the table that says how far it has come."""

    name: str
    version_table: str
    tables: MetaData

    def directory(self) -> ScriptDirectory:
        """Return the migrations that this Mellanrum ships."""
        return ScriptDirectory.from_config(self.config())

    def config(self) -> Config:
        """Return what Alembic wants to know."""
        config = Config()
        config.set_main_option("script_location", _verbatim(MIGRATIONS))
        config.set_main_option("version_locations", _verbatim(MIGRATIONS / self.name))
        config.set_main_option("path_separator", "newline")
        config.attributes["version_table"] = self.version_table
        return config

    def head(self) -> str:
        """Return the revision that this Mellanrum needs."""
        return self.directory().get_current_head() or "none"

    def found(self, connection: Connection) -> str | None:
        """Return the revision the database has; None: it has no table of ours."""
        context = MigrationContext.configure(connection, opts={"version_table": self.version_table})
        return context.get_current_revision()


DURABLE = Chain("durable", "schema_durable", durable)
TRANSIENT = Chain("transient", "schema_transient", transient)


def upgrade(database: Database) -> list[str]:
    """Bring the database to the schema of this Mellanrum, from nothing or from any earlier one.

    Each chain moves in one transaction: it arrives whole or not at all. Take a backup before.

    Returns:
        What was run, `durable 0002` in order; empty if all stood already.

    Raises:
        SchemaTooNew: a newer Mellanrum has been here.
    """
    return [*_upgrade(DURABLE, database.write), *_upgrade(TRANSIENT, database.transient_write)]


def check(database: Database) -> None:
    """Return if the database has the schema of this Mellanrum: its number, and every column of it.

    Transient tables that are gone altogether (a restored backup has none) are made anew: nothing in them is missed.

    Raises:
        NotInitialised: no installation was ever made here.
        SchemaTooOld, SchemaTooNew: run `mellanrum upgrade`, or a newer Mellanrum.
        SchemaUnlike: the number is ours, the tables are not.
        DatabaseDamaged, TransientDamaged: SQLite cannot read its file.
    """
    if database.dialect == "sqlite" and not (database.folder / "catalogue.db").exists():
        raise NotInitialised(folder=database.folder)
    with database.read() as connection:
        found = DURABLE.found(connection)
        if found is None:
            raise NotInitialised(folder=database.folder)
        _compare(DURABLE, found, connection)
    try:
        with database.transient_read() as connection:
            found = TRANSIENT.found(connection)
            if found is not None:
                _compare(TRANSIENT, found, connection)
    except DatabaseDamaged as error:
        if database.dialect == "sqlite":
            raise TransientDamaged(file=database.folder / "transient.db", **error.facts) from error
        raise
    if found is None:
        _upgrade(TRANSIENT, database.transient_write)


def _upgrade(chain: Chain, write: Callable[[], AbstractContextManager[Connection]]) -> list[str]:
    with write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            connection.execute(select(func.set_config("statement_timeout", "0", True)))
        before = chain.found(connection)
        pending = _pending(chain, before)
        if pending:
            config = chain.config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return [f"{chain.name} {revision}" for revision in pending]


def _pending(chain: Chain, found: str | None) -> list[str]:
    steps = [step.revision for step in chain.directory().walk_revisions()][::-1]
    if found is None:
        return steps
    if found not in steps:
        raise SchemaTooNew(found=f"{chain.name} {found}", known=f"{chain.name} {steps[-1]}")
    return steps[steps.index(found) + 1 :]


def _compare(chain: Chain, found: str, connection: Connection) -> None:
    if _pending(chain, found):
        raise SchemaTooOld(found=f"{chain.name} {found}", known=f"{chain.name} {chain.head()}")
    # Until the first release the first migration is written anew with the tables, under the same number.
    standing = inspect(connection).get_multi_columns()
    columns = {name: {column["name"] for column in of} for (_, name), of in standing.items()}
    for table in chain.tables.sorted_tables:
        for column in table.columns:
            if column.name not in columns.get(table.name, ()):
                raise SchemaUnlike(found=f"{chain.name} {found}", missing=f"{table.name}.{column.name}")


def _verbatim(path: Path) -> str:
    """Return the path as ConfigParser takes it, to which `%` means something."""
    return str(path).replace("%", "%%")
