"""Vectors (n,) → scaled, shifted, some elements of them, another form of their rotation, their length."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from streamer.errors import ConfigError, DecodeError, nearest_name
from streamer.transform.base import (
    ANGLES,
    METRES,
    Step,
    fractions_of,
    numbers,
    require_vector,
    scaled_unit,
    shape_text,
    usual_unit,
    whole,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Spec

_SLICE = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?\d+)?)?\s*")


def _result(spec: Spec, value: float | tuple[float, ...], what: str) -> Spec:
    """Return the spec of numbers that were computed with: fractions, of at least 32 bits."""
    if isinstance(spec.dtype, dict) or np.dtype(spec.dtype).kind not in "iufb":
        msg = f"it is for numbers, and is given {shape_text(spec)}"
        raise ConfigError(msg)
    if isinstance(value, tuple) and (len(spec.shape) != 1 or spec.variable or len(value) != spec.shape[0]):
        msg = f"{what} has {len(value)} numbers for {shape_text(spec)}"
        raise ConfigError(msg)
    return replace(spec, dtype=fractions_of(spec))


@dataclass(frozen=True, slots=True)
class Scale(Step):
    """Values times ``factor``: a number, ``deg2rad``, ``rad2deg``, or a number for each element."""

    name: ClassVar[str] = "scale"
    factor: float | str | tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the factor."""
        if not isinstance(self.factor, str):
            object.__setattr__(self, "factor", numbers(self.factor, "the factor"))
        elif self.factor not in ANGLES:
            msg = f"it should be a number, 'deg2rad' or 'rad2deg', not {self.factor!r}"
            raise ConfigError(msg)

    def probe(self, spec: Spec) -> Spec:
        """Change the type to fractions; the unit is known where the factor says it."""
        value = self._value()
        return replace(_result(spec, value, "the factor"), unit=self._unit(spec))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Multiply."""
        dtype = np.result_type(array.dtype, np.float32)
        return np.asarray(array.astype(dtype) * np.asarray(self._value()), dtype)

    def _unit(self, spec: Spec) -> str:
        if isinstance(self.factor, str):
            return ANGLES[self.factor][1]
        picture = len(spec.shape) > 1 and not isinstance(spec.dtype, dict)
        unit = spec.unit or (usual_unit(np.dtype(spec.dtype)) if picture else "")
        if isinstance(self.factor, tuple) or (unit not in METRES and self.factor != 1):
            return ""
        return scaled_unit(unit, self.factor) if unit in METRES else unit

    def _value(self) -> float | tuple[float, ...]:
        return ANGLES[self.factor][0] if isinstance(self.factor, str) else self.factor


@dataclass(frozen=True, slots=True)
class Offset(Step):
    """Values plus ``amount``: a number, or one for each element."""

    name: ClassVar[str] = "offset"
    amount: float | tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the amount."""
        object.__setattr__(self, "amount", numbers(self.amount, "the amount"))

    def probe(self, spec: Spec) -> Spec:
        """Change the type to fractions."""
        return _result(spec, self.amount, "the amount")

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Add."""
        dtype = np.result_type(array.dtype, np.float32)
        return np.asarray(array.astype(dtype) + np.asarray(self.amount), dtype)


@dataclass(frozen=True, slots=True)
class Elements(Step):
    """Some elements, in the order given: names, numbers from 0, or a slice such as ``"0:7"``."""

    name: ClassVar[str] = "elements"
    chosen: str | tuple[str | int, ...]

    def __post_init__(self) -> None:
        """Check what is chosen."""
        if isinstance(self.chosen, str):
            match = _SLICE.fullmatch(self.chosen)
            if ":" in self.chosen and (match is None or int(match[3] or 1) == 0):
                msg = f"{self.chosen!r} is no slice: write it as 'start:stop' or 'start:stop:step'"
                raise ConfigError(msg)
            return
        chosen = (self.chosen,) if isinstance(self.chosen, int) else self.chosen
        fits = isinstance(chosen, list | tuple) and chosen and all(type(each) in (str, int) for each in chosen)
        if not fits:
            msg = f"it should be names, numbers or a slice, not {self.chosen!r}"
            raise ConfigError(msg)
        object.__setattr__(self, "chosen", tuple(chosen))

    def probe(self, spec: Spec) -> Spec:
        """Choose the names with the numbers."""
        places = self.places(spec)
        names = tuple(spec.names[n] for n in places) if spec.names else ()
        return replace(spec, shape=(len(places),), names=names, variable=spec.variable and self._sliced)

    def bound(self, spec: Spec) -> Step:
        """Return the step with numbers for names; where lengths vary, a slice is one of what is there."""
        return self if spec.variable and self._sliced else Elements(tuple(self.places(spec)))

    @property
    def _sliced(self) -> bool:
        return isinstance(self.chosen, str) and ":" in self.chosen

    def places(self, spec: Spec) -> list[int]:
        """Return the numbers of the elements.

        Raises:
            ConfigError: one is not there, or named twice.

        """
        length = require_vector(spec)
        if isinstance(self.chosen, str) and ":" in self.chosen:
            places = list(range(length))[_slice(self.chosen)]
        else:
            chosen = (self.chosen,) if isinstance(self.chosen, str) else self.chosen
            places = [self._place(each, spec, length) for each in chosen]
        if not places:
            msg = f"{self.chosen!r} leaves nothing of {length} elements"
            raise ConfigError(msg)
        return places

    @staticmethod
    def _place(each: str | int, spec: Spec, length: int) -> int:
        if isinstance(each, int):
            if not -length <= each < length:
                msg = f"there is no element {each}, there are {length}"
                raise ConfigError(msg)
            if each < 0 and spec.variable:
                msg = f"element {each} would be another one in every message, as their lengths vary: count from 0"
                raise ConfigError(msg)
            return each % length
        if spec.names.count(each) != 1:
            has = f"It has {', '.join(spec.names)}" if spec.names else "Its elements have no names, use numbers"
            msg = f"there is no element {each!r}{nearest_name(each, spec.names) or '.'} {has}"
            raise ConfigError(msg)
        return spec.names.index(each)

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Choose by number; names are bound to numbers before."""
        if isinstance(self.chosen, str):
            return array[_slice(self.chosen)]
        places = list(map(int, self.chosen))
        if max(places) >= len(array):
            msg = f"there is no element {max(places)} in a vector of {len(array)}"
            raise DecodeError(msg)
        return array[places]


