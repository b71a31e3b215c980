"""The state of signing in by itself: whatever raises, is given up or comes in another order, no principal is left."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from auth.errors import SignInRefused, Throttled
from auth.rights import NO_RIGHTS, Kind, Principal, Scope, Standing
from auth.roles import Via
from config.errors import DatabaseBusy
from server.ssh.signin import SignIn, Threads

PASSWORD, DEVICE, CODE, KEY = "a password", "mrd_x", "123456", b"blob"


def principal(login: str, standing: Standing, device: bytes = b"") -> Principal:
    return Principal(
        login.encode().ljust(16), Kind.PERSON, b"o" * 16, b"o" * 16, False, False, login, login, device, Scope(),
        standing, frozenset(), NO_RIGHTS, 1, "", Via.SFTP,
    )  # fmt: skip


class Keeper:
    """Lets `anna` in by each way, `half` by a key and a code, and raises wherever it is told to."""

    def __init__(self, raises: dict[str, BaseException] | None = None) -> None:
        self.raises = raises or {}
        self.may_answer = threading.Event()
        self.may_answer.set()

    def _at(self, step: str) -> None:
        self.may_answer.wait(20)
        if step in self.raises:
            raise self.raises[step]

    def basic(self, login: str, password: str, **_: Any) -> Principal:
        self._at("basic")
        if (login, password) not in (("anna", PASSWORD), ("anna", DEVICE)):
            raise SignInRefused
        return principal(login, Standing.FULL)

    def password_then_code(self, login: str, password: str, code: str | None, **_: Any) -> Principal:
        self._at("password_then_code")
        if password != PASSWORD:
            raise SignInRefused
        return principal(login, Standing.HALF)

    def complete(self, half: Principal, code: str) -> Principal:
        self._at("complete")
        if code != CODE:
            raise SignInRefused
        return principal(half.login, Standing.FULL, half.device)

    def knows_key(self, login: str, public_key: bytes, **_: Any) -> bool:
        self._at("knows_key")
        return public_key == KEY

    def by_key(self, login: str, public_key: bytes, **_: Any) -> Principal:
        self._at("by_key")
        return principal(login, Standing.HALF if login == "half" else Standing.FULL, b"k" * 16)


class Stage:
    """A sign-in over such a keeper, driven to its end."""

    def __init__(self, raises: dict[str, BaseException] | None = None) -> None:
        self.keeper = Keeper(raises)
        self.told: list[str] = []
        self.threads = Threads()
        self.signin = SignIn(cast(Any, self.keeper), self.threads, "never", "192.0.2.1", self.told.append)

    async def by_password(self, login: str = "anna") -> bool:
        self.signin.begin(login)
        return await self.signin.password(PASSWORD) and await self.signin.proven("password")

    async def by_device(self) -> bool:
        self.signin.begin("anna")
        return await self.signin.password(DEVICE) and await self.signin.proven("password")

    async def by_code(self) -> bool:
        self.signin.begin("anna")
        self.signin.challenge()
        await self.signin.answer([PASSWORD])
        return await self.signin.answer([CODE]) is True and await self.signin.proven("keyboard-interactive")

    async def by_key(self, login: str = "anna") -> bool:
        self.signin.begin(login)
        return await self.signin.offer_key(KEY) and await self.signin.proven("publickey")

    async def by_key_and_code(self) -> bool:
        if await self.by_key("half"):
            return False
        self.signin.challenge()
        return await self.signin.answer([CODE]) is True and await self.signin.proven("keyboard-interactive")


WAYS = {
    "by_password": ["basic"],
    "by_device": ["basic"],
    "by_code": ["password_then_code", "complete"],
    "by_key": ["knows_key", "by_key"],
    "by_key_and_code": ["knows_key", "by_key", "complete"],
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_lets_in_once(way: str) -> None:
    stage = Stage()
    assert asyncio.run(getattr(stage, way)())
    assert stage.signin.take() is not None
    assert stage.signin.take() is None


@pytest.mark.parametrize("error", [SignInRefused(), Throttled(retry_after=9), DatabaseBusy(), RuntimeError("odd")])
@pytest.mark.parametrize(("way", "step"), [(way, step) for way, steps in WAYS.items() for step in steps])
def test_whatever_is_raised_at_any_step_leaves_nobody(way: str, step: str, error: BaseException) -> None:
    stage = Stage({step: error})
    assert not asyncio.run(getattr(stage, way)())
    assert stage.signin.take() is None
    assert bool(stage.told) == isinstance(error, Throttled), "only waiting is told, and how long"
    assert all(each.endswith("\r\n") for each in stage.told), "what OpenSSH prints next begins on a line of its own"


def test_a_method_that_was_given_up_answers_for_nobody() -> None:
    """The next request overtakes one whose slow hash is under way."""

    async def overtake() -> Stage:
        stage = Stage()
        stage.keeper.may_answer.clear()
        first = asyncio.create_task(stage.by_password())
        await asyncio.sleep(0.05)
        first.cancel()
        stage.signin.begin("nobody")
        stage.keeper.may_answer.set()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.sleep(0.05)
        return stage

    assert asyncio.run(overtake()).signin.take() is None


def test_what_one_login_has_shown_is_worth_nothing_to_another() -> None:
    async def switch() -> Stage:
        stage = Stage()
        assert not await stage.by_key("half")
        assert not stage.signin.takes("password")
        stage.signin.begin("anna")
        stage.signin.challenge()
        assert await stage.signin.answer([CODE]) is False
        assert await stage.signin.proven("keyboard-interactive") is False
        return stage

    assert asyncio.run(switch()).signin.take() is None


def test_a_key_that_was_only_asked_about_is_no_proof() -> None:
    async def ask() -> Stage:
        stage = Stage()
        stage.signin.begin("anna")
        assert await stage.signin.offer_key(KEY)
        assert await stage.signin.offer_key(b"another") is False
        assert await stage.signin.proven("publickey") is False
        assert await stage.signin.offer_key(KEY)
        return stage

    assert asyncio.run(ask()).signin.take() is None


def test_half_is_not_enough_whatever_is_taken() -> None:
    async def half() -> Stage:
        stage = Stage()
        await stage.by_key("half")
        stage.signin.begin("anna")
        stage.signin.challenge()
        assert isinstance(await stage.signin.answer([PASSWORD]), tuple)
        assert await stage.signin.answer([CODE, CODE]) is False
        return stage

    assert asyncio.run(half()).signin.take() is None


def test_what_is_asked_for_next_goes_by_what_was_shown() -> None:
    def question(asked: Any) -> str:
        return str(asked[3][0][0])

    async def steps() -> None:
        stage = Stage()
        signin = stage.signin
        signin.begin("anna")
        assert signin.takes("password") and signin.takes("publickey") and question(signin.challenge()) == "Password: "
        assert await signin.answer([DEVICE]) is True
        signin.begin("anna")
        assert question(await signin.answer([PASSWORD])) == "Verification code: "
        assert signin.takes("password"), "no key was shown"
        assert await signin.answer(["000000"]) is False
        assert await signin.answer([CODE]) is False, "after a wrong code the password is asked for again"
        assert not await stage.by_key("half")
        assert [signin.takes(each) for each in ("publickey", "password", "keyboard-interactive")] == [
            False,
            False,
            True,
        ]
        assert question(signin.challenge()) == "Verification code: "
        assert await signin.answer(["000000"]) is False
        assert await signin.answer([CODE]) is True, "a key need not be shown again"

    asyncio.run(steps())


def test_who_stands_half_is_not_taken_for_whole_whoever_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeper, "basic", lambda *_, **__: principal("anna", Standing.HALF))
    stage = Stage()
    asyncio.run(stage.by_password())
    assert stage.signin.take() is None
