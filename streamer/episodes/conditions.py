"""What a marker's value should be → whether a message has it: a glob for texts, a comparison for numbers."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPARISON = re.compile(r"\s*(==|!=|<=|>=|<|>|)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
_WORDS = {"true": 1.0, "false": 0.0}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_BETWEEN = " \t\r\n:=,;-"  # what stands between a marker's word and the text behind it


class Condition:
    """A condition such as ``start*`` (a text), ``true``, ``1`` or ``> 0.5`` (a number)."""

    def __init__(self, text: str) -> None:
        """Take a condition as a configuration writes it."""
        self.text = text
        self._pattern = re.compile(_expression(text), re.DOTALL)
        word = _WORDS.get(text.strip().lower())
        found = None if word is not None else _COMPARISON.fullmatch(text)
        self._number: tuple[Callable[[float, float], bool], float] | None = None
        if word is not None:
            self._number = operator.eq, word
        elif found is not None:
            self._number = _COMPARE[found[1]], float(found[2])

    @property
    def of_numbers(self) -> bool:
        """Whether a number can fulfil it."""
        return self._number is not None

    def holds(self, value: str | float) -> bool:
        """Tell whether a value fulfils it; a text fulfils its glob, a number its comparison."""
        if isinstance(value, str):
            return self._pattern.fullmatch(value.strip()) is not None
        return self._number is not None and self._number[0](float(value), self._number[1])

    def rest(self, value: str) -> str:
        """Return what the ``*`` of a glob stand for in a text, without what separates it; all of it without a ``*``."""
        found = self._pattern.fullmatch(value.strip())
        if found is None or not found.groups():
            return value.strip()
        return " ".join(part.strip(_BETWEEN) for part in found.groups()).strip()


def _expression(glob: str) -> str:
    """Write a glob (``*``, ``?``, ``[abc]``, ``[!abc]``) as a regular expression whose groups are its ``*``."""
    parts, rest = [], glob.strip()
    while rest:
        head, rest = rest[0], rest[1:]
        end = rest.find("]", 1)
        if head == "[" and end > 0:
            chosen, rest = rest[:end], rest[end + 1 :]
            outside = "^" * chosen.startswith("!")
            parts.append(f"[{outside}{re.escape(chosen.removeprefix('!')).replace(chr(92) + '-', '-')}]")
        else:
            parts.append({"*": "(.*)", "?": "."}.get(head) or re.escape(head))
    return "".join(parts)
