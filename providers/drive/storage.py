"""The parts of an installation that a drive works with, assembled once per process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cached_property, lru_cache

from auth.authenticator import Authenticator
from auth.directory import Directory
from auth.keyring import Keyring
from config.database import Database
from config.settings.schema import LimitSettings
from config.stamps import Answers
from providers.audit.journal import ReadJournal
from providers.audit.log import AuditLog
from providers.brake import Brake
from providers.catalogue.nodes import Names, Tree
from providers.catalogue.pace import Paces
from providers.drive.known import Known
from providers.drive.listings import Listings
from providers.drive.sight import Audiences, Sights
from providers.locks import Locks
from providers.paths import Limits
from providers.reservations import Reservations
from providers.steady import Steady
from providers.vault.vault import Vault

#: How many entity tags a process remembers; about 8 MB.
ETAGS_MAX = 32_768


@dataclass
class Storage:
    """What drives share. Everything here may be used from any number of threads."""

    database: Database
    keyring: Keyring
    directory: Directory
    authenticator: Authenticator
    audit: AuditLog
    journal: ReadJournal
    vault: Vault
    locks: Locks
    reservations: Reservations
    steady: Steady
    names: Names
    tree: Tree
    sights: Sights
    audiences: Audiences
    zone: tzinfo
    #: For how long a name that was left stays with its document; 0: not at all.
    identity_window_us: int
    #: How long an interrupted upload is kept, counted from when it was last written to.
    kept_us: int
    brake: Brake
    limits: LimitSettings
    known: Known = field(default_factory=Known)
    paces: Paces = field(default_factory=Paces)

    @cached_property
    def path_limits(self) -> Limits:
        """What names and depth of what is new may be."""
        return Limits(self.limits.name_bytes_max, self.limits.depth_levels_max)

    @cached_property
    def standing(self) -> Answers[bytes, tuple[int, int] | None]:
        """The epoch of rights and the number of its newest change, by space; None of one that is none."""
        return Answers(self.database.stamp)

    @cached_property
    def listings(self) -> Listings:
        """Folders lately listed."""
        return Listings()

    @cached_property
    def _etags(self) -> Callable[[bytes], str]:
        key = self.keyring.installation().digests

        @lru_cache(maxsize=ETAGS_MAX)
        def made(version_id: bytes) -> str:
            return f'"{hashlib.blake2b(version_id, key=key, digest_size=16).hexdigest()}"'

        return made

    def etag(self, version_id: bytes) -> str:
        """Return the quoted entity tag of a version: a keyed digest of its id."""
        return self._etags(version_id)
