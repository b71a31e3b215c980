"""From a TOML file, the environment and options to `Settings`. All that is wrong is found and told at once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.errors import WrongSettings
from config.settings.schema import PREFIX, Named, Settings, all_settings, sections

SYSTEM_FILE = Path("/etc/mellanrum/mellanrum.toml")
FILE_VARIABLE = "MELLANRUM_SETTINGS"
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_KINDS = {
    str: "text in quotes",
    int: "a whole number",
    bool: "true or false",
    Path: "a path in quotes",
    tuple: "a list of texts",
}


def find_file(data_folder: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the settings file that counts when none is named, or None.

    It is what MELLANRUM_SETTINGS names; else the one beside the data folder, `<folder>.toml`; else, if no folder is
    named, /etc/mellanrum/mellanrum.toml.
    """
    if environ.get(FILE_VARIABLE):
        return Path(environ[FILE_VARIABLE])
    file = SYSTEM_FILE if data_folder is None else data_folder.with_name(data_folder.name + ".toml")
    try:
        return file if file.exists() else None
    except OSError:  # it may be there and not for us: let `load` say so
        return file


def load(
    file: Path | None = None,
    *,
    data_folder: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    needs_folder: bool = True,
) -> Settings:
    """Return the settings: of `overrides`, else of the environment, else of the file, else the defaults.

    Args:
        file: TOML; None: what `find_file` finds.
        data_folder: what `--data` said. Paths in the file are relative to the file's folder.
        overrides: what other options said, by key: `{"http.port": 0}`.
        needs_folder: refuse settings that name no data folder.

    Raises:
        WrongSettings: `problems` has a line for each; `each` the same as a tuple.
    """
    reading = _Reading()
    file = file or find_file(data_folder, environ)
    if file is not None:
        reading.take_file(file)
    reading.take_environment(environ)
    given = dict(overrides or {})
    if data_folder is not None:
        given["installation.data_folder"] = data_folder
    reading.take_options(given)
    settings = reading.settings()
    reading.problems.extend(_together(settings, reading.origins, needs_folder))
    if reading.problems:
        each = tuple(reading.problems)
        raise WrongSettings(problems="".join(f"\n  {problem}" for problem in each) + "\n", each=each)
    return settings


@dataclass
class _Reading:
    """Values found so far, where each came from, and what is wrong with them."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    known: dict[str, Named] = field(default_factory=lambda: {each.key: each for each in all_settings()})

    def settings(self) -> Settings:
        made = {}
        for section, kind in sections().items():
            own = {
                each.name: self.values[each.key]
                for each in self.known.values()
                if each.section == section and each.key in self.values
            }
            made[section] = kind(**own)
        return Settings(**made)

    def take_file(self, file: Path) -> None:
        try:
            text = file.read_text(encoding="utf-8")
            table = tomllib.loads(text)
        except OSError as error:
            self.problems.append(f"{file}: cannot be read: {error.strerror}.")
            return
        except UnicodeDecodeError:
            self.problems.append(f"{file}: is no UTF-8 text.")
            return
        except tomllib.TOMLDecodeError as error:
            self.problems.append(_syntax(file, str(error)))
            return
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
            self.problems.append(f"{file}: cannot be understood: {error}.")
            return
        lines = _lines(text)
        for section, own in table.items():
            self._take_section(file, lines, section, own)

    def _take_section(self, file: Path, lines: Mapping[str, int], section: str, own: object) -> None:
        where = f"{file}:{lines.get(section, 1)}"
        if section not in sections():
            self.problems.append(f"{where}: there is no section [{section}].{_nearest(section, sections())}")
            return
        if not isinstance(own, dict):
            self.problems.append(f"{where}: {section} is a section: write [{section}] on a line of its own.")
            return
        for name, value in own.items():
            key = f"{section}.{name}"
            where = f"{file}:{lines.get(key, lines.get(section, 1))}"
            if key in self.known:
                self._take(self.known[key], value, where, base=file.resolve().parent)
            else:
                names = [each.name for each in self.known.values() if each.section == section]
                self.problems.append(f"{where}: there is no setting {key}.{_nearest(name, names)}")

    def take_environment(self, environ: Mapping[str, str]) -> None:
        by_variable = {each.variable: each for each in self.known.values()}
        for variable in sorted(name for name in environ if name.startswith(PREFIX)):
            where = f"environment variable {variable}"
            if variable in by_variable:
                named = by_variable[variable]
                self._take(named, _from_text(named.kind, environ[variable]), where, base=Path.cwd())
            elif nearest := _nearest(variable, by_variable, cutoff=0.85):
                self.problems.append(f"{where}: there is no such setting.{nearest}")

    def take_options(self, given: Mapping[str, Any]) -> None:
        for key, value in given.items():
            named = self.known[key]
            plain = str(value) if named.kind is Path else list(value) if named.kind is tuple else value
            where = "--data" if key == "installation.data_folder" else f"option for {key}"
            self._take(named, plain, where, base=Path.cwd())

    def _take(self, named: Named, value: object, where: str, base: Path) -> None:
        wrong = _wrong(named, value)
        if wrong:
            self.problems.append(f"{where}: {named.key} {wrong}.")
            return
        if named.kind is Path:
            value = base / os.path.expanduser(str(value)) if value else None
        elif named.kind is tuple:
            value = tuple(value)  # type: ignore[arg-type]  # _wrong has seen that it is a list
        elif named.key == "installation.database_url":
            value = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", str(value))
        self.values[named.key] = value
        self.origins[named.key] = where


def _wrong(named: Named, value: object) -> str | None:
    """Return what is wrong with the value, or None. Secrets are not repeated."""
    meaning = named.meaning
    shown = "" if meaning.is_secret else f"is {value!r}, but "
    if not _fits(named.kind, value):
        return f"{shown}must be {_KINDS[named.kind]}"
    if isinstance(value, str) and any(ord(character) < 32 or ord(character) == 127 for character in value):
        return "has control characters"
    if isinstance(value, int) and meaning.minimum is not None and value < meaning.minimum:
        return f"{shown}must be at least {meaning.minimum}"
    if isinstance(value, int) and meaning.maximum is not None and value > meaning.maximum:
        return f"{shown}must be at most {meaning.maximum}"
    if meaning.choices and value not in meaning.choices:
        return f"{shown}must be one of {', '.join(meaning.choices)}"
    return meaning.check(tuple(value) if isinstance(value, list) else value) if meaning.check else None


def _fits(kind: type, value: object) -> bool:
    if kind is tuple:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str if kind is Path else kind)


def _from_text(kind: type, text: str) -> object:
    """Return what a variable's text means; the text itself if it means nothing of that kind."""
    if kind is int and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if kind is bool and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    if kind is tuple:
        if text.startswith("["):
            try:
                return tomllib.loads(f"value = {text}")["value"]
            except (ValueError, RecursionError):
                return text
        return [each.strip() for each in text.split(",") if each.strip()]
    return text


