"""Write migration 0001 of each chain anew from the tables: `make first-migration`, until the first release.

From then on what was released never changes: write the next one by hand, `config/migrations/durable/0002_what.py`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from mako.template import Template
from sqlalchemy import MetaData, create_engine

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import auth.tables  # noqa: E402, F401
import providers.tables  # noqa: E402, F401
from config.database import durable, transient  # noqa: E402
from config.schema import DURABLE, MIGRATIONS, TRANSIENT, Chain  # noqa: E402


def steps_by_table(registry: MetaData) -> dict[str, list[str]]:
    """Return for each table, in an order that foreign keys allow, the lines that make it and its indexes."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": registry})
        script = produce_migrations(context, registry)
        writer = AutogenContext(
            context,
            metadata=registry,
            opts={
                "sqlalchemy_module_prefix": "sa.",
                "alembic_module_prefix": "op.",
                "user_module_prefix": None,
                "render_as_batch": False,
                "render_item": None,
            },
        )
        steps: dict[str, list[str]] = {table.name: [] for table in registry.sorted_tables}
        assert script.upgrade_ops is not None
        for step in script.upgrade_ops.ops:
            assert isinstance(step, ops.CreateTableOp | ops.CreateIndexOp | ops.ModifyTableOps), step
            steps[step.table_name].extend(line for line in render_op(writer, step) if line)
    engine.dispose()
    return steps


def write(chain: Chain, registry: MetaData) -> None:
    """Write the chain's 0001, a function a table."""
    folder = MIGRATIONS / chain.name
    first = folder / "0001_first_tables.py"
    later = [path.name for path in folder.glob("*.py") if path != first]
    if later:
        sys.exit(f"{chain.name} has later migrations already ({', '.join(later)}); 0001 was left as it is.")
    steps = steps_by_table(registry)
    template = Template(filename=str(MIGRATIONS / "script.py.mako"))
    text = template.render(
        message=f"The first {chain.name} tables",
        up_revision="0001",
        down_revision=None,
        upgrades="\n    ".join(f"_{name}()" for name in steps),
    )
    for name, lines in steps.items():
        body = "\n".join(lines).replace("\n", "\n    ")
        text += f"\n\ndef _{name}() -> None:\n    {body}\n"
    first.write_text(text)
    for command in (("check", "--fix-only"), ("format",)):
        subprocess.run([sys.executable, "-m", "ruff", *command, "-q", str(first)], check=True, cwd=ROOT)
    print(f"wrote {first.relative_to(ROOT)}: {len(steps)} tables")


if __name__ == "__main__":
    write(DURABLE, durable)
    write(TRANSIENT, transient)
