"""A rotation in a vector → the same rotation in another form.

Quaternions are (x, y, z, w) as in geometry_msgs; q and -q are one rotation. Euler angles are roll, pitch and yaw about
the fixed axes x, y and z (ROS REP 103). rot6d: Zhou et al., "On the Continuity of Rotation Representations in Neural
Networks", CVPR 2019: the first two columns of the matrix, one after the other;
what is read so is made orthonormal by Gram and Schmidt, as it is there. Matrices are written by rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from streamer.errors import ConfigError, DecodeError
from streamer.transform.base import Step, fractions_of, numbers, one_of, require_vector, shape_text, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from streamer.records import Spec

    Vector = NDArray[np.float64]

_NO_LENGTH = 1e-12
_LOCKED = 1 - 1e-12  # the sine of a pitch from which on roll and yaw turn about one axis
_SKEW = 1e-2  # how far a matrix may be from a rotation's: more than 16 bits lose
_TURN = 2 * np.pi


def to_matrix(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    """Return the matrix (3, 3) of a unit quaternion."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _euler(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    m = to_matrix(x, y, z, w)
    sine = -m[2, 0]
    if abs(sine) > _LOCKED:  # only the sum or the difference of roll and yaw is known: all of it is called roll
        return np.array([np.arctan2(-m[1, 2], m[1, 1]), np.copysign(np.pi / 2, sine), 0.0])
    return np.array([np.arctan2(m[2, 1], m[2, 2]), np.arcsin(sine), np.arctan2(m[1, 0], m[0, 0])])


def _yaw(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    return np.array([np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))])


def _rotvec(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    axis = np.array([x, y, z])
    sine = float(np.linalg.norm(axis))
    angle = 2 * np.arctan2(sine, abs(w))
    scale = 2.0 if sine < _NO_LENGTH else angle / sine
    return axis * (scale if w >= 0 else -scale)


def _from_quaternion(values: Vector) -> Vector:
    length = float(np.linalg.norm(values))
    if not _NO_LENGTH < length < np.inf:
        msg = f"the quaternion {values.tolist()} has no length"
        raise ValueError(msg)
    return values / length


def _from_columns(values: Vector) -> Vector:
    first, second = values[:3], values[3:]
    long = float(np.linalg.norm(first))
    a = first / long if long > _NO_LENGTH else np.full(3, np.nan)
    rest = second - a * (a @ second)
    over = float(np.linalg.norm(rest))
    if not over > _NO_LENGTH:
        msg = f"the columns {values.tolist()} span no plane"
        raise ValueError(msg)
    b = rest / over
    return _quaternion_of(np.stack([a, b, np.cross(a, b)], axis=1))


def _from_matrix(values: Vector) -> Vector:
    m = values.reshape(3, 3)
    if not np.abs(m @ m.T - np.eye(3)).max() < _SKEW or not np.linalg.det(m) > 0:
        msg = f"the matrix {values.tolist()} is not orthonormal"
        raise ValueError(msg)
    return _from_columns(m[:, :2].T.ravel())


def _quaternion_of(m: NDArray[np.float64]) -> Vector:
    """Return the quaternion of a rotation matrix, by the largest of its elements (Shepperd, JGC 1, 1978)."""
    squares = np.array([m[0, 0], m[1, 1], m[2, 2], m.trace()])
    n = int(np.argmax(squares))
    if n == 3:
        q = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + m.trace()])
    else:
        j, k = (n + 1) % 3, (n + 2) % 3
        q = np.empty(4)
        q[n], q[j], q[k] = 1 + 2 * m[n, n] - m.trace(), m[j, n] + m[n, j], m[k, n] + m[n, k]
        q[3] = m[k, j] - m[j, k]
    return np.asarray(q / np.linalg.norm(q))


