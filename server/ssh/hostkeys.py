"""Host keys: one Ed25519, one RSA, sealed in the data folder under `ssh/`, so that a stolen backup cannot pose as us.

`NAME.sealed` is the key that is used, `NAME.next.sealed` one that is announced to clients (`hostkeys-00@openssh.com`)
until rotation puts it in the other's place. The public halves stand beside them, as OpenSSH writes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from auth.errors import SealBroken
from config.errors import MellanrumError
from config.files import sync_folder, write_whole

if TYPE_CHECKING:
    import asyncssh

FOLDER = "ssh"
RSA_BITS = 3072
_ALGORITHMS = {"ed25519": ("ssh-ed25519", {}), "rsa": ("ssh-rsa", {"key_size": RSA_BITS})}


class HostKeyDamaged(MellanrumError):
    """The host key in {file} is damaged, or was put in another's place. Nothing was changed. Restore that file, or
    let "mellanrum hostkey rotate" put others in its place, of which clients warn.
    """

    exit_code = 30


class Sealer(Protocol):
    """What seals a file under a label (auth.keyring)."""

    def seal(self, label: bytes, data: bytes) -> bytes:
        """Return the data sealed."""
        ...

    def open(self, label: bytes, sealed: bytes) -> bytes:
        """Return what was sealed. Raises SealBroken."""
        ...


class HostKey(NamedTuple):
    """One host key. `fingerprint` is as clients show it, `SHA256:…`."""

    name: str
    fingerprint: str
    public: str
    is_next: bool


class HostKeys:
    """The host keys of one data folder."""

    def __init__(self, data_folder: Path, sealer: Sealer) -> None:
        self._folder = data_folder / FOLDER
        self._sealer = sealer

    def make_missing(self) -> list[HostKey]:
        """Make those keys that are not there; return all."""
        for name in _ALGORITHMS:
            if not self._file(name).exists():
                self._make(name, is_next=False)
        return self.all()

    def all(self) -> list[HostKey]:
        """Return what is known of the keys that are there: those in use first."""
        found = []
        for is_next in (False, True):
            for name in _ALGORITHMS:
                if self._file(name, is_next).exists():
                    key = self._load(name, is_next)
                    public = key.export_public_key().decode("ascii").strip()
                    found.append(HostKey(name, key.get_fingerprint(), public, is_next))
        return found

    def private(self) -> list[asyncssh.SSHKey]:
        """Return the keys to serve with. Of each kind the first is used, the next announced."""
        return [
            self._load(name, is_next)
            for is_next in (False, True)
            for name in _ALGORITHMS
            if self._file(name, is_next).exists()
        ]

    def announce_next(self) -> list[HostKey]:
        """Make the keys that shall follow, unless they are there; return all."""
        self._make_next()
        return self.all()

    def rotate(self) -> list[HostKey]:
        """Put the next keys in place of those in use (fresh ones, if none were announced); return all.

        Those in use need not be whole: this is how one that is damaged goes.
        """
        self._make_next()
        public = {name: self._load(name, is_next=True).export_public_key() for name in _ALGORITHMS}
        for name in _ALGORITHMS:
            self._file(name, is_next=True).rename(self._file(name))
            write_whole(self._public(name), public[name], 0o644)
            self._public(name, is_next=True).unlink(missing_ok=True)  # nor is it there after a kill amid `_make`
        sync_folder(self._folder)
        return self.all()

    def _make_next(self) -> None:
        for name in _ALGORITHMS:
            if not self._file(name, is_next=True).exists():
                self._make(name, is_next=True)

    def _make(self, name: str, *, is_next: bool) -> None:
        import asyncssh  # which takes a tenth of what a command takes that needs none of it

        algorithm, options = _ALGORITHMS[name]
        key = asyncssh.generate_private_key(algorithm, comment="mellanrum", **options)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        sealed = self._sealer.seal(_label(name), key.export_private_key("openssh"))
        write_whole(self._file(name, is_next), sealed, 0o600)
        write_whole(self._public(name, is_next), key.export_public_key(), 0o644)
        sync_folder(self._folder)

    def _load(self, name: str, is_next: bool) -> asyncssh.SSHKey:
        import asyncssh

        file = self._file(name, is_next)
        try:
            return asyncssh.import_private_key(self._sealer.open(_label(name), file.read_bytes()))
        except SealBroken:
            raise HostKeyDamaged(file=file) from None

    def _file(self, name: str, is_next: bool = False) -> Path:
        return self._folder / f"{name}{'.next' if is_next else ''}.sealed"

    def _public(self, name: str, is_next: bool = False) -> Path:
        return self._folder / f"{name}{'.next' if is_next else ''}.pub"


def _label(name: str) -> bytes:
    return b"ssh host key " + name.encode("ascii")
