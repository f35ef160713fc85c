"""Frozen records ↔ plain values (None, numbers, text, bytes, lists, mappings), as msgpack and JSON carry them.

A record is a dataclass or a NamedTuple of plain values and other records. What comes back is held against the
annotations, so a message of another shape is an error where it arrives, not where it is used.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_Decode = Callable[[Any], Any]
T = TypeVar("T")


def to_plain(record: Any) -> dict[str, Any]:
    """Return a dataclass as a mapping of its fields; those within it likewise."""
    return asdict(record)


def from_plain(kind: type[T], values: Any) -> T:
    """Return the record of which these are the plain values.

    Raises:
        TypeError: they are of another shape.

    """
    decode: _Decode = _decoder(kind)  # type: ignore[arg-type] # a class is hashable
    found: T = decode(values)
    return found


@cache
def _decoder(kind: Any) -> _Decode:  # noqa: PLR0911 - one line a kind of annotation
    """Return what turns a plain value into what an annotation asks for."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return lambda value: value
    if is_dataclass(kind):
        return _record(kind)
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _named_tuple(kind)
    if origin in (Union, types.UnionType):
        return _union(inner)
    if origin is tuple and len(inner) == 2 and inner[1] is ...:
        return _sequence(_decoder(inner[0]))
    if origin is tuple:
        return _fixed(tuple(map(_decoder, inner)))
    if origin in (dict, Mapping):
        return _mapping(_decoder(inner[0]), _decoder(inner[1]))
    return _exact(kind)


def _record(kind: Any) -> _Decode:
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}
    decoders: dict[str, _Decode] = {}  # made at the first value: a record may hold some of its own kind

    def decode(values: Any) -> Any:
        if not decoders:
            decoders.update({name: _decoder(hints[name]) for name in names})
        if not isinstance(values, dict) or not values.keys() <= decoders.keys():
            raise TypeError(_misfit(kind, values))
        return kind(**{name: decoders[name](value) for name, value in values.items()})

    return decode


def _named_tuple(kind: Any) -> _Decode:
    hints = get_type_hints(kind)
    decode_all = _fixed(tuple(_decoder(hints[name]) for name in kind._fields))
    return lambda values: kind(*decode_all(values))


def _union(kinds: tuple[Any, ...]) -> _Decode:
    """Decode as the first of several that fits."""
    decoders = [_decoder(kind) for kind in kinds]

    def decode(value: Any) -> Any:
        for attempt in decoders:
            with suppress(TypeError):
                return attempt(value)
        raise TypeError(_misfit(" or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds), value))

    return decode


def _sequence(decode: _Decode) -> _Decode:
    def decode_all(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, list | tuple):
            raise TypeError(_misfit(tuple, values))
        return tuple(map(decode, values))

    return decode_all


def _fixed(decoders: tuple[_Decode, ...]) -> _Decode:
    def decode_all(values: Any) -> tuple[Any, ...]:
        if not isinstance(values, list | tuple) or len(values) != len(decoders):
            raise TypeError(_misfit(tuple, values))
        return tuple(decode(value) for decode, value in zip(decoders, values, strict=True))

    return decode_all


def _mapping(decode_key: _Decode, decode_value: _Decode) -> _Decode:
    def decode_all(values: Any) -> dict[Any, Any]:
        if not isinstance(values, dict):
            raise TypeError(_misfit(dict, values))
        return {decode_key(key): decode_value(value) for key, value in values.items()}

    return decode_all


def _exact(kind: Any) -> _Decode:
    allowed = (float, int) if kind is float else kind

    def decode(value: Any) -> Any:
        if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(_misfit(kind, value))
        return value

    return decode


def _misfit(kind: Any, value: Any) -> str:
    return f"{value!r:.200} is no {getattr(kind, '__name__', kind)}"
