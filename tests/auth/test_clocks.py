"""A clock that was ahead and was put right locks nobody out, and leaves nothing untold."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pyotp
import pytest

from auth.errors import SignInRefused, Throttled
from auth.rights import Standing
from config.clock import SECOND_US, now_us
from tests.auth.people import ADDRESS, PASSWORD, House, code_of
from tests.clocks import HOUR_SECONDS, YEAR_SECONDS, MachineClock


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> MachineClock:
    return MachineClock(monkeypatch)


def code_at(secret: str, machine: MachineClock, seconds: int = 0) -> str:
    return pyotp.TOTP(secret).at(machine.time_ns() // 1_000_000_000 + seconds)


@pytest.fixture
def secret(house: House) -> str:
    house.directory.set_password(house.anna.id, PASSWORD)
    return house.directory.enrol_totp(house.anna.id)


def test_who_signed_in_by_a_code_while_the_clock_was_ahead_was_locked_out(
    house: House, secret: str, machine: MachineClock
) -> None:
    machine.ahead_seconds = 10 * YEAR_SECONDS
    assert house.steps("anna", PASSWORD, code_at(secret, machine)).standing is Standing.FULL
    machine.ahead_seconds = 0
    assert house.steps("anna", PASSWORD, code_of(secret)).standing is Standing.FULL
    with pytest.raises(SignInRefused):
        house.steps("anna", PASSWORD, code_of(secret))


@pytest.mark.parametrize("hours", [1, 14])
def test_a_clock_that_goes_back_lets_no_code_be_used_again(
    house: House, secret: str, machine: MachineClock, hours: int
) -> None:
    earlier = code_at(secret, machine, -hours * HOUR_SECONDS)
    house.steps("anna", PASSWORD, code_at(secret, machine))
    machine.ahead_seconds = -hours * HOUR_SECONDS
    with pytest.raises(SignInRefused):
        house.steps("anna", PASSWORD, earlier)


def fail(house: House, address: str, times: int) -> int:
    """Sign in wrongly until one has to wait; return for how many seconds."""
    for _ in range(times):
        try:
            house.authenticator.throttle.failed(house.authenticator.throttle.begin(b"a" * 32, address))
        except Throttled as error:
            return error.retry_after
    return 0


def test_nobody_waits_for_a_moment_that_a_wrong_clock_said(house: House, machine: MachineClock) -> None:
    throttle = house.authenticator.throttle
    machine.ahead_seconds = 10 * YEAR_SECONDS
    assert fail(house, ADDRESS, 10)
    machine.ahead_seconds = 0
    throttle.sweep()
    throttle.failed(throttle.begin(b"a" * 32, ADDRESS))  # what failed is still counted: the next has to wait
    with pytest.raises(Throttled) as raised:
        throttle.begin(b"a" * 32, ADDRESS)
    assert 1 < raised.value.retry_after <= 900


def test_a_wait_that_is_no_longer_than_any_stands_when_the_clock_goes_back_a_little(
    house: House, machine: MachineClock
) -> None:
    throttle = house.authenticator.throttle
    fail(house, ADDRESS, 10)
    machine.ahead_seconds = -30
    throttle.sweep()
    with pytest.raises(Throttled):
        throttle.begin(b"a" * 32, ADDRESS)


def test_sign_ins_after_the_clock_was_put_right_were_not_told(house: House, machine: MachineClock) -> None:
    machine.ahead_seconds = 10 * YEAR_SECONDS
    house.basic("anna", house.secret)
    for seconds in (0, HOUR_SECONDS):
        machine.ahead_seconds = seconds
        house.heard.events.clear()
        for _ in range(2):
            house.basic("anna", house.secret)
            assert house.heard.kinds() == ["sign_in"]
        assert house.authenticator.last_used(house.device.id) == pytest.approx(now_us(), abs=60 * SECOND_US)


def test_a_password_is_hashed_again_in_time_though_the_clock_goes_back(
    house: House, machine: MachineClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    house.basic("anna", PASSWORD)
    after = time.monotonic() + house.settings.password_cache_seconds + 1
    machine.ahead_seconds = -HOUR_SECONDS
    hashed: list[str] = []
    real = house.authenticator._proven_password
    monkeypatch.setattr(house.authenticator, "_proven_password", lambda *given: hashed.append("") or real(*given))
    house.basic("anna", PASSWORD)
    assert not hashed
    monkeypatch.setattr("auth.authenticator.time", SimpleNamespace(monotonic=lambda: after))
    house.basic("anna", PASSWORD)
    assert hashed
