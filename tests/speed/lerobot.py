"""How fast the `lerobot` consumer is: against a bare PyAV loop, and against the real package's writer.

Three cameras, 640×480 at 30 Hz, raw in the recording. The same frames go through ``streamer run`` (with reading), a
loop that does nothing but encode (three encoders; codec, options and threads the same; frames in memory) and, where
LEROBOT_PYTHON names the Python of an environment with ``lerobot``, `LeRobotDataset.add_frame`::

    python -m tests.speed.lerobot [--seconds 10] [--codec libsvtav1] [--chunk-size 100]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from rosbags.rosbag1 import Reader

from consumers.encoders import encoder_for
from consumers.mp4 import Coding
from streamer.demo import Workload, make
from streamer.memory import anonymous
from tests.pipeline.driver import run

CAMERAS, WIDTH, HEIGHT, HZ = 3, 640, 480, 30
REAL = """
import sys, time
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
frames = np.load(sys.argv[1], mmap_mode="r")
shape = {"dtype": "video", "shape": frames.shape[2:], "names": ["height", "width", "channels"]}
features = {f"observation.images.camera_{n}": shape for n in range(frames.shape[1])}
streaming = sys.argv[4] == "streaming"
dataset = LeRobotDataset.create(
    "me/speed", 30, features, root=sys.argv[2], vcodec=sys.argv[3], image_writer_threads=0 if streaming else 4,
    streaming_encoding=streaming, encoder_queue_maxsize=len(frames) if streaming else 30,
)
began = time.monotonic()
for frame in frames:
    dataset.add_frame({f"observation.images.camera_{n}": image for n, image in enumerate(frame)} | {"task": "x"})
dataset.save_episode()
dataset.finalize()
print(time.monotonic() - began)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--codec", default="libsvtav1")
    parser.add_argument("--chunk-size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bag = folder / "work.bag"
        work = Workload(cameras=CAMERAS, width=WIDTH, height=HEIGHT, hz=HZ, joint_topics=1, seconds=given.seconds)
        make(bag, work)
        frames = _frames(bag, folder / "frames.npy")
        count = len(frames)
        for number in range(given.rounds):
            bare, bare_memory = _bare(frames, folder / f"bare-{number}", given.codec)
            ours, ours_memory = _ours(bag, folder / f"ours-{number}", given.codec, given.chunk_size)
            print(  # noqa: T201 - the result
                f"{count} frames × {CAMERAS}, {given.codec}: bare {count / bare:.1f}/s, {bare_memory / 1e6:.0f} MB; "
                f"lerobot {count / ours:.1f}/s, {ours_memory / 1e6:.0f} MB; ratio {bare / ours:.2f}"
            )
        if python := os.environ.get("LEROBOT_PYTHON"):
            for how in ("default", "streaming"):
                real = _real(python, folder, given.codec, how)
                print(f"the real writer ({how}): {count / real:.1f}/s; ratio {real / ours:.1f}")  # noqa: T201


def _frames(bag: Path, path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Unpack the pictures: (frames, cameras, height, width, 3)."""
    size = WIDTH * HEIGHT * 3
    with Reader(bag) as reader:
        cameras = [c for c in reader.connections if c.topic.startswith("/camera")]
        count = min(c.msgcount for c in cameras)
        frames = np.lib.format.open_memmap(path, "w+", np.uint8, (count, CAMERAS, HEIGHT, WIDTH, 3))
        seen = dict.fromkeys((c.topic for c in cameras), 0)
        for connection, _, raw in reader.messages(cameras):
            number, seen[connection.topic] = seen[connection.topic], seen[connection.topic] + 1
            picture = np.frombuffer(raw, np.uint8)[-size:].reshape(HEIGHT, WIDTH, 3)
            frames[number, int(connection.topic[8])] = picture
    return frames


def _bare(frames: np.ndarray[Any, np.dtype[np.uint8]], folder: Path, codec: str) -> tuple[float, int]:
    folder.mkdir()
    coding = Coding(codec)
    began = time.monotonic()
    files, streams = [], []
    for camera in range(CAMERAS):
        files.append(av.open(str(folder / f"{camera}.mp4"), "w"))
        stream: Any = files[-1].add_stream(encoder_for(codec), Fraction(HZ), options=coding.options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        streams.append(stream)
    for frame in frames:
        for file, stream, picture in zip(files, streams, frame, strict=True):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    memory = anonymous()
    for file, stream in zip(files, streams, strict=True):
        file.mux(stream.encode(None))
        file.close()
    return time.monotonic() - began, memory


def _ours(bag: Path, folder: Path, codec: str, chunk_size: int) -> tuple[float, int]:
    features = {f"observation.images.camera_{n}": f"camera_{n}" for n in range(CAMERAS)}
    options = {"out": "dataset", "task": "x", "features": features, "codec": codec}
    config = {
        "source": {"path": str(bag)},
        "timeline": {"from": "camera_0", "rate": f"{HZ} Hz", "end": "timeline"},
        "chunk_size": chunk_size,
        "pool": "100 MB",
        "streams": {f"camera_{n}": {"topic": f"/camera_{n}/image_raw"} for n in range(CAMERAS)},
        "consumers": {"lerobot": {"options": options}},
    }
    finished = run(folder, config)
    if finished.code:
        sys.exit(str(finished))
    report = finished.report
    return report["seconds"]["stream"], round(report["consumers"]["lerobot"]["anon_mb"]["peak"] * 1e6)


def _real(python: str, folder: Path, codec: str, how: str) -> float:
    root = folder / f"real-{how}"
    done = subprocess.run(
        [python, "-c", REAL, str(folder / "frames.npy"), str(root), codec, how],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "SVT_LOG": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    seconds: float = json.loads(done.stdout.splitlines()[-1])
    return seconds


if __name__ == "__main__":
    main()