def _slice(text: str) -> slice:
    match = _SLICE.fullmatch(text)
    parts = match.groups() if match else (None, None, None)
    return slice(*(None if part is None else int(part) for part in parts))


@dataclass(frozen=True, slots=True)
class Norm(Step):
    """The Euclidean length of the vector, or of its elements from ``start`` on, ``count`` of them."""

    name: ClassVar[str] = "norm"
    start: int = 0
    count: int | None = None

    def __post_init__(self) -> None:
        """Check the elements."""
        whole(self.start, "start")
        if self.count is not None:
            whole(self.count, "count", 1)

    @classmethod
    def parse(cls, value: object) -> Norm:
        """Need no argument."""
        return cls() if value is None or value is True else super(Norm, cls).parse(value)

    def probe(self, spec: Spec) -> Spec:
        """Make one number."""
        length = require_vector(spec)
        end = length if self.count is None else self.start + self.count
        if self.start >= length or end > length:
            msg = f"elements {self.start} to {end} do not lie in a vector of {length}"
            raise ConfigError(msg)
        names = ("norm",) if spec.names else ()
        return replace(spec, shape=(1,), dtype=fractions_of(spec), variable=False, names=names)

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Sum in 64 bits."""
        end = len(array) if self.count is None else self.start + self.count
        if end > len(array) or (self.start and self.start >= end):
            msg = f"elements {self.start} to {end} do not lie in a vector of {len(array)}"
            raise DecodeError(msg)
        length = np.linalg.norm(array[self.start : end].astype(np.float64))
        return np.asarray([length], np.result_type(array.dtype, np.float32))
