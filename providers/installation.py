"""One installation, assembled: its database, keys, people, vault, locks and logs, and the drives that stand on them."""

from __future__ import annotations

import os
import pwd
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from sqlalchemy import insert, select

from auth import tables as auth_tables
from auth.authenticator import Authenticator
from auth.directory import Directory
from auth.keyring import Keyring, RootKey
from auth.keystore import FileKeystore
from auth.rights import Principal
from config import schema
from config.clock import SECOND_US, now_us
from config.complaints import Complaints
from config.database import Database
from config.errors import (
    AlreadyInitialised,
    DatabaseBusy,
    DatabaseTaken,
    FolderUnusable,
    NotInitialised,
    PartMissing,
    StorageFailed,
)
from config.ids import new_id
from config.logging import Word, get_log
from config.settings.schema import Settings
from providers.alerts import Alerts
from providers.audit.checkpoints import Checkpoints
from providers.audit.epochs import require_none_due
from providers.audit.errors import EpochDue
from providers.audit.journal import ReadJournal
from providers.audit.lease import Lease
from providers.audit.log import AuditLog, hold
from providers.brake import Brake
from providers.catalogue.nodes import Names, Tree
from providers.drive import Drive, braking
from providers.drive.kept import drop_abandoned, drop_stale
from providers.drive.locking import release_lost
from providers.drive.rivals import customers_let_in_by, require_walls_around
from providers.drive.sight import Audiences, Sights
from providers.drive.storage import Storage
from providers.holding.erasures import Erasures
from providers.locks import Locks
from providers.mailer import Mailer
from providers.model import Finding
from providers.reservations import Reservations
from providers.spaces import Spaces
from providers.steady import Steady
from providers.vault.local import LocalStore
from providers.vault.vault import Vault
from providers.verify import Progress, verify

log = get_log("installation")

#: How often what ran out is forgotten.
SWEEP_SECONDS = 60.0
#: How often spaces are thinned, and packs written anew without what was erased.
TIDY_SECONDS = 3600.0
#: How long a sweep that is under way is waited for at the end; it may be interrupted anywhere.
CLOSE_SECONDS_MAX = 10.0


