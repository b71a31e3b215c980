from __future__ import annotations

import pytest

from config.database import Database
from tests.audit.helpers import World


@pytest.fixture
def world(database: Database) -> World:
    """An empty audit log on either database."""
    return World.made(database)
