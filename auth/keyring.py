"""Keys: one root key, which wraps a random key for each space and organisation, from which all others are derived.

Wrapping is AES-256-GCM-SIV (RFC 8452) with associated data id ‖ epoch ‖ root id; derivation HKDF-SHA256 (RFC 5869).
A new root key means wrapping anew; no data is rewritten. Destroying a wrapped key erases all that it sealed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import subprocess
import threading
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from auth.errors import (
    CredentialOutside,
    KeyUnreadable,
    RootKeyExists,
    RootKeyExposed,
    RootKeyMissing,
    RootKeyUnwritable,
    SealBroken,
    WrongRootKey,
)
from auth.keystore import Keystore
from config.files import sync_folder
from config.ids import id_text

KEY_BYTES = 32
K = TypeVar("K")
_FORMAT = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_ID_BYTES = 8
_TEXT_MAX = 256
#: How many keys of spaces, and of organisations, are kept open.
KEPT_MAX = 4096
#: The installation's own key stands in the keystore under this id.
INSTALLATION = bytes(16)


class RootKey:
    """The key that all others are wrapped with. `id` tells which it is, and nothing more."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a root key has 32 bytes")
        self._key = key
        self.id = hmac.digest(key, b"mellanrum root id", hashlib.sha256)[:_ID_BYTES]
        self._wrapper = AESGCMSIV(_derived(key, b"v1 wrap"))

    @classmethod
    def generate(cls) -> RootKey:
        """Return a fresh root key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def create_file(cls, path: Path, *, data_folder: Path) -> RootKey:
        """Make a root key and keep it in a new file that only its owner may read. Never inside the data folder."""
        if _inside(path, data_folder):
            raise RootKeyExposed(source=path)
        made = cls.generate()
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise RootKeyExists(source=path) from None
        except OSError:
            raise RootKeyUnwritable(source=path) from None
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(made.text().encode("ascii") + b"\n")
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.absolute().parent)
        except OSError:
            path.unlink()  # else the next try finds a key file there that holds none
            raise
        return made

    @classmethod
    def from_file(cls, path: Path, *, data_folder: Path) -> RootKey:
        """Read the key from a file of mode 0600 outside the data folder."""
        try:
            with path.open(encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(_TEXT_MAX)
        except (OSError, UnicodeDecodeError):
            raise RootKeyMissing(source=path) from None
        if mode & 0o077 or _inside(path, data_folder):
            raise RootKeyExposed(source=path)
        return cls.from_text(text, source=str(path))

    @classmethod
    def from_environment(cls, variable: str) -> RootKey:
        """Read the key from an environment variable."""
        return cls.from_text(os.environ.get(variable, ""), source=f"the environment variable {variable}")

    @classmethod
    def from_credential(cls, name: str) -> RootKey:
        """Read the key from a systemd credential (LoadCredential=), which only the service is given."""
        source, folder = f"the systemd credential {name}", os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise CredentialOutside(source=source)
        try:
            text = (Path(folder) / name).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            text = ""
        return cls.from_text(text, source=source)

    @classmethod
    def from_command(cls, command: Sequence[str]) -> RootKey:
        """Read the key from what a command prints."""
        if not command:
            raise RootKeyMissing(source="a command, for none is set")
        try:
            ran = subprocess.run(list(command), capture_output=True, timeout=60, check=True)  # noqa: S603
            text = ran.stdout.decode("ascii")
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            text = ""
        return cls.from_text(text, source=f"the command {command[0]}")

    @classmethod
    def from_text(cls, text: str, *, source: str) -> RootKey:
        """Read 64 hexadecimal digits, white space around them ignored."""
        try:
            key = bytes.fromhex(text.strip())
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise RootKeyMissing(source=source)
        return cls(key)

    def text(self) -> str:
        """Return the key as 64 hexadecimal digits. A secret."""
        return self._key.hex()

    def wrap(self, identity: bytes, key: bytes, epoch: int = 1) -> bytes:
        """Return a key sealed under this root."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        stamp = epoch.to_bytes(4, "big")
        sealed = self._wrapper.encrypt(nonce, key, identity + stamp + self.id)
        return _FORMAT + self.id + stamp + nonce + sealed

    def unwrap(self, identity: bytes, wrapped: bytes) -> bytes:
        """Return what `wrap` sealed. Raises WrongRootKey, SealBroken."""
        head = 1 + _ID_BYTES + 4
        found, stamp = wrapped[1 : 1 + _ID_BYTES], wrapped[1 + _ID_BYTES : head]
        if wrapped[:1] != _FORMAT or len(wrapped) != head + _NONCE_BYTES + KEY_BYTES + _TAG_BYTES:
            raise SealBroken
        if found != self.id:
            raise WrongRootKey(expected=found.hex(), found=self.id.hex())
        nonce = wrapped[head : head + _NONCE_BYTES]
        try:
            return self._wrapper.decrypt(nonce, wrapped[head + _NONCE_BYTES :], identity + stamp + self.id)
        except InvalidTag:
            raise SealBroken from None


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve()) or path.absolute().is_relative_to(folder.absolute())


