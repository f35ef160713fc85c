"""Transforms between coordinate frames (`/tf`, `/tf_static`) → the pose of one frame in another at any instants.

A pose is seven numbers: position x, y, z in metres and the unit quaternion x, y, z, w (`geometry_msgs/Transform`,
REP 103). `track` answers what tf2's `lookupTransform(target=parent, source=child)` answers, for all instants at once.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import DecodeError, RecordingError, nearest_name
from streamer.records import Track
from streamer.stamps import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Stamps = NDArray[np.int64]
    Poses = NDArray[np.float64]

NAMES = tuple(f"position.{a}" for a in "xyz") + tuple(f"orientation.{a}" for a in "xyzw")
_IDENTITY = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
_NEARLY_PARALLEL = 1.0 - 1e-12  # above this cosine the sine of the angle says nothing more
_SHORTEST = 8 + 1 + 1 + 56  # bytes of the shortest transform: stamp, two names, seven numbers


@dataclass(frozen=True, slots=True)
class Transform:
    """One stamped transform of a message: ``pose`` of ``child`` in ``parent``; ``stamp`` is its header's, in ns."""

    stamp: int
    parent: str
    child: str
    pose: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """All transforms from ``child`` to its ``parent``: ``stamps`` (n,) int64 rising, ``poses`` (n, 7) float64.

    The value of a ``static`` link holds from its stamp on, the first one also before.
    """

    parent: str
    child: str
    stamps: Stamps
    poses: Poses
    static: bool


def parse(message: memoryview, *, cdr: bool) -> list[Transform]:
    """Return the transforms of one serialized tf2_msgs/TFMessage (tf/tfMessage in ROS 1).

    Source: the message definitions of geometry_msgs/TransformStamped; ROS 1 serialization is packed and
    little-endian, plain CDR aligns each primitive to its size, counted behind the four bytes of encapsulation.

    Raises:
        DecodeError: the message is no whole TFMessage.

    """
    order = ">" if cdr and bytes(message[1:2]) == b"\x00" else "<"
    try:
        return list(_transforms(_Fields(message[4:] if cdr else message, order, cdr=cdr)))
    except (struct.error, UnicodeDecodeError) as error:
        msg = f"a message of {len(message)} bytes is no whole tf2_msgs/TFMessage: {error}"
        raise DecodeError(msg) from error


class _Fields:
    """Reads one primitive after the other."""

    def __init__(self, body: memoryview, order: str, *, cdr: bool) -> None:
        self.body, self.cdr, self.at = body, cdr, 0
        self._u32, self._f64 = struct.Struct(order + "I"), struct.Struct(order + "7d")

    def u32(self) -> int:
        if self.cdr:
            self.at = (self.at + 3) & ~3
        (value,) = self._u32.unpack_from(self.body, self.at)
        self.at += 4
        return int(value)

    def text(self) -> str:
        length = self.u32()
        raw = bytes(self.body[self.at : self.at + length])
        if len(raw) < length:
            msg = f"a name of {length} bytes goes beyond the message"
            raise struct.error(msg)
        self.at += length
        return raw.rstrip(b"\0").decode().lstrip("/")  # tf1 wrote names with a slash in front

    def pose(self) -> tuple[float, ...]:
        if self.cdr:
            self.at = (self.at + 7) & ~7
        values = self._f64.unpack_from(self.body, self.at)
        self.at += 56
        return values


def _transforms(fields: _Fields) -> Iterable[Transform]:
    count = fields.u32()
    if count * _SHORTEST > len(fields.body):
        msg = f"{count} transforms do not fit"
        raise struct.error(msg)
    for _ in range(count):
        if not fields.cdr:
            fields.u32()  # ROS 1 headers begin with a sequence number
        seconds, rest = fields.u32(), fields.u32()
        if fields.cdr and seconds >= 2**31:
            seconds -= 2**32
        parent, child = fields.text(), fields.text()
        yield Transform(seconds * 10**9 + rest, parent, child, fields.pose())