_MAIL = ("sender", "recipients")


def _together(settings: Settings, origins: Mapping[str, str], needs_folder: bool) -> Iterable[str]:
    """Yield what is wrong with settings that are right each by itself."""
    http, folder = settings.http, settings.installation.data_folder

    def where(key: str) -> str:
        return f"{origins[key]}: " if key in origins else ""

    if folder is None:
        if needs_folder:
            yield "no data folder is named: give --data FOLDER, or set installation.data_folder."
    elif settings.key.source == "file" and _is_inside(settings.key_file, folder):
        yield f"{where('key.file')}key.file stands inside the data folder: whoever copies the one has the other."
    for one, other in (("tls_certificate_file", "tls_key_file"), ("tls_key_file", "tls_certificate_file")):
        if getattr(http, one) and not getattr(http, other):
            yield f"{where(f'http.{one}')}http.{one} needs http.{other} beside it."
    if http.self_signed and http.tls_certificate_file:
        yield f"{where('http.self_signed')}http.self_signed and http.tls_certificate_file exclude each other."
    if settings.key.source == "command" and not settings.key.command:
        yield f"{where('key.source')}key.source is 'command', but key.command is empty."
    throttle = settings.throttle
    if throttle.wait_seconds_first > throttle.wait_seconds_max:
        yield f"{where('throttle.wait_seconds_first')}throttle.wait_seconds_first is more than wait_seconds_max."
    mail = settings.mail
    if mail.host:
        yield from (f"{where('mail.host')}mail.host needs mail.{name}." for name in _MAIL if not getattr(mail, name))
        if mail.user and mail.security == "none":
            yield f"{where('mail.user')}mail.user needs TLS: mail.security is 'none', and the password would be read."
    if mail.password and mail.password_file:
        yield f"{where('mail.password_file')}mail.password and mail.password_file exclude each other."


def _is_inside(file: Path, folder: Path) -> bool:
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def _nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {found[0]}?" if found else ""


def _syntax(file: Path, message: str) -> str:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place is None:
        return f"{file}: is no TOML: {message}."
    return f"{file}:{place[1]}: is no TOML: {message[: place.start()]}, at column {place[2]}."


_HEADER = re.compile(r"\s*\[+\s*([A-Za-z0-9_.\"' -]+?)\s*\]+\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=")


def _lines(text: str) -> dict[str, int]:
    """Return the line on which each section and key first stands. tomllib keeps no places."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            section = _bare(header[1])
            found.setdefault(section, number)
        elif key := _KEY.match(line):
            path = f"{section}.{_bare(key[1])}".strip(".")
            found.setdefault(path, number)
            found.setdefault(path.split(".")[0], number)
    return found


def _bare(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
