"""Settings: one schema, every wrong one named at once with its line, documentation that is never stale."""

from __future__ import annotations

import tomllib
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from config.errors import WrongSettings
from config.settings import Settings, find_file, load
from config.settings.schema import all_settings, sections
from config.settings.text import documentation, sample
from tests.tools import ROOT

DATA = Path("/srv/mellanrum/data")


def problems(text: str, tmp_path: Path, environ: dict[str, str] | None = None) -> list[str]:
    """Return what is wrong with a settings file, without the folder it stands in."""
    file = tmp_path / "m.toml"
    file.write_text(text)
    with pytest.raises(WrongSettings) as caught:
        load(file, data_folder=DATA, environ=environ or {})
    each = caught.value.facts["each"]
    assert isinstance(each, tuple)
    assert all(problem in str(caught.value) for problem in each)
    return [problem.replace(f"{tmp_path}/", "") for problem in each]


def test_without_a_file_the_defaults_hold() -> None:
    settings = load(data_folder=DATA, environ={})
    assert settings.http == Settings().http
    assert settings.folder == DATA
    assert settings.key_file == Path("/srv/mellanrum/data.key")
    assert settings.zone is UTC
    assert settings.limits.lock_seconds_max == 3600
    assert settings.history.identity_window_seconds == 15
    assert 1 <= settings.workers <= 8