class Installation:
    """Everything that one data folder, its database and its root key amount to. Safe to use from many threads."""

    def __init__(self, folder: Path, settings: Settings, root: RootKey) -> None:
        self.folder = folder
        self.settings = settings
        self.database = Database(folder, settings.installation.database_url or None)
        self.database.hold = hold
        self.keyring = Keyring(root, FileKeystore(folder / "keystore"))
        self.audit = AuditLog(self.database, self.keyring)
        self.directory = Directory(self.database, self.keyring, self.audit)
        self.authenticator = Authenticator(self.database, self.keyring, self.directory, self.audit, settings.throttle)
        self.journal = ReadJournal(folder / "journal", self.audit)
        self.vault = Vault(LocalStore(folder / "vault"), self.keyring)
        self.locks = Locks(self.database, self.keyring)
        names = Names(self.keyring)
        tree = Tree(names)
        self.storage = Storage(
            database=self.database,
            keyring=self.keyring,
            directory=self.directory,
            authenticator=self.authenticator,
            audit=self.audit,
            journal=self.journal,
            vault=self.vault,
            locks=self.locks,
            reservations=Reservations(self.database),
            steady=Steady(self.database),
            names=names,
            tree=tree,
            sights=Sights(self.database, self.keyring, self.directory, tree),
            audiences=Audiences(self.directory),
            zone=settings.zone,
            identity_window_us=settings.history.identity_window_seconds * SECOND_US,
            kept_us=settings.history.draft_seconds_max * SECOND_US,
            brake=Brake(self.database, settings.brake),
            limits=settings.limits,
        )
        self.directory.membership_guard = partial(require_walls_around, self.storage)
        self.directory.let_in_by = partial(customers_let_in_by, self.storage)
        self.spaces = Spaces(self.storage)
        self.erasures = Erasures(self.storage, settings.history)
        self.alerts = Alerts(self.database)
        self.mailer = Mailer(self.database, self.alerts, self.directory, settings.mail)
        self.checkpoints = Checkpoints(self.database, self.keyring)
        #: Why the logs have to tell first that a backup was put back; whether a process that was killed did that.
        self.due: EpochDue | None = None
        self.was_opened = False
        self._ticking = threading.Lock()
        self._complaints = Complaints(log, "chore_failed")
        self._next_sweep = 0.0
        self._next_tidy = time.monotonic() + TIDY_SECONDS
        self._tidying: threading.Thread | None = None
        self._seen_epoch = 0

    # --- beginning

    @staticmethod
    def require_none(folder: Path) -> None:
        """Raise AlreadyInitialised if there is an installation in `folder`."""
        if (folder / "keystore").exists() or (folder / "catalogue.db").exists():
            raise AlreadyInitialised(folder=folder)

    @staticmethod
    def require_empty_database(settings: Settings) -> None:
        """Raise DatabaseTaken if the settings name a PostgreSQL that holds tables of ours, or what keeps us from it."""
        if not settings.installation.database_url:
            return
        database = Database(settings.folder, settings.installation.database_url)
        try:
            with database.read() as connection:
                if schema.DURABLE.found(connection) is not None:
                    raise DatabaseTaken
        finally:
            database.dispose()

    @staticmethod
    def make_folder(folder: Path) -> None:
        """Let there be a data folder that only its owner may enter. Raises FolderUnusable."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chmod(folder, 0o700)
        except OSError as error:
            raise FolderUnusable(folder=folder, why=(error.strerror or "it cannot be made").lower()) from None

    @classmethod
    def create(cls, folder: Path, settings: Settings, *, supplier_name: str) -> Installation:
        """Make an installation in `folder`: keys first, then tables, then the supplier's organisation."""
        cls.require_none(folder)
        cls.make_folder(folder)
        if settings.key.source == "file" and not settings.key_file.exists():
            RootKey.create_file(settings.key_file, data_folder=folder)
        made = cls(folder, settings, root_key(settings))
        schema.upgrade(made.database)
        identity = new_id()
        made.keyring.begin()
        with made.database.write() as connection:
            row = {"one": 1, "id": identity, "supplier": None, "created_at": now_us()}
            connection.execute(insert(auth_tables.installation), row)
            connection.execute(insert(auth_tables.epoch), {"one": 1, "value": 1})
        made.directory.add_organisation(supplier_name, supplier=True)
        made.storage.steady.begin()
        return made

    @classmethod
    def open(
        cls, folder: Path, settings: Settings, root: Callable[[], RootKey] | None = None, *, though_due: bool = False
    ) -> Installation:
        """Open what `create` made, with the root key that the settings lead to, or with what `root` returns.

        Raises NotInitialised, PartMissing, the schema's errors, and the keyring's for a wrong key; EpochDue, but to who
        opens it `though_due`, to look at it, or to open the epoch that `due` says is wanted.
        """
        if not (folder / "keystore").is_dir():
            if (folder / "catalogue.db").exists() or (folder / "vault").exists():
                raise PartMissing(folder=folder, part="keystore")
            raise NotInitialised(folder=folder)
        found = cls(folder, settings, root_key(settings) if root is None else root())
        try:
            schema.check(found.database)
            with found.database.read() as connection:
                if connection.execute(select(auth_tables.installation.c.id)).first() is None:
                    raise NotInitialised(folder=folder)
            found.keyring.installation()
            found._look_whether_due(or_raise=not though_due)
        except NotInitialised:
            found.close()
            raise PartMissing(folder=folder, part="database") from None
        except BaseException:
            found.close()
            raise
        return found

    def _look_whether_due(self, *, or_raise: bool) -> None:
        try:
            self.was_opened = require_none_due(self.folder, self.database)
        except EpochDue as due:
            if or_raise:
                raise
            self.due = due

    def close(self) -> None:
        """Write out what waits, and let go of files and connections. What the disk does not take stays behind."""
        if self._tidying is not None:
            self._tidying.join(CLOSE_SECONDS_MAX)
        self.mailer.close()
        flush = partial(self.audit.flush_unseen, everything=True)
        note = self.erasures.letting_go.note
        for part in (flush, self.journal.close, self.vault.close, note, self.database.dispose):
            try:
                part()
            except (DatabaseBusy, StorageFailed) as error:
                log.error("not_written_out", error)

    # --- who works here

    def drive(self, principal: Principal) -> Drive:
        """Return what the principal may see and do."""
        return Drive(self.storage, principal)

    def operator(self, spaces: Iterable[bytes] = ()) -> Principal:
        """Return whoever sits at the machine, as the operator of the command line, at work in `spaces`."""
        try:
            user = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            user = str(os.geteuid())
        return self.authenticator.operator(user, spaces)

    # --- what has to be done now and then

    def tick(self) -> None:
        """Number the reads in the logs, sign checkpoints, forget what ran out. Call about twice a second, anywhere.

        What fails is logged, and keeps nothing else from being done. Does nothing while an epoch of the logs is due.
        """
        if self.due is not None or not self._ticking.acquire(blocking=False):
            return
        try:
            self._attempt(
                database=self.database.tick,
                vault=self.vault.tick,
                let_go=self.erasures.letting_go.note,
                unseen=self.audit.flush_unseen,
                journals=self.journal.drain,
                checkpoints=self.checkpoints.advance,
                brake=partial(braking.settle_waiting, self.storage),
                mail=self.mailer.step,
                keys=self.keyring.forget_destroyed,
                locks=self._free_locks,
                sweep=self._sweep,
                tidy=self._tidy,
            )
        finally:
            self._ticking.release()

    def _attempt(self, **steps: Callable[[], object]) -> None:
        """Take steps, each by itself."""
        for name, step in steps.items():
            self._complaints.attempt(Word(name), step)

    def _free_locks(self) -> None:
        """Once rights have changed, free the locks of those who lost theirs."""
        with self.database.read() as connection:
            epoch = self.authenticator.epoch(connection)
        if epoch != self._seen_epoch:
            release_lost(self.storage)
            self._seen_epoch = epoch

    def _sweep(self) -> None:
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        self._attempt(
            clock=self.storage.steady.look,
            throttles=self.authenticator.throttle.sweep,
            drafts=partial(drop_stale, self.storage),
            lapsed_locks=self.locks.forget_lapsed,
            paces=lambda: self.storage.paces.look(self.database),
            brake_sweep=lambda: self.storage.brake.sweep(now_us()),
        )

    def _tidy(self) -> None:
        """Now and then, beside all else and in one process: thin spaces, and sweep what was erased out of the packs."""
        if time.monotonic() < self._next_tidy:
            return
        self._next_tidy = time.monotonic() + TIDY_SECONDS
        if self._tidying is None or not self._tidying.is_alive():
            beside = threading.Thread(target=self.tidy, name="tidy", daemon=True)
            beside.start()  # one that the system refuses is not waited for at the end
            self._tidying = beside

    def tidy(self) -> None:
        """Remove the drafts that processes left which were killed, thin the spaces for which that is settled, and let
        what was let go leave the packs, and what was erased once its grace is over.
        """
        lease = Lease(self.database, b"tidy", seconds=int(TIDY_SECONDS))
        if not lease.held():
            return
        try:
            self._attempt(
                # First: a sweep ends where it cannot tell what a draft relies on, and the power may have torn one.
                abandoned_drafts=partial(drop_abandoned, self.storage),
                thinning=lambda: self.erasures.thin_all(self.operator(), self.settings.zone),
                # Before packs are written anew: one that was left half a gap looks damaged.
                gaps=self.erasures.letting_go.sweep,
                packs=self.erasures.sweep,
            )
        finally:
            lease.release()

    def verify(self, progress: Progress = lambda stage, done: None) -> Iterator[Finding]:
        """Yield all that does not hold of what is stored."""
        self.tick()
        return verify(self.storage, progress)


def root_key(settings: Settings) -> RootKey:
    """Return the root key from where the settings say it comes from."""
    key = settings.key
    if key.source == "environment":
        return RootKey.from_environment(key.variable)
    if key.source == "systemd":
        return RootKey.from_credential(key.credential)
    if key.source == "command":
        return RootKey.from_command(key.command)
    return RootKey.from_file(settings.key_file, data_folder=settings.folder)
