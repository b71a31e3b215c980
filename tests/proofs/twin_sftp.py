"""The twin worlds when the buyer comes by SFTP, and the rival by both doors."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from auth.roles import Via
from server.sftp.engine.wire import CREAT, TRUNC, WRITE, Type, string
from tests.proofs.twin_sessions import GREETING, REQUEST, EngineSession, Session, Worker
from tests.proofs.twin_worlds import STEP_US, Twin
from tests.sftp.client import NO_ATTRIBUTES, Client, Refused

_U32, _U64 = struct.Struct(">I"), struct.Struct(">Q")


class SftpTwin(Twin):
    """One of the two worlds, its buyer at an engine of SFTP."""

    session: Session
    #: The rival acts around one request in so many.
    rival_steps = 3

    @contextmanager
    def open(self) -> Iterator[SftpTwin]:
        """Open both front doors, and let the buyer in at the one of SFTP."""
        with super().open():
            self._held: list[Client] = []
            self.sign_in()
            yield self
            self.session.lose()
            self._let_go()

    def sign_in(self) -> None:
        """Begin a session of the buyer's."""
        self._step(self._begin, "sign in")
        self.ask_packet(GREETING, "greeting")

    def _begin(self) -> bytes:
        self.session = EngineSession(self.world.drive("bo", Via.SFTP), lambda: self.fate.now_us / 1e6)
        return b""

    def lose(self) -> None:
        """Let the buyer's connection drop, and begin anew."""
        self._step(lambda: self.session.lose() or b"", "lose")
        self.sign_in()

    # --- what the buyer does

    def _step(self, act: Any, name: str) -> bytes:
        self.step += 1
        at = self.step * STEP_US
        with self._half_an_upload(at):
            self.fate.act("buyer", self.step, at)
            answer: bytes = act()
            note, _, shown = name.rpartition("|")
            self.heard.answers.append((f"{note}{self.step} {shown}", answer))
        self.fate.act("house", self.step, at + 3)
        self.world.installation.tick()
        return answer

    def ask_packet(self, packet: bytes, name: str) -> bytes:
        """Send one packet as it is."""
        return self._step(lambda: self.session.ask(packet), name)

    def request(self, kind: int, body: bytes, name: str = "") -> bytes:
        """Ask for one thing; return the answer's body, after the number."""
        return self.ask_packet(bytes((kind,)) + REQUEST + body, f"{name}|{Type(kind).name}")[9:]

    def of_path(self, kind: int, *paths: str, tail: bytes = b"", name: str = "") -> bytes:
        """Ask for something that names paths."""
        packet = bytes((kind,)) + REQUEST + b"".join(string(path.encode()) for path in paths) + tail
        return self.ask_packet(packet, f"{name}|{Type(kind).name} {paths}")[9:]

    def extended(self, kind: str, *strings: bytes, tail: bytes = b"", name: str = "") -> bytes:
        """Ask for an extension."""
        packet = bytes((Type.EXTENDED,)) + REQUEST + string(kind.encode()) + b"".join(map(string, strings)) + tail
        return self.ask_packet(packet, f"{name}|{kind}")[9:]

    def command(
        self, line: str, first: bytes = b"", given: Sequence[bytes] = (), name: str = "", asked: str = ""
    ) -> bytes:
        """Run a command. Where the answer repeats what was `asked` for, it is kept without that."""

        def act() -> bytes:
            answer = self.session.run(line, first, given)
            return answer.replace(asked.encode(), b"<asked>") if asked else answer

        return self._step(act, f"{name}|{line}")

    def opened(self, path: str, flags: int, name: str = "") -> bytes:
        """Open a document; return its handle, whatever was answered."""
        return self.of_path(Type.OPEN, path, tail=_U32.pack(flags) + NO_ATTRIBUTES, name=name)[4:]

    def put(self, path: str, content: bytes, flags: int = WRITE | CREAT | TRUNC, at: int = 0) -> None:
        """Upload a document, looking at it on the way."""
        handle = self.opened(path, flags)
        for start in range(0, len(content), 1 << 17):
            piece = content[start : start + (1 << 17)]
            self.request(Type.WRITE, string(handle) + _U64.pack(at + start) + string(piece))
        self.request(Type.FSTAT, string(handle))
        self.request(Type.CLOSE, string(handle))

    def get(self, path: str) -> None:
        """Read a document, to beyond its end."""
        handle = self.opened(path, 1)
        for at in (0, 10, 1 << 20):
            self.request(Type.READ, string(handle) + _U64.pack(at) + _U32.pack(1 << 16))
        self.request(Type.CLOSE, string(handle))

    def list(self, path: str) -> None:
        """List a folder to its end, and ask how much room there is by its handle."""
        handle = self.of_path(Type.OPENDIR, path)[4:]
        for _ in range(3):
            self.request(Type.READDIR, string(handle))
        self.extended("fstatvfs@openssh.com", handle)
        self.request(Type.FSTAT, string(handle))
        self.request(Type.CLOSE, string(handle))

    # --- what the rival does

    @contextmanager
    def _half_an_upload(self, at: int) -> Iterator[None]:
        """Let the rival act around some requests: there are many."""
        if self.step % self.rival_steps:
            yield
            return
        with super()._half_an_upload(at):
            yield

    def busy(self, turn: int) -> None:
        """Let the rival do one thing of many, by turns at either door."""
        self._let_go()
        turn, is_sftp = divmod(turn // self.rival_steps, 2)
        if not is_sftp:
            super().busy(turn)
            return
        client = Client(self.world.drive("rut", Via.SFTP))
        try:
            self._busy_over_sftp(client, turn)
        except Refused as refused:
            assert turn % 6 in (2, 5), refused  # of its own room: the folder may have gone, or stand already
        if client not in self._held:
            client.lose()

    def _busy_over_sftp(self, client: Client, turn: int) -> None:
        act = turn % 6
        if act == 0:
            client.put(f"/Objektet/Bud/Bud s{turn}.pdf", b"fyra miljoner")
        elif act == 1:  # cut off
            client.write(client.open(f"/Objektet/Bud/halvt {turn}.bin", WRITE | CREAT), 0, bytes(range(256)) * 40)
        elif act == 2:
            client.put(f"/Rum/Hemligt/kalkyl s{turn}.xlsx", b"kalkyl" * 9000)
        elif act == 3:  # stays open while the buyer asks
            client.write(client.open("/Objektet/Bud/Öppet.pdf", WRITE | CREAT), 0, b"4 400 000")
            self._held.append(client)
        elif act == 4:
            client.names("/Objektet/Bud")
            client.get("/Objektet/Underlag/Årsredovisning.pdf")
        else:
            client.path_request(Type.MKDIR, "/Rum/en mapp", tail=NO_ATTRIBUTES)

    def _let_go(self) -> None:
        while self._held:
            self._held.pop().lose()


class SshTwin(SftpTwin):
    """The same, its buyer at a worker of SFTP behind a socket."""

    @contextmanager
    def open(self) -> Iterator[SshTwin]:
        """Open the front doors."""
        self._worker = Worker(self.world.installation)
        with self._worker.open(), super().open():
            yield self

    def _begin(self) -> bytes:
        self.session = self._worker.connect("bo", self.world.passwords["bo"])
        return b""
