"""A PostgreSQL that stops answering with its connections open: nobody waits over ten seconds, and nothing is torn."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests import postgres
from tests.serving import Dav, Served, serving, space_path

HERE = space_path("anna")
ANSWER_SECONDS = 10.0
#: What this machine may be late by in noticing, with other tests beside.
LATE_SECONDS = 5.0


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Server]:
    """A server of this module's own, for no other test must be frozen with it."""
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="module")
def served(database: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    overrides = {"installation.database_url": database.url(database.create()), "http.workers": 1}
    with serving(tmp_path_factory.mktemp("silent") / "data", **overrides) as server:
        yield server


@pytest.fixture
def frozen(database: postgres.Server) -> Iterator[postgres.Server]:
    yield database
    database.freeze(frozen=False)


def test_requests_are_told_within_ten_seconds_and_served_again_afterwards(
    served: Served, frozen: postgres.Server
) -> None:
    anna = served.dav("anna")
    assert anna.put(f"{HERE}/Före.txt", b"before").status == 201
    frozen.freeze(frozen=True)
    acts = [
        lambda dav: dav.get(f"{HERE}/Före.txt"),
        lambda dav: dav.propfind(HERE),
        lambda dav: dav.put(f"{HERE}/Under.txt", b"while frozen"),
        lambda dav: dav.request("MKCOL", f"{HERE}/Mapp"),
    ]
    told: list[tuple[int, str | None, float]] = []
    said: list[bytes] = []

    def ask(number: int) -> None:
        with_own: Dav = served.dav("anna")
        began = time.monotonic()
        reply = acts[number](with_own)
        said.append(reply.body)
        told.append((reply.status, reply.headers.get("retry-after"), time.monotonic() - began))
        with_own.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [(status, after) for status, after, _ in told] == [(503, "2")] * len(acts)
    assert all(each.startswith(b"The database ") for each in said), "what nobody knows must not be promised"
    assert max(seconds for _, _, seconds in told) < ANSWER_SECONDS + LATE_SECONDS
    frozen.freeze(frozen=False)
    assert anna.get(f"{HERE}/Före.txt").body == b"before"
    assert anna.get(f"{HERE}/Under.txt").status in (200, 404)
    assert anna.put(f"{HERE}/Under.txt", b"after").status in (201, 204)
    assert anna.get(f"{HERE}/Under.txt").body == b"after"