def _derived(key: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    return HKDFExpand(algorithm=hashes.SHA256(), length=length, info=b"mellanrum " + info).derive(key)


class Sealer:
    """Seals text and bytes under one purpose of one key.

    Names are sealed by AES-SIV (RFC 5297), so that the same name under the same parent looks the same and can be
    looked up; everything else by AES-256-GCM with a random nonce. Both are bound to where they belong.
    """

    def __init__(self, key: bytes, purpose: bytes) -> None:
        self._names = AESSIV(_derived(key, b"v1 names " + purpose, 64))
        self._data = AESGCM(_derived(key, b"v1 data " + purpose))

    def seal_name(self, parent: bytes, text: str) -> bytes:
        """Return a name sealed for a place, always alike."""
        return self._names.encrypt(text.encode("utf-8") or b"\0", [parent])

    def open_name(self, parent: bytes, sealed: bytes) -> str:
        """Return what `seal_name` sealed. Raises SealBroken."""
        if len(sealed) < _TAG_BYTES:
            raise SealBroken
        try:
            raw = self._names.decrypt(sealed, [parent])
        except InvalidTag:
            raise SealBroken from None
        return "" if raw == b"\0" else raw.decode("utf-8")

    def seal(self, label: bytes, data: bytes) -> bytes:
        """Return data sealed for a label: a format byte, a nonce, the sealed bytes and tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + self._data.encrypt(nonce, data, _FORMAT + label)

    def open(self, label: bytes, sealed: bytes) -> bytes:
        """Return what `seal` sealed for the same label. Raises SealBroken."""
        if sealed[:1] != _FORMAT or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise SealBroken
        try:
            return self._data.decrypt(sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], _FORMAT + label)
        except InvalidTag:
            raise SealBroken from None


class SpaceKeys:
    """All that is derived from the key of one space."""

    def __init__(self, key: bytes) -> None:
        self.names = Sealer(key, b"space")
        self.audit = Sealer(key, b"audit")
        self.drafts = Sealer(key, b"drafts")
        self.chunk_id_key = _derived(key, b"v1 chunk id")
        self.chunk_enc_key = _derived(key, b"v1 chunk encryption")
        self.manifest_key = _derived(key, b"v1 manifest")
        self.cdc_seed = int.from_bytes(_derived(key, b"v1 chunker", 8), "big") >> 1


class OrganisationKeys:
    """All that is derived from the key of one organisation: what is known of its people is sealed with it."""

    def __init__(self, key: bytes) -> None:
        self.people = Sealer(key, b"people")


class InstallationKeys:
    """All that is derived from the installation's own key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.audit = Sealer(key, b"audit")
        self.general = Sealer(key, b"general")
        self.digests = _derived(key, b"v1 digests")
        self._lookups = _derived(key, b"v1 lookups")

    def lookup(self, kind: bytes, text: str) -> bytes:
        """Return the keyed digest by which something typed is found, whatever its case and normal form."""
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold()).strip()
        return hmac.digest(self._lookups, kind + b"\0" + folded.encode("utf-8", "surrogatepass"), hashlib.sha256)

    @cached_property
    def signing(self) -> Ed25519PrivateKey:
        """The key that signs checkpoints of the audit logs."""
        return Ed25519PrivateKey.from_private_bytes(_derived(self._key, b"v1 checkpoint signing"))


