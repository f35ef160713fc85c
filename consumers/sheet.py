"""The shares of a preview → the pixels of its contact sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.contract import Recording, StreamInfo

    Picture = NDArray[np.uint8]
    Color = tuple[int, int, int]

_GAP, _TITLE, _CAPTION, _LANE, _OFFSETS = 8, 56, 22, 120, 40
_LEGEND = 0.36  # size of its letters
_BAND = 24
_IS_GAP, _IS_NONE = 1, 2  # as the preview writes them
_INK, _FAINT, _ALARM, _SHADE, _PAPER = (40, 40, 40), (140, 140, 140), (40, 40, 200), (215, 225, 250), (255, 255, 255)
_BANDS: tuple[Color, ...] = ((250, 236, 220), (224, 240, 224))
_CURVES: tuple[Color, ...] = (
    (180, 119, 31), (14, 127, 255), (44, 160, 44), (40, 39, 214), (189, 103, 148), (75, 86, 140),
    (194, 119, 227), (127, 127, 127), (34, 189, 188), (207, 190, 23), (120, 60, 20), (60, 160, 160),
)  # fmt: skip


def thumbnail(value: NDArray[Any], width: int) -> Picture:
    """Return a picture ``width`` pixels wide; depth is coloured from near (warm) to far (cold)."""
    picture = value if value.dtype == np.uint8 else _colored(value)
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    small = cv2.resize(picture[..., :3], (width, height), interpolation=cv2.INTER_AREA)
    return small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]


def _colored(depth: NDArray[Any]) -> Picture:
    values = depth.astype(np.float32)
    seen = np.isfinite(values) & (values > 0)
    low, high = np.percentile(values[seen], (2, 98)) if seen.any() else (0.0, 1.0)
    share = np.clip((np.where(seen, values, low) - low) / max(high - low, 1e-9), 0, 1)
    picture = cv2.applyColorMap((255 - share * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    picture[~seen] = 0
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def draw(recording: Recording, shares: list[dict[str, NDArray[Any]]], width: int) -> bytes:
    """Draw the sheet and return it as a PNG file's content.

    Raises:
        ValueError: it cannot be encoded.

    """
    found = {key: value for share in shares for key, value in share.items()}
    numbers = sorted(int(key.split()[1]) for key in found if key.startswith("tick "))
    total = max(len(numbers) * (width + _GAP) + _GAP, 640)
    rows = [_title(recording, total), _heads(recording, found, numbers, width, total)]
    for name, stream in recording.streams.items():
        if stream.kind in ("image", "depth"):
            rows.append(_pictures(name, stream, found, numbers, width, total))
        elif stream.kind == "vector":
            parts = [share[f"curve {name}"] for share in shares if f"curve {name}" in share]
            rows.append(_curves(stream, parts, numbers, recording.frames, width, total))
        else:
            rows.append(_label(stream, total))
        if stream.kind == "text":
            rows.append(_texts(name, shares, numbers, recording.frames, width, total))
        parts = [share[f"offset {name}"] for share in shares if len(share.get(f"offset {name}", ()))]
        rows.append(_offsets(parts, numbers, recording.frames, width, total))
    sheet = cv2.copyMakeBorder(np.vstack(rows), 0, _GAP, 0, 0, cv2.BORDER_CONSTANT, value=_PAPER)
    done, png = cv2.imencode(".png", sheet)
    if not done:
        msg = f"a contact sheet of {sheet.shape[1]}x{sheet.shape[0]} pixels does not encode as PNG"
        raise ValueError(msg)
    return png.tobytes()


def _paper(height: int, width: int) -> Picture:
    return np.full((height, width, 3), 255, np.uint8)


def _write(on: NDArray[Any], text: str, at: tuple[int, int], color: Color = _INK, size: float = 0.42) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(on, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)


def _title(recording: Recording, total: int) -> Picture:
    row = _paper(_TITLE, total)
    seconds = (recording.end - recording.start) / 1e9
    pace = f" at {recording.rate:.4g} Hz" if recording.rate else ""
    _write(row, recording.name, (_GAP, 24), size=0.7)
    _write(
        row, f"{recording.frames} frames{pace}, {seconds:.2f} s, {len(recording.streams)} streams", (_GAP, 46), _FAINT
    )
    return row


def _heads(recording: Recording, found: dict[str, NDArray[Any]], numbers: list[int], width: int, total: int) -> Picture:
    row = _paper(_CAPTION, total)
    for column, number in enumerate(numbers):
        seconds = (int(found[f"tick {number}"]) - recording.start) / 1e9
        _write(row, f"frame {number}  {seconds:.3f} s", (_left(column, width), 15))
    return row


def _left(column: int, width: int) -> int:
    return _GAP + column * (width + _GAP)


def _label(stream: StreamInfo, total: int) -> Picture:
    row = _paper(_CAPTION, total)
    shape = "x".join(map(str, stream.shape))
    kind = f"{shape} {'records' if stream.dtype.names else stream.dtype.name}"
    kind = "text" if stream.kind == "text" else kind
    _write(row, f"{stream.name}: {stream.topic}  {kind}", (_GAP, 15), _FAINT)
    return row


def _pictures(
    name: str, stream: StreamInfo, found: dict[str, NDArray[Any]], numbers: list[int], width: int, total: int
) -> Picture:
    height = max(
        (found[k].shape[0] for k in found if k.startswith("picture ") and k.split(" ", 2)[2] == name), default=0
    )
    row = _paper(height + _CAPTION, total)
    label = _label(stream, total)
    if never_changes([found[f"picture {n} {name}"] for n in numbers if f"picture {n} {name}" in found]):
        _write(label, "no picture differs from the first", (total // 2, 15), _ALARM)
    for column, number in enumerate(numbers):
        left = _left(column, width)
        picture = found.get(f"picture {number} {name}")
        if picture is None:
            _write(row, "none", (left, height + 15), _ALARM)
            continue
        row[: picture.shape[0], left : left + width] = picture[..., ::-1]  # OpenCV writes PNG from blue, green, red
        offset, held, gap = found[f"about {number} {name}"]
        words = f"{offset / 1e6:+.1f} ms" + (" held" if held else "") + (" GAP" if gap else "")
        _write(row, words, (left, height + 15), _ALARM if gap else _INK)
    return np.vstack([label, row])


def never_changes(pictures: list[NDArray[Any]]) -> bool:
    """Tell whether all pictures, of two or more, are the first: as of a camera that hangs."""
    return len(pictures) > 1 and all(np.array_equal(picture, pictures[0]) for picture in pictures[1:])


def _curves(
    stream: StreamInfo, parts: list[NDArray[Any]], numbers: list[int], frames: int, width: int, total: int
) -> Picture:
    row = _paper(_LANE, total)
    points = np.vstack(parts) if parts else np.empty((0, 2))
    at, x = _across(points, numbers, frames, width)
    for left in x[points[:, 1] > 0].astype(int):
        cv2.rectangle(row, (left - 1, 0), (left + 1, _LANE), _SHADE, -1)
    for left in at:
        cv2.line(row, (int(left), 0), (int(left), _LANE), (225, 225, 225), 1)
    values = points[:, 2:]
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    for column in range(values.shape[1]):
        curve = values[:, column]
        y = 6 + (_LANE - 12) * (1 - (curve - low) / max(high - low, 1e-9))
        seen = np.isfinite(curve)
        line = np.stack([x[seen], y[seen]], axis=1).round().astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(row, [line], isClosed=False, color=_CURVES[column], thickness=1, lineType=cv2.LINE_AA)
    unit = f" {stream.unit}" if stream.unit else ""
    _write(row, f"{high:.4g}{unit}", (_GAP, 14), _FAINT)
    if never_moves(values):
        _write(row, "no element ever moves", (_GAP, _LANE // 2), _ALARM)
    _write(row, f"{low:.4g}", (_GAP, _LANE - 4), _FAINT)
    return np.vstack([_label(stream, total), *_legend(stream, values.shape[1], total), row])


def never_moves(values: NDArray[Any]) -> bool:
    """Tell whether all elements keep one value, in two frames or more: as of a dead sensor."""
    return len(values) > 1 and bool(np.all((values == values[0]) | np.isnan(values)))


def _texts(
    name: str, shares: list[dict[str, NDArray[Any]]], numbers: list[int], frames: int, width: int, total: int
) -> Picture:
    """Draw what a text says from where to where: each new text in another shade."""
    row = _paper(_BAND, total)
    found = [s for s in shares if f"text {name}" in s]
    starts = np.concatenate([s[f"text at {name}"] for s in found]) if found else np.empty(0, np.int64)
    texts: list[str] = [text for s in found for text in s[f"text {name}"].tolist()]
    _, x = _across(starts.reshape(-1, 1), numbers, frames, width)
    new = [n for n, text in enumerate(texts) if not n or text != texts[n - 1]]
    ends = [*(int(x[n]) for n in new[1:]), total - _GAP]
    for shade, (n, end) in enumerate(zip(new, ends, strict=True)):
        if texts[n]:
            part = row[:, int(x[n]) : end]
            part[:] = _BANDS[shade % 2]
            _write(part, texts[n], (4, 16))
    return row


def _legend(stream: StreamInfo, curves: int, total: int) -> list[Picture]:
    """Write the names of a vector's elements in the colours of their curves, in as many rows as they take."""
    rows: list[Picture] = []
    left = total
    named = list(zip(stream.names[:curves], _CURVES, strict=False))
    more = (stream.shape[0] if stream.shape else 0) - curves
    for name, color in [*named, *([(f"and {more} more elements, not drawn", _FAINT)] if more > 0 < curves else [])]:
        width = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, _LEGEND, 1)[0][0]
        if left + width > total - _GAP:
            rows.append(_paper(_CAPTION - 6, total))
            left = _GAP
        _write(rows[-1], name, (left, _CAPTION - 12), color, _LEGEND)
        left += width + 2 * _GAP
    return rows