def _from_euler(values: Vector) -> Vector:
    """Turn about x, then y, then z, all fixed."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(values / 2), np.cos(values / 2)
    return np.array(
        [
            sx * cy * cz - cx * sy * sz,
            cx * sy * cz + sx * cy * sz,
            cx * cy * sz - sx * sy * cz,
            cx * cy * cz + sx * sy * sz,
        ]
    )


def _from_rotvec(values: Vector) -> Vector:
    angle = float(np.linalg.norm(values))
    part = 0.5 if angle < _NO_LENGTH else np.sin(angle / 2) / angle
    return np.append(values * part, np.cos(angle / 2))


# a form's elements, as it is written; what makes a unit quaternion (x, y, z, w) of them, and them of it
_NAMES = {
    "quaternion": ("x", "y", "z", "w"),
    "quaternion wxyz": ("w", "x", "y", "z"),
    "matrix": tuple(f"m{row}{column}" for row in range(3) for column in range(3)),
    "rot6d": ("m00", "m10", "m20", "m01", "m11", "m21"),
    "euler xyz": ("roll", "pitch", "yaw"),
    "rotvec": ("rx", "ry", "rz"),
    "yaw": ("yaw",),
}
_FROM: dict[str, Callable[[Vector], Vector]] = {
    "quaternion": _from_quaternion,
    "quaternion wxyz": lambda values: _from_quaternion(np.roll(values, -1)),
    "matrix": _from_matrix,
    "rot6d": _from_columns,
    "euler xyz": _from_euler,
    "rotvec": _from_rotvec,
}
_TO: dict[str, Callable[[float, float, float, float], Vector]] = {
    "matrix": lambda *q: to_matrix(*q).ravel(),
    "rot6d": lambda *q: to_matrix(*q)[:, :2].T.ravel(),
    "euler xyz": _euler,
    "yaw": _yaw,
    "rotvec": _rotvec,
    "quaternion": lambda *q: np.array(q),
    "quaternion wxyz": lambda x, y, z, w: np.array([w, x, y, z]),
}
_ANGLES = ("euler xyz", "yaw")


@dataclass(frozen=True, slots=True)
class Rotation(Step):
    """The elements from ``at`` on that are a rotation in the form ``from``, replaced by the form ``to``.

    Where ``at`` is left out the vector has nothing else, or the names of just these elements end as the form's do (x,
    y, z, w). With ``around`` angles come within half a turn of it, or of a number for each. With ``unwrap`` they come
    within half a turn of the frame before, as ``numpy.unwrap`` makes them: a run finds that out while it is planned.
    """

    name: ClassVar[str] = "rotation"
    to: str
    source: str = "quaternion"
    at: int | None = None
    around: float | tuple[float, ...] | None = None
    unwrap: bool = False

    @classmethod
    def parse(cls, value: object) -> Rotation:
        """Take ``from`` as a configuration writes it."""
        if isinstance(value, dict):
            value = {"source" if key == "from" else key: each for key, each in value.items()}
        return super(Rotation, cls).parse(value)

    def __post_init__(self) -> None:
        """Check the forms."""
        one_of(self.to, "to", tuple(_TO))
        one_of(self.source, "from", tuple(_FROM))
        if self.at is not None:
            whole(self.at, "at")
        if not isinstance(self.unwrap, bool):
            msg = f"unwrap should be true or false, not {self.unwrap!r}"
            raise ConfigError(msg)
        if self.unwrap:
            one_of(self.to, "'unwrap' is for angles: to", _ANGLES)
        if self.around is None:
            return
        one_of(self.to, "'around' is for angles: to", _ANGLES)
        if self.unwrap:
            msg = "'around' and 'unwrap' both say where angles come: leave one out"
            raise ConfigError(msg)
        object.__setattr__(self, "around", numbers(self.around, "around"))
        if isinstance(self.around, tuple) and len(self.around) != len(_NAMES[self.to]):
            msg = f"around has {len(self.around)} numbers for the {len(_NAMES[self.to])} of {self.to!r}"
            raise ConfigError(msg)

    def probe(self, spec: Spec) -> Spec:
        """Change the length, the names of the elements, and the unit where nothing else is in the vector."""
        length, at = require_vector(spec), self._place(spec)
        before, suffixes = len(_NAMES[self.source]), _NAMES[self.to]
        names: tuple[str, ...] = ()
        if spec.names:
            prefix = spec.names[at].rpartition(".")[0]
            inner = tuple(f"{prefix}.{suffix}" if prefix else suffix for suffix in suffixes)
            names = (*spec.names[:at], *inner, *spec.names[at + before :])
        unit = spec.unit if length > before else "rad" if self.to in (*_ANGLES, "rotvec") else ""
        shape = (length - before + len(suffixes),)
        return replace(spec, shape=shape, dtype=fractions_of(spec), names=names, unit=unit)

    def bound(self, spec: Spec) -> Step:
        """Return the step with the place of the rotation."""
        return replace(self, at=self._place(spec))

    def _place(self, spec: Spec) -> int:
        length, order = require_vector(spec), _NAMES[self.source]
        at = self.at
        if at is None and length == len(order):
            at = 0
        if at is None:
            ends = tuple(name.rpartition(".")[2] for name in spec.names)
            found = [n for n in range(length - len(order) + 1) if ends[n : n + len(order)] == order]
            at = found[0] if len(found) == 1 else None
        if at is None or at + len(order) > length:
            msg = f"where the {self.source} lies in {shape_text(spec)} elements is not known: say it with 'at'"
            raise ConfigError(msg)
        return at

    @property
    def reads(self) -> int:
        """How many numbers the form has that is read."""
        return len(_NAMES[self.source])

    @property
    def angles(self) -> slice:
        """Where the rotation lies in the result."""
        return slice(self.at or 0, (self.at or 0) + len(_NAMES[self.to]))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Convert in 64 bits; a quaternion is brought to length 1."""
        at, count = self.at or 0, len(_NAMES[self.source])
        value = from_quaternion(self.to, to_quaternion(self.source, array[at : at + count].astype(np.float64)))
        if self.around is not None:
            value = near(value, np.asarray(self.around))
        dtype = np.result_type(array.dtype, np.float32)
        return np.concatenate([array[:at].astype(dtype), value.astype(dtype), array[at + count :].astype(dtype)])


def to_quaternion(form: str, values: Vector) -> Vector:
    """Return the unit quaternion (x, y, z, w) of a rotation in a form.

    Raises:
        DecodeError: the numbers are no rotation.

    """
    try:
        return _FROM[form](_finite(values, form))
    except ValueError as error:
        msg = f"{error}: it is no rotation"
        raise DecodeError(msg) from error


def from_quaternion(form: str, quaternion: Vector) -> Vector:
    """Return the numbers of a form for a unit quaternion (x, y, z, w)."""
    return _TO[form](*quaternion.tolist())


def _finite(values: Vector, source: str) -> Vector:
    if not source.startswith("quaternion") and not np.isfinite(values).all():
        msg = f"the {source} {values.tolist()} is not finite"
        raise ValueError(msg)
    return values


def near(angles: Vector, to: Vector) -> Vector:
    """Return angles (n,) within half a turn of others (n,), or of one."""
    return np.asarray(angles + _TURN * np.round((to - angles) / _TURN))
