"""What stands in a space of the model, why something may not be done to it, and how identity follows the name."""

from __future__ import annotations

from collections.abc import Iterator

from tests.proofs.history_nodes import (
    GRACE_US,
    RIGHTS,
    STEPS,
    Document,
    Folder,
    Left,
    Lock,
    Node,
    Path,
    Person,
    Reasons,
    Slot,
    Snapshot,
    Version,
)


class Rules:
    """What stands in a space, who may do what to it, and the rule of names.

    `window_us` is for how long a name that was left stays with its document; 0: not at all.
    """

    def __init__(self, window_us: int) -> None:
        self.window_us = window_us
        self.root = Folder("", None, "operator", 0, "operator")
        self.locks: dict[tuple[Folder, str], Lock] = {}
        self.trash: list[Node] = []
        self.serial = 0
        self.documents: list[Document] = []

    # --- looking

    def find(self, path: Path) -> Node | None:
        """Return what stands at a path."""
        found: Node | None = self.root
        for name in path:
            found = found.children.get(name.casefold()) if isinstance(found, Folder) else None
        return found

    def snapshot(self) -> Snapshot:
        """Return all that stands."""
        return {path: node.content if isinstance(node, Document) else None for path, node in self.walk()}

    def walk(self, folder: Folder | None = None, path: Path = ()) -> Iterator[tuple[Path, Node]]:
        """Yield all that stands below a folder."""
        for node in (folder or self.root).children.values():
            here = (*path, node.name)
            yield here, node
            if isinstance(node, Folder):
                yield from self.walk(node, here)

    def stands(self, node: Node) -> bool:
        """Return whether a node is to be found under some name."""
        above: Node | None = node
        while above is not None and above is not self.root:
            parent = above.parent
            if parent is None or parent.children.get(above.name.casefold()) is not above:
                return False
            above = parent
        return above is self.root

    def may(self, who: Person, act: str, node: Node, at: int) -> bool:
        """Return whether somebody may do something to what stands there."""
        rights = RIGHTS[who.role]
        if act in rights:
            return True
        is_young = not (isinstance(node, Document) and node.versions) or at <= node.begun + GRACE_US  # type: ignore[attr-defined]
        return act in STEPS and "add" in rights and node.maker == who.login and is_young

    # --- why not

    def _source(self, who: Person, path: Path) -> tuple[Node | None, Reasons]:
        """Return what stands at a path, or why it is not found."""
        node = self.find(path) if who.sees else None
        if node is not None:
            return node, set()
        through = who.sees and any(isinstance(self.find(path[:end]), Document) for end in range(1, len(path)))
        return None, {"not a folder", "missing"} if through else {"missing"}

    def _goal(self, who: Person, path: Path) -> tuple[Slot | None, Reasons]:
        """Return the name about to be taken, or why there is none such."""
        if not who.sees:
            return None, {"no parent"}
        folder = self.find(path[:-1])
        if isinstance(folder, Folder):
            return Slot(folder, path[-1]), set()
        through = any(isinstance(self.find(path[:end]), Document) for end in range(1, len(path)))
        return None, {"not a folder", "no parent"} if through else {"no parent"}

    def _locked(self, who: Person, slot: Slot, tokens: set[str], *, comes_or_goes: bool) -> Reasons:
        keys = [(slot.folder, slot.key)]
        if comes_or_goes and slot.folder.parent is not None:
            keys.append((slot.folder.parent, slot.folder.name.casefold()))
        held = [self.locks[key] for key in keys if key in self.locks]
        return {"locked"} if any(lock.by != who.login or lock.token not in tokens for lock in held) else set()

    def _locked_below(self, who: Person, node: Node, tokens: set[str]) -> Reasons:
        inside = [self.locks[key] for key in self._inside(node)]
        return {"locked"} if any(lock.by != who.login or lock.token not in tokens for lock in inside) else set()

    def _inside(self, node: Node) -> list[tuple[Folder, str]]:
        folders = {node} | {each for _, each in self.walk(node)} if isinstance(node, Folder) else set()  # type: ignore[arg-type]
        return [key for key in self.locks if key[0] in folders]

    def _filling(self, who: Person, slot: Slot, tokens: set[str], at: int) -> Reasons:
        """Return why content may not be put under a name."""
        standing = slot.node
        if isinstance(standing, Folder):
            return {"folder"}
        reasons: Reasons = set()
        if not (self.may(who, "replace", standing, at) if standing else self.may(who, "add", slot.folder, at)):
            reasons.add("forbidden")
        return reasons | self._locked(who, slot, tokens, comes_or_goes=standing is None)

    # --- the rule of names

    def continuing(self, who: Person, slot: Slot, began: int) -> Document | None:
        """Return the document that continues under a name which something fresh is about to take."""
        placeholder = slot.node
        if not self.window_us or isinstance(placeholder, Folder):
            return None
        if isinstance(placeholder, Document):
            if placeholder.versions or placeholder.placed_by != who.login:
                return None
            lock = self.locks.get((slot.folder, slot.key))
            held = lock is not None and lock.by == who.login
            if not held and placeholder.born < began - self.window_us:
                return None
            began = placeholder.born
        left = slot.folder.left.get(slot.key)
        if left is None or left.by != who.login or left.at < began - self.window_us:
            return None
        document = left.node
        if not isinstance(document, Document) or document is placeholder:
            return None
        if document.versions and document.versions[-1].serial > left.serial:
            return None  # it went on elsewhere
        if document.parent is not None:
            if document.placed_by != who.login:
                return None  # another put it where it stands
            lock = self.locks.get((document.parent, document.name.casefold()))
            if lock is not None and lock.by != who.login:
                return None
        elif document.is_backup and len(document.versions) == 1:
            return None  # nothing but the past of another was in it
        return document if self.may(who, "replace", document, began) else None

    def is_fresh(self, node: Node, began: int) -> bool:
        """Return whether all that a document has of its own is younger than the window."""
        return bool(self.window_us) and isinstance(node, Document) and node.begun >= began - self.window_us

    def _carry_on(self, who: Person, slot: Slot, document: Document, at: int) -> None:
        """Let a document stand under the name that it had left; its bytes stay where it was, as one of their own."""
        placeholder = slot.node
        steps = dict(placeholder.properties) if isinstance(placeholder, Document) else {}
        if placeholder is not None:
            self._leave(who, placeholder, at)
        if document.parent is not None:
            elsewhere = Slot(document.parent, document.name)
            stays = self.stands(elsewhere.folder) or elsewhere.folder.parent is not None
            self._leave(who, document, at)
            if stays:
                self._stay(who, elsewhere, document, at)
        self._place(who, slot, document, at)
        document.properties = steps | document.properties

    def _stay(self, who: Person, slot: Slot, document: Document, at: int) -> None:
        backup = self._new_document(who, slot, at)
        if document.versions:
            backup.is_backup = True
            self._add_version(who, backup, document.content, at)
            backup.shared = (document.shared + document.versions)[:-1]
        backup.properties = dict(document.properties)

    # --- acts

    def _place(self, who: Person, slot: Slot, node: Node, at: int) -> None:
        if node.left_in != self.serial:
            node.has_lasted = node.left_in >= 0 and not self.was_brief(node)
            node.came_at, node.came_by = at, who.login
        node.name, node.parent, node.placed_by = slot.name, slot.folder, who.login
        slot.folder.children[slot.key] = node
        if isinstance(node, Document):
            node.was_carried = False
        if node in self.trash:
            self.trash.remove(node)

    def _leave(self, who: Person, node: Node, at: int) -> None:
        folder = node.parent
        assert folder is not None
        key = node.name.casefold()
        del folder.children[key]
        folder.left[key] = Left(node, who.login, at, self.serial)
        node.parent, node.last, node.gone_by, node.gone_at = None, Slot(folder, node.name), who.login, at
        node.left_in = self.serial

    def was_brief(self, node: Node) -> bool:
        """Return whether one person alone made what is gone, and took it away, and it never stood for the window."""
        is_alone = node.maker == node.came_by == node.gone_by
        return is_alone and not node.has_lasted and node.gone_at - node.came_at < self.window_us

    def _new_document(self, who: Person, slot: Slot, at: int) -> Document:
        made = Document(slot.name, None, who.login, at, who.login)
        self.documents.append(made)
        self._place(who, slot, made, at)
        return made

    def _new_folder(self, who: Person, slot: Slot, at: int) -> Folder:
        made = Folder(slot.name, None, who.login, at, who.login)
        self._place(who, slot, made, at)
        return made

    def _add_version(self, who: Person, document: Document, content: bytes, at: int) -> None:
        document.versions.append(Version(content, who.login, at, self.serial))
        document.modified, document.stamp = None, self.serial

    def _fill(self, who: Person, slot: Slot, content: bytes, at: int) -> Document:
        """Put content under a name, whatever stood there."""
        self.serial += 1
        standing = slot.node
        continuing = self.continuing(who, slot, at) if content else None
        if continuing is not None:
            self._carry_on(who, slot, continuing, at)
            if continuing.content != content or not continuing.versions:
                self._add_version(who, continuing, content, at)
            return continuing
        if isinstance(standing, Document):
            if standing.content == content:
                return standing
            last = standing.versions[-1] if standing.versions else None
            if content and last is not None and not last.content and self._is_step(who, last, at):
                last.is_step = True
            self._add_version(who, standing, content, at)
            return standing
        made = self._new_document(who, slot, at)
        if content:
            self._add_version(who, made, content, at)
        return made

    def _is_step(self, who: Person, version: Version, at: int) -> bool:
        return bool(self.window_us) and version.author == who.login and version.at >= at - self.window_us
