"""The steps of maps → a table of what each costs for one sample, in one thread: ``python -m tests.speed.steps``."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from streamer.decode.compressed import CompressedDecoder
from streamer.records import Decoding, Spec
from streamer.transform import CameraInfo, Chain, make_steps
from tests.bags import COMPRESSED, encoded, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_K = (600.0, 0.0, 640.0, 0.0, 600.0, 360.0, 0.0, 0.0, 1.0)
_INFO = CameraInfo(1280, 720, "plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0), _K)
_CLOUD: Any = {"names": ["x", "y", "z", "ring"], "formats": ["<f4"] * 3 + ["<u2"], "offsets": [0, 4, 8, 16]}
_ROUNDS = 7
_PASSES = 5
_LEAST = 0.02  # seconds that a round takes at least
SQUARE: list[Any] = [{"crop": [280, 0, 720, 720]}, {"resize": [224, 224]}]
PICTURE: list[list[Any]] = [
    SQUARE,
    [{"resize": {"size": [224, 224], "fit": "pad"}}],
    [{"rotate": 90}],
    [{"flip": "horizontal"}],
    ["gray"],
    [{"undistort": {"camera_info": "/info"}}],
]
DEPTH: list[Any] = [{"clip": ["0.3 m", "3 m"]}, {"range": ["0.3 m", "3 m"]}]
VECTOR: list[Any] = [
    {"elements": "0:3"},
    {"scale": 2},
    {"rotation": {"to": "rot6d", "at": 3}},
    {"norm": {"count": 3}},
]
POINTS: list[Any] = [{"crop": {"x": [0, 10]}}, {"voxel": "50 cm"}, {"fields": ["x", "y", "z"]}, {"sample": 4096}]


def cost(call: Callable[[], object]) -> float:
    """Return the least time of one call, in milliseconds."""
    call()
    began = time.perf_counter()
    call()
    calls = max(int(_LEAST / max(time.perf_counter() - began, 1e-7)), 1)
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        rounds.append((time.perf_counter() - began) / calls)
    return min(rounds) * 1e3


def mapped(array: NDArray[Any], *entries: object, description: Any = None, variable: bool = False) -> float:
    """Return what a map of an array costs; ``entries`` are written as in a configuration."""
    steps = [step.calibrated(_INFO) if hasattr(step, "calibrated") else step for step in make_steps(entries)]
    chain = Chain.bind(steps, Spec(array.shape, description or array.dtype.str, variable=variable))
    out = np.zeros(chain.spec.shape, np.dtype(chain.spec.dtype))
    return cost(lambda: chain.into(array, out))


def jpeg() -> Iterator[tuple[str, float]]:
    """Yield what a JPEG of 1280×720 costs on its way into a frame, measured in turns."""
    small = np.random.default_rng(1).integers(0, 256, (90, 160, 3), np.uint8)
    file = io.BytesIO()
    picture = np.asarray(cv2.resize(small, (1280, 720), interpolation=cv2.INTER_CUBIC), np.uint8)
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    data = np.frombuffer(file.getvalue(), np.uint8)
    message = payload(encoded("cdr", COMPRESSED, format="jpeg", data=data))
    decoder = CompressedDecoder("cdr", Decoding(), depth=False)
    chain = Chain.bind(make_steps(SQUARE), Spec(picture.shape, "|u1"))
    found = chain.reduced()
    assert found is not None
    factor, fewer = found
    whole, reduced, out = (np.empty(spec.shape, np.uint8) for spec in (chain.shapes[0], fewer.shapes[0], chain.spec))

    def as_it_is() -> None:
        decoder.decode(message, whole)
        chain.into(whole, out)

    def as_it_is_done() -> None:
        assert decoder.decode_reduced(message, reduced, factor)
        fewer.into(reduced, out)

    ways = {
        "decoded in full, and nothing else": lambda: decoder.decode(message, whole),
        f"decoded at 1/{factor}, crop, resize (as a run does it)": as_it_is_done,
        "decoded in full, crop, resize": as_it_is,
    }
    passes = [{what: cost(way) for what, way in ways.items()} for _ in range(_PASSES)]
    for what in ways:
        yield what, min(each[what] for each in passes)


def rows() -> Iterator[tuple[str, str, float]]:
    """Yield what is mapped, by which steps, and the cost in milliseconds."""
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 256, (720, 1280, 3), np.uint8)
    for what, milliseconds in jpeg():
        yield "JPEG 1280×720", what, milliseconds
    for entries in PICTURE:
        yield "picture 1280×720×3", _told(entries), mapped(picture, *entries)
    depth = rng.integers(0, 6000, (480, 640), np.uint16)
    for entry in DEPTH:
        yield "depth 640×480", _told([entry]), mapped(depth, entry)
    pose = np.array([1.0, 2.0, 3.0, 0.5, 0.5, 0.5, 0.5])
    for entry in VECTOR:
        yield "vector 7", _told([entry]), mapped(pose, entry)
    cloud = np.zeros(100_000, np.dtype(_CLOUD))
    for axis in "xyz":
        cloud[axis] = rng.uniform(-20, 20, len(cloud))
    for entry in POINTS:
        yield "100,000 points", _told([entry]), mapped(cloud, entry, description=_CLOUD, variable=True)


def _told(entries: list[Any]) -> str:
    return ", ".join(entry if isinstance(entry, str) else next(iter(entry)) for entry in entries)


def main() -> None:
    """Print the table in Markdown."""
    sys.stdout.write("| of | steps | ms |\n| --- | --- | ---: |\n")
    for what, steps, milliseconds in rows():
        sys.stdout.write(f"| {what} | {steps} | {milliseconds:.3f} |\n")


if __name__ == "__main__":
    main()
