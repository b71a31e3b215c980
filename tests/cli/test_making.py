"""An installation is made whole, or not at all: secrets that are shown once are never lost to a slip."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import pytest

from auth.directory import Directory
from providers.installation import Installation
from server.cli import find
from server.cli.errors import HalfMade, Undone
from server.cli.making import whole_or_not_at_all
from tests.cli.shop import Ran, Shop
from tests.postgres import Server
from tests.worlds import settings_for


@pytest.fixture
def fresh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    """The command line at a folder that is not there."""
    return Shop(tmp_path / "data", capsys)


def init(shop: Shop, *words: object, supplier: str = "Byrån", admin: str = "ab") -> Ran:
    return shop.run("init", "--supplier", supplier, "--admin", admin, *words)


def require_nothing(shop: Shop) -> None:
    """Nothing was made, and the same command without the slip goes through."""
    assert list(shop.data.parent.glob("*")) in ([], [shop.data.parent / "short"])
    assert init(shop).code == 0


SLIPS: tuple[tuple[str, tuple[str, ...], dict[str, str], int], ...] = (
    ("kit in no folder", ("--recovery-kit", "{}/nonexistent/kit"), {}, 73),
    ("passphrase in no file", ("--recovery-kit", "{}/kit", "--passphrase-file", "/nonexistent/phrase"), {}, 66),
    ("passphrase too short", ("--recovery-kit", "{}/kit", "--passphrase-file", "{}/short"), {}, 64),
    ("colon in a login", (), {"admin": "a:b"}, 26),
    ("backslash in a login", (), {"admin": "a\\b"}, 26),
    ("control character in a name", ("--admin-name", "A\x07b"), {}, 26),
    ("control character in the supplier", (), {"supplier": "By\x07rån"}, 26),
)


@pytest.mark.parametrize(("words", "names", "code"), [each[1:] for each in SLIPS], ids=[each[0] for each in SLIPS])
def test_a_slip_left_an_installation_whose_secrets_nobody_saw(
    fresh: Shop, tmp_path: Path, words: tuple[str, ...], names: dict[str, str], code: int
) -> None:
    if "{}/short" in words:
        (tmp_path / "short").write_text("kort\n")
    ran = init(fresh, *(word.replace("{}", str(tmp_path)) for word in words), **names)
    assert ran.code == code, ran.err
    require_nothing(fresh)


def test_an_interrupt_at_the_passphrase_left_an_installation(fresh: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(question: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", interrupted)
    assert init(fresh, "--recovery-kit", fresh.data.with_name("kit")).code == 9
    monkeypatch.undo()
    require_nothing(fresh)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("odd")])
@pytest.mark.parametrize(("owner", "name"), [(Directory, "add_device"), (find, "fill"), (Installation, "operator")])
def test_what_failed_later_left_what_was_made_before(
    fresh: Shop, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: BaseException
) -> None:
    def broken(*given: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(owner, name, broken)
    ran = init(fresh, "--recovery-kit", fresh.data.with_name("kit"))
    assert ran.code != 0
    assert "stands" not in ran.err
    monkeypatch.undo()
    require_nothing(fresh)


def test_only_what_was_made_is_removed(fresh: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.data.mkdir()
    (fresh.data / "lost+found").mkdir()
    fresh.key.write_text("0" * 64 + "\n")
    fresh.key.chmod(0o600)
    monkeypatch.setattr(Directory, "add_device", _interrupted)
    assert init(fresh).code == 9
    assert [path.name for path in fresh.data.iterdir() if path.name != "in-use.lock"] == ["lost+found"]
    assert fresh.key.exists()


def _interrupted(*given: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_of_two_at_once_neither_removes_what_the_other_makes(fresh: Shop) -> None:
    settings = settings_for(fresh.data)
    with pytest.raises(Undone), whole_or_not_at_all(settings):
        (fresh.data / "half").mkdir()
        assert init(fresh).code == 75
        assert (fresh.data / "half").is_dir()
        raise KeyboardInterrupt
    assert not fresh.data.exists()


def test_a_database_of_another_installation_is_left_alone(
    fresh: Shop, postgresql_server: Server, postgresql_template: str
) -> None:
    """Nobody is told to empty it, and nothing is made beside it."""
    with postgresql_server.lent(postgresql_template) as name:
        url = postgresql_server.url(name).replace("+psycopg", "")
        fresh.data.with_suffix(".toml").write_text(f'[installation]\ndatabase_url = "{url}"\n')
        ran = init(fresh)
    assert (ran.code, "empty that" in ran.err) == (3, False), ran.err
    assert not fresh.data.exists()


def test_a_database_that_cannot_be_reached_is_named_with_why(fresh: Shop, postgresql_url: str) -> None:
    url = postgresql_url.replace("+psycopg", "") + "x"
    fresh.data.with_suffix(".toml").write_text(f'[installation]\ndatabase_url = "{url}"\n')
    ran = init(fresh)
    assert ran.code == 75
    assert "does not exist" in ran.err and "empty that" not in ran.err
    assert not fresh.data.exists()


def test_what_stands_in_a_database_of_its_own_is_told(fresh: Shop) -> None:
    settings = settings_for(fresh.data, **{"installation.database_url": "postgresql+psycopg://localhost/nowhere"})
    with pytest.raises(HalfMade, match=r"odd.*empty"), whole_or_not_at_all(settings):
        raise RuntimeError("odd")
    assert not fresh.data.exists()
