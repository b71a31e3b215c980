"""Byte ranges (RFC 9110 14): which parts of a document a request asks for, in the order and number that is served."""

from __future__ import annotations

import re
from operator import itemgetter

_SPEC = re.compile(r"\s*(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))\s*\Z", re.ASCII)
Range = tuple[int, int]


class Unsatisfiable(Exception):
    """No range asked for lies within the document."""


def parse_ranges(text: str, size: int, ranges_max: int) -> list[Range] | None:
    """Return the ranges as (start, stop) pairs, those that touch or overlap merged; None to serve the whole.

    The whole is served where the header is malformed, in another unit, or asks for more than `ranges_max` ranges,
    be they next to each other.
    Raises Unsatisfiable.
    """
    unit, equals, specs = text.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    found: list[Range] = []
    parts = [part for part in specs.split(",") if part.strip()]
    if not 0 < len(parts) <= ranges_max:
        return None
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
    if not found:
        raise Unsatisfiable
    return _merged(found)


def _merged(ranges: list[Range]) -> list[Range]:
    """Merge what touches or overlaps; what remains keeps the order in which its first range was asked for."""
    kept: list[tuple[int, int, int]] = []
    for start, stop, place in sorted((start, stop, place) for place, (start, stop) in enumerate(ranges)):
        if kept and start <= kept[-1][1]:
            before = kept.pop()
            kept.append((before[0], max(stop, before[1]), min(place, before[2])))
        else:
            kept.append((start, stop, place))
    return [(start, stop) for start, stop, _ in sorted(kept, key=itemgetter(2))]
