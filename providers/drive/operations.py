"""What every operation of the drive declares of itself: the action it needs, and whether it changes, reads or neither.

A test walks the drive and fails for an operation that declares nothing, or records otherwise than it declares.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from auth.roles import Action

F = TypeVar("F", bound=Callable[..., Any])


class Effect(StrEnum):
    """What an operation leaves behind: a change and its event, a read's event, or nothing."""

    CHANGE = "change"
    READ = "read"
    NONE = "none"


def operation(action: Action, effect: Effect) -> Callable[[F], F]:
    """Declare a method of the drive as an operation that needs `action` and has `effect`."""

    def declare(method: F) -> F:
        method.action = action  # type: ignore[attr-defined]
        method.effect = effect  # type: ignore[attr-defined]
        return method

    return declare
