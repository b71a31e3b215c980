"""What the documents promise stands: commands exist, the changelog is kept, packages are listed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cli.main import parser
from tests.tools import ROOT, find, listed_packages

README = ROOT / "README.md"
TARGETS = ("demo", "run", "test", "check", "proof", "bench")


def commands(document: Path) -> Iterator[str]:
    """Yield each line of each code block, without its prompt, and each code span that begins with a command of ours."""
    text = document.read_text(encoding="utf-8")
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line.strip().removeprefix("$ ") for line in block.splitlines())
    yield from re.findall(r"`((?:make|mellanrum) [^`\n]+)`", text)


def words_of(command: str, program: str) -> list[str]:
    """Return the plain words after the program's name, up to the first that is no subcommand."""
    found = re.search(rf"(?:^|[\s/]){program} ((?:--data \S+ )?)([a-z -]+)", command)
    words = found[2].split() if found else []
    return [word for word in words if not word.startswith("-")]


def documents() -> list[Path]:
    return [README, *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_named_in_documents_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets >= set(TARGETS)
    for command in commands(document):
        if command.startswith("make "):
            named = [word for word in command.split("#")[0].split()[1:] if "=" not in word and word.islower()]
            assert named[:1], command
            assert named[0] in targets, f"{document.name}: {command}"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_mellanrum_commands_named_in_documents_exist(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = [line for line in commands(document) if re.match(r"(?:\.venv/bin/)?mellanrum ", line)]
    for words in sorted({tuple(words_of(command, "mellanrum")[:1]) for command in named} - {()}):
        with pytest.raises(SystemExit) as left:
            parser().parse_args([*words, "--help"])
        assert left.value.code == 0, f"{document.name}: mellanrum {' '.join(words)}: {capsys.readouterr().err}"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_page_for_a_program_is_in_their_index() -> None:
    folder = ROOT / "docs" / "clients"
    listed = set(re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", (folder / "README.md").read_text(), re.MULTILINE))
    assert listed == {page.name for page in folder.glob("*.md")} - {"README.md"}


def test_the_readme_names_the_test_command_that_ci_runs() -> None:
    assert "make test" in [command.split("#")[0].strip() for command in commands(README)]
    assert "make demo" in [command.split("#")[0].strip() for command in commands(README)]
    assert re.search(r"^make test\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_changelog_is_kept() -> None:
    text = (ROOT / "docs" / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections, "no version has a section"
    assert sections[0].split()[0] in ("Unreleased", version[1])
    assert re.search(r"^- ", text, re.MULTILINE)


def test_packages_are_listed_well() -> None:
    assert {purpose for purpose, _, _ in listed_packages()} == {"run", "test", "proof", "bench"}
    for _, package, shows in listed_packages():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package)
        assert shows


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests import tools

    monkeypatch.setattr(tools, "find", lambda tool: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"nbdfuse is missing: apt-get install libnbd-bin"):
        tools.need("nbdfuse")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="libnbd-bin"):
        tools.need("nbdfuse")
    assert find("no-such-program") is None
