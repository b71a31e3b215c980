"""The drive: what one principal may see and do. The only object through which any protocol touches a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from auth.rights import Grant, Principal
from auth.roles import Action, GranteeKind, Role
from providers.drive import (
    breaking,
    comparing,
    granting,
    kept,
    locking,
    noise,
    noise_edits,
    properties,
    putting_back,
    restoring,
    returning,
    splitting,
    trash,
    trees,
    unchanged,
)
from providers.drive.above import contained
from providers.drive.checksums import checksums_at, checksums_below
from providers.drive.edits import Edit, edit
from providers.drive.following import followed
from providers.drive.guards import require_conditions
from providers.drive.history import HISTORY_PAGE, page_of, versions_of
from providers.drive.noise import NoiseUpload
from providers.drive.noise_edits import NoiseEdit
from providers.drive.operations import Effect, operation
from providers.drive.places import Container
from providers.drive.quotas import quota_above, quota_of
from providers.drive.reading import Reader, open_content, require_still_allowed
from providers.drive.session import Session
from providers.drive.storage import Storage
from providers.drive.uploads import Step, Upload, upload
from providers.model import (
    NO_CONDITIONS,
    Checksums,
    Conditions,
    Deleted,
    Difference,
    Expected,
    Item,
    Lock,
    PutBack,
    Quota,
    Version,
)
from providers.noise import NOISE_BYTES_MAX, is_noise_name
from providers.paths import Path


class Drive:
    """Every operation resolves the path, decides, acts and records. Raises the errors of `providers.errors`.

    Paths start at the principal's own root, which holds the spaces it was let into. Times are microseconds UTC.
    """

    def __init__(self, storage: Storage, principal: Principal) -> None:
        self._session = Session(storage, principal)
        self._storage = storage

    @property
    def principal(self) -> Principal:
        """Who is asking."""
        return self._session.principal

    def still_valid(self, reader: Reader | None = None) -> None:
        """Raise Revoked if the principal's credential no longer stands; NotFound or Forbidden if what a `reader`
        reads may not be read any more. To be asked each second of a stream.
        """
        with self._storage.database.read() as connection:
            self._session.principal = self._storage.authenticator.refresh(self.principal, connection)
        if reader is not None:
            require_still_allowed(self._session, reader)

    # --- looking

    @operation(Action.LIST, Effect.NONE)
    def stat(
        self, path: Path, *, at_hand: bool = False, conditions: Conditions = NO_CONDITIONS, node: bytes = b""
    ) -> Item:
        """Return what stands at `path`, if the conditions hold.

        `at_hand`: only if that waits for nobody; else it raises NotAtHand, and asks for no conditions. With a `node`,
        that was found there before: the item as which it is seen by now, wherever it stands.
        """
        if at_hand:
            return unchanged.item(self._session, path)
        with self._session.look() as look:
            if node:
                return look.item(followed(look, path, node))
            item = look.item_at(path)
            require_conditions(look, path, conditions, may_lapse=True)
            return item

    @operation(Action.LIST, Effect.NONE)
    def listing(self, path: Path) -> tuple[Item, Sequence[Item]]:
        """Return what stands at `path` and, if it is a folder, what is seen in it, ordered by folded name.

        Where that is a tuple, the very same one comes back for as long as nothing in it has changed.
        """
        with self._session.look() as look:
            found = look.find(path)
            if isinstance(found, Container):
                return look.item(found), contained(look, found)
            return look.item(found), noise.beside(look, found, look.items_in(found)) if found.node.is_folder else []

    @operation(Action.LIST, Effect.NONE)
    def properties(self, path: Path) -> dict[str, str]:
        """Return the dead properties at `path`: Clark name to XML text."""
        with self._session.look() as look:
            return properties.properties(look, path)

    @operation(Action.LIST, Effect.NONE)
    def properties_below(self, path: Path) -> dict[str, dict[str, str] | None]:
        """Return the dead properties of a folder's children that have any, by the names shown.

        None for those that would be more than 16 MiB together with the others: whoever wants them asks one by one.
        """
        with self._session.look() as look:
            return properties.properties_below(look, path)

    @operation(Action.LIST, Effect.NONE)
    def quota(self, path: Path) -> Quota | None:
        """Return the use of the space, to those who see the whole of it; None to others.

        Above spaces, it is what those seen whole come to together: Finder asks the root it mounted.
        """
        with self._session.look() as look:
            found = look.find(path)
            if isinstance(found, Container):
                return quota_above(look, found)
            return None if found.is_past else quota_of(look, found)

    @operation(Action.LIST, Effect.NONE)
    def locks(self, path: Path) -> list[Lock]:
        """Return the locks that hold what stands at `path`."""
        with self._session.look() as look:
            look.find(path)
            return locking.locks(look, path)

    @operation(Action.LIST, Effect.NONE)
    def locks_below(self, path: Path) -> dict[str, list[Lock]]:
        """Return the locks taken on a folder's children themselves, by the names shown."""
        with self._session.look() as look:
            return locking.locks_on_children(look, path)

    @operation(Action.READ, Effect.NONE)
    def checksums(self, path: Path) -> Checksums | None:
        """Return MD5 and SHA-1 of a document; None of folders, of the past, and to those who may not read it.

        Where they are not known, the document is read once.
        """
        return checksums_at(self._session, path)

    @operation(Action.READ, Effect.NONE)
    def checksums_below(self, path: Path) -> dict[str, Checksums]:
        """Return MD5 and SHA-1 of a folder's documents, by the names shown; at most 64 MiB are read to make them."""
        return checksums_below(self._session, path)

    # --- locks

    @operation(Action.LOCK, Effect.NONE)
    def lock(
        self,
        path: Path,
        *,
        is_deep: bool,
        is_shared: bool,
        owner: str,
        seconds: int,
        conditions: Conditions = NO_CONDITIONS,
    ) -> tuple[Lock, bool]:
        """Take a lock for up to an hour; return it, and whether an empty document was made for it.

        Making one is an `add`, with its event.
        """
        return locking.lock(
            self._session, path, is_deep=is_deep, is_shared=is_shared, owner=owner, seconds=seconds,
            conditions=conditions,
        )  # fmt: skip

    @operation(Action.LOCK, Effect.NONE)
    def refresh_lock(self, path: Path, tokens: Iterable[str], seconds: int) -> Lock:
        """Let one's own lock stand for `seconds` from now. Raises LockNotFound."""
        return locking.refresh_lock(self._session, path, tokens, seconds)

    @operation(Action.LOCK, Effect.NONE)
    def unlock(self, path: Path, token: str) -> None:
        """Let a lock go. Raises LockNotFound for a token that is unknown here, or another's, alike."""
        locking.unlock(self._session, path, token)

    @operation(Action.LIST, Effect.NONE)
    def locks_inside(self, path: Path) -> list[Lock]:
        """Return the locks on what stands at `path` and on all that is seen below it, however deep."""
        with self._session.look() as look:
            return breaking.locks_inside(look, path)

    @operation(Action.BREAK_LOCK, Effect.CHANGE)
    def break_locks(self, path: Path, *, below: bool = False) -> list[Lock]:
        """Free the locks on what stands at `path`, with `below` on all in it too; return them. Raises LockNotFound."""
        return breaking.break_locks(self._session, path, below=below)

    # --- reading

    @operation(Action.READ, Effect.READ)
    def read(self, path: Path, *, at_hand: int | None = None) -> Reader:
        """Open the content of a document, or of what it was at a moment of `.history`. The event is durable first.

        `at_hand`: only if that waits for nobody, and it is of at most so many bytes; else it raises NotAtHand.
        """
        if at_hand is not None:
            return unchanged.content(self._session, path, at_hand)
        found = noise.read(self._session, path) if is_noise_name(path.name) else None
        return unchanged.opened(self._session, path) if found is None else found

    @operation(Action.READ, Effect.READ)
    def read_version(self, path: Path, number: int) -> Reader:
        """Open an earlier version of a document, by its number."""
        return open_content(self._session, path, number)

    @operation(Action.HISTORY, Effect.NONE)
    def versions(self, path: Path) -> list[Version]:
        """Return all versions of a document, oldest first."""
        with self._session.look() as look:
            return versions_of(look, path)

    @operation(Action.HISTORY, Effect.NONE)
    def history(
        self, path: Path, *, limit: int = HISTORY_PAGE, before: int | None = None, sums: bool = False
    ) -> tuple[list[Version], int | None]:
        """Return at most `limit` versions, newest first, of those with lower numbers than `before`; and the number to
        go on before, None at the end. Without `sums`, `sha256` is left empty. More versions make it no dearer.
        """
        with self._session.look() as look:
            return page_of(look, path, limit, before, sums=sums)

    # --- going back

    @operation(Action.RESTORE, Effect.CHANGE)
    def restore(
        self, path: Path, number: int, comment: str | None = None, *, conditions: Conditions = NO_CONDITIONS
    ) -> Item:
        """Let an earlier version be the document's newest again, as a new one that says so, or `comment`.

        Where it holds that very content, nothing changes. Raises NotFound for a number its history does not show.
        """
        return restoring.restore(self._session, path, number, comment, conditions)

    @operation(Action.LIST, Effect.NONE)
    def trash(
        self,
        path: Path,
        *,
        limit: int = 100,
        after: bytes | None = None,
        named: str | None = None,
        everything: bool = False,
    ) -> tuple[list[Deleted], bytes | None]:
        """Return at most `limit` of what was deleted in a folder, or a space, and stands nowhere, newest first, from
        behind the one with the id `after`; and from where to go on, None at the end.

        `named`: only what stood under that name in the folder itself. Temporary leftovers of programs that save are
        left out, unless `everything` is asked for.
        """
        return trash.trash(self._session, path, limit, after, named=named, everything=everything)

    @operation(Action.RESTORE, Effect.CHANGE)
    def undelete(self, path: Path, node: bytes, to: Path | None = None) -> Item:
        """Let what was deleted in a folder, or a space, stand again, as itself: a folder with all in it.

        It returns to where it stood, or to `to`. Raises NotFound for an id that is not in this trash, NameTaken,
        FolderGone, TargetExists.
        """
        return trash.undelete(self._session, path, node, to)

    @operation(Action.RESTORE, Effect.CHANGE)
    def split(self, path: Path, number: int, to: str | None = None) -> Item:
        """Undo a joining by name: what stands at `path` keeps the name as a document of its own, with the versions from
        `number` on; the document of before goes to the trash, its version before that on top again, or stands under the
        name `to` beside it. Raises NotJoined for a version that was not joined.
        """
        return splitting.split(self._session, path, number, to)

    @operation(Action.LIST, Effect.NONE)
    def compare(self, path: Path, before_us: int, after_us: int | None = None) -> Iterator[Difference]:
        """Yield what differs in a folder, or a whole space, between two moments; without `after_us`, until now.

        Moments are microseconds. Raises NotFound for one to come, and one at which the folder did not stand.
        """
        return comparing.compare(self._session, path, before_us, after_us)

    @operation(Action.PUT_BACK, Effect.CHANGE)
    def put_back(self, path: Path, moment_us: int, *, dry_run: bool = False) -> PutBack:
        """Put a folder, or a whole space, back to a moment, as one change; return what that undid.

        What came since goes to the trash, or home if it stood elsewhere then; what went or moved away returns as
        itself; documents get the content of then as a new version; times and properties are shown as then. Rights are
        not put back. Where nothing differs, nothing changes. With `dry_run` it only tells. Raises LockStands while
        somebody else holds anything that it touches, NotFound for moments as `compare` does.
        """
        return putting_back.put_back(self._session, path, moment_us, dry_run=dry_run)

    @operation(Action.REPLACE, Effect.CHANGE)
    def comment(self, path: Path, number: int, text: str) -> None:
        """Say something of a version, in place of what was said; nothing, with an empty text. Raises NotFound."""
        restoring.comment(self._session, path, number, text)

    # --- changing

    @operation(Action.ADD, Effect.CHANGE)
    def put(
        self, path: Path, *, declared: int | None, conditions: Conditions = NO_CONDITIONS, modified: int | None = None
    ) -> Upload | NoiseUpload:
        """Begin an upload; refuse at once what may not be, before any byte is read.

        Replacing what stands needs `replace`. `declared` is the length in bytes, if known. What proves to be noise
        (`providers.noise`) is kept beside documents, without version or event.
        """

        def begin() -> Upload:
            return upload(self._session, path, declared, conditions, modified)

        if is_noise_name(path.name) and (declared or 0) <= NOISE_BYTES_MAX:
            begun = noise.put(self._session, path, declared, conditions, modified, begin)
            if begun is not None:
                return begun
        return begin()

    @operation(Action.ADD, Effect.CHANGE)
    def edit(
        self,
        path: Path,
        *,
        create: bool,
        truncate: bool,
        conditions: Conditions = NO_CONDITIONS,
        writes: bool = True,
    ) -> Edit | NoiseEdit:
        """Begin to write a document at any place, in any order; refuse at once what may not be. One version at its
        commit, or noise. Without `truncate`, an interrupted upload of one's own is resumed where nothing else stands:
        taken over, if it is still open elsewhere, but by who only looks (not `writes`).
        """
        if is_noise_name(path.name):
            begun = noise_edits.begin(self._session, path, create=create, truncate=truncate, conditions=conditions)
            if begun is not None:
                return begun
        return edit(self._session, path, create=create, truncate=truncate, conditions=conditions, writes=writes)

    @operation(Action.LIST, Effect.NONE)
    def drafts(self, path: Path) -> list[Item]:
        """Return one's own interrupted uploads in a folder, under names where nothing else is seen. Others see none."""
        with self._session.look() as look:
            return kept.kept_below(look, path)

    @operation(Action.ADD, Effect.NONE)
    def drop_draft(self, path: Path) -> None:
        """Forget one's own interrupted upload at `path`. Raises NotFound."""
        kept.drop_at(self._session, path)

    @operation(Action.MAKE_FOLDER, Effect.CHANGE)
    def make_folder(self, path: Path, conditions: Conditions = NO_CONDITIONS) -> Item:
        """Make a folder. Raises TargetExists if anything stands there, ParentMissing."""
        return trees.make_folder(self._session, path, conditions)

    @operation(Action.DELETE, Effect.CHANGE)
    def delete(self, path: Path, conditions: Conditions = NO_CONDITIONS, *, expected: Expected | None = None) -> None:
        """Move a document, or a folder with all in it, to the trash; or only what is `expected`.

        Raises IsAFolder, NotAFolder, FolderNotEmpty for what is not.
        """
        if is_noise_name(path.name) and noise.delete(self._session, path, conditions, expected):
            return
        trees.delete(self._session, path, conditions, expected)

    @operation(Action.ADD, Effect.CHANGE)
    def copy(
        self,
        source: Path,
        goal: Path,
        *,
        overwrite: bool,
        deep: bool = True,
        modified: int | None = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> tuple[Item, bool]:
        """Copy what one sees; return the item at `goal`, and whether the name is new. Not deep: the bare folder.

        `modified` is the time of modification that a document shall show there; without it, the time of the copy.
        """
        carried = self._noise_carried(source, goal, conditions, overwrite=overwrite, moves=False)
        if carried is not None:
            return carried
        returned = returning.come_back(self._session, source, goal, modified, conditions)
        if returned is not None:
            return returned
        return trees.copy(
            self._session, source, goal, overwrite=overwrite, deep=deep, modified=modified, conditions=conditions
        )

    @operation(Action.MOVE, Effect.CHANGE)
    def move(
        self,
        source: Path,
        goal: Path,
        *,
        overwrite: bool,
        plainly: bool = False,
        modified: int | None = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> tuple[Item, bool]:
        """Move, or rename within its folder; return the item at `goal`, and whether the name is new.

        `plainly`: only a document takes the place of a document, and a folder that of an empty folder. `modified` is
        the time of modification that a document shall show there; without it, the one it shows.
        """
        carried = self._noise_carried(source, goal, conditions, overwrite=overwrite, moves=True)
        if carried is not None:
            return carried
        return trees.move(
            self._session, source, goal, overwrite=overwrite, plainly=plainly, modified=modified, conditions=conditions
        )

    def _noise_carried(
        self, source: Path, goal: Path, conditions: Conditions, *, overwrite: bool, moves: bool
    ) -> tuple[Item, bool] | None:
        """Copy or move noise, as an upload of what it holds; None if it is none."""
        if not is_noise_name(source.name):
            return None

        def store(path: Path, content: bytes, modified: int, overwrite: bool, first: Step) -> tuple[Item, bool]:
            wanted = Conditions(if_none_match=None if overwrite else ("*",), tokens=conditions.tokens)
            begun = self.put(path, declared=len(content), conditions=wanted, modified=modified)
            try:
                begun.write(content)
                return begun.commit(first)
            finally:
                begun.discard()

        return noise.carry(self._session, source, goal, conditions, overwrite=overwrite, moves=moves, store=store)

    @operation(Action.REPLACE, Effect.CHANGE)
    def change_properties(
        self,
        path: Path,
        changes: Sequence[tuple[str, str | None]],
        *,
        modified: int | None = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Item:
        """Set dead properties, or with None remove them, all or none; and the time of modification shown."""
        touched = noise.touch(self._session, path, modified, conditions) if is_noise_name(path.name) else None
        if touched is not None:
            return touched
        return properties.change_properties(self._session, path, changes, modified=modified, conditions=conditions)

    # --- rights

    @operation(Action.GRANT, Effect.NONE)
    def grants(self, path: Path) -> list[Grant]:
        """Return the grants that stand on the node at `path` itself."""
        with self._session.look() as look:
            return granting.grants(look, path)

    @operation(Action.GRANT, Effect.CHANGE)
    def grant(
        self,
        path: Path,
        grantee: bytes,
        kind: GranteeKind,
        role: Role,
        *,
        history: bool,
        expires_at: int | None = None,
    ) -> Grant:
        """Give somebody a role on what stands at `path`."""
        return granting.grant(self._session, path, grantee, kind, role, history=history, expires_at=expires_at)

    @operation(Action.GRANT, Effect.CHANGE)
    def revoke(self, path: Path, grant_id: bytes) -> None:
        """Take back a grant that stands on the node at `path`."""
        granting.revoke(self._session, path, grant_id)

    @operation(Action.GRANT, Effect.CHANGE)
    def break_inheritance(self, path: Path) -> Grant:
        """Let what stands at `path` inherit no rights; `revoke` what is returned to undo it."""
        return granting.break_inheritance(self._session, path)
