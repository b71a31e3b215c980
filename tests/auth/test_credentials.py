"""Secrets: their forms, what is refused, and what each costs."""

from __future__ import annotations

import pyotp
import pytest

from auth import credentials
from auth.errors import WeakPassword


def test_a_device_password_has_its_form_and_128_bits() -> None:
    made = {credentials.new_device_password() for _ in range(200)}
    assert len(made) == 200
    assert all(credentials.is_device_password(each) for each in made)
    assert 28 * 5 >= 128
    letters = {letter for each in made for letter in each.removeprefix("mrd_")}
    assert len(letters) == 32


def test_a_mistyped_device_password_is_recognised_without_a_look_up() -> None:
    made = credentials.new_device_password()
    wrong = [made[:at] + ("a" if made[at] != "a" else "b") + made[at + 1 :] for at in range(4, len(made))]
    wrong += [made[:-1], made + "a", made.upper(), made[:20] + "å" + made[21:], "mrd_", "mrd_" + "å" * 32]
    passed = [each for each in wrong if credentials.is_device_password(each)]
    assert passed == []
    assert all(credentials.is_device_form(each) for each in wrong if each.startswith("mrd_"))


@pytest.mark.parametrize(
    ("at", "code"),
    [(59, "94287082"), (1111111109, "07081804"), (1234567890, "89005924"), (20000000000, "65353130")],
)
def test_codes_are_those_of_rfc_6238(at: int, code: str) -> None:
    import base64

    secret = base64.b32encode(b"12345678901234567890").decode()
    assert pyotp.TOTP(secret, digits=8).at(at) == code
    assert credentials.totp_step(secret, code[2:], at) == at // 30


def test_a_code_is_good_for_one_step_either_way() -> None:
    secret = credentials.new_totp_secret()
    now = 1_700_000_000
    for away in (-3, -2, -1, 0, 1, 2, 3):
        code = pyotp.TOTP(secret).at(now + 30 * away)
        assert credentials.totp_step(secret, code, now) == (now // 30 + away if abs(away) <= 1 else None)
    assert credentials.totp_step(secret, "", now) is None
    assert credentials.totp_step(secret, "１２３４５６", now) is None


@pytest.mark.parametrize(
    ("password", "second_factor"),
    [
        ("kort men bra 4", False),
        ("sju1234", True),
        ("password", True),
        ("passwordpassword", False),
        ("aaaaaaaaaaaaaaaaaaaa", False),
        ("anna lundanna lund", False),
        ("1234561234561234", False),
        ("x" * 250 + "abcdefgh", False),
        pytest.param(credentials.new_device_password(), False, id="a device password"),
        ("hemlig ramsa\x00 som är lång", False),
        ("hemlig ramsa\x7f som är lång", False),
        ("hemlig ramsa\ud800 som är lång", False),
    ],
)
def test_a_weak_password_is_refused(password: str, second_factor: bool) -> None:
    with pytest.raises(WeakPassword):
        credentials.check_strength(password, second_factor=second_factor, names=("anna", "anna lund"))


@pytest.mark.parametrize(
    ("password", "second_factor"),
    [("en riktigt lång ramsa", False), ("k9!vx2qp", True), ("ö" * 10 + "abcdefgh" * 8, False), ("abcdefgh" * 32, True)],
)
def test_a_good_password_needs_no_composition(password: str, second_factor: bool) -> None:
    credentials.check_strength(password, second_factor=second_factor, names=("anna",))


def test_a_hash_fits_its_password_in_any_normal_form() -> None:
    phc = credentials.hash_password("en lång å ramsa")
    assert phc.startswith(b"$argon2id$v=19$m=47104,t=1,p=1$")
    assert credentials.password_fits("en lång a\u030a ramsa", phc)
    assert not credentials.password_fits("en lång a ramsa", phc)
    assert not credentials.password_fits("en lång å ramsa", b"$argon2id$broken")
    assert not credentials.password_fits("en lång å ramsa", None)
    longest = "abcdefgh" * 32
    assert credentials.password_fits(longest, credentials.hash_password(longest))


def test_without_a_hash_the_same_work_is_done() -> None:
    import time

    phc = credentials.hash_password("en lång ramsa")

    def cost(of: bytes | None) -> float:
        begun = time.perf_counter()
        credentials.password_fits("en annan ramsa", of)
        return time.perf_counter() - begun

    pairs = [(cost(phc), cost(None)) for _ in range(5)]
    assert min(nobody for _, nobody in pairs) > 0.5 * min(somebody for somebody, _ in pairs)


def test_recovery_codes_are_read_however_they_are_typed() -> None:
    codes = credentials.new_recovery_codes()
    assert len({credentials.recovery_digest(code) for code in codes}) == 10
    assert credentials.recovery_digest(codes[0]) == credentials.recovery_digest(
        f" {codes[0].upper().replace('-', ' ')}"
    )
    assert credentials.recovery_digest("\ud800")
