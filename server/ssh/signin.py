"""How far one connection has come in signing in: which proofs it has shown, which are still due, and who it is then.

A principal stands ready only once every proof has been seen, and is taken, once, when asyncssh says that signing in is
complete. That a key is known proves nothing: clients ask before they sign (RFC 4252 section 7). What may be slow runs
in threads: what is looked up in some, what is hashed in others, so that guessing keeps no device out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Literal, Protocol, TypeVar

from auth.authenticator import KeyAndCode
from auth.credentials import is_device_form
from auth.errors import AuthError, Paused, SignInUncounted, Throttled
from auth.rights import Principal, Standing
from auth.roles import Via
from config.errors import MellanrumError
from config.logging import get_log

LOOKING_THREADS = 4
T = TypeVar("T")
#: As asyncssh wants it: name, instruction, language, prompts and whether to echo them (RFC 4256 3.2). True: signed in.
Challenge = tuple[str, str, str, list[tuple[str, bool]]] | bool
Method = Literal["publickey", "password", "keyboard-interactive"]
#: CLIENTS S13: clients that fill in a stored password look for this word.
_PASSWORD: Challenge = ("", "", "", [("Password: ", False)])
_CODE: Challenge = ("", "", "", [("Verification code: ", False)])
_log = get_log("ssh")


class Authenticator(Protocol):
    """What signing in needs of `auth.authenticator`."""

    def basic(self, login: str, password: str, *, via: Via, address: str) -> Principal:
        """Sign in by a device password, or a password that is enough by itself."""
        ...

    def password_then_code(self, login: str, password: str, code: str | None, *, via: Via, address: str) -> Principal:
        """Sign in by a password; stand HALF where a code is due."""
        ...

    def complete(self, principal: Principal, code: str) -> Principal:
        """Let a principal that stands HALF show its code."""
        ...

    def knows_key(self, login: str, public_key: bytes, *, via: Via) -> bool:
        """Return whether a login may sign in by a key."""
        ...

    def by_key(self, login: str, public_key: bytes, *, with_code: KeyAndCode, via: Via, address: str) -> Principal:
        """Sign in by a key whose signature was verified."""
        ...


class Threads:
    """Where signing in does what may block."""

    def __init__(self) -> None:
        self.looking = ThreadPoolExecutor(LOOKING_THREADS, "look-up")
        self.hashing = ThreadPoolExecutor(max(1, os.cpu_count() or 1), "hash")

    def close(self) -> None:
        """Take no more."""
        self.looking.shutdown(wait=False, cancel_futures=True)
        self.hashing.shutdown(wait=False, cancel_futures=True)


class SignIn:
    """Signing in on one connection. Used from the loop alone."""

    def __init__(
        self,
        authenticator: Authenticator,
        threads: Threads,
        with_code: KeyAndCode,
        address: str,
        tell: Callable[[str], None],
    ) -> None:
        self._authenticator = authenticator
        self._threads = threads
        self._with_code = with_code
        self._address = address
        self._tell = tell
        self._login = ""
        self._offered: bytes | None = None
        self._half: Principal | None = None
        self._whole: Principal | None = None

    def begin(self, login: str) -> None:
        """Begin anew: whatever was shown for another login is forgotten."""
        self._login = login
        self._offered = self._half = self._whole = None

    def takes(self, method: Method) -> bool:
        """Return whether a method is of any use now: after a key, a code alone is."""
        return method == "keyboard-interactive" or not self._has_key

    @property
    def _has_key(self) -> bool:
        return self._half is not None and self._half.device != b""

    # --- each method

    async def offer_key(self, public_key: bytes) -> bool:
        """Return whether a key is known. It may be looked at before it is proven, and proves nothing."""
        self._offered = None
        known = await self._run(
            self._threads.looking, lambda: self._authenticator.knows_key(self._login, public_key, via=Via.SFTP)
        )
        if known:
            self._offered = public_key
        return bool(known)

    async def password(self, password: str) -> bool:
        """Return whether a password is enough by itself."""
        executor = self._threads.looking if is_device_form(password) else self._threads.hashing
        self._whole = await self._run(
            executor,
            lambda: self._authenticator.basic(self._login, password, via=Via.SFTP, address=self._address),
        )
        return self._whole is not None

    def challenge(self) -> Challenge:
        """Return the first question of keyboard-interactive."""
        if not self._has_key:
            self._half = None
            return _PASSWORD
        return _CODE

    async def answer(self, responses: list[str]) -> Challenge:
        """Return the next question, or whether the answers were right."""
        if len(responses) != 1:
            return False
        if self._half is not None:
            return await self._code(responses[0])
        (password,) = responses
        if is_device_form(password):
            return await self.password(password)
        found = await self._run(
            self._threads.hashing,
            lambda: self._authenticator.password_then_code(
                self._login, password, None, via=Via.SFTP, address=self._address
            ),
        )
        if found is None:
            return False
        if found.standing is Standing.HALF:
            self._half = found
            return _CODE
        self._whole = found
        return True

    async def _code(self, code: str) -> bool:
        half = self._half
        assert half is not None
        if not half.device:
            self._half = None  # a password is asked for again; a key need not be
        self._whole = await self._run(self._threads.looking, lambda: self._authenticator.complete(half, code))
        return self._whole is not None

    # --- the end

    async def proven(self, method: Method) -> bool:
        """Note that a method succeeded (for a key: that its signature was verified); return whether that is all."""
        if method == "publickey":
            key, self._offered = self._offered, None
            if key is None:
                return False
            found = await self._run(
                self._threads.looking,
                lambda: self._authenticator.by_key(
                    self._login, key, with_code=self._with_code, via=Via.SFTP, address=self._address
                ),
            )
            if found is not None and found.standing is Standing.HALF:
                self._half = found
            else:
                self._whole = found
        return self._whole is not None

    def take(self) -> Principal | None:
        """Return who signed in, once, and forget the proofs."""
        found = self._whole
        self.begin("")
        return found if found is not None and found.standing is Standing.FULL else None

    async def _run(self, executor: Executor, work: Callable[[], T]) -> T | None:
        """Return what the work returned, None if it was refused. A client learns of no other trouble either."""
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work)
        except (Throttled, Paused, SignInUncounted) as error:
            self._tell(f"{error}\r\n")  # clients print a banner as it comes
        except AuthError:
            pass
        except MellanrumError as error:
            _log.error("sign_in_failed", error)
        except Exception as error:
            _log.error("sign_in_broke", error)
        return None


def as_text(raw: bytes) -> str | None:
    """Return UTF-8 as text, None if it is none."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
