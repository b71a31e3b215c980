"""An erasure beside a running server, and what clients are told of an erased version by either door."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path as FilePath

import pytest

from providers.errors import VersionErased
from providers.paths import parse
from server.sftp.engine.wire import Code
from tests.hold.worlds import OURS, SPACE, erased, findings, make, packed, record_of
from tests.serving import start
from tests.sftp.client import Client, Refused
from tests.worlds import World

DOCUMENT = f"{OURS}/Avtal/Köp.txt"
SWEPT_SECONDS_MAX = 30


def moment(at_us: int) -> str:
    """Return the name of a moment in `.history`."""
    return datetime.fromtimestamp(at_us // 10**6, UTC).strftime("%Y-%m-%dT%H%M%S") + f".{at_us % 10**6:06}Z"


def test_an_erasure_beside_a_running_server(tmp_path: FilePath) -> None:
    world = make(tmp_path / "data")
    served = start(world.installation.folder, world, **{"http.workers": 1})
    try:
        mia = served.dav("mia")
        assert mia.put(DOCUMENT, b"ett hemligt avtal").status == 201
        item = world.drive("mia").stat(parse(DOCUMENT))
        then = f"/.history/{moment(item.modified)}{DOCUMENT}"
        for content in (b"ett annat", b"ett tredje"):
            assert mia.put(DOCUMENT, content).status == 204
        assert mia.get(then).body == b"ett hemligt avtal"
        record = record_of(world, item.id, 1)
        done = erased(world, item.id, 1)
        assert mia.get(then).status == 410
        assert mia.get(DOCUMENT).body == b"ett tredje"
        # The server writes to the pack, and is asked to let go of it.
        swept = world.installation.erasures.sweep(now=True, wait_seconds=SWEPT_SECONDS_MAX)
        assert swept[world.spaces[SPACE].id].is_whole
        assert record not in packed(world)
        assert world.installation.erasures.get(done.id).swept_at is not None
        assert mia.get(then).status == 410
        assert mia.get(DOCUMENT).body == b"ett tredje"
        assert mia.put(DOCUMENT, b"ett fjerde").status == 204
        assert mia.get(DOCUMENT).body == b"ett fjerde"
        assert findings(world) == []
        _over_sftp(world, then)
    finally:
        assert served.stop() == 0
        world.installation.close()


def _over_sftp(world: World, then: str) -> None:
    client = Client(world.drive("mia"))
    with pytest.raises(Refused) as refused:
        client.read(client.open(then), 0, 100)
    assert refused.value.code == Code.NO_SUCH_FILE
    handle = client.open(DOCUMENT)
    assert client.read(handle, 0, 100) == b"ett fjerde"
    client.close(handle)
    with pytest.raises(VersionErased):
        world.drive("mia").restore(parse(DOCUMENT), 1)