def _across(
    points: NDArray[Any], numbers: list[int], frames: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return where the columns' middles are, and where the frames of some points are between them."""
    # a lane runs under the pictures: a frame's place in it is under the middle of its picture's column
    at = np.array([_left(column, width) + width // 2 for column in range(len(numbers))] or [0])
    if frames > 1:
        return at, np.interp(points[:, 0], numbers or [0], at)
    return at, np.full(len(points), float(at[0]))


def _offsets(parts: list[NDArray[Any]], numbers: list[int], frames: int, width: int, total: int) -> Picture:
    """Draw how far every sample is from its tick: a bar up where it is later, down where it is earlier."""
    row = _paper(_OFFSETS, total)
    points = np.vstack(parts) if parts else np.empty((0, 3))
    _, x = _across(points, numbers, frames, width)
    middle = _OFFSETS // 2
    most = float(np.abs(points[:, 2]).max(initial=0))
    cv2.line(row, (0, middle), (total, middle), (225, 225, 225), 1)
    for left, state, offset in zip(x.astype(int).tolist(), points[:, 1], points[:, 2], strict=True):
        if state == _IS_GAP:
            cv2.rectangle(row, (left - 1, 0), (left + 1, _OFFSETS), _SHADE, -1)
        if state == _IS_NONE:
            cv2.line(row, (left, middle - 4), (left, middle + 4), _ALARM, 1)
        else:
            end = middle - round(offset / max(most, 1e-9) * (middle - 3))
            cv2.line(row, (left, middle), (left, end), _ALARM if state else _FAINT, 1)
    told = f"{most:.3g} ms" if most < 1000 else f"{most / 1000:.3g} s"
    _write(row, f"offset, at most {told}", (_GAP, 11), _FAINT, 0.36)
    return row
