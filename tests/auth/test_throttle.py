"""Guessing costs time, for the guesser alone."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, update

from auth import tables
from auth.errors import AccountLocked, Throttled
from auth.throttle import Throttle, Tries
from config.clock import SECOND_US, now_us
from config.database import Database
from config.settings.schema import ThrottleSettings
from tests.auth.people import ADDRESS, ELSEWHERE, House

ANNA, BERIT = b"a" * 32, b"b" * 32


@pytest.fixture
def throttle(house: House) -> Throttle:
    return throttle_of(house)


def throttle_of(house: House, **settings: int) -> Throttle:
    return Throttle(house.database, house.keyring, ThrottleSettings(**settings))


def fail(throttle: Throttle, account: bytes, address: str, times: int = 1) -> None:
    for _ in range(times):
        throttle.failed(throttle.begin(account, address))


def later(database: Database, seconds: int) -> None:
    """Let time pass: set what was noted back."""
    with database.transient_write() as connection:
        table = tables.throttle
        values = {
            "blocked_until": table.c.blocked_until - seconds * SECOND_US,
            "last_at": table.c.last_at - seconds * SECOND_US,
        }
        connection.execute(update(table).values(values))


def address(number: int) -> str:
    return f"10.{number // 256}.{number % 256}.1"


def test_waits_double_from_the_first_and_have_an_end(house: House, throttle: Throttle) -> None:
    fail(throttle, ANNA, ADDRESS, 5)
    waits = []
    for number in range(14):
        fail(throttle, ANNA, address(number))
        with pytest.raises(Throttled) as raised:
            throttle.begin(ANNA, address(99))
        waits.append(raised.value.retry_after)
        later(house.database, raised.value.retry_after)
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits[-1] == 900
    throttle.begin(BERIT, ADDRESS)


def test_a_success_begins_the_count_anew(throttle: Throttle) -> None:
    for _ in range(5):
        fail(throttle, ANNA, ADDRESS, 4)
        throttle.succeeded(throttle.begin(ANNA, ADDRESS))
    fail(throttle, ANNA, ADDRESS, 5)


def test_an_account_fails_at_most_a_hundred_times_in_a_row(house: House, throttle: Throttle) -> None:
    failed = 0
    throttle.succeeded(throttle.begin(ANNA, ADDRESS))
    for number in range(300):
        for where in (address(number), ADDRESS):
            try:
                throttle.failed(throttle.begin(ANNA, where))
                failed += 1
            except Throttled as error:
                assert error.retry_after <= 900
        later(house.database, 901)
    assert failed == 100


def test_attempts_at_the_same_time_do_not_get_past_the_limit(house: House) -> None:
    throttle = throttle_of(house, account_failures_max=50)
    begun: list[int] = []

    def attempt(number: int) -> None:
        for step in range(20):
            try:
                throttle.begin(ANNA, address(number * 20 + step))
                begun.append(number)
            except Throttled:
                pass

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 40


def test_a_network_waits_whatever_accounts_it_tries(house: House, throttle: Throttle) -> None:
    for number in range(21):
        fail(throttle, number.to_bytes(32, "big"), ADDRESS)
    with pytest.raises(Throttled):
        throttle.begin(ANNA, ADDRESS)
    throttle.begin(ANNA, ELSEWHERE)
    later(house.database, 3700)
    fail(throttle, BERIT, ADDRESS)
    throttle.begin(ANNA, ADDRESS)


def test_a_success_does_not_launder_a_network(throttle: Throttle) -> None:
    for number in range(21):
        throttle.succeeded(throttle.begin(BERIT, ELSEWHERE))
        fail(throttle, number.to_bytes(32, "big"), ELSEWHERE)
    with pytest.raises(Throttled):
        throttle.begin(ANNA, ELSEWHERE)


def test_addresses_of_one_network_count_together(house: House) -> None:
    throttle = throttle_of(house, network_ipv4_bits=24, network_ipv6_bits=64)
    for number in range(21):
        fail(throttle, number.to_bytes(32, "big"), f"2001:db8:1:2::{number:x}")
        fail(throttle, number.to_bytes(32, "little"), f"198.51.100.{number}")
    for near in ("2001:db8:1:2:ffff::1", "198.51.100.200", "::ffff:198.51.100.9"):
        with pytest.raises(Throttled):
            throttle.begin(ANNA, near)
    for far in ("2001:db8:1:3::1", "198.51.101.1", "unix", ""):
        throttle.begin(ANNA, far)


def test_a_stranger_does_not_lock_out_a_place_that_is_known(house: House, throttle: Throttle) -> None:
    throttle.succeeded(throttle.begin(ANNA, ADDRESS))
    for number in range(200):
        try:
            fail(throttle, ANNA, address(number))
        except Throttled:
            later(house.database, 901)
    with pytest.raises(Throttled):
        throttle.begin(ANNA, ELSEWHERE)
    throttle.succeeded(throttle.begin(ANNA, ADDRESS))


def test_an_administrator_lets_an_account_try_again(throttle: Throttle) -> None:
    fail(throttle, ANNA, ADDRESS, 6)
    throttle.release(ANNA)
    throttle.begin(ANNA, ADDRESS)


def test_a_right_password_without_its_code_changes_no_count(throttle: Throttle) -> None:
    for _ in range(5):
        throttle.halfway(throttle.begin(ANNA, ADDRESS))
        fail(throttle, ANNA, ADDRESS)
    throttle.halfway(throttle.begin(ANNA, ADDRESS))
    fail(throttle, ANNA, ADDRESS)
    with pytest.raises(Throttled):
        throttle.begin(ANNA, ADDRESS)


def test_revoked_drives_make_no_password_wait(throttle: Throttle) -> None:
    with pytest.raises(Throttled):
        for _ in range(100):
            throttle.device_failed(ADDRESS)
    throttle.begin(ANNA, ADDRESS)


def test_once_is_once_in_a_period_for_all_processes(house: House, throttle: Throttle) -> None:
    other = throttle_of(house)
    said = [each.once(b"x", 60 * SECOND_US) for each in (throttle, other, throttle)]
    assert said == [True, False, False]
    assert throttle.once(b"y", 60 * SECOND_US)
    later(house.database, 61)
    assert [each.once(b"x", 60 * SECOND_US) for each in (other, throttle)] == [True, False]


def test_what_is_old_is_swept(house: House, throttle: Throttle) -> None:
    fail(throttle, ANNA, ADDRESS, 6)
    assert throttle.sweep() == 0
    later(house.database, 31 * 86_400)
    fail(throttle, BERIT, ELSEWHERE)
    assert throttle.sweep() == 2
    with house.database.transient_read() as connection:
        assert len(connection.execute(select(tables.throttle)).all()) == 2


def test_a_network_is_known_for_a_month_even_if_nobody_swept(house: House, throttle: Throttle) -> None:
    throttle.succeeded(throttle.begin(ANNA, ADDRESS))
    for days, is_known in ((29, True), (2, False)):
        later(house.database, days * 86_400)
        assert throttle.begin(ANNA, ADDRESS).is_known is is_known


def test_no_login_and_no_address_is_kept_in_the_clear(house: House, throttle: Throttle) -> None:
    fail(throttle, ANNA, ADDRESS)
    with house.database.transient_read() as connection:
        rows = connection.execute(select(tables.throttle)).all()
    assert rows
    assert all(len(row.subject) == 32 and row.last_at <= now_us() for row in rows)
    assert ANNA not in {row.subject for row in rows}


def test_who_was_locked_for_good_was_told_to_wait(house: House, throttle: Throttle) -> None:
    failures = 0
    while failures < 80:
        fail(throttle, ANNA, address(failures))
        failures += 1
        later(house.database, 901)
    with pytest.raises(AccountLocked, match="Waiting does not help"):
        throttle.begin(ANNA, ADDRESS)
    assert throttle.tries([ANNA, BERIT]) == {ANNA: Tries(81, 0, True)}
    throttle.release(ANNA)
    assert throttle.tries([ANNA]) == {}
    fail(throttle, ANNA, ADDRESS)
    assert throttle.tries([ANNA]) == {ANNA: Tries(1, 0, False)}


def test_who_waits_out_the_last_wait_in_vain_is_told_at_once(house: House, throttle: Throttle) -> None:
    throttle.succeeded(throttle.begin(ANNA, ADDRESS))
    for _ in range(19):
        fail(throttle, ANNA, ADDRESS)
        later(house.database, 901)
    assert not throttle.tries([ANNA])[ANNA].is_locked
    fail(throttle, ANNA, ADDRESS)
    assert throttle.tries([ANNA])[ANNA].is_locked
    for _ in range(2):
        with pytest.raises(AccountLocked):
            throttle.begin(ANNA, ADDRESS)
        later(house.database, 901)
    throttle.begin(ANNA, ELSEWHERE)
