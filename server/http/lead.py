"""The lead: one thread of a process listens to every connection that talks, and serves them one after another.

Threads that run Python at once wait for each other's turn at one lock, several times a request, and a thread for each
connection sleeps and wakes with each of its requests; so small requests cost half as much where one thread serves them
all (the pattern's name is leader and followers). A request that takes its time holds up nobody: when it waits for its
client, or has run for longer than a moment, another thread takes the lead, and this one ends what it does alone.
"""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING, Any

from config.logging import get_log

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
        self._serving: Connection | None = None
        self._turns = self._turns_seen = 0
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
        while True:
            ready = self._poll.poll(QUIET_SECONDS)
            if not ready:
                self._rest()
                return False
            for descriptor, _ in ready:
                conn = self._begin(descriptor)
                if conn is not None and not self._serve(conn, descriptor, me):
                    return False
            if self._server.requests.is_short:
                self._leader = None
                self._server.requests.put(self)
                return False

    def pass_on(self) -> None:
        """Let another thread take the lead, if the calling one has it and others talk: it is going to wait."""
        if len(self._talking) > 1 and self._leader is threading.current_thread():
            self._relieve(self._turns)

    def look(self) -> None:
        """Relieve whoever has been serving one and the same request since the last look, if somebody may wait."""
        turns, seen, self._turns_seen = self._turns, self._turns_seen, self._turns
        if turns == seen and self._serving is not None and len(self._talking) > 1:
            self._relieve(turns)

    def dismiss_silent(self) -> None:
        """Lay down who has said nothing since the last call: its deadlines are kept elsewhere."""
        with self._guard:
            silent = [each for each in self._talking.items() if each[0] not in self._heard]
            silent = [each for each in silent if each[1] is not self._serving]
            for descriptor, _ in silent:
                self._leave(descriptor)
            self._heard.clear()
        for _, conn in silent:
            self._server.lay_down(conn)

    def cut(self) -> None:
        """Nothing: whoever leads and serves nobody ends by itself once all are quiet."""

    def close(self) -> None:
        """Nothing: to a worker its leading is a connection that ended; those that talk have others."""

    def _begin(self, descriptor: int) -> Connection | None:
        with self._guard:
            conn = self._talking.get(descriptor)
            self._serving = conn
            self._turns += 1
            return conn

    def _serve(self, conn: Connection, descriptor: int, me: Any) -> bool:
        """Serve what one connection asks. False: another thread has the lead meanwhile."""
        me.conn = conn
        try:
            stays = conn.communicate()
        except Exception as error:
            _log.error("connection_failed", error)
            stays = False
        with self._guard:
            is_leader = self._leader is me
            if is_leader:
                self._serving = None
                if stays and conn.is_talking:
                    self._heard.add(descriptor)
                else:
                    self._leave(descriptor)
        me.conn = self
        if not stays:
            conn.close()
        elif not (is_leader and conn.is_talking):
            self._server.put_conn(conn)
        return is_leader

    def _relieve(self, turns: int) -> None:
        with self._guard:
            if self._serving is None or self._turns != turns:
                return  # it was over just now
            self._leave(self._serving.socket.fileno())
            self._serving = self._leader = None
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
