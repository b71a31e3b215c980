"""What the tests of people and sign-in share."""

from __future__ import annotations

import pytest

from config.database import Database
from tests.auth.people import House


@pytest.fixture
def house(database: Database) -> House:
    """A supplier, a customer, and Anna at the customer with one device."""
    return House(database)
