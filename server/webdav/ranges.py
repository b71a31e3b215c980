"""Byte ranges (RFC 9110 14): which parts of a document a request asks for, in the order and number that is served."""

from __future__ import annotations

import re

_SPEC = re.compile(r"\s*(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))\s*\Z", re.ASCII)
Range = tuple[int, int]


class Unsatisfiable(Exception):
    """No range asked for lies within the document."""


def parse_ranges(text: str, size: int, ranges_max: int) -> list[Range] | None:
    """Return the ranges as (start, stop) pairs, those that touch or overlap merged; None to serve the whole.

    The whole is served where the header is malformed, in another unit, or asks for more than `ranges_max` ranges.
    Raises Unsatisfiable.
    """
    unit, equals, specs = text.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    found: list[Range] = []
    parts = [part for part in specs.split(",") if part.strip()]
    for part in parts:
        spec = _SPEC.match(part)
        if spec is None or (spec[1] and spec[2] and int(spec[2]) < int(spec[1])):
            return None
        if spec[1]:
            start, stop = int(spec[1]), min(int(spec[2]) + 1 if spec[2] else size, size)
        else:
            start, stop = max(0, size - int(spec[3])), size
        if start < stop:
            found.append((start, stop))
    if not parts:
        return None
    if not found:
        raise Unsatisfiable
    merged = _merged(found)
    return merged if len(merged) <= ranges_max else None


def _merged(ranges: list[Range]) -> list[Range]:
    """Merge what touches or overlaps; ranges that do neither keep the order in which they were asked for."""
    kept: list[Range] = []
    for start, stop in ranges:
        touching = [each for each in kept if each[0] <= stop and start <= each[1]]
        if touching:
            place = kept.index(touching[0])
            whole = (min(start, *(each[0] for each in touching)), max(stop, *(each[1] for each in touching)))
            kept = (
                [each for each in kept[:place] if each not in touching]
                + [whole]
                + [each for each in kept[place:] if each not in touching]
            )
        else:
            kept.append((start, stop))
    return kept
