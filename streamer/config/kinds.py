"""Kinds of values of settings: texts with a unit, read exactly and described to editors."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from streamer import units


def _quantity(kind: str, example: str) -> WithJsonSchema:
    """Describe a text with a unit to an editor."""
    pattern = rf"^\s*[0-9]+(\.[0-9]+)?\s*({'|'.join(units.KNOWN[kind])})\s*$|\$\{{"
    return WithJsonSchema({"type": "string", "format": kind, "pattern": pattern, "examples": [example]})


def _signed_quantity(kind: str, example: str, more: str) -> WithJsonSchema:
    """Describe a text with a sign and a unit to an editor."""
    pattern = rf"^\s*[+-]?\s*[0-9]+(\.[0-9]+)?\s*({'|'.join(units.KNOWN['duration'])}{more})\s*$|\$\{{"
    return WithJsonSchema({"type": "string", "format": kind, "pattern": pattern, "examples": [example]})


Duration = Annotated[int, BeforeValidator(units.duration), _quantity("duration", "50 ms")]
Shift = Annotated[int, BeforeValidator(units.signed_duration), _signed_quantity("shift", "-40 ms", "")]
Later = Annotated[tuple[int, int], BeforeValidator(units.later), _signed_quantity("later", "+1 tick", "|ticks?")]
Instant = Annotated[
    tuple[int, bool],
    BeforeValidator(units.moment),
    WithJsonSchema({"type": "string", "examples": ["5 s", "2026-11-26T10:00:05Z"]}),
]
Size = Annotated[int, BeforeValidator(units.size), _quantity("size", "512 MB")]
Rate = Annotated[Fraction, BeforeValidator(units.rate), _quantity("rate", "10 Hz")]
Share = Annotated[
    float,
    BeforeValidator(units.share),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$|\$\{", "examples": ["10 %"]}),
]
