"""Frames → a contact sheet: one picture that shows whether a recording came out as it should."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import (
    add_text,
    check_parts,
    make_folder,
    provenance,
    remove_folder,
    replacing,
    working_folder,
    write_bytes,
)
from streamer.contract import Consumer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.contract import Chunk, Frame, Recording

_MOST_POINTS = 2000  # of a curve
_MOST_CURVES = 12  # of a vector
_MOST_LETTERS = 200  # of a text
_LATEST_SECONDS, _LATEST_WIDTH = 1.0, 320
_GAP, _NONE = 1, 2  # what may be said of a sample's place in the lane of offsets


class Preview(Consumer):
    """Writes ``<out>/<recording>.preview.png``.

    Its columns are some frames, evenly spread; each camera has a row of pictures with the offset of
    its sample from the tick, each vector a row with its curves, each text a band, and every stream a lane with
    the offsets of all its samples; gaps are shaded, frames without a sample marked. Every chunk's share lies in a file
    of its own until the end, so a repeated chunk replaces itself. While the run goes on, what the cameras
    show stands in ``<out>/.<recording>.preview/latest.jpg``, not older than a second or so.
    """

    many_recordings = True

    def __init__(self, out: str, frames: int = 8, width: int = 240) -> None:
        """Write into the folder ``out``: ``frames`` columns of ``width`` pixels.

        Raises:
            ValueError: a number below 1 (frames) or 64 (width).

        """
        if frames < 1 or width < 64:
            msg = f"frames is at least 1 and width at least 64 pixels, not {frames} and {width}"
            raise ValueError(msg)
        self._out = Path(out)
        self._columns = frames
        self._width = width

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Choose the frames to show."""
        make_folder(self._out)
        self._parts = working_folder(self._out / f".{recording.name}.preview", anew=state is None)
        self._kinds = {name: stream.kind for name, stream in recording.streams.items()}
        self._widths = {n: min(s.shape[0], _MOST_CURVES) for n, s in recording.streams.items() if s.kind == "vector"}
        count = min(self._columns, recording.frames)
        self._targets: list[int] = np.linspace(0, recording.frames - 1, count).round().astype(int).tolist()
        self._stride = max(1, recording.frames // _MOST_POINTS)
        self._next: int = state["next"] if state else 0  # the next target
        self._chunks: int = state["chunk"] + 1 if state else 0
        self._final = self._out / f"{recording.name}.preview.png"
        if state is not None:
            self._check()
        self._pictures: dict[str, NDArray[Any]] = {}
        self._curves: dict[str, list[list[float]]] = {}
        self._texts: dict[str, list[tuple[int, str]]] = {}
        self._offsets: dict[str, list[tuple[int, int, float]]] = {name: [] for name in self._kinds}
        self._shown = -_LATEST_SECONDS

    def _check(self) -> bool:
        """Make sure that what was committed is there; tell whether its parts are still to be drawn."""
        return check_parts(self._parts, map(_part, range(self._chunks)), self._final)

    def on_frame(self, frame: Frame) -> None:
        """Keep small copies of what the sheet will show."""
        if frame.number % self._stride == 0:
            self._add_to_curves(frame)
        wanted = self._next < len(self._targets) and frame.number >= self._targets[self._next]
        while self._next < len(self._targets) and frame.number >= self._targets[self._next]:
            self._next += 1
        if wanted:
            self._add_pictures(frame)
        if time.monotonic() - self._shown >= _LATEST_SECONDS:
            self._shown = time.monotonic()
            self._show(frame)

    def _show(self, frame: Frame) -> None:
        """Write what the cameras show now, side by side, for who looks while the run goes on."""
        import simplejpeg

        from consumers.sheet import thumbnail

        samples = [sample for name, sample in frame.samples.items() if self._kinds[name] in ("image", "depth")]
        pictures = [thumbnail(sample.value, _LATEST_WIDTH) for sample in samples if sample is not None]
        if not pictures:
            return
        height = max(len(picture) for picture in pictures)
        strip = np.zeros((height, _LATEST_WIDTH * len(pictures), 3), np.uint8)
        for n, picture in enumerate(pictures):
            strip[: len(picture), n * _LATEST_WIDTH : n * _LATEST_WIDTH + picture.shape[1]] = picture
        write_bytes(self._parts / "latest.jpg", simplejpeg.encode_jpeg(strip, 80))

    def _add_to_curves(self, frame: Frame) -> None:
        for name, sample in frame.samples.items():
            state = _NONE if sample is None else _GAP if sample.gap else 0
            self._offsets[name].append((frame.number, state, sample.offset / 1e6 if sample else 0.0))
            if self._kinds[name] == "text":
                self._add_to_band(name, frame.number, "" if sample is None else sample.value[:_MOST_LETTERS])
            elif self._kinds[name] == "vector" and sample is not None:
                values = sample.value[:_MOST_CURVES].tolist()
                unused = [math.nan] * (self._widths[name] - len(values))  # of a stream whose length varies
                point = [frame.number, float(sample.gap), *values, *unused]
                self._curves.setdefault(name, []).append(point)

    def _add_to_band(self, name: str, number: int, text: str) -> None:
        """Note a text where it changes."""
        band = self._texts.setdefault(name, [])
        if not band or band[-1][1] != text:
            band.append((number, text))

    def _add_pictures(self, frame: Frame) -> None:
        from consumers.sheet import thumbnail

        self._pictures[f"tick {frame.number}"] = np.array(frame.tick)
        for name, sample in frame.samples.items():
            if sample is not None and self._kinds[name] in ("image", "depth"):
                key = f"{frame.number} {name}"
                self._pictures[f"picture {key}"] = thumbnail(sample.value, self._width)
                self._pictures[f"about {key}"] = np.array([sample.offset, sample.held, sample.gap])

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Write the chunk's share to its file."""
        curves = {f"curve {name}": np.array(points) for name, points in self._curves.items()}
        offsets = {f"offset {name}": np.array(points) for name, points in self._offsets.items()}
        share: dict[str, Any] = self._pictures | curves | offsets
        for name, band in self._texts.items():
            share |= {f"text {name}": np.array([t for _, t in band]), f"text at {name}": np.array([n for n, _ in band])}
        path = self._parts / _part(chunk.number)
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez(file, **share)
        self._pictures, self._curves, self._texts = {}, {}, {}
        self._offsets = {name: [] for name in self._kinds}
        self._chunks = chunk.number + 1
        return {"next": self._next, "chunk": chunk.number}

    def close(self, recording: Recording) -> None:
        """Draw the sheet from all shares."""
        if self._chunks == 0 or self._check():  # else an earlier process came as far as to tidy up
            self._draw(recording)
        remove_folder(self._parts)

    def _draw(self, recording: Recording) -> None:
        from consumers.sheet import draw

        shares: list[dict[str, NDArray[Any]]] = []
        for number in range(self._chunks):
            with np.load(self._parts / _part(number)) as share:
                shares.append(dict(share))
        origin = json.dumps(provenance(recording), sort_keys=True)
        sheet = add_text(draw(recording, shares, self._width), "provenance", origin)
        write_bytes(self._final, sheet)


def _part(chunk: int) -> str:
    return f"part-{chunk:06d}.npz"