class Keyring:
    """Opens keys of the keystore as they are asked for, and remembers them."""

    def __init__(self, root: RootKey, keystore: Keystore) -> None:
        self._root = root
        self.keystore = keystore
        self._guard = threading.Lock()
        self._spaces: dict[bytes, SpaceKeys] = {}
        self._organisations: dict[bytes, OrganisationKeys] = {}
        self._installation: InstallationKeys | None = None
        self._looked_at: int | None = None

    @property
    def root_id(self) -> str:
        """Which root key this is, as hexadecimal."""
        return self._root.id.hex()

    def begin(self) -> None:
        """Make the installation's own key."""
        self.create(INSTALLATION)

    def create(self, identity: bytes) -> None:
        """Make a random key for a space or an organisation; it is durable when this returns."""
        self.keystore.create(identity, self._root.wrap(identity, secrets.token_bytes(KEY_BYTES)))

    def space(self, identity: bytes) -> SpaceKeys:
        """Return the keys of a space. Raises UnknownKey, KeyUnreadable, WrongRootKey."""
        found = self._spaces.get(identity)
        if found is None:
            found = SpaceKeys(self._unwrapped(identity))
            self._keep(self._spaces, identity, found)
        return found

    def organisation(self, identity: bytes) -> OrganisationKeys:
        """Return the keys of an organisation. Raises UnknownKey, KeyUnreadable, WrongRootKey."""
        found = self._organisations.get(identity)
        if found is None:
            found = OrganisationKeys(self._unwrapped(identity))
            self._keep(self._organisations, identity, found)
        return found

    def installation(self) -> InstallationKeys:
        """Return the installation's own keys."""
        if self._installation is None:
            self._installation = InstallationKeys(self._unwrapped(INSTALLATION))
        return self._installation

    def destroy(self, identity: bytes) -> None:
        """Destroy a key for good, and with it all that it sealed."""
        with self._guard:
            self.keystore.destroy(identity)
            self._spaces.pop(identity, None)
            self._organisations.pop(identity, None)

    def forget_destroyed(self) -> None:
        """Let go of keys that another process destroyed. Where none was, it costs a look at the folder's time."""
        mark = self.keystore.mark()
        if mark is not None and mark == self._looked_at:
            return
        standing = set(self.keystore.list())
        with self._guard:
            for kept in (self._spaces, self._organisations):
                for identity in kept.keys() - standing:
                    del kept[identity]
        self._looked_at = mark

    def rewrap(self, root: RootKey) -> int:
        """Wrap every key with a new root; return how many. After an interruption it goes on where it stopped.

        All are opened before the first is replaced: cut off at one that does not open, they would stay of two roots.
        Raises KeyUnreadable, WrongRootKey.
        """
        opened: dict[bytes, tuple[bytes, int]] = {}
        for identity in self.keystore.list():
            wrapped = self.keystore.get(identity)
            if wrapped[1 : 1 + _ID_BYTES] != root.id:
                epoch = int.from_bytes(wrapped[1 + _ID_BYTES : 1 + _ID_BYTES + 4], "big") + 1
                opened[identity] = self._opened(identity, wrapped), epoch
        for identity, (key, epoch) in opened.items():
            self.keystore.replace(identity, root.wrap(identity, key, epoch))
        self._root = root
        return len(opened)

    def check(self) -> None:
        """Open every key there is; raise what is wrong with the first that does not open."""
        for identity in self.keystore.list():
            self._unwrapped(identity)

    def _keep(self, kept: dict[bytes, K], identity: bytes, keys: K) -> None:
        with self._guard:
            if len(kept) >= KEPT_MAX:
                kept.clear()
            kept[identity] = keys

    def _unwrapped(self, identity: bytes) -> bytes:
        return self._opened(identity, self.keystore.get(identity))

    def _opened(self, identity: bytes, wrapped: bytes) -> bytes:
        try:
            return self._root.unwrap(identity, wrapped)
        except SealBroken:
            raise KeyUnreadable(key=id_text(identity), why="it was damaged, or put in another's place") from None
