"""What putting a folder back to a moment takes: which nodes go, which return, and what each must show again.

What stood in the folder then returns to where it stood, with its identity, from the trash or from elsewhere in the
space. What came since goes: home, if it stood elsewhere in the space then and may return to there, else to the trash.
Of what lies outside nothing else is touched, and nothing is ever lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from auth.roles import Action
from providers.catalogue import contents
from providers.catalogue.change import MODIFIED
from providers.catalogue.moments import Lies, Pair, Side, walk
from providers.catalogue.nodes import Node
from providers.catalogue.past import PastTree, as_they_went
from providers.catalogue.props import Property, properties_ever
from providers.catalogue.standing import last_standings
from providers.drive.comparing import Telling, position
from providers.drive.places import Place
from providers.drive.transaction import Look
from providers.errors import VersionErased
from providers.locks import Slot
from providers.model import Difference, Differs

#: How many differences are told one by one.
DIFFERENCES_MAX = 10_000
_BATCH = 500


class _Fate(Enum):
    """What becomes of a folder that came since: it goes to the trash, or to where it stood."""

    TRASH = "trash"
    HOME = "home"


@dataclass(slots=True)
class Step:
    """A node that shall stand as `then`: `now` is what there is of it, standing or not.

    `row` is the version whose content it shall hold, None for none; that is said by `is_new`.
    """

    then: Node
    now: Node
    stands: bool
    row: Mapping[str, Any] | None = None
    is_new: bool = False
    has_properties: bool = False
    is_touched: bool = False

    @property
    def moves(self) -> bool:
        """Whether it must come to stand elsewhere than where it does."""
        return not self.stands or position(self.then) != position(self.now)

    @property
    def is_idle(self) -> bool:
        """Whether it stands as it shall."""
        return not (self.moves or self.is_new or self.is_touched or self.then.modified != self.now.modified)


@dataclass
class Undoing:
    """All that putting back takes. `going` are nodes that leave for the trash, `homing` those that stand elsewhere."""

    number: int
    epoch: int
    steps: list[Step] = field(default_factory=list)
    going: list[Node] = field(default_factory=list)
    homing: list[tuple[Node, Node]] = field(default_factory=list)
    ended: list[dict[str, Any]] = field(default_factory=list)
    begun: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    counts: Counter[Differs] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    left: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.steps or self.going or self.homing)


def undoing(look: Look, place: Place, before: Side, after: Side) -> Undoing:
    """Return what it takes to put the folder at `place` back from now, which is `after`, to `before`."""
    return _Planner(look, place, before, after).planned()


class _Planner:
    def __init__(self, look: Look, place: Place, before: Side, after: Side) -> None:
        self._look = look
        self._before = before
        self._after = after
        self._above = {node.id for node in place.chain}
        self._telling = Telling(look, place, before, after)
        self._left: set[bytes] = set()
        self._fates: dict[bytes, _Fate] = {}
        self._taken: set[Slot] = set()
        self._gone: list[Node] = []
        number = look.storage.tree.number(look.connection, place.space.id)
        self._plan = Undoing(number or 0, look.principal.epoch)
        self._folder = place.node

    def planned(self) -> Undoing:
        """Walk both moments, and return what it takes."""
        plan = self._plan
        for pair in walk(self._before, self._after, self._folder):
            if pair.was_inside:
                self._return(pair)
            else:
                self._leave(pair)
            found = self._telling.difference(pair)
            if found is not None:
                plan.counts[found.what] += 1
                plan.left += pair.node.id in self._left
                if len(plan.differences) < DIFFERENCES_MAX:
                    plan.differences.append(found)
        plan.steps.extend(self._from_nowhere())
        self._properties()
        plan.steps = [step for step in plan.steps if not step.is_idle]
        return plan

    # --- what stood there then

    def _return(self, pair: Pair) -> None:
        then, now = pair.before, pair.after
        assert then is not None
        if then.parent in self._left or (now is not None and not self._may_bring(pair, now)):
            self._left.add(then.id)
        elif now is None:
            self._gone.append(then)
        else:
            self._keep(self._step(then, now, stands=True))

    def _may_bring(self, pair: Pair, now: Node) -> bool:
        """Return whether a node may return from where it stands; what the folder itself lies in stays."""
        if pair.where_after.lies is not Lies.OUTSIDE or now.parent in self._returning(pair):
            return True
        chain = (*pair.where_after.chain, now)
        return now.id not in self._above and self._look.may(Action.PUT_BACK, chain)

    def _returning(self, pair: Pair) -> set[bytes]:
        """Return the folder that a node stands in and stood in then, if it does: it returns with that."""
        assert pair.before is not None and pair.after is not None
        return {pair.before.parent} if pair.before.parent == pair.after.parent else set()

    def _keep(self, step: Step) -> None:
        """Note a step, unless nothing can come of it."""
        if not step.is_idle or step.then.has_properties or step.now.has_properties:
            self._plan.steps.append(step)

    def _step(self, then: Node, now: Node, *, stands: bool) -> Step:
        step = Step(then, now, stands)
        step.is_new = not then.is_folder and not self._telling.held.are_same(then, now)
        if step.is_new:
            try:
                step.row = self._telling.held.row(then)
            except VersionErased:
                step.is_new = False  # it keeps what it holds now
        return step

    def _from_nowhere(self) -> Iterator[Step]:
        """Yield the steps of what has no entry any more: as it was when it was taken away, with its newest version."""
        connection = self._look.connection
        for start in range(0, len(self._gone), _BATCH):
            part = self._gone[start : start + _BATCH]
            held = last_standings(connection, [node.id for node in part])
            found = {node.id: node for node in as_they_went(self._look.storage.tree, connection, list(held.values()))}
            erased = contents.erased_among(connection, [node.id for node in part])
            for then in part:
                if then.id in erased:
                    continue  # it went for good, its name along with it
                yield self._step(then, found[then.id], stands=False)

    # --- what came since

    def _leave(self, pair: Pair) -> None:
        now = pair.after
        assert now is not None
        fate = self._fates.get(now.parent)
        if pair.where_after.lies is Lies.NOWHERE or now.parent in self._left:
            if now.parent not in self._left:
                self._plan.going.append(now)
            return
        home = None if fate is _Fate.HOME else self._home(pair)
        if home is not None:
            self._plan.homing.append((now, home))
        elif fate is None:
            self._plan.going.append(now)
        if now.is_folder and pair.is_inside:
            self._fates[now.id] = _Fate.HOME if home is not None else fate or _Fate.TRASH

    def _home(self, pair: Pair) -> Node | None:
        """Return what a node was where it stood elsewhere in the space, if it may stand there again."""
        then = pair.before
        if then is None or pair.where_before.lies is not Lies.OUTSIDE:
            return None
        where, slot = self._after.where(then.parent), Slot.of(then)
        if where.lies is not Lies.OUTSIDE or slot in self._taken:
            return None
        if any(self._before.where(above.id).lies is Lies.INSIDE for above in where.chain[1:]):
            return None  # it returns to the folder that is put back, with all that it holds
        connection, tree = self._look.connection, self._look.storage.tree
        if tree.in_lane(connection, where.chain[-1], then.lane, then.name) is not None:
            return None
        if not self._look.may(Action.PUT_BACK, where.chain):
            return None
        self._taken.add(slot)
        return then

    # --- properties

    def _properties(self) -> None:
        bearing = [step for step in self._plan.steps if self._may_bear(step)]
        for start in range(0, len(bearing), _BATCH):
            part = bearing[start : start + _BATCH]
            ever = properties_ever(self._look.connection, [step.then.id for step in part])
            for step in part:
                self._exchange(step, ever.get(step.then.id, ()))

    def _may_bear(self, step: Step) -> bool:
        differs = step.is_new or step.then.modified != step.now.modified
        return differs or step.then.has_properties or step.now.has_properties

    def _exchange(self, step: Step, ever: Sequence[Property]) -> None:
        """Note which properties of a node end and begin, its time of modification among them."""
        node, tree = step.then.id, self._before.tree
        assert isinstance(tree, PastTree)
        sealer = self._look.storage.names.sealer(step.then.space)
        standing = {each.key: each for each in ever if each.to_change is None}
        wanted = {each.key: each.value for each in ever if each.held_at(tree.number)}
        key = sealer.seal_name(node, MODIFIED)
        if step.is_new or step.then.modified != step.now.modified:
            wanted[key] = sealer.seal(b"property" + node + key, str(step.then.modified).encode("ascii"))
        elif key in standing:
            wanted[key] = standing[key].value
        else:
            wanted.pop(key, None)
        ended = [each for key, each in standing.items() if wanted.get(key) != each.value]
        begun = [(node, key, value) for key, value in wanted.items() if key not in standing or standing[key] in ended]
        self._plan.ended += [{"node": node, "key": each.key, "from_change": each.from_change} for each in ended]
        self._plan.begun += begun
        step.has_properties = bool(wanted) or step.now.has_properties
        step.is_touched = bool(ended or begun)
