"""Points (n,) of a record type → those in a box, one for each voxel, some fields of them, or just so many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from streamer.errors import ConfigError, DecodeError, nearest_name
from streamer.transform.base import Step, description, metres, one_of, require_points, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Spec


def _require_field(dtype: np.dtype[Any], name: object) -> str:
    known = dtype.names or ()
    if name not in known or dtype[str(name)].shape:
        hint = nearest_name(str(name), [each for each in known if each != name and not dtype[each].shape])
        msg = f"the points have no field {name!r} of one number{hint or '.'} They have {', '.join(known)}"
        raise ConfigError(msg)
    return str(name)


@dataclass(frozen=True, slots=True)
class Box(Step):
    """The points of which every field named lies between its two bounds, which may be lengths (``50 cm``)."""

    name: ClassVar[str] = "crop"
    bounds: tuple[tuple[str, float, float], ...]

    @classmethod
    def parse(cls, value: object) -> Box:
        """Take {field: [low, high], …}."""
        if not isinstance(value, dict) or not value:
            msg = f"it should be {{x: [low, high], …}}, not {value!r}"
            raise ConfigError(msg)
        bounds = []
        for field, pair in value.items():
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                msg = f"{field} should be [low, high], not {pair!r}"
                raise ConfigError(msg)
            low, high = (metres(each, f"{field}[{n}]") for n, each in enumerate(pair))
            if low > high:
                msg = f"{field}: the lower bound {pair[0]!r} is above the upper one {pair[1]!r}"
                raise ConfigError(msg)
            bounds.append((str(field), low, high))
        return cls(tuple(bounds))

    def probe(self, spec: Spec) -> Spec:
        """Make sure that the fields are there."""
        dtype = require_points(spec)
        for field, *_ in self.bounds:
            _require_field(dtype, field)
        return replace(spec, variable=True)

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Choose; a point that is no number is in no box."""
        inside = np.ones(len(array), bool)
        for field, low, high in self.bounds:
            inside &= (array[field] >= low) & (array[field] <= high)
        return array[inside]


@dataclass(frozen=True, slots=True)
class Fields(Step):
    """Some fields, in the order given, without gaps between them."""

    name: ClassVar[str] = "fields"
    chosen: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the names."""
        chosen = (self.chosen,) if isinstance(self.chosen, str) else self.chosen
        if not isinstance(chosen, list | tuple) or not chosen or len(set(map(str, chosen))) != len(chosen):
            msg = f"it should be names of fields, each once, not {self.chosen!r}"
            raise ConfigError(msg)
        object.__setattr__(self, "chosen", tuple(map(str, chosen)))

    def probe(self, spec: Spec) -> Spec:
        """Describe the smaller record."""
        return replace(spec, dtype=description(self._record(require_points(spec))))

    def _record(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        for name in self.chosen:
            if name not in (dtype.names or ()):
                hint = nearest_name(name, dtype.names or ())
                msg = f"the points have no field {name!r}{hint or '.'} They have {', '.join(dtype.names or ())}"
                raise ConfigError(msg)
        return np.dtype([(name, dtype[name]) for name in self.chosen])

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Copy field by field."""
        out = np.empty(len(array), self._record(array.dtype))
        for name in self.chosen:
            out[name] = array[name]
        return out


@dataclass(frozen=True, slots=True)
class Voxel(Step):
    """One point for each cube of edge ``size`` (``5 cm``) that has some, in the order of the cubes, x first.

    Fields with fractions are the mean of the cube's points, the others those of its first one. Points without a place
    are left out.
    """

    name: ClassVar[str] = "voxel"
    size: float | str

    def __post_init__(self) -> None:
        """Turn the size into metres."""
        size = metres(self.size, "the size")
        if size <= 0:
            msg = f"the size should be above 0, not {self.size!r}"
            raise ConfigError(msg)
        object.__setattr__(self, "size", size)

    def probe(self, spec: Spec) -> Spec:
        """Need x, y and z."""
        dtype = require_points(spec)
        for field in "xyz":
            _require_field(dtype, field)
        return replace(spec, variable=True)

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Average."""
        places = np.stack([array[field].astype(np.float64) for field in "xyz"], axis=1)
        known = np.isfinite(places).all(axis=1)
        array, cubes = array[known], np.floor(places[known] / float(self.size))
        _, first, member = np.unique(_keys(cubes), return_index=True, return_inverse=True)
        out = array[first].copy()
        counts = np.bincount(member.ravel(), minlength=len(first))
        for name in array.dtype.names or ():
            if array.dtype[name].kind == "f" and not array.dtype[name].shape:
                sums = np.bincount(member.ravel(), array[name].astype(np.float64), len(first))
                out[name] = sums / np.maximum(counts, 1)
        return out


def _keys(cubes: NDArray[np.float64]) -> NDArray[Any]:
    """Return a number for each cube (n, 3) in the order of the cubes, x first."""
    if not len(cubes):
        return np.zeros(0, np.int64)
    low, high = cubes.min(axis=0), cubes.max(axis=0)
    sizes = [int(size) for size in high - low + 1]
    if sizes[0] * sizes[1] * sizes[2] >= 1 << 62:  # more cubes than numbers: by rank
        return np.asarray(np.unique(cubes, axis=0, return_inverse=True)[1]).ravel()
    x, y, z = (cubes - low).astype(np.int64).T
    return np.asarray((x * sizes[1] + y) * sizes[2] + z)


@dataclass(frozen=True, slots=True)
class Sample(Step):
    """Just ``count`` points: some of more, chosen at random by ``seed``; fewer are filled up.

    The choice depends on the seed and the number of points alone, and keeps their order. ``fill`` says with what:
    ``repeat`` goes through them again, ``zero`` adds zeros.
    """

    name: ClassVar[str] = "sample"
    count: int
    seed: int = 0
    fill: str = "repeat"

    def __post_init__(self) -> None:
        """Check the numbers."""
        whole(self.count, "count", 1)
        whole(self.seed, "seed")
        one_of(self.fill, "fill", ("repeat", "zero"))

    def probe(self, spec: Spec) -> Spec:
        """Fix the number."""
        require_points(spec)
        return replace(spec, shape=(self.count,), variable=False)

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Choose or fill up."""
        if len(array) >= self.count:
            chosen = np.random.default_rng([self.seed, len(array)]).permutation(len(array))[: self.count]
            return array[np.sort(chosen)]
        if self.fill == "repeat" and len(array):
            return array[np.arange(self.count) % len(array)]
        out = np.zeros(self.count, array.dtype)
        out[: len(array)] = array
        return out


@dataclass(frozen=True, slots=True)
class Pad(Step):
    """Zeros behind the points, up to ``count``; more points than that are an error."""

    name: ClassVar[str] = "pad"
    count: int

    def __post_init__(self) -> None:
        """Check the number."""
        whole(self.count, "count", 1)

    def probe(self, spec: Spec) -> Spec:
        """Fix the number."""
        require_points(spec)
        return replace(spec, shape=(self.count,), variable=False)

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Fill up."""
        if len(array) > self.count:
            msg = f"{len(array)} points do not fit into {self.count}: pad to more, or use 'sample: {self.count}'"
            raise DecodeError(msg)
        return Sample(self.count, fill="zero")(array)
