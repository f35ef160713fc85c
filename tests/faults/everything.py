"""A recording of everything → a run of every built-in consumer at once, and what their outputs hold.

Cameras as JPEG and as a video, joints in two topics that make one stream, texts, points, two streams of one message,
episodes that markers cut. What outputs hold is read by OpenCV, PyAV, PyArrow, h5py, zarr and mcap, not by our code.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import av
import cv2
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from mcap.reader import make_reader

from tests.bags import CLOUD, COMPRESSED, JOINTS, START, Message, encoded, header, make, record
from tests.videos import FFMPEG, PERIOD, encode, pictures, video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MS = 10**6
SIZE = (48, 32)
STRING = "std_msgs/msg/String"
GAP = 3  # pictures between two episodes
_FIELDS = [
    make("cdr", "sensor_msgs/msg/PointField", name=name, offset=4 * n, datatype=7, count=1)
    for n, name in enumerate("xyz")
]


def write(path: Path, lengths: tuple[int, ...] = (10, 6, 8)) -> Path:
    """Record episodes of so many pictures."""
    count = sum(lengths) + GAP * (len(lengths) + 1)
    packets = encode("libx264", pictures(count, SIZE, seed=1), {"preset": "veryfast", "bf": "0"}, gop=8)
    found = [*video("/film", "cdr", FFMPEG, "libx264", packets), *_marks(lengths)]
    for n, image in enumerate(pictures(count, SIZE)):
        found += _at(n, START + n * PERIOD, np.ascontiguousarray(image))
    return record(path, "mcap-zstd", sorted(found, key=lambda message: message.stamp), chunk=20_000)


def _at(n: int, stamp: int, image: Any) -> Iterator[Message]:
    rng = np.random.default_rng(n)
    jpeg = np.frombuffer(simplejpeg.encode_jpeg(image, 90), np.uint8)
    yield Message("/cam", stamp, encoded("cdr", COMPRESSED, header=header(stamp), format="jpeg", data=jpeg), COMPRESSED)
    for k in range(3):
        at = stamp + k * 10 * MS + MS
        arm = {"header": header(at), "name": list("abc"), "position": rng.random(3)}
        yield Message("/joints", at, encoded("cdr", JOINTS, **arm), JOINTS)
        grip = {"header": header(at), "name": ["left", "right"], "position": rng.random(2)}
        yield Message("/grip", at, encoded("cdr", JOINTS, **grip), JOINTS)
    points = rng.random((20 + n % 7, 3), np.float32)
    about = {"height": 1, "width": len(points), "fields": _FIELDS, "point_step": 12, "row_step": points.nbytes}
    data = encoded("cdr", CLOUD, header=header(stamp), **about, data=points.view(np.uint8).ravel())
    yield Message("/points", stamp + MS, data, CLOUD)
    if n % 4 == 0:
        yield Message("/says", stamp - MS, encoded("cdr", STRING, data=f"step {n} — weiter"), STRING)


def _marks(lengths: tuple[int, ...]) -> Iterator[Message]:
    at = GAP
    for number, length in enumerate(lengths):
        for tick, text in ((at, f"start: task {number % 2}"), (at + length, "stop: good")):
            yield Message("/trial", START + tick * PERIOD - 2 * MS, encoded("cdr", STRING, data=text), STRING)
        at += length + GAP


def configured(path: Path, chunks: int) -> dict[str, Any]:
    """Configure a run over it: a process for each so many chunks of every consumer."""
    no_points, numbers = ["cam", "left", "film", "joints", "state", "says"], ["cam", "film", "joints", "state"]
    state = {"concat": [{"topic": "/joints", "field": "position"}, {"topic": "/grip", "field": "position"}]}
    coding = {"codec": "h264", "quality": 30}
    consumers: dict[str, dict[str, Any]] = {
        "checksum": {"options": {"out": "out/sums/{episode}.json"}},
        "csv": {"options": {"out": "out/csv"}},
        "hdf5": {
            "streams": numbers,
            "options": {
                "out": "out/hdf5",
                "layout": "aloha",
                "features": {"action": "state", "observations/qpos": ["joints"], "observations/images/top": "cam"},
            },
        },
        "images": {"options": {"out": "out/images"}},
        "lerobot": {
            "streams": numbers,
            "options": {
                "out": "out/lerobot",
                "task": "none",
                "features": {"observation.images.cam": "cam", "observation.images.film": "film", "action": "state"},
                **coding,
            },
        },
        "mcap": {"streams": no_points, "options": {"out": "out/mcap"}},
        "null": {},
        "originals": {"use": "mcap", "options": {"out": "out/originals", "messages": "all"}},
        "parquet": {"streams": no_points, "options": {"out": "out/parquet"}},
        "points": {"options": {"out": "out/points"}},
        "preview": {"options": {"out": "out/preview", "frames": 4, "width": 64}},
        "replay": {
            "use": "zarr",
            "streams": numbers,
            "options": {
                "out": "out/replay",
                "layout": "replay_buffer",
                "features": {"img": "film", "action": ["state"]},
            },
        },
        "stats": {"options": {"out": "out/stats", "plot": False}},
        "video": {"streams": ["cam", "film"], "options": {"out": "out/video", "gop": 5, **coding}},
        "zarr": {"options": {"out": "out/zarr"}},
    }
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "grid", "rate": "30 Hz"},
        "chunk_size": 4,
        "pool": "1 MB",
        "episodes": {"from": {"topic": "/trial", "start": "start*", "stop": "stop*", "task": "data", "label": "data"}},
        "streams": {
            "cam": {"topic": "/cam", "missing": "hold"},
            "left": {"topic": "/cam", "missing": "hold", "map": [{"crop": [0, 0, 24, 32]}, "gray"]},
            "film": {"topic": "/film", "missing": "hold"},
            "joints": {"topic": "/joints", "field": "position", "align": "linear", "missing": "hold"},
            "state": state | {"missing": "hold"},
            "says": {"topic": "/says", "missing": "none"},
            "points": {"topic": "/points", "missing": "hold"},
        },
        "consumers": {name: one | {"recycle": {"chunks": chunks}} for name, one in consumers.items()},
    }


def contents(folder: Path) -> dict[str, object]:
    """Return what every file below a folder holds, by its path; not where it comes from, which names the run."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else _reader(path)(path)
        for path in files
    }


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """Name the files that are in one alone, or hold something else."""
    return sorted(name for name in one.keys() | other.keys() if name not in one or one.get(name) != other.get(name))


