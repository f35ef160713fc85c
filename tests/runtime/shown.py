"""Prepared videos → their pictures, held against those of PyAV; and the options that videos are encoded with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import DecodeError
from streamer.runtime.prepare import Prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

Prepare = Callable[..., Prepared]
QUICK = {"tune": "zerolatency", "preset": "ultrafast"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0"}
OPEN = {"preset": "ultrafast", "x265-params": "log-level=none:bframes=3:open-gop=1:keyint=10:min-keyint=10:scenecut=0"}
CLOSED = {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:open-gop=0:keyint=10:scenecut=0"}
AV1 = {"preset": "12", "svtav1-params": "lp=1"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}


def show(found: Prepared, frame: int) -> NDArray[Any]:
    stream = found.streams[0]
    out = np.zeros(stream.spec.shape, np.dtype(stream.spec.dtype))
    stream.decoder.decode(stream.source.payload(stream.index, int(stream.plan.first[frame])), out)
    return out


def check(found: Prepared, right: dict[int, NDArray[np.uint8]], frames: list[int]) -> None:
    for frame in frames:
        np.testing.assert_array_equal(show(found, frame), right[frame], err_msg=f"frame {frame}")


def refused(found: Prepared, right: list[NDArray[np.uint8]], order: Iterable[int] = ()) -> list[int]:
    """Return the frames that are refused; all others show what is ``right``. They are asked for in an ``order``."""
    why = []
    for frame in order or range(found.plan.frames):
        try:
            picture = show(found, frame)
        except DecodeError:
            why.append(frame)
            continue
        np.testing.assert_array_equal(picture, right[frame], err_msg=f"frame {frame}")
    return sorted(why)


def without_vui(data: bytes) -> bytes:
    """Take from an SPS of H.264 (7.3.2.1.1, profile High, 4:2:0) what stands behind the size of the pictures."""
    at = data.find(b"\0\0\1\x67")
    if at < 0:
        return data
    end = data.find(b"\0\0\1", at + 3)
    unit = data[at + 4 : end].rstrip(b"\0").replace(b"\0\0\3", b"\0\0")
    bits, place = "".join(f"{byte:08b}" for byte in unit), 24

    def golomb(count: int) -> int:
        nonlocal place
        value = 0
        for _ in range(count):
            zeros = bits.index("1", place) - place
            value = int(bits[place + zeros : place + 2 * zeros + 1], 2) - 1
            place += 2 * zeros + 1
        return value

    golomb(4)  # number, chroma and the two depths
    place += 2
    golomb(4)  # modulus, kind and modulus of the order, and references: its kind is 0
    place += 1
    golomb(2)
    place += 2  # no fields
    cropped = bits[place] == "1"
    place += 1
    golomb(4 * cropped)
    kept = bits[:place] + "01"
    kept += "0" * (-len(kept) % 8)
    bare = bytes(int(kept[n : n + 8], 2) for n in range(0, len(kept), 8))
    assert b"\0\0" not in bare
    return data[: at + 4] + bare + b"\0" + data[end:]
