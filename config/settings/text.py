"""The schema as people read it: docs/SETTINGS.md and the sample file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from config.settings.schema import Named, all_settings, sections

_KINDS = {str: "text", int: "number", bool: "true or false", Path: "path", tuple: "list of texts"}
_RULES = """\
An option on the command line goes before an environment variable, that before the file, that before the default.

The file is the one that `--settings` or `MELLANRUM_SETTINGS` names; else `<folder>.toml` beside the data folder that
`--data` names; else, without `--data`, `/etc/mellanrum/mellanrum.toml`. Paths in it are relative to its own folder.

The variable of a setting is `MELLANRUM_`, its section, `_`, its name, in capitals: `MELLANRUM_HTTP_PORT`. Lists in
variables are separated by commas, or written as in TOML.

A setting that is wrong or unknown keeps Mellanrum from starting, and all are named at once, each with its line."""


def documentation() -> str:
    """Return docs/SETTINGS.md."""
    return "\n".join(_documentation()) + "\n"


def sample() -> str:
    """Return a settings file in which every setting stands, commented out, with its default."""
    return "\n".join(_sample()) + "\n"


def _documentation() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Derived from `config/settings/schema.py` by `make settings`: change them there."
    yield ""
    yield _RULES
    for section, kind in sections().items():
        yield ""
        yield f"## [{section}]"
        yield ""
        yield _title(kind)
        yield ""
        yield "| Setting | Type | Default | Meaning |"
        yield "|---|---|---|---|"
        for each in all_settings():
            if each.section == section:
                yield f"| `{each.name}` | {_type(each)} | {_default(each)} | {each.meaning.sentence} |"


def _sample() -> Iterator[str]:
    yield "# Settings of a Mellanrum installation: each with its default or an example, commented out."
    yield "# docs/SETTINGS.md says where this file may stand. Derived by `make settings`."
    for section, kind in sections().items():
        yield ""
        yield f"# {_title(kind)}"
        yield f"[{section}]"
        for each in all_settings():
            if each.section == section:
                yield ""
                yield f"# {each.meaning.sentence} ({_type(each)})"
                yield f"# {each.name} = {_toml(_shown(each))}"


def _title(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())


def _shown(each: Named) -> object:
    return each.default if each.default not in (None, "", ()) else each.meaning.example


def _type(each: Named) -> str:
    meaning = each.meaning
    if meaning.choices:
        return "one of " + ", ".join(meaning.choices)
    if meaning.minimum is not None and meaning.maximum is not None:
        return f"number, {meaning.minimum} to {meaning.maximum}"
    if meaning.minimum is not None:
        return f"number, {meaning.minimum} or more"
    return _KINDS[each.kind]


def _default(each: Named) -> str:
    return "unset" if each.default in (None, "", ()) else f"`{_toml(each.default)}`"


def _toml(value: object) -> str:
    """Return the value as TOML writes it; for what settings hold, that is JSON."""
    return json.dumps(value, ensure_ascii=False)
