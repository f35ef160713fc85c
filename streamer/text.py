"""Names and messages from outside → text that is safe on a terminal, in a line of a log, and in a file's name.

A recording may be called anything that a file may: a name can hold line breaks, the escape sequences that move a cursor
or set a window's title, and the marks that turn the direction of writing round.
"""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any

_LONGEST_NAME = 160  # bytes of UTF-8, so that a consumer's endings fit into the 255 that a file's name may have
_KEPT = 140  # bytes of a longer one
_UNSAFE = (
    "\x00-\x1f\x7f-\x9f"  # control characters
    "\u2028\u2029"  # line and paragraph separators
    "\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c"  # direction of writing
    "\ud800-\udfff"  # bytes that are not UTF-8, as the system's names have them
)
_CONTROL = re.compile(f"[{_UNSAFE}]")
_CONTROL_BUT_LINES = re.compile(f"[{_UNSAFE}]".replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_NOT_IN_NAMES = re.compile(rf"[{_UNSAFE}/\\]|%(?=[0-9A-Fa-f]{{2}})|^[-~]|^\.(?=\.?$)")


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return text with every control character written as an escape (``\x1b``); ``lines`` keeps line breaks."""
    return (_CONTROL_BUT_LINES if lines else _CONTROL).sub(_escape, text)


def paragraph(text: str) -> str:
    """Return a message that is safe to show: lines that continue it are indented, not to pass for others."""
    return re.sub(r"\n(?! )", "\n    ", visible(text, lines=True))


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    )


def safe_name(name: str) -> str:
    """Return a name that can be one part of a path, whatever ``name`` holds; other names give other results.

    Separators, control characters, a leading ``-`` or ``~`` and the names ``.`` and ``..`` are percent-encoded as UTF-8
    bytes, as is a ``%`` that could be taken for such a code. A name that is too long ends in a digest of the whole.
    """
    encoded = _NOT_IN_NAMES.sub(_percent, name)
    content = encoded.encode("utf-8", "surrogateescape")
    if len(content) <= _LONGEST_NAME:
        return encoded
    digest = hashlib.sha256(content).hexdigest()[:16]
    return f"{content[:_KEPT].decode('utf-8', 'ignore')}~{digest}"


def path_part(name: str) -> str:
    """Return a name as it is where it can be one part of a path, else as `safe_name` encodes it."""
    return safe_name(name) if name in ("", ".", "..") or "/" in name or _CONTROL.search(name) else name


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found.group().encode("utf-8", "surrogateescape"))


class LineFormatter(logging.Formatter):
    """Writes a record so that its text cannot pass for other records: lines that continue it are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return visible(super().format(record), lines=True).replace("\n", "\n    ")


def fill_in(value: Any, word: str, name: str) -> Any:
    """Put a name where texts, alone or in dicts and lists, say ``{word}``: it is never more than one part of a path."""
    if isinstance(value, str):
        return value.replace(f"{{{word}}}", path_part(name))
    if isinstance(value, dict):
        return {key: fill_in(inner, word, name) for key, inner in value.items()}
    return [fill_in(inner, word, name) for inner in value] if isinstance(value, list) else value