def _reader(path: Path) -> Callable[[Path], object]:
    return _READERS.get(path.suffix or path.name, _bytes)


def _bytes(path: Path) -> object:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_origin(values: Any) -> Any:
    """Leave out what names the run: of a provenance stay the recording's fingerprint, the episode and the plan."""
    if isinstance(values, dict):
        if "fingerprint" in values:
            return {key: values.get(key) for key in ("fingerprint", "episode", "plan")}
        return {key: _without_origin(value) for key, value in values.items()}
    if isinstance(values, str | bytes) and values[:1] in ("{", b"{"):
        return _without_origin(json.loads(values))
    return [_without_origin(value) for value in values] if isinstance(values, list) else values


def _json(path: Path) -> object:
    return _without_origin(json.loads(path.read_text(encoding="utf-8")))


def _lines(path: Path) -> object:
    kept = ("episode_index", "task", "frames", "recording", "video_bytes", "plan")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: row[key] for key in kept} for row in rows] if path.name == "provenance.jsonl" else rows


def _table(path: Path) -> object:
    table = pq.read_table(path).replace_schema_metadata(None).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return table.num_rows, hashlib.sha256(sink.getvalue()).hexdigest(), pq.read_metadata(path).num_row_groups


def _picture(path: Path) -> object:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image.shape, hashlib.sha256(image.tobytes()).hexdigest()


def _film(path: Path) -> object:
    with av.open(str(path)) as file:
        frames: list[Any] = list(file.decode(video=0))
        return [(f.pts, hashlib.sha256(f.to_ndarray(format="rgb24").tobytes()).hexdigest()) for f in frames]


def _arrays(path: Path) -> object:
    with np.load(path) as file:
        return {name: _array(file[name]) for name in file.files}


def _array(value: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], bytes]:
    return value.dtype.str, value.shape, value.tobytes()


def _sets(path: Path) -> object:
    found: dict[str, object] = {}

    def take(name: str, what: Any) -> None:
        if isinstance(what, h5py.Dataset):
            value = np.asarray(what[()])
            found[name] = _without_origin(value.item()) if value.dtype.kind in "OS" else _array(value)

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def _messages(path: Path) -> object:
    with path.open("rb") as file:
        return [(c.topic, s.name if s else "", m) for s, c, m in make_reader(file).iter_messages(log_time_order=False)]


_READERS: dict[str, Callable[[Path], object]] = {
    ".json": _json,
    ".zattrs": _json,
    ".zmetadata": _json,
    ".jsonl": _lines,
    ".parquet": _table,
    ".png": _picture,
    ".mp4": _film,
    ".npz": _arrays,
    ".hdf5": _sets,
    ".mcap": _messages,
}