class Tree:
    """Every link of a recording, by its child."""

    def __init__(self, transforms: Iterable[tuple[int, bool, Transform]]) -> None:
        """Collect transforms; with each its stamp on the stream's clock and whether it is static."""
        found: defaultdict[tuple[str, str], list[tuple[int, bool, tuple[float, ...]]]] = defaultdict(list)
        for stamp, static, transform in transforms:
            found[transform.parent, transform.child].append((stamp, static, transform.pose))
        self.links: dict[str, list[Link]] = defaultdict(list)
        for (parent, child), values in found.items():
            self.links[child].append(_link(parent, child, values))

    def chain(self, parent: str, child: str) -> tuple[list[Link], list[Link]]:
        """Return the links from ``parent`` up to the nearest common ancestor, and those from ``child`` up to it.

        Raises:
            RecordingError: there is no such frame, or nothing connects the two: the message names the pieces.

        """
        up, down = self._ancestors(parent), self._ancestors(child)
        over = {name: n for n, name in enumerate([parent, *(link.parent for link in up)])}
        for n, name in enumerate([child, *(link.parent for link in down)]):
            if name in over:
                return up[: over[name]], down[:n]
        raise RecordingError(self._unconnected(parent, child))

    def _ancestors(self, name: str) -> list[Link]:
        names = {link.parent for links in self.links.values() for link in links} | set(self.links)
        if name not in names:
            msg = f"no transform names the frame {name!r}{nearest_name(name, names) or '.'} Pieces: {self.pieces()}"
            raise RecordingError(msg)
        chain: list[Link] = []
        seen = {name}
        while links := self.links.get(name):
            if len(links) > 1:
                parents = " and ".join(repr(link.parent) for link in links)
                msg = f"the frame {name!r} has two parents, {parents}: which one counts cannot be told"
                raise RecordingError(msg)
            chain.append(links[0])
            name = links[0].parent
            if name in seen:
                msg = f"the transforms form a ring through {name!r}"
                raise RecordingError(msg)
            seen.add(name)
        return chain

    def _unconnected(self, parent: str, child: str) -> str:
        return f"no transforms connect {parent!r} and {child!r}. Pieces: {self.pieces()}"

    def pieces(self) -> str:
        """Return the trees that the recording has, each as its root and the frames below it."""
        below: defaultdict[str, list[str]] = defaultdict(list)
        for child, links in self.links.items():
            below[links[0].parent].append(child)
        roots = [name for name in below if name not in self.links]
        return "; ".join(f"{root} → {', '.join(_descendants(root, below))}" for root in sorted(roots)) or "none"


def _descendants(root: str, below: Mapping[str, list[str]]) -> list[str]:
    found: list[str] = []
    waiting = sorted(below[root])
    while waiting and len(found) < 40:  # a line that a person can still read
        name = waiting.pop(0)
        found.append(name)
        waiting += sorted(below.get(name, ()))
    return [*found, "…"] if waiting else found


def _link(parent: str, child: str, values: Sequence[tuple[int, bool, tuple[float, ...]]]) -> Link:
    """Put the transforms of one link in order; of several with one stamp the first counts, as in tf2."""
    moving = [value for value in values if not value[1]]
    static = not moving
    chosen = moving or values
    stamps, first = np.unique(np.array([stamp for stamp, _, _ in chosen], np.int64), return_index=True)
    poses = np.array([pose for _, _, pose in chosen], np.float64)[first]
    lengths = np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)
    if not np.isfinite(poses).all() or (lengths < 1e-6).any():
        msg = f"a transform from {parent!r} to {child!r} is not finite, or its rotation has no length"
        raise RecordingError(msg)
    poses[:, 3:] /= lengths
    return Link(parent, child, stamps, poses, static)


