"""What several tests of the drive share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from config.clock import SECOND_US
from tests.worlds import World


@pytest.fixture
def age(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that lets the clock of a test's world go on by seconds."""
    database, shift = world.installation.database, [0.0]
    told = database.now_us
    monkeypatch.setattr(database, "now_us", lambda connection: told(connection) + int(sum(shift) * SECOND_US))
    return shift.append
