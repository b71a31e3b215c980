"""What every test may ask for: a database of either kind, a data folder, a free port.

Databases are copies of what the migrations made once; tests/config/test_schema.py runs the migrations themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from config import schema
from config.database import Database
from tests import around, postgres
from tests.costs import Costs
from tests.ports import free_port as _free_port
from tests.seeds import VARIABLES, Again
from tests.tools import is_ci
from tests.worlds import give_tables

hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if is_ci() else "house")


def pytest_configure(config: pytest.Config) -> None:
    """Let no operation ask around its connection, and every run say what it cost, and how what failed is repeated."""
    around.watch()
    config.pluginmanager.register(Costs())
    config.pluginmanager.register(Again())


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """An empty folder, as `--data` names it. Its root key may stand beside it."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that returns a port nobody listens on."""
    return _free_port


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgres.Server]:
    """A real PostgreSQL, started at first use."""
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that has every table as the migrations make it, and no row."""
    name = postgresql_server.create()
    made = Database(tmp_path_factory.mktemp("template"), postgresql_server.url(name))
    schema.upgrade(made)
    made.dispose()
    return name


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL database of this test's own, without a table."""
    server: postgres.Server = request.getfixturevalue("postgresql_server")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, data_folder: Path) -> Iterator[Database]:
    """An empty database with every table, once on SQLite (in `data_folder`) and once on PostgreSQL."""
    if request.param == "sqlite":
        made = Database(data_folder)
        give_tables(made)
        yield made
        made.dispose()
        return
    server: postgres.Server = request.getfixturevalue("postgresql_server")
    with server.lent(request.getfixturevalue("postgresql_template")) as name:
        made = Database(data_folder, server.url(name))
        yield made
        made.dispose()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the PostgreSQL half of long tables to the proofs, where a module says `POSTGRESQL_IN_PROOF`."""
    for item in items:
        if not isinstance(item, pytest.Function) or not getattr(item.module, "POSTGRESQL_IN_PROOF", False):
            continue
        if hasattr(item, "callspec") and item.callspec.params.get("engine") == "postgresql":
            item.add_marker(pytest.mark.proof)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Settings that choose a database for a `World`: once SQLite, once a PostgreSQL database of this test's own."""
    if request.param == "sqlite":
        yield {}
        return
    server: postgres.Server = request.getfixturevalue("postgresql_server")
    with server.lent(request.getfixturevalue("postgresql_template")) as name:
        yield {"installation.database_url": server.url(name)}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable set on the developer's machine must not reach an installation under test."""
    for name in [name for name in os.environ if name.startswith("MELLANRUM_") and name not in VARIABLES]:
        monkeypatch.delenv(name)
