"""Servers for all tests of this folder: with the window as delivered, with a short one, and without the rule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.saves.stage import Stage, staged


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with the window as it is delivered."""
    with staged(tmp_path_factory.mktemp("saves")) as found:
        yield found


@pytest.fixture(scope="session")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with a window of two seconds, for what comes too late."""
    with staged(tmp_path_factory.mktemp("brief"), 2) as found:
        yield found


@pytest.fixture(scope="session")
def off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server without the rule."""
    with staged(tmp_path_factory.mktemp("off"), 0) as found:
        yield found
