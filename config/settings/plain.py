"""Settings as one process hands them to another: what JSON can carry, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config.settings import Settings
from config.settings.schema import all_settings, sections


def settings_to_plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON can carry them."""
    plain: dict[str, Any] = {}
    for each in all_settings():
        value = getattr(getattr(settings, each.section), each.name)
        plain[each.key] = str(value) if isinstance(value, Path) else list(value) if each.kind is tuple else value
    return plain


def settings_from_plain(plain: dict[str, Any]) -> Settings:
    """Return the settings that `settings_to_plain` wrote. They were checked when they were read."""
    values: dict[str, dict[str, Any]] = {section: {} for section in sections()}
    for each in all_settings():
        value = plain[each.key]
        if value is not None and each.kind is Path:
            value = Path(value)
        values[each.section][each.name] = tuple(value) if each.kind is tuple else value
    return Settings(**{section: kind(**values[section]) for section, kind in sections().items()})
