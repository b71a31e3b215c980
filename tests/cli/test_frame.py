"""What holds of every command: options before and after, one document, one line, a code that says which kind it was."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.cli.holding import Hold
from server.cli.main import main, parser
from server.cli.progress import Progress, line
from tests.cli.shop import PROGRAM, SUPPLIER, Shop, process
from tests.tools import ROOT


def test_options_stand_before_a_command_or_after_it(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(shop.data)
    for words in (
        ["--data", data, "--json", "org", "list"],
        ["org", "--data", data, "list", "--json"],
        ["--json", "org", "list", "--data", data],
    ):
        assert main(words) == 0
        assert [each["name"] for each in json.loads(capsys.readouterr().out)] == [SUPPLIER]


def test_a_settings_file_says_which_installation(shop: Shop, tmp_path: Path) -> None:
    settings = tmp_path / "mellanrum.toml"
    settings.write_text('[installation]\ndata_folder = "data"\n')
    assert process("--settings", settings, "key", "show", "--json").json["wraps"] == 2
    assert process("key", "show", "--json", MELLANRUM_SETTINGS=str(settings)).json["wraps"] == 2
    assert process("key", "show", "--json", MELLANRUM_INSTALLATION_DATA_FOLDER=str(shop.data)).json["wraps"] == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["org"], 64, "required"),
        (["no-such-noun"], 64, "invalid choice"),
        (["org", "add"], 64, "NAME"),
        (["org", "list", "--jso"], 64, "Unrecognized"),
        (["--data", "/nonexistent/mellanrum", "org", "list"], 3, "init"),
        (["--data", "/nonexistent/mellanrum", "upgrade"], 3, "init"),
        (["audit", "verify", "/nonexistent/bundle"], 66, "/nonexistent/bundle"),
        (["apply", "/nonexistent/list.toml"], 66, "/nonexistent/list.toml"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code(words: list[str], code: int, says: str) -> None:
    ran = process(*words)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("mellanrum: ")
    assert ran.err.count("\n") == 1
    assert says in ran.err


def test_errors_are_a_document_too() -> None:
    ran = process("--json", "--data", "/nonexistent/mellanrum", "person", "list")
    assert ran.code == 3
    assert ran.json["error"]["kind"] == "NotInitialised"
    assert ran.json["error"]["exit_code"] == 3
    assert ran.json["error"]["message"] in ran.err


def test_wrong_settings_are_all_named(tmp_path: Path) -> None:
    settings = tmp_path / "wrong.toml"
    settings.write_text("[http]\nport = 99999\nworkers = -1\n")
    ran = process("--settings", settings, "doctor")
    assert ran.code == 2
    assert all(name in ran.err for name in ("http.port", "http.workers", "data folder"))


def test_what_nobody_foresaw_is_one_line_and_says_where(shop: Shop) -> None:
    (shop.data / "catalogue.db").write_bytes(b"no database at all, " * 500)
    for suffix in ("-wal", "-shm"):
        shop.data.with_name(f"catalogue.db{suffix}").unlink(missing_ok=True)
    ran = process("--data", shop.data, "org", "list")
    assert ran.code not in (0, 1, 2)
    assert ran.err.count("\n") == 1
    assert "Traceback" in process("--data", shop.data, "org", "list", MELLANRUM_TRACE="1").err or ran.code != 70


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "latin-1:strict"])
def test_what_standard_output_cannot_write_was_no_answer_at_all(shop: Shop, encoding: str) -> None:
    """What an argument was may be no text, and a name more than a terminal's encoding has."""
    shop.ok("org", "add", "Åkers Bygg 木")
    for words in (("person", "show", b"\xff".decode("utf-8", "surrogateescape")), ("person", "show", "木😀")):
        ran = process("--data", shop.data, *words, "--json", PYTHONIOENCODING=encoding)
        assert (ran.code, ran.json["error"]["kind"]) == (23, "UnknownName")
        assert words[2] in ran.json["error"]["message"]
        assert "Traceback" not in ran.err
    ran = process("--data", shop.data, "org", "list", "--json", PYTHONIOENCODING=encoding)
    assert "Åkers Bygg 木" in [each["name"] for each in ran.json]
    ran = process("--data", shop.data, "org", "list", PYTHONIOENCODING="ascii:strict")
    assert (ran.code, "\\xc5kers Bygg \\u6728" in ran.out) == (0, True)


