"""Every store keeps every promise. A new store is one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from providers.vault.local import LocalStore
from providers.vault.memory import MemoryStore
from providers.vault.store import Store
from tests.vault.conformance.suite import PROMISES

STORES: dict[str, Callable[[Path], Store]] = {
    "local": lambda folder: LocalStore(folder / "vault"),
    "memory": lambda folder: MemoryStore(),
}


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_stores(make: Callable[[Path], Store], promise: Callable[[Store], None], tmp_path: Path) -> None:
    promise(make(tmp_path))
