"""What a step of a stream's ``map`` is: arguments, checked once → a shape, and an array from an array."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from streamer.errors import ConfigError, nearest_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from streamer.records import Spec

ANGLES = {"deg2rad": (math.pi / 180, "rad"), "rad2deg": (180 / math.pi, "deg")}
METRES = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}
_LENGTH = re.compile(r"\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*(mm|cm|m|km)\s*")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a frozen value that is asked for its result's `Spec` once and then called for every sample.

    A step holds no state and may be called by several threads at once. Its result may be a view of the array that it
    was given, never that array changed.
    """

    name: ClassVar[str] = ""

    @property
    def label(self) -> str:
        """What it is called where the shapes are shown."""
        return self.name

    def probe(self, spec: Spec) -> Spec:
        """Tell what the step makes of arrays of ``spec``.

        Raises:
            ConfigError: it cannot take them.

        """
        raise NotImplementedError

    def bound(self, spec: Spec) -> Step:
        """Return the step with what only ``spec`` tells, such as which number a name is."""
        del spec
        return self

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Make the result of one sample.

        Raises:
            DecodeError: this sample has no result.

        """
        raise NotImplementedError

    def reduced(self, factor: int) -> Step | None:
        """Return the step for pictures that were decoded at one ``factor``-th of their size; None: there is none."""
        del factor
        return None

    @classmethod
    def parse(cls, value: object) -> Self:
        """Make the step from what a configuration says: a mapping names the arguments, else it is the first one.

        Raises:
            ConfigError: an argument is missing, unknown or of another kind.

        """
        known = [field.name for field in fields(cls)]
        if value is None:
            return cls._by_default()
        given: Mapping[str, Any] = value if isinstance(value, dict) else {known[0] if known else "": value}
        for key in given:
            if key not in known:
                hint = nearest_name(str(key), known)
                takes = ", ".join(known) or "nothing"
                msg = f"there is no argument {key!r}{hint or '.'} It takes {takes}"
                raise ConfigError(msg)
        try:
            return cls(**given)
        except TypeError as error:
            msg = f"{value!r} does not fit: it takes {', '.join(known)}"
            raise ConfigError(msg) from error

    @classmethod
    def _by_default(cls) -> Self:
        try:
            return cls()
        except TypeError as error:
            msg = f"it needs its arguments: {', '.join(field.name for field in fields(cls))}"
            raise ConfigError(msg) from error


def shape_text(spec: Spec) -> str:
    """Describe a shape for people: ``1280×720×3`` for a picture (width first), ``7`` for a vector."""
    if isinstance(spec.dtype, dict):
        return f"{spec.shape[0]} points ({', '.join(spec.dtype['names'])})"
    if spec.is_text:
        return "text"
    shape = [spec.shape[1], spec.shape[0], *spec.shape[2:]] if len(spec.shape) > 1 else list(spec.shape)
    return "×".join(map(str, shape))


def description(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Describe a record type in plain values, from which ``np.dtype`` makes it again."""
    fields: Any = dtype.fields or {}
    formats = [
        f"({fields[name][0].shape[0]},){fields[name][0].base.str}" if fields[name][0].shape else fields[name][0].str
        for name in dtype.names or ()
    ]
    return {
        "names": list(dtype.names or ()),
        "formats": formats,
        "offsets": [int(fields[name][1]) for name in dtype.names or ()],
        "itemsize": dtype.itemsize,
    }


def require_image(spec: Spec) -> tuple[int, int]:
    """Return (height, width) of what must be an image.

    Raises:
        ConfigError: it is none.

    """
    if len(spec.shape) not in (2, 3) or isinstance(spec.dtype, dict):
        msg = f"it is for images, and is given {shape_text(spec)}"
        raise ConfigError(msg)
    return spec.shape[0], spec.shape[1]


def require_vector(spec: Spec) -> int:
    """Return the length of what must be a vector.

    Raises:
        ConfigError: it is none.

    """
    if len(spec.shape) != 1 or isinstance(spec.dtype, dict):
        msg = f"it is for vectors, and is given {shape_text(spec)}"
        raise ConfigError(msg)
    return spec.shape[0]


def require_points(spec: Spec) -> np.dtype[Any]:
    """Return the record type of what must be points.

    Raises:
        ConfigError: they are none.

    """
    if not isinstance(spec.dtype, dict):
        msg = f"it is for points, and is given {shape_text(spec)}"
        raise ConfigError(msg)
    described: Any = spec.dtype
    record: np.dtype[Any] = np.dtype(described)
    return record


def whole(value: object, what: str, least: int = 0) -> int:
    """Return a whole number.

    Raises:
        ConfigError: it is none, or below ``least``.

    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        msg = f"{what} should be a whole number of at least {least}, not {value!r}"
        raise ConfigError(msg)
    return value


def number(value: object, what: str) -> float:
    """Return a finite number.

    Raises:
        ConfigError: it is none.

    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        msg = f"{what} should be a number, not {value!r}"
        raise ConfigError(msg)
    return value


def numbers(value: object, what: str) -> float | tuple[float, ...]:
    """Return one number for all elements, or one for each.

    Raises:
        ConfigError: there is none, or something else among them.

    """
    if isinstance(value, list | tuple):
        return tuple(number(each, f"{what}[{n}]") for n, each in enumerate(value))
    return number(value, what)


def fractions_of(spec: Spec) -> str:
    """Return the type of numbers that were computed with: fractions, of at least 32 bits."""
    return str(np.result_type(np.dtype(spec.dtype), np.float32).str)


def one_of(value: object, what: str, known: tuple[str, ...]) -> str:
    """Return a word that is known.

    Raises:
        ConfigError: it is not.

    """
    if value not in known:
        msg = f"{what} should be {' or '.join(map(repr, known))}, not {value!r}"
        raise ConfigError(msg)
    return str(value)


def metres(value: object, what: str) -> float:
    """Return a length in metres: a number is one already, a text has a unit (``5 cm``).

    Raises:
        ConfigError: it is neither.

    """
    match = _LENGTH.fullmatch(value) if isinstance(value, str) else None
    if match:
        return float(match[1]) * METRES[match[2]]
    if isinstance(value, str):
        msg = f"{what} should be a length such as '5 cm', not {value!r}"
        raise ConfigError(msg)
    return number(value, what)


def usual_unit(dtype: np.dtype[Any]) -> str:
    """Return what the pixels of a depth image count (ROS REP 118): millimetres, or metres with fractions."""
    return {"u": "mm", "f": "m"}.get(dtype.kind, "") if dtype != np.uint8 else ""


def scaled_unit(unit: str, factor: float) -> str:
    """Return what numbers count that were lengths in ``unit`` and multiplied by ``factor``."""
    if factor <= 0:
        return ""
    known = (name for name, size in METRES.items() if math.isclose(size, METRES[unit] / factor))
    return next(known, f"{1 / factor:g} {unit}")


def in_unit(value: object, what: str, unit: str) -> float:
    """Return a number that may be written as a length, in ``unit`` (``mm``, ``m``).

    Raises:
        ConfigError: it is neither, or lengths do not fit the values.

    """
    if not isinstance(value, str):
        return number(value, what)
    if unit not in METRES:
        msg = f"{what} is a length ({value!r}), and what unit the values have is not known: write a number"
        raise ConfigError(msg)
    return metres(value, what) / METRES[unit]