@pytest.mark.parametrize(
    "words",
    [
        ("key", "kit", "FILE", "--passphrase-file", "-"),
        ("audit", "export", "FILE"),
        ("audit", "verify", "FILE"),
        ("backup", "FILE"),
        ("space", "create", "Bokslut", "--template", "FILE"),
    ],
)
def test_a_name_longer_than_a_file_may_have_was_unforeseen(shop: Shop, words: tuple[str, ...]) -> None:
    name = "x" * 300
    ran = process("--data", shop.data, *(name if word == "FILE" else word for word in words))
    assert (ran.code, ran.out, ran.err.count("\n")) == (66, "", 1)
    assert name in ran.err


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 74), (errno.EDQUOT, 74), (errno.EROFS, 62), (errno.EIO, 62)]
)
def test_a_full_or_failing_disk_was_unforeseen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    def refused(*given: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Hold, "shared", refused)
    ran = shop.run("org", "list")
    assert ran.code == code
    assert "disk" in ran.err or "room" in ran.err


def test_nothing_is_asked_without_a_terminal(shop: Shop) -> None:
    shop.ok("org", "add", "Kund AB")
    ran = process("--data", shop.data, "org", "remove", "Kund AB")
    assert ran.code == 7
    assert "--yes" in ran.err
    assert "Kund AB" in shop.run("org", "list").out


def test_every_command_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    for noun in ("org", "person", "group", "space", "grant", "device", "key", "audit"):
        with pytest.raises(SystemExit):
            parser().parse_args([noun, "--help"])
        told = capsys.readouterr().out
        assert "list" in told or noun == "key"


def test_a_bar_shows_how_far_work_has_come() -> None:
    assert line("applying", 5, 10) == f"applying [{'#' * 15}{'.' * 15}] 5 of 10"
    assert line("verifying", 7, None) == "verifying … 7"

    class Terminal:
        text = ""

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None:
            pass

    shown = Terminal()
    with Progress("applying", 2, shown) as bar:  # type: ignore[arg-type]
        bar.step()
    assert "1 of 2" in shown.text
    assert shown.text.endswith("\x1b[K")


def test_the_documentation_is_that_of_the_commands() -> None:
    spec = importlib.util.spec_from_file_location("cli_text", ROOT / "deploy" / "dev" / "cli_text.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text(), "run: make commands"
    codes = {kind.exit_code for kind in module.errors()}
    assert {1, 2, 3, 64, 66, 70} <= codes


# --- standard streams


def through_shell(shop: Shop, streams: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with streams set up by the shell; what it may say on its own comes back."""
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", str(PROGRAM), "--data", str(shop.data), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_made_a_command_fail(shop: Shop, streams: str) -> None:
    assert through_shell(shop, streams, "org", "list").returncode == 0


def test_a_child_has_all_streams_though_one_was_closed(tmp_path: Path) -> None:
    """A worker's standard error would else be the first file that it opens."""
    child = "import os; [os.fstat(number) for number in range(3)]"
    ours = (
        "import subprocess, sys; from server.cli.main import open_streams; open_streams()\n"
        f"sys.exit(subprocess.run([sys.executable, '-c', {child!r}]).returncode)"
    )
    command = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-c", ours]
    assert subprocess.run(command, timeout=100, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_answer_that_a_full_disk_does_not_take_is_told_of(shop: Shop, options: list[str]) -> None:
    shop.run("person", "add", "li", "Li", "--org", SUPPLIER)
    ran = through_shell(shop, ">/dev/full", *options, "device", "add", "li", "laptop")
    assert (ran.returncode, ran.stdout) == (74, "")
    assert ran.stderr.startswith("mellanrum: The answer could not be printed: no space left on device.")
    assert ran.stderr.count("\n") == 1
    assert through_shell(shop, "2>/dev/full", "org", "list", "no", "such").returncode == 64


def test_a_third_of_what_a_command_took_went_into_looking_for_garbage() -> None:
    program = (
        "import gc, sys; from server.cli.start import main\n"
        "looked, sys.argv = gc.get_stats()[2]['collections'], ['mellanrum', '--version']\n"
        "try: main()\n"
        "finally: print(gc.get_stats()[2]['collections'] - looked, gc.get_freeze_count() > 50_000, gc.isenabled())"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=100)
    assert ran.stdout.splitlines()[-1] == "0 True True", ran.stderr


@pytest.mark.parametrize("module", ["asyncssh", "wsgidav", "cheroot", "flask", "jinja2"])
def test_a_command_waited_for_what_only_a_server_needs(module: str) -> None:
    program = f"import sys, server.cli.main; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", program], timeout=100).returncode == 0
