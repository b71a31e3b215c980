"""What may be under way at once in one process, whoever's it is and however many connections they have.

Each command has a thread of its own, which waits for its client for as long as an hour. Each document that is open for
writing takes some megabytes, and a descriptor, for as long as its client likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final

TOO_MANY: Final = "Mellanrum: there are too many commands at once. Try again."
TOO_LONG: Final = "Mellanrum: this command is too long."
#: A line is split in the loop, and holds up everybody the more the longer it is.
LINE_CHARACTERS_MAX: Final = 8192
#: In one process, of one person there, and on one connection of theirs. rclone has one on each of its connections.
COMMANDS_MAX: Final = 64
COMMANDS_OF_PERSON_MAX: Final = 24
COMMANDS_OF_CONNECTION_MAX: Final = 4

#: Documents open for writing, in one process and of one person there. One channel has at most `Limits.drafts_max`.
DRAFTS_MAX: Final = 512
DRAFTS_OF_PERSON_MAX: Final = 128


class Crowd:
    """The commands of one process. Used from its loop alone."""

    def __init__(self) -> None:
        self._under_way: Counter[Hashable] = Counter()

    def enter(self, person: bytes, connection: int) -> Callable[[], None] | None:
        """Count one more; return what to call once it is over, None if there are too many."""
        keys: dict[Hashable, int] = {
            "all": COMMANDS_MAX,
            person: COMMANDS_OF_PERSON_MAX,
            connection: COMMANDS_OF_CONNECTION_MAX,
        }
        if any(self._under_way[key] >= most for key, most in keys.items()):
            return None
        self._under_way.update(keys.keys())
        return partial(self._leave, keys)

    def _leave(self, keys: dict[Hashable, int]) -> None:
        self._under_way.subtract(keys.keys())
        self._under_way = +self._under_way


class Drafts:
    """The documents that are open for writing in one process. Used from its loop alone."""

    def __init__(self) -> None:
        self._all = 0
        self._of_person: Counter[bytes] = Counter()

    def take(self, person: bytes) -> bool:
        """Count one more; return whether it may be."""
        if self._all >= DRAFTS_MAX or self._of_person[person] >= DRAFTS_OF_PERSON_MAX:
            return False
        self._all += 1
        self._of_person[person] += 1
        return True

    def give_back(self, person: bytes, count: int) -> None:
        """Count some no longer."""
        self._all -= count
        self._of_person[person] -= count
        if not self._of_person[person]:
            del self._of_person[person]