def track(chain: tuple[list[Link], list[Link]], instants: Stamps, align: str) -> Track:
    """Return the pose of the second chain's frame in the first chain's, each link aligned by itself.

    ``align`` is nearest, previous or linear (positions along a line, rotations by slerp); ``linear`` finds nothing
    outside the stamps of a link, as tf2 does not extrapolate.
    """
    result = Track(
        np.tile(_IDENTITY, (len(instants), 1)),
        np.ones(len(instants), bool),
        np.zeros(len(instants), np.int64),
        np.zeros(len(instants), bool),
    )
    up, down = chain
    for link in up:
        _append(result, _at(link, instants, align))
    result.values[...] = inverse(result.values)
    for link in reversed(down):
        part = _at(link, instants, align)
        _merge(result, part)
        result.values[...] = compose(result.values, part.values)
    result.values[...] += 0.0  # no number is -0
    return result


def _append(result: Track, part: Track) -> None:
    """Go one link up from the first frame: the new link stands in front."""
    _merge(result, part)
    result.values[...] = compose(part.values, result.values)


def _merge(result: Track, part: Track) -> None:
    result.found[...] &= part.found
    result.between[...] |= part.between
    further = np.abs(part.offset) > np.abs(result.offset)
    result.offset[further] = part.offset[further]


def _at(link: Link, instants: Stamps, align: str) -> Track:
    stamps, poses = link.stamps, link.poses
    none = np.zeros(len(instants), bool)
    before = np.searchsorted(stamps, instants, side="right") - 1
    if link.static:
        return Track(poses[np.clip(before, 0, None)], ~none, np.zeros(len(instants), np.int64), none)
    if align == "previous":
        chosen = np.clip(before, 0, None)
        return Track(poses[chosen], before >= 0, stamps[chosen] - instants, none)
    if align == "nearest":
        chosen = nearest(stamps, instants)
        return Track(poses[chosen], ~none, stamps[chosen] - instants, none)
    first = np.clip(before, 0, None)
    second = np.clip(before + 1, 0, len(stamps) - 1)
    span = stamps[second] - stamps[first]
    weight = np.divide(instants - stamps[first], span, out=np.zeros(len(instants)), where=span > 0)
    near = np.where(weight > 0.5, second, first)
    within = (instants >= stamps[0]) & (instants <= stamps[-1])
    return Track(
        interpolate(poses[first], poses[second], weight), within, stamps[near] - instants, within & (weight > 0)
    )


def interpolate(a: Poses, b: Poses, weight: Poses) -> Poses:
    """Return the poses (n, 7) at ``weight`` (n,) between ``a`` and ``b``: a line, and slerp on the shorter arc."""
    w = weight[:, None]
    result = a + w * (b - a)
    p, q = a[:, 3:], b[:, 3:]
    cosine = np.sum(p * q, axis=1, keepdims=True)
    q = np.where(cosine < 0, -q, q)
    cosine = np.abs(cosine)
    far = cosine < _NEARLY_PARALLEL
    angle = np.arccos(np.clip(cosine, 0.0, 1.0))
    sine = np.where(far, np.sin(angle), 1.0)
    mixed = np.where(far, (np.sin((1 - w) * angle) * p + np.sin(w * angle) * q) / sine, (1 - w) * p + w * q)
    result[:, 3:] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return result


def compose(a: Poses, b: Poses) -> Poses:
    """Return the poses (n, 7) of first ``b``, then ``a``: T_a · T_b."""
    result = np.empty_like(a)
    result[:, :3] = a[:, :3] + _rotate(a[:, 3:], b[:, :3])
    av, aw, bv, bw = a[:, 3:6], a[:, 6:], b[:, 3:6], b[:, 6:]
    result[:, 3:6] = aw * bv + bw * av + np.cross(av, bv)
    result[:, 6:] = aw * bw - np.sum(av * bv, axis=1, keepdims=True)
    return result


def inverse(a: Poses) -> Poses:
    """Return the inverse poses (n, 7)."""
    result = a.copy()
    result[:, 3:6] *= -1
    result[:, :3] = -_rotate(result[:, 3:], a[:, :3])
    return result


def _rotate(q: Poses, v: Poses) -> Poses:
    """Rotate vectors (n, 3) by unit quaternions (n, 4)."""
    twice: Poses = 2.0 * np.cross(q[:, :3], v)
    rotated: Poses = v + q[:, 3:] * twice + np.cross(q[:, :3], twice)
    return rotated
