"""A YAML text and what it expands to → nothing, or what makes it larger than any configuration is.

An alias stands for all that it names: a text of some hundred bytes can stand for more than a memory holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 4 * 2**20  # characters
_DEEPEST = 40  # levels
_MOST = 100_000  # values, aliases expanded
_OPEN = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSE = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


class LimitError(ValueError):
    """A text is beyond a limit; ``line`` says where, counted from 1."""

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


def check_text(text: str, loader: Any) -> None:
    """Make sure that a text is neither too long nor nested too deep.

    Raises:
        LimitError: it is. yaml.YAMLError: it is no YAML.

    """
    if len(text) > _LONGEST:
        msg = f"it has {len(text)} characters, more than {_LONGEST}"
        raise LimitError(msg)
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, _OPEN) - isinstance(event, _CLOSE)
        if depth > _DEEPEST:
            msg = f"it is nested more than {_DEEPEST} levels deep"
            raise LimitError(msg, event.start_mark.line + 1 if event.start_mark else 1)


def check_expansion(root: yaml.Node) -> None:
    """Make sure that a document does not become too large when its aliases are expanded.

    Raises:
        LimitError: it does, or an alias contains itself.

    """
    sizes: dict[int, int] = {}
    opened: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in opened:
            msg = "an alias that contains itself"
            raise LimitError(msg, node.start_mark.line + 1)
        if id(node) not in sizes:
            opened.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
            opened.discard(id(node))
            if sizes[id(node)] > _MOST:
                msg = f"it has more than {_MOST} values when its aliases are expanded"
                raise LimitError(msg, node.start_mark.line + 1)
        return sizes[id(node)]

    size(root)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def too_large(values: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """Yield the place and value of every whole number that has more than 64 bits."""
    if isinstance(values, int) and not -(2**63) <= values < 2**64:
        yield where, values
    elif isinstance(values, (dict, list)):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from too_large(value, (*where, key))