def test_options_before_environment_before_file(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('[http]\nport = 1\nworkers = 2\nhost = "::1"\n[installation]\ndata_folder = "here"\n')
    environ = {"MELLANRUM_HTTP_PORT": "3", "MELLANRUM_HTTP_WORKERS": "4"}
    settings = load(file, overrides={"http.port": 5}, environ=environ)
    assert (settings.http.port, settings.http.workers, settings.http.host) == (5, 4, "::1")
    assert settings.folder == tmp_path / "here"
    assert load(file, data_folder=DATA, environ={}).folder == DATA


def test_every_wrong_setting_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
[http]
port = 99999
prot = 1                      # unknown, near one that is known
self_signed = "yes"
public_origins = [
    "https://files.example/path",
]

[limit]
ranges_max = 2

[installation]
time_zone = "Europe/Stokholm"
database_url = "mysql://root:canary@db/x"
"""
    environ = {"MELLANRUM_SFTP_PORT": "many", "MELLANRUM_HTTP_HOSTS": "x", "MELLANRUM_ROOT_KEY": "0", "HOME": "/"}
    assert problems(text, tmp_path, environ) == [
        "m.toml:2: http.port is 99999, but must be at most 65535.",
        "m.toml:3: there is no setting http.prot. Did you mean port?",
        "m.toml:4: http.self_signed is 'yes', but must be true or false.",
        "m.toml:5: http.public_origins has 'https://files.example/path': write an origin in lower case, like "
        "https://files.example, with nothing after the host.",
        "m.toml:9: there is no section [limit]. Did you mean limits?",
        "m.toml:13: installation.time_zone is no time zone this machine knows: write it like Europe/Stockholm.",
        "m.toml:14: installation.database_url must begin with postgresql://, or be empty for SQLite.",
        "environment variable MELLANRUM_HTTP_HOSTS: there is no such setting. Did you mean MELLANRUM_HTTP_HOST?",
        "environment variable MELLANRUM_SFTP_PORT: sftp.port is 'many', but must be a whole number.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[http\nport = 1\n", "m.toml:1: is no TOML: "),
        ("[http]\nport = 1\nport = 2\n", "m.toml:3: is no TOML: "),
        ("http = 3\n", "m.toml:1: http is a section: write [http] on a line of its own."),
        ("\n\n[http]\n\nport = true\n", "m.toml:5: http.port is True, but must be a whole number."),
        ("http.port = -1\n", "m.toml:1: http.port is -1, but must be at least 0."),
        ("\nhttp = { port = -1 }\n", "m.toml:2: http.port is -1, but must be at least 0."),
        ('[http]\nhost = "a\\u0000b"\n', "m.toml:2: http.host has control characters."),
        ('[http]\nhost = "1.2.3"\n', "m.toml:2: http.host is neither an address nor the name of a host."),
        ('[http]\ntrusted_proxies = ["10.0.0.0/33"]\n', "m.toml:2: http.trusted_proxies has '10.0.0.0/33', which is"),
        ('[http]\ntls_key_file = "k"\n', "m.toml:2: http.tls_key_file needs http.tls_certificate_file beside it."),
        ('[key]\nsource = "usb"\n', "m.toml:2: key.source is 'usb', but must be one of file, environment, systemd"),
        ('[key]\nsource = "command"\n', "m.toml:2: key.source is 'command', but key.command is empty."),
        ('[key]\nfile = "/srv/mellanrum/data/root.key"\n', "m.toml:2: key.file stands inside the data folder"),
        ("port = " + "9" * 5000, "m.toml: cannot be understood: "),
        ("x = " + "[" * 5000, "m.toml: cannot be understood: "),
        ('[installation]\ndatabase_url = "postgresql://h:many/d"', "m.toml:2: installation.database_url has a port"),
    ],
)
def test_wrong(text: str, expected: str, tmp_path: Path) -> None:
    found = problems(text, tmp_path)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path) -> None:
    assert "canary" not in "".join(problems('[installation]\ndatabase_url = "mysql://u:canary@h/x"', tmp_path))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="cannot be read: No such file"):
        load(tmp_path / "none.toml", data_folder=DATA, environ={})
    (tmp_path / "latin.toml").write_bytes(b"[http]\nhost = '\xe5'\n")
    with pytest.raises(WrongSettings, match="is no UTF-8 text"):
        load(tmp_path / "latin.toml", data_folder=DATA, environ={})


def test_the_key_is_found_in_the_data_folder_through_links(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").symlink_to("data")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(WrongSettings, match="inside the data folder"):
        load(data_folder=tmp_path / "data", environ={"MELLANRUM_KEY_FILE": str(tmp_path / "elsewhere" / "k")})
    assert load(data_folder=tmp_path / "data", environ={"MELLANRUM_KEY_FILE": str(tmp_path / "loop")})


def test_no_data_folder_is_named() -> None:
    with pytest.raises(WrongSettings, match="--data FOLDER"):
        load(environ={"MELLANRUM_HTTP_PORT": "1"})
    assert load(environ={}, needs_folder=False).installation.data_folder is None


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert find_file(folder, {}) is None
    beside = tmp_path / "data.toml"
    beside.write_text("[http]\nport = 7\n")
    assert find_file(folder, {}) == beside
    assert load(data_folder=folder, environ={}).http.port == 7
    assert find_file(folder, {"MELLANRUM_SETTINGS": "/x.toml"}) == Path("/x.toml")


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        ("MELLANRUM_HTTP_SELF_SIGNED", "On", lambda settings: settings.http.self_signed is True),
        (
            "MELLANRUM_HTTP_TRUSTED_PROXIES",
            "10.0.0.0/8, ::1",
            lambda s: s.http.trusted_proxies == ("10.0.0.0/8", "::1"),
        ),
        ("MELLANRUM_KEY_COMMAND", '["a", "b, c"]', lambda settings: settings.key.command == ("a", "b, c")),
        ("MELLANRUM_KEY_FILE", "/k", lambda settings: settings.key_file == Path("/k")),
        (
            "MELLANRUM_INSTALLATION_DATABASE_URL",
            "postgres://u@h/d",
            lambda settings: settings.installation.database_url == "postgresql+psycopg://u@h/d",
        ),
    ],
)
def test_variables_of_every_type(variable: str, text: str, read: object) -> None:
    assert callable(read)
    assert read(load(data_folder=DATA, environ={variable: text}))


@given(st.dictionaries(st.sampled_from([each.variable for each in all_settings()]), st.text(max_size=20)))
@example({"MELLANRUM_INSTALLATION_DATA_FOLDER": "~0"})
@example({"MELLANRUM_KEY_FILE": "x" * 5000})
def test_no_environment_raises_anything_else(environ: dict[str, str]) -> None:
    try:
        assert isinstance(load(data_folder=DATA, environ=environ), Settings)
    except WrongSettings as error:
        assert error.facts["each"]


def test_every_setting_is_documented_and_nothing_is_stale() -> None:
    stale = 'is stale: run "make settings"'
    assert (ROOT / "docs" / "SETTINGS.md").read_text() == documentation(), f"docs/SETTINGS.md {stale}"
    assert (ROOT / "deploy" / "mellanrum.example.toml").read_text() == sample(), f"the sample {stale}"


def test_each_setting_has_a_sentence_and_a_default_that_is_right() -> None:
    for each in all_settings():
        assert each.meaning.sentence.endswith("."), each.key
        assert "|" not in each.meaning.sentence, each.key
        if isinstance(each.default, int) and not isinstance(each.default, bool):
            assert each.meaning.maximum is not None, f"{each.key} needs a limit"
            assert (each.meaning.minimum or 0) <= each.default <= each.meaning.maximum, each.key
    for kind in sections().values():
        assert (kind.__doc__ or "").endswith("."), kind


def test_the_sample_is_right_with_every_line_taken(tmp_path: Path) -> None:
    """Uncommented whole, it must load: each example is one that works."""
    lines = [line.removeprefix("# ") if " = " in line else line for line in sample().splitlines()]
    others = ("self_signed", "password_file")  # each excludes another, which is taken here
    lines = [line for line in lines if not line.startswith(others)]
    text = "\n".join(lines)
    assert {f"{section}.{name}" for section, own in tomllib.loads(text).items() for name in own} >= {
        each.key for each in all_settings() if each.name not in others
    }
    file = tmp_path / "m.toml"
    file.write_text(text)
    settings = load(file, environ={})
    assert settings.http.public_origins == ("https://files.example",)
