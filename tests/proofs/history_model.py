"""What becomes of a space, in plain dictionaries, by the words of DESIGN 4 alone: nothing of the product is used here.

Each act returns why it may be refused, an empty set if it must be done; then the model has done it too.
"""

from __future__ import annotations

from dataclasses import replace

from tests.proofs.history_nodes import RIGHTS, Document, Folder, Lock, Node, Path, Person, Reasons, Slot, Stood, Version
from tests.proofs.history_rules import Rules


class Space(Rules):
    """One space, and all that may be done to it."""

    def put(
        self, who: Person, path: Path, content: bytes, tokens: set[str], at: int, *, tells_time: bool = False
    ) -> Reasons:
        """Store a document, whole. `tells_time`: who writes was told the time of the last byte, and that is the
        document's from then on, though the bytes be the same as before.
        """
        slot, reasons = self._goal(who, path)
        if slot is not None:
            reasons = self._filling(who, slot, tokens, at)
        if slot is not None and not reasons:
            document = self._fill(who, slot, content, at)
            if tells_time and content and document.modified is not None:
                document.modified, document.stamp = None, ("written", self.serial)
        return reasons

    def edit(self, who: Person, path: Path, content: bytes, tokens: set[str], at: int) -> Reasons:
        """Change what stands: the document as it will be is given whole."""
        slot, reasons = self._goal(who, path)
        if slot is None:
            return reasons | {"missing"}
        reasons = self._filling(who, slot, tokens, at)
        if slot.node is None:
            reasons.add("missing")
        if not reasons:
            self._fill(who, slot, content, at)
        return reasons

    def make_folder(self, who: Person, path: Path, tokens: set[str], at: int) -> Reasons:
        """Make a folder."""
        slot, reasons = self._goal(who, path)
        if slot is None:
            return reasons
        if slot.node is not None:
            return {"exists"}
        if not self.may(who, "make folder", slot.folder, at):
            reasons.add("forbidden")
        reasons |= self._locked(who, slot, tokens, comes_or_goes=True)
        if not reasons:
            self.serial += 1
            self._new_folder(who, slot, at)
        return reasons

    def delete(self, who: Person, path: Path, tokens: set[str], at: int, *, only: str = "") -> Reasons:
        """Let something go to the trash; `only` a `document`, or an `empty folder`."""
        node, reasons = self._source(who, path)
        if node is None:
            return reasons
        if node is self.root:
            return {"forbidden"}
        assert node.parent is not None
        if only == "document" and isinstance(node, Folder):
            reasons.add("folder")
        if only == "empty folder":
            reasons |= {"not a folder"} if isinstance(node, Document) else set()
            reasons |= {"not empty"} if isinstance(node, Folder) and node.children else set()
        reasons |= self._taking(who, node, tokens, "delete", at)
        if not reasons:
            self.serial += 1
            self._trash(who, node, at)
        return reasons

    def _taking(self, who: Person, node: Node, tokens: set[str], act: str, at: int) -> Reasons:
        """Return why something may not be taken from where it stands."""
        assert node.parent is not None
        reasons: Reasons = set() if self.may(who, act, node, at) else {"forbidden"}
        reasons |= self._locked(who, Slot(node.parent, node.name), tokens, comes_or_goes=True)
        return reasons | self._locked_below(who, node, tokens)

    def _unlock_all(self, node: Node) -> None:
        assert node.parent is not None
        for key in [(node.parent, node.name.casefold()), *self._inside(node)]:
            self.locks.pop(key, None)

    def _trash(self, who: Person, node: Node, at: int) -> None:
        self._unlock_all(node)
        self._leave(who, node, at)
        self.trash.append(node)

    def _making_way(self, who: Person, node: Node, slot: Slot, tokens: set[str], replaces: bool, at: int) -> Reasons:
        """Return why something may not come to stand under a name."""
        standing, is_folder = slot.node, isinstance(node, Folder)
        if standing is None:
            may = self.may(who, "make folder" if is_folder else "add", slot.folder, at)
            return (set() if may else {"forbidden"}) | self._locked(who, slot, tokens, comes_or_goes=True)
        if not replaces:
            return {"exists"}
        if not is_folder and isinstance(standing, Document):
            may = self.may(who, "replace", standing, at)
            return (set() if may else {"forbidden"}) | self._locked(who, slot, tokens, comes_or_goes=False)
        return self._taking(who, standing, tokens, "delete", at)

    def _is_within(self, slot: Slot, node: Node) -> bool:
        """Return whether a name lies inside a node, or holds it, or is its own."""
        above: Node | None = slot.folder
        while above is not None:
            if above is node:
                return True
            above = above.parent
        holder: Node | None = node
        while holder is not None:
            if holder is slot.node:
                return True
            holder = holder.parent
        return False

    def copy(self, who: Person, source: Path, goal: Path, tokens: set[str], at: int, *, replaces: bool) -> Reasons:
        """Copy a document, or a folder with all in it."""
        node, reasons = self._source(who, source)
        slot, others = self._goal(who, goal)
        if node is None or slot is None:
            return reasons | others
        if node is self.root:
            return {"same"}
        if self._is_within(slot, node):
            reasons.add("same")
        reasons |= self._making_way(who, node, slot, tokens, replaces, at)
        if not reasons:
            self.serial += 1
            self._land_copy(who, node, slot, at)
        return reasons

    def copy_past(self, who: Person, then: Stood, goal: Path, tokens: set[str], at: int) -> Reasons:
        """Copy a document as it was at a moment. To a free name it comes itself, if it stands nowhere."""
        if not who.looks_back:
            return {"missing"} | self._goal(who, goal)[1]
        slot, reasons = self._goal(who, goal)
        if slot is None:
            return reasons
        content, node = then.content or b"", then.node
        past = Document("", None, "", at, "", versions=[Version(content, "", at, 0)], properties=then.properties)
        reasons = self._making_way(who, past, slot, tokens, True, at)
        if reasons:
            return reasons
        self.serial += 1
        assert isinstance(node, Document)
        if slot.node is not None or node.parent is not None or "restore" not in RIGHTS[who.role]:
            self._land_copy(who, past, slot, at)
            return reasons
        self._place(who, slot, node, at)
        if node.content != content:
            self._add_version(who, node, content, at)
        node.modified, node.stamp = then.modified, then.stamp
        return reasons

    def undelete(self, who: Person, node: Node, at: int) -> Reasons:
        """Let what was deleted stand where it stood last."""
        if not who.sees:
            return {"missing"}
        if not who.looks_back or "restore" not in RIGHTS[who.role]:
            return {"forbidden"}
        slot = node.last
        assert slot is not None
        if slot.folder is not self.root and not self.stands(slot.folder):
            return {"folder gone"}
        reasons = self._locked(who, slot, set(), comes_or_goes=True)
        if slot.node is not None:
            reasons.add("exists")
        if not reasons:
            self.serial += 1
            self._place(who, slot, node, at)
        return reasons

    def missed(self) -> list[Node]:
        """Return what the trash shows: all but leftovers of programs that save."""
        return [node for node in self.trash if not self._is_leftover(node)]

    def _is_leftover(self, node: Node) -> bool:
        is_brief = self.was_brief(node)
        if not isinstance(node, Document):
            assert isinstance(node, Folder)
            return is_brief and not node.children
        if not node.versions or node.was_carried or node.carried_over == len(node.versions):
            return True
        if node.came_whole:
            return False
        is_alone = all(version.author == node.maker for version in node.versions)
        return (is_brief and is_alone) or (node.is_backup and len(node.versions) == 1)

    def restore(self, who: Person, path: Path, index: int, at: int) -> Reasons:
        """Let the version that stands at `index` of a document's history be its newest again."""
        node, reasons = self._source(who, path)
        if node is None:
            return reasons
        if not isinstance(node, Document):
            return {"folder", "forbidden"}
        may = self.may(who, "restore", node, at) and who.looks_back
        reasons = set() if may else {"forbidden"}
        reasons |= {"missing"} if index >= len(node.history) else set()
        if not reasons and node.history[index].content == node.content:
            return set()
        assert node.parent is not None
        reasons |= self._locked(who, Slot(node.parent, node.name), set(), comes_or_goes=False)
        if not reasons:
            self.serial += 1
            self._add_version(who, node, node.history[index].content, at)
        return reasons

    def standing(self) -> list[Stood]:
        """Return all that stands, for putting the space back to it; folders first."""
        found = []
        for _, node in self.walk():
            assert node.parent is not None
            if isinstance(node, Document):
                held = node.content, dict(node.properties), node.modified, node.stamp
            else:
                held = None, {}, None, None
            found.append(Stood(node, node.parent, node.name, *held))
        return found

    def put_back(self, who: Person, then: list[Stood], at: int) -> Reasons:
        """Put the whole space back to a moment."""
        if not who.sees:
            return {"missing"}
        reasons: Reasons = set() if "put back" in RIGHTS[who.role] and who.looks_back else {"forbidden"}
        stood = {each.node: each for each in then}
        moving = [each for each in then if (each.node.parent, each.node.name) != (each.folder, each.name)]
        folders = [self.root, *(node for node in stood if isinstance(node, Folder))]
        going = [child for folder in folders for child in folder.children.values() if child not in stood]
        changed = [each for each in then if isinstance(each.node, Document) and each.node.content != each.content]
        closing = [*(each.node for each in moving if each.node.parent is not None), *going]
        touched = [each.node for each in then if each in changed or self._is_touched(each)]
        if reasons or not (moving or going or touched):
            return reasons
        if self._locks_in_the_way(who, moving, going, touched, closing):
            return {"locked"}
        self.serial += 1
        for node in closing:
            assert node.parent is not None
            self.locks.pop((node.parent, node.name.casefold()), None)
            self._leave(who, node, at)
        self.trash += going
        for each in moving:
            self._place(who, Slot(each.folder, each.name), each.node, at)
        for each in changed:
            assert isinstance(each.node, Document) and each.content is not None
            self._add_version(who, each.node, each.content, at)
        for each in then:
            if isinstance(each.node, Document):
                each.node.properties = dict(each.properties)
                each.node.modified, each.node.stamp = each.modified, each.stamp
        return set()

    @staticmethod
    def _is_touched(each: Stood) -> bool:
        node = each.node
        return isinstance(node, Document) and (node.properties, node.stamp) != (each.properties, each.stamp)

    def _locks_in_the_way(
        self, who: Person, moving: list[Stood], going: list[Node], touched: list[Node], closing: list[Node]
    ) -> bool:
        """Return whether somebody else holds what comes, goes or changes, a folder whose names do, or anything inside
        what leaves its name.
        """
        slots = [Slot(each.folder, each.name) for each in moving]
        slots += [Slot(node.parent, node.name) for node in (*closing, *going) if node.parent is not None]
        keys = {(slot.folder.parent, slot.folder.name.casefold()) for slot in slots}
        keys |= {(slot.folder, slot.key) for slot in slots}
        keys |= {(node.parent, node.name.casefold()) for node in touched}
        keys |= {key for node in closing for key in self._inside(node)}
        return any(lock.by != who.login for key, lock in self.locks.items() if key in keys)

    def _land_copy(self, who: Person, node: Node, slot: Slot, at: int) -> None:
        standing = slot.node
        if isinstance(node, Document):
            if isinstance(standing, Folder):
                self._trash(who, standing, at)
                standing = None
            landed = standing
            if landed is None:
                continuing = self.continuing(who, slot, at)
                if continuing is not None:
                    self._carry_on(who, slot, continuing, at)
                landed = continuing or self._new_document(who, slot, at)
            assert isinstance(landed, Document)
            self._take_content(who, landed, node, at)
            landed.properties = (landed.properties if standing is None else {}) | node.properties
            return
        if standing is not None:
            self._trash(who, standing, at)
        self._copy_folder(who, node, slot, at)

    def _take_content(self, who: Person, landed: Document, source: Document, at: int) -> None:
        """Give a document the content of another as a version; nothing over nothing, and the same again, are none."""
        if (source.versions or landed.versions) and not (
            self.window_us and source.versions and landed.versions and source.content == landed.content
        ):
            self._add_version(who, landed, source.content, at)

    def _copy_folder(self, who: Person, node: Node, slot: Slot, at: int) -> None:
        assert isinstance(node, Folder)
        made = self._new_folder(who, slot, at)
        for child in node.children.values():
            below = Slot(made, child.name)
            if isinstance(child, Document):
                fresh = self._new_document(who, below, at)
                self._take_content(who, fresh, child, at)
                fresh.properties = dict(child.properties)
            else:
                self._copy_folder(who, child, below, at)

    def move(
        self,
        who: Person,
        source: Path,
        goal: Path,
        tokens: set[str],
        at: int,
        *,
        replaces: bool,
        plainly: bool,
    ) -> Reasons:
        """Move or rename. `plainly`: a document takes only a document's place, a folder only an empty folder's."""
        node, reasons = self._source(who, source)
        slot, others = self._goal(who, goal)
        if node is None or slot is None:
            return reasons | others
        if node is self.root:
            return {"forbidden"}
        standing = slot.node
        act = "rename" if slot.folder is node.parent else "move"
        reasons = self._taking(who, node, tokens, act, at)
        if standing is node:
            return reasons | ({"same"} if slot.name == node.name else set()) or self._respell(who, node, slot)
        if self._is_within(slot, node):
            reasons.add("same")
        if plainly and replaces and standing is not None:
            reasons |= self._unlike(node, standing)
        reasons |= self._making_way(who, node, slot, tokens, replaces, at)
        if not reasons:
            self.serial += 1
            self._land_move(who, node, slot, at)
        return reasons

    def _respell(self, who: Person, node: Node, slot: Slot) -> Reasons:
        self.serial += 1
        self._unlock_all(node)
        node.name, node.placed_by = slot.name, who.login
        return set()

    def _unlike(self, node: Node, standing: Node) -> Reasons:
        if isinstance(node, Document):
            return {"folder"} if isinstance(standing, Folder) else set()
        if isinstance(standing, Document):
            return {"not a folder"}
        return {"not empty"} if standing.children else set()  # type: ignore[attr-defined]

    def _land_move(self, who: Person, node: Node, slot: Slot, at: int) -> None:
        standing = slot.node
        fresh = self.is_fresh(node, at)
        landed: Document | None = None
        if isinstance(node, Document) and isinstance(standing, Document):
            landed = standing
        elif isinstance(node, Document) and standing is None and fresh:
            landed = self.continuing(who, slot, at)
        if landed is None or landed is node:
            if standing is not None:
                self._trash(who, standing, at)
            self._unlock_all(node)
            self._leave(who, node, at)
            self._place(who, slot, node, at)
            return
        assert isinstance(node, Document)
        if standing is None:
            self._carry_on(who, slot, landed, at)
        self._take_content(who, landed, node, at)
        landed.properties = node.properties | landed.properties if fresh else dict(node.properties)
        landed.modified, landed.stamp = None, ("moved", self.serial)
        self._unlock_all(node)
        self._leave(who, node, at)
        node.was_carried = fresh
        if not fresh:
            self.trash.append(node)

    def move_in(
        self, who: Person, other: Space, source: Path, goal: Path, tokens: set[str], at: int, *,
        replaces: bool, plainly: bool,
    ) -> Reasons:  # fmt: skip
        """Move something here that stands in another space: a new identity, and the old one's past stays there.

        The past comes along where nothing continues under the name, for those who take it along.
        """
        node, reasons = other._source(who, source)
        slot, others = self._goal(who, goal)
        if node is None or slot is None:
            return reasons | others
        standing = slot.node
        reasons = other._taking(who, node, tokens, "move", at)
        if plainly and replaces and standing is not None:
            reasons |= self._unlike(node, standing)
        reasons |= self._making_way(who, node, slot, tokens, replaces, at)
        if reasons:
            return reasons
        self.serial += 1
        other.serial += 1
        self._land_from_elsewhere(who, node, slot, at)
        other._unlock_all(node)
        other._leave(who, node, at)
        other.trash.append(node)
        return reasons

    def _land_from_elsewhere(self, who: Person, node: Node, slot: Slot, at: int) -> None:
        standing, fresh = slot.node, self.is_fresh(node, at)
        landed: Document | None = None
        if isinstance(node, Document) and isinstance(standing, Document):
            landed = standing
        elif isinstance(node, Document) and standing is None and fresh:
            landed = self.continuing(who, slot, at)
            if landed is not None:
                self._carry_on(who, slot, landed, at)
        if landed is None:
            if standing is not None:
                self._trash(who, standing, at)
            self._bring(who, node, slot, at)
            return
        assert isinstance(node, Document)
        self._take_content(who, landed, node, at)
        landed.properties = node.properties | landed.properties if fresh else dict(node.properties)
        landed.modified, landed.stamp = None, ("moved", self.serial)
        node.carried_over = len(node.versions) if fresh else None

    def _bring(self, who: Person, node: Node, slot: Slot, at: int) -> None:
        """Let something stand here under a new identity, each document in it with its past or without."""
        if isinstance(node, Folder):
            made = self._new_folder(who, slot, at)
            for child in node.children.values():
                self._bring(who, child, Slot(made, child.name), at)
            return
        assert isinstance(node, Document)
        fresh = self._new_document(who, slot, at)
        fresh.properties, fresh.stamp = dict(node.properties), ("moved", self.serial)
        if node.versions and who.takes_the_past_along:
            fresh.came_whole = True
            fresh.versions = [replace(each, serial=self.serial) for each in (*node.shared, *node.versions)]
        else:
            self._take_content(who, fresh, node, at)

    # --- locks and properties

    def lock(self, who: Person, path: Path, at: int) -> Reasons:
        """Lock a name; where nothing stands, an empty document comes to stand. `hold` then keeps the token."""
        slot, reasons = self._goal(who, path)
        if slot is None:
            return reasons
        standing = slot.node
        if standing is None:
            reasons = set() if self.may(who, "add", slot.folder, at) else {"forbidden"}
            reasons |= self._locked(who, slot, set(), comes_or_goes=True)
            if not reasons:
                self.serial += 1
                self._new_document(who, slot, at)
            return reasons
        reasons = set() if self.may(who, "lock", standing, at) else {"forbidden"}
        return reasons | ({"locked"} if (slot.folder, slot.key) in self.locks else set())

    def hold(self, who: Person, path: Path, token: str) -> None:
        """Keep the token of a lock that was taken."""
        folder = self.find(path[:-1])
        assert isinstance(folder, Folder)
        self.locks[folder, path[-1].casefold()] = Lock(who.login, token)

    def tokens(self, who: Person) -> dict[Path, str]:
        """Return the tokens that somebody holds, by the paths of what they lock."""
        found = {}
        for path, node in self.walk():
            lock = self.locks.get((node.parent, node.name.casefold()))  # type: ignore[arg-type]
            if lock is not None and lock.by == who.login:
                found[path] = lock.token
        return found

    def unlock(self, path: Path) -> None:
        """Let a lock go."""
        folder = self.find(path[:-1])
        assert isinstance(folder, Folder)
        del self.locks[folder, path[-1].casefold()]

    def change(
        self,
        who: Person,
        path: Path,
        tokens: set[str],
        at: int,
        *,
        color: str | None = None,
        modified: int | None = None,
    ) -> Reasons:
        """Set a property, or the time of modification."""
        node, reasons = self._source(who, path)
        if node is None:
            return reasons
        assert node.parent is not None
        reasons = set() if self.may(who, "replace", node, at) else {"forbidden"}
        reasons |= self._locked(who, Slot(node.parent, node.name), tokens, comes_or_goes=False)
        if not reasons and isinstance(node, Document):
            self.serial += 1
            if color is not None:
                node.properties["color"] = color
            if modified is not None:
                node.modified, node.stamp = modified, modified
        return reasons
