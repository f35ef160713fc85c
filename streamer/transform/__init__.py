"""A stream's ``map`` as a configuration writes it → steps, applied in order to each decoded array.

A step is a name with its arguments (``crop: [0, 0, 640, 640]``), a name alone (``gray``), or ``module:function``. The
names are those below and the entry points of the group ``streamer.transforms``, which are subclasses of `Step`.
Steps are pure: each is asked once for the shape it makes and then called by several threads at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import ConfigError, DecodeError, StreamerError, nearest_name
from streamer.transform.base import Step, shape_text
from streamer.transform.images import Clip, Crop, Flip, Gray, Range, Resize, Rotate
from streamer.transform.own import Own, load_own
from streamer.transform.points import Box, Fields, Pad, Sample, Voxel
from streamer.transform.rotation import Rotation, from_quaternion, near, to_quaternion
from streamer.transform.tracing import Traced, rotations_read
from streamer.transform.undistort import CameraInfo, Undistort
from streamer.transform.vectors import Elements, Norm, Offset, Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamer.records import Spec

__all__ = [
    "BUILT_IN",
    "CameraInfo",
    "Chain",
    "Step",
    "Undistort",
    "from_quaternion",
    "make_steps",
    "shape_text",
    "to_quaternion",
]

BUILT_IN: dict[str, type[Step]] = {
    step.name: step
    for step in (
        *(Crop, Rotate, Flip, Resize, Undistort, Gray, Clip, Range),
        *(Scale, Offset, Elements, Rotation, Norm),
        *(Voxel, Fields, Sample, Pad),
    )
}
_GROUP = "streamer.transforms"


def make_steps(entries: Sequence[object]) -> tuple[Step, ...]:
    """Make the steps of a ``map``.

    Raises:
        ConfigError: an entry is not known, or its arguments are not: with the key ``map[n]``.

    """
    steps = []
    for n, entry in enumerate(entries):
        try:
            steps.append(_make_step(entry))
        except ConfigError as error:
            raise ConfigError(str(error), key=f"map[{n}]") from error
    return tuple(steps)


def _make_step(entry: object) -> Step:
    if isinstance(entry, str):
        return load_own(entry, {}) if ":" in entry else _parsed(_find(entry), entry, None)
    if not isinstance(entry, dict) or not entry:
        msg = f"it should be a name, or a name with its arguments, not {entry!r}"
        raise ConfigError(msg)
    if "use" in entry:
        return load_own(str(entry["use"]), {key: value for key, value in entry.items() if key != "use"})
    if len(entry) > 1:
        msg = f"it should be one name with its arguments, not {', '.join(map(str, entry))}: begin each with '- '"
        raise ConfigError(msg)
    ((name, value),) = entry.items()
    step = Box if name == "crop" and isinstance(value, dict) and "area" not in value else _find(str(name))
    return _parsed(step, str(name), value)


def _parsed(step: type[Step], name: str, value: object) -> Step:
    try:
        return step.parse(value)
    except ConfigError as error:
        msg = f"{name}: {error}"
        raise ConfigError(msg) from error


def _find(name: str) -> type[Step]:
    if name in BUILT_IN:
        return BUILT_IN[name]
    for point in entry_points(group=_GROUP, name=name):
        found = point.load()
        if not isinstance(found, type) or not issubclass(found, Step):
            msg = f"{name!r} ({point.value}) is no subclass of streamer.transform.Step"
            raise ConfigError(msg)
        return found
    known = sorted({*BUILT_IN, *(point.name for point in entry_points(group=_GROUP))})
    msg = f"there is no step {name!r}{nearest_name(name, known) or '.'} Steps: {', '.join(known)}, or module:function"
    raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps bound to the arrays of one stream; ``shapes`` are those before the first step and after each."""

    steps: tuple[Step, ...]
    shapes: tuple[Spec, ...]

    @classmethod
    def bind(cls, steps: Sequence[Step], spec: Spec) -> Chain:
        """Ask each step what it makes of the one before.

        Raises:
            ConfigError: one does not fit, with the shapes up to it.

        """
        bound: list[Step] = []
        shapes = [spec]
        for n, step in enumerate(steps):
            try:
                bound.append(step.bound(shapes[-1]))
                shapes.append(bound[-1].probe(shapes[-1]))
            except ConfigError as error:
                so_far = cls(tuple(bound[:n]), tuple(shapes[: n + 1]))
                msg = f"{step.name}: {error}" + (f" ({so_far})" if n else "")
                raise ConfigError(msg, key=f"map[{n}]") from error
        return cls(tuple(bound), tuple(shapes))

    @property
    def spec(self) -> Spec:
        """What the chain makes."""
        return self.shapes[-1]

    @property
    def code(self) -> tuple[str, ...]:
        """Digests of the user's own functions among the steps."""
        return tuple(step.code for step in self.steps if isinstance(step, Own))

    def reduced(self) -> tuple[int, Chain] | None:
        """Return (8, 4 or 2) and the chain for pictures that were decoded at one such part of their size.

        None where that would not be the same picture: a step before a ``resize`` is not for it, or edges lie within
        pixels, or the ``resize`` asks for more pixels than are left.
        """
        spec = self.shapes[0]
        picture = len(spec.shape) in (2, 3) and spec.dtype == "|u1"
        for factor in (8, 4, 2) if picture else ():
            if spec.shape[0] % factor or spec.shape[1] % factor:
                continue
            small = replace(spec, shape=(spec.shape[0] // factor, spec.shape[1] // factor, *spec.shape[2:]))
            if (found := self._reduced(factor, small)) is not None:
                return factor, found
        return None

    def _reduced(self, factor: int, small: Spec) -> Chain | None:
        steps: list[Step] = []
        for n, step in enumerate(self.steps):
            if isinstance(step, Resize):
                before = Chain.bind(steps, small).spec
                return Chain.bind([*steps, *self.steps[n:]], small) if step.shrinks(before) else None
            same = step.reduced(factor)
            if same is None:
                return None
            steps.append(same)
        return None

    def __str__(self) -> str:
        """Draw the shapes: ``1280×720×3 → crop → 640×640×3``."""
        parts = [shape_text(self.shapes[0])]
        for step, spec in zip(self.steps, self.shapes[1:], strict=True):
            parts += [step.label, shape_text(spec)]
        return " → ".join(parts)

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Apply the steps to one sample: ``array`` holds its rows, all of them meant.

        Raises:
            DecodeError: a step has no result for it.

        """
        for step in self.steps:
            try:
                array = step(array)
            except StreamerError:
                raise
            except Exception as error:
                msg = f"{step.name} fails on {array.dtype} {array.shape}: {error}"
                raise DecodeError(msg) from error
        return array

    @property
    def rotations(self) -> list[Traced]:
        """The rotations that are read, and of which numbers of the arrays: between two lies no straight line."""
        return rotations_read(self.steps, self.shapes[0].shape[0]) if len(self.shapes[0].shape) == 1 else []

    @property
    def may_fail(self) -> bool:
        """Whether one sample may have a result and another none."""
        return any(isinstance(step, Own | Rotation | Elements | Norm | Pad) for step in self.steps)

    @property
    def unwraps(self) -> bool:
        """Whether a sample's angles depend on those of the sample before."""
        return any(isinstance(step, Rotation) and step.unwrap for step in self.steps)

    def follow(self, array: NDArray[Any], before: Sequence[NDArray[Any]] | None) -> list[NDArray[Any]]:
        """Return the angles of one sample, for each step that unwraps, within half a turn of those ``before``.

        Raises:
            DecodeError: a step has no result for it.

        """
        found: list[NDArray[Any]] = []
        for n, step in enumerate(self.steps):
            array = Chain((step,), self.shapes[n : n + 2])(array)
            if isinstance(step, Rotation) and step.unwrap:
                angles = array[step.angles].astype(np.float64)
                found.append(angles if before is None else near(angles, before[len(found)]))
                array = array.copy()
                array[step.angles] = found[-1]
        return found

    def around(self, angles: Sequence[NDArray[Any]]) -> Chain:
        """Return the chain whose steps bring one sample's angles near to what `follow` has found of it."""
        rest = iter(angles)
        steps = (
            replace(step, unwrap=False, around=next(rest).tolist())
            if isinstance(step, Rotation) and step.unwrap
            else step
            for step in self.steps
        )
        return Chain(tuple(steps), self.shapes)

    def into(self, array: NDArray[Any], out: NDArray[Any]) -> int:
        """Apply the steps, write the result into ``out`` and return how many rows of it are meant.

        Raises:
            DecodeError: a step has no result, or one of another shape than it promised.

        """
        result = self(array)
        if result.dtype != out.dtype or result.shape[1:] != out.shape[1:] or len(result) > len(out):
            msg = f"the map gives {result.dtype} {result.shape} where {out.dtype} {out.shape} was promised"
            raise DecodeError(msg)
        if not self.spec.variable and len(result) != len(out):
            msg = f"the map gives {len(result)} rows where {len(out)} were promised"
            raise DecodeError(msg)
        rows = len(result)
        if out.dtype.names is None:
            np.copyto(out[:rows], result)
        else:
            out[:rows].view(np.uint8)[...] = np.ascontiguousarray(result).view(np.uint8)
        return rows
