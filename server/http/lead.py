"""The lead: one thread of a process listens to every connection that talks, and serves them one after another.

Threads that run Python at once wait for each other's turn at one lock, several times a request, and a thread for each
connection sleeps and wakes with each of its requests; so small requests cost half as much where one thread serves them
all (the pattern's name is leader and followers), and those that wait for the disk stand aside meanwhile: see
`config.turns`. A request that takes its time holds up nobody: when it waits for its client, or has run for longer than
a moment, another thread takes the lead, and this one ends what it does alone.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from config.logging import get_log
from config.turns import Turns, let_others_go_on

if TYPE_CHECKING:
    from server.http.connection import Connection

#: How long whoever leads stays when nobody says anything.
QUIET_SECONDS = 0.02
#: How often somebody looks whether a request holds up the others.
LOOK_SECONDS = 0.005
_log = get_log("http")


class Lead:
    """The connections that talk, and who listens to them.

    For the pool it is a connection among others: the worker that gets it from the queue leads until all are quiet,
    until it is relieved, or until somebody waits for a worker and there is none.
    """

    requests_seen = 0

    def __init__(self, server: Any) -> None:
        self._server = server
        self._guard = threading.Lock()
        self._poll = select.epoll()
        self._talking: dict[int, Connection] = {}
        self._heard: set[int] = set()
        self._leader: threading.Thread | None = None
        #: Of those that talk, whom the leader serves: one, and those who stand aside.
        self._in_hand: set[int] = set()
        self._steps = self._steps_seen = 0
        self.is_taken = False

    def __len__(self) -> int:
        return len(self._talking)

    def join(self, conn: Connection) -> None:
        """Listen to a connection that has just been answered."""
        with self._guard:
            descriptor = conn.socket.fileno()
            self._talking[descriptor] = conn
            self._heard.add(descriptor)
            self._poll.register(descriptor, select.EPOLLIN)
            is_first, self.is_taken = not self.is_taken, True
        if is_first:
            self._server.requests.put(self)

    def communicate(self) -> bool:
        """Lead. Called by a worker, which is told that nothing is left to wait for."""
        me: Any = threading.current_thread()
        self._leader = me
        with Turns() as turns:
            while self._has_gone_round(turns, me):
                pass
        return False

    def _has_gone_round(self, turns: Turns, me: Any) -> bool:
        """Serve whoever asks, or else let those who stand aside go on. False: this thread leads no longer."""
        ready = self._poll.poll(0 if turns else QUIET_SECONDS)
        if not ready and not turns:
            self._rest()
            return False
        is_quiet = True
        for descriptor, _ in ready:
            conn = self._begin(descriptor, me)
            if conn is None:
                continue
            is_quiet = False
            turns.serve(self._serve, conn, descriptor, me)
            if turns.is_due:
                self._settle(turns)
            if self._leader is not me:
                return False
        if turns and is_quiet:
            self._settle(turns)
        return self._leader is me and not self._has_handed_over(turns)

    def _settle(self, turns: Turns) -> None:
        with self._guard:
            self._steps += 1
        turns.settle()

    def _has_handed_over(self, turns: Turns) -> bool:
        """Make room if somebody waits for a worker and there is none."""
        if not self._server.requests.is_short:
            return False
        self._settle(turns)
        with self._guard:
            if self._leader is threading.current_thread():
                self._leader = None
                self._server.requests.put(self)
        return True

    def pass_on(self) -> None:
        """Let another thread take the lead, if the calling one has it and others talk: it is going to take its time."""
        let_others_go_on()
        if len(self._talking) > 1 and self._leader is threading.current_thread():
            self._relieve(self._steps)

    def look(self) -> None:
        """Relieve whoever has been at one and the same step since the last look, if somebody may wait."""
        steps, seen, self._steps_seen = self._steps, self._steps_seen, self._steps
        if steps == seen and len(self._talking) > len(self._in_hand) > 0:
            self._relieve(steps)

    def dismiss_silent(self, lay_down: Callable[[Connection], None]) -> None:
        """Lay down who has said nothing since the last call: its deadlines are kept elsewhere. It may have asked since,
        so it is laid down where it is heard, also when the server ends.
        """
        with self._guard:
            silent = [each for each in self._talking.items() if each[0] not in self._heard]
            silent = [each for each in silent if each[0] not in self._in_hand]
            for descriptor, _ in silent:
                self._leave(descriptor)
            self._heard.clear()
        for _, conn in silent:
            lay_down(conn)

    def cut(self) -> None:
        """Nothing: whoever leads and serves nobody ends by itself once all are quiet."""

    def close(self) -> None:
        """Nothing: to a worker its leading is a connection that ended; those that talk have others."""

    def _begin(self, descriptor: int, me: Any) -> Connection | None:
        """Take in hand who asks. None: it has gone, asks again before it was answered, or is another's to serve."""
        with self._guard:
            conn = self._talking.get(descriptor)
            if conn is None or descriptor in self._in_hand or self._leader is not me:
                return None
            self._in_hand.add(descriptor)
            self._steps += 1
            return conn

    def _serve(self, conn: Connection, descriptor: int, me: Any) -> None:
        """Serve what one connection asks."""
        me.conn = conn
        try:
            stays = conn.communicate()
        except Exception as error:
            _log.error("connection_failed", error)
            stays = False
        with self._guard:
            is_leader = self._leader is me
            if is_leader:
                self._in_hand.remove(descriptor)
                if stays and conn.is_talking:
                    self._heard.add(descriptor)
                else:
                    self._leave(descriptor)
        me.conn = self
        if not stays:
            conn.close()
        elif not (is_leader and conn.is_talking):
            self._server.put_conn(conn)

    def _relieve(self, steps: int) -> None:
        """Let another thread take the lead. Whom the leader has in hand it serves to the end."""
        with self._guard:
            if not self._in_hand or self._steps != steps:
                return  # it was over just now
            for descriptor in self._in_hand:
                self._leave(descriptor)
            self._in_hand.clear()
            self._leader = None
        self._server.requests.put(self)

    def _rest(self) -> None:
        with self._guard:
            quiet = list(self._talking.items())
            for descriptor, _ in quiet:
                self._leave(descriptor)
            self._leader, self.is_taken = None, False
        for _, conn in quiet:
            self._server.lay_down(conn)

    def _leave(self, descriptor: int) -> None:
        del self._talking[descriptor]
        self._heard.discard(descriptor)
        self._poll.unregister(descriptor)
