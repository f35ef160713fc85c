"""A unit quaternion in a vector → the same rotation in another form.

Quaternions are (x, y, z, w) as in geometry_msgs; q and -q are one rotation. Euler angles are roll, pitch and yaw about
the fixed axes x, y and z (ROS REP 103). rot6d: Zhou et al., "On the Continuity of Rotation Representations in Neural
Networks", CVPR 2019: the first two columns of the matrix, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from streamer.errors import ConfigError, DecodeError
from streamer.transform.base import Step, number, one_of, require_vector, shape_text, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from streamer.records import Spec

_NO_LENGTH = 1e-12
_LOCKED = 1 - 1e-12  # the sine of a pitch from which on roll and yaw turn about one axis
_FROM = {"quaternion": (0, 1, 2, 3), "quaternion wxyz": (1, 2, 3, 0)}  # where x, y, z and w stand


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


_TO: dict[str, tuple[Callable[[float, float, float, float], NDArray[np.float64]], tuple[str, ...]]] = {
    "matrix": (lambda *q: to_matrix(*q).ravel(), tuple(f"m{row}{column}" for row in range(3) for column in range(3))),
    "rot6d": (lambda *q: to_matrix(*q)[:, :2].T.ravel(), ("m00", "m10", "m20", "m01", "m11", "m21")),
    "euler xyz": (_euler, ("roll", "pitch", "yaw")),
    "yaw": (_yaw, ("yaw",)),
    "rotvec": (_rotvec, ("rx", "ry", "rz")),
    "quaternion": (lambda *q: np.array(q), ("x", "y", "z", "w")),
    "quaternion wxyz": (lambda x, y, z, w: np.array([w, x, y, z]), ("w", "x", "y", "z")),
}
_ANGLES = ("euler xyz", "yaw")


@dataclass(frozen=True, slots=True)
class Rotation(Step):
    """Four elements, from ``at`` on, that are a quaternion, replaced by the rotation in the form ``to``.

    Where ``at`` is left out the vector has four elements, or their names end in x, y, z and w in this order. With
    ``around`` angles come within half a turn of it, which keeps those that cross ±180° together.
    """

    name: ClassVar[str] = "rotation"
    to: str
    source: str = "quaternion"
    at: int | None = None
    around: float | None = None

    @classmethod
    def parse(cls, value: object) -> Rotation:
        """Take ``from`` as a configuration writes it."""
        if isinstance(value, dict):
            if "unwrap" in value:
                msg = "'unwrap' would need all samples before: 'around: angle' keeps angles within half a turn of one"
                raise ConfigError(msg)
            value = {"source" if key == "from" else key: each for key, each in value.items()}
        return super(Rotation, cls).parse(value)

    def __post_init__(self) -> None:
        """Check the forms."""
        one_of(self.to, "to", tuple(_TO))
        one_of(self.source, "from", tuple(_FROM))
        if self.at is not None:
            whole(self.at, "at")
        if self.around is not None:
            number(self.around, "around")
            one_of(self.to, "'around' is for angles: to", _ANGLES)

    def probe(self, spec: Spec) -> Spec:
        """Change the length, and the names of the four elements."""
        length, at = require_vector(spec), self._place(spec)
        _, suffixes = _TO[self.to]
        names: tuple[str, ...] = ()
        if spec.names:
            prefix = spec.names[at].rpartition(".")[0]
            inner = tuple(f"{prefix}.{suffix}" if prefix else suffix for suffix in suffixes)
            names = (*spec.names[:at], *inner, *spec.names[at + 4 :])
        dtype = np.result_type(np.dtype(spec.dtype), np.float32).str
        return replace(spec, shape=(length - 4 + len(suffixes),), dtype=dtype, names=names)

    def bound(self, spec: Spec) -> Step:
        """Return the step with the place of the quaternion."""
        return replace(self, at=self._place(spec))

    def _place(self, spec: Spec) -> int:
        length = require_vector(spec)
        at = self.at
        if at is None and length == 4:
            at = 0
        if at is None:
            order = [("x", "y", "z", "w")[n] for n in np.argsort(_FROM[self.source])]
            ends = [name.rpartition(".")[2] for name in spec.names]
            found = [n for n in range(length - 3) if ends[n : n + 4] == order]
            at = found[0] if len(found) == 1 else None
        if at is None or at + 4 > length:
            msg = f"where the quaternion lies in {shape_text(spec)} elements is not known: say it with 'at'"
            raise ConfigError(msg)
        return at

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Convert in 64 bits; the quaternion is brought to length 1."""
        at = self.at or 0
        quaternion = array[at : at + 4].astype(np.float64)[list(_FROM[self.source])]
        length = float(np.linalg.norm(quaternion))
        if not length > _NO_LENGTH:
            msg = f"the quaternion {array[at : at + 4].tolist()} has no length: it is no rotation"
            raise DecodeError(msg)
        value = _TO[self.to][0](*(quaternion / length).tolist())
        if self.around is not None:
            value = value + 2 * np.pi * np.round((self.around - value) / (2 * np.pi))
        dtype = np.result_type(array.dtype, np.float32)
        return np.concatenate([array[:at].astype(dtype), value.astype(dtype), array[at + 4 :].astype(dtype)])
