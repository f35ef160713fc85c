"""Text with a unit ("50 ms", "10 Hz", "512 MB") → exact numbers; and back, for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

_DURATION_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
_SIZE_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_DAY, _YEAR = 86_400, 31_556_952  # seconds
_RATE_HZ = {"mHz": Fraction(1, 1000), "Hz": Fraction(1), "kHz": Fraction(1000)}
KNOWN = {"duration": tuple(_DURATION_NS), "size": tuple(_SIZE_BYTES), "rate": tuple(_RATE_HZ)}
_TICKS = re.compile(r"\s*([0-9]{1,6})\s*ticks?\s*")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")
_PERCENT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]+)\s*")


def duration(text: object) -> int:
    """Parse a duration such as ``50 ms`` into whole nanoseconds.

    Raises:
        ValueError: no number, no unit, an unknown unit, or a fraction of a nanosecond.

    """
    value = _parse(text, _DURATION_NS, "a duration", "50 ms")
    if value.denominator != 1:
        msg = f"{text!r} is not a whole number of nanoseconds"
        raise ValueError(msg)
    return int(value)


def signed_duration(text: object) -> int:
    """Parse a duration that may be negative, such as ``-40 ms``, into whole nanoseconds.

    Raises:
        ValueError: as for `duration`.

    """
    sign, rest = _signed(text)
    return sign * duration(rest)


def later(text: object) -> tuple[int, int]:
    """Parse how much later something is, ``+100 ms`` or ``+1 tick``, into (nanoseconds, ticks), one of which is 0.

    Raises:
        ValueError: neither a duration nor a whole number of ticks.

    """
    sign, rest = _signed(text)
    match = _TICKS.fullmatch(rest) if isinstance(rest, str) else None
    return (0, sign * int(match[1])) if match else (sign * duration(rest), 0)


def moment(text: object) -> tuple[int, bool]:
    """Parse ``5 s`` (from the beginning on) or an ISO 8601 time into (nanoseconds, whether they count from 1970).

    A time without an offset from UTC is in UTC; digits beyond the nanosecond are an error.

    Raises:
        ValueError: neither of both.

    """
    if isinstance(text, datetime):  # YAML reads a bare time so
        text = text.isoformat()
    match = _ISO.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        return duration(text), False
    whole, fraction, zone = match.groups()
    try:
        when = datetime.fromisoformat(whole + (zone or ""))
    except ValueError as error:
        msg = f"{text!r} is not an ISO 8601 time such as '2026-11-26T10:00:05Z': {error}"
        raise ValueError(msg) from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    seconds = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return seconds * 10**9 + int((fraction or "").ljust(9, "0")), True


def _signed(text: object) -> tuple[int, object]:
    """Split a sign from a text."""
    if isinstance(text, str) and text.strip()[:1] in ("-", "+"):
        return (-1 if text.strip()[0] == "-" else 1), text.strip()[1:]
    return 1, text


def size(text: object) -> int:
    """Parse a size such as ``512 MB`` (10⁶) or ``512 MiB`` (2²⁰) into bytes.

    Raises:
        ValueError: no number, no unit or an unknown unit.

    """
    return int(_parse(text, _SIZE_BYTES, "a size", "512 MB"))


def rate(text: object) -> Fraction:
    """Parse a rate such as ``10 Hz`` or ``29.97 Hz`` into an exact fraction of hertz, above 0.

    Raises:
        ValueError: no number, no unit, an unknown unit or zero.

    """
    value = _parse(text, _RATE_HZ, "a rate", "10 Hz")
    if value <= 0:
        msg = f"{text!r} is not a rate above 0 Hz"
        raise ValueError(msg)
    return value


def share(text: object) -> float:
    """Parse a share such as ``10 %`` into a number from 0 to 1.

    Raises:
        ValueError: no number, no percent sign, or more than all.

    """
    match = _PERCENT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        msg = f"{text!r} is not a share: write a number and %, such as '10 %'"
        raise ValueError(msg)
    value = float(Fraction(match[1]) / 100)
    if value > 1:
        msg = f"{text!r} is more than 100 %"
        raise ValueError(msg)
    return value


def _parse(text: object, units: dict[str, int] | dict[str, Fraction], what: str, example: str) -> Fraction:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        msg = f"{text!r} is not {what}: write a number and its unit, such as '{example}'"
        raise ValueError(msg)
    number, unit = match.groups()
    if unit not in units:
        msg = f"{text!r} has the unknown unit {unit!r}: use one of {', '.join(units)}"
        raise ValueError(msg)
    return Fraction(number) * units[unit]


def exact(value: int, kind: str) -> str:
    """Write a ``duration`` in nanoseconds or a ``size`` in bytes so that it reads back the same: ``512 MB``."""
    table = {"duration": _DURATION_NS, "size": _SIZE_BYTES}[kind]
    unit = max((unit for unit, factor in table.items() if value % factor == 0), key=lambda unit: table[unit])
    return f"{value // table[unit]} {unit}"


def show_duration(nanoseconds: int) -> str:
    """Write a duration for a person: ``12.4 ms``, ``3.2 s``, ``2 min 05 s``."""
    for limit, factor, name in ((10**6, 10**3, "µs"), (10**9, 10**6, "ms"), (60 * 10**9, 10**9, "s")):
        if nanoseconds < limit - factor / 2:
            return f"{_three_digits(nanoseconds / factor)} {name}"
    seconds = round(nanoseconds / 10**9)
    if seconds < 2 * 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 2 * _DAY:
        return f"{seconds // 3600} h {seconds // 60 % 60:02d} min"
    return f"{seconds // _DAY} days" if seconds < 2 * _YEAR else f"{seconds // _YEAR} years"


def show_size(count: int) -> str:
    """Write a number of bytes for a person, in powers of ten: ``3.66 MB``."""
    for name, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor * 0.9995:
            return f"{_three_digits(count / factor)} {name}"
    return f"{count} B"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"
