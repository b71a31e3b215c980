"""What the tests of people and sign-in share."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from auth import credentials
from config.database import Database
from tests.auth.people import House


@pytest.fixture
def house(database: Database, monkeypatch: pytest.MonkeyPatch) -> House:
    """A supplier, a customer, and Anna at the customer with one device. Here hashing a password costs next to nothing.

    What it costs outside is held by test_credentials.py.
    """
    monkeypatch.setattr(credentials, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    monkeypatch.setattr(credentials, "_DUMMY", credentials._hash_of_nothing())
    return House(database)
