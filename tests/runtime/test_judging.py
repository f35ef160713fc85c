"""What is measured of pictures and values before a run: against numpy, by hand, from the same recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from streamer.config.load import load
from streamer.errors import ConfigError
from streamer.inprocess import Opened
from tests.bags import IMAGE, JOINTS, Message, encoded, header, record

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.quality import Verdict

S = 10**9
ORIGIN = 1_700_000_000 * S
FRAMES = 40  # at 10 Hz
HEIGHT, WIDTH = 48, 64


def _picture(number: int) -> NDArray[np.uint8]:
    """0 … 9 sharp and moving, 10 … 19 black, 20 … 29 blurred, 30 … 39 one picture with noise on it."""
    rng = np.random.default_rng(number)
    if 10 <= number < 20:
        return rng.integers(0, 4, (HEIGHT, WIDTH, 3), np.uint8)
    if 20 <= number < 30:
        ramp = np.linspace(20 + number, 200, WIDTH)
        return np.repeat(np.tile(ramp, (HEIGHT, 1))[:, :, None], 3, axis=2).astype(np.uint8)
    if number >= 30:
        fixed = np.random.default_rng(99).integers(40, 200, (HEIGHT, WIDTH, 3))
        return np.asarray(np.clip(fixed + rng.integers(-2, 3, fixed.shape), 0, 255), np.uint8)
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def _angle(number: int) -> float:
    return 0.1 * min(number, 30)  # 1 rad/s, and rests from frame 30 on


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    messages = []
    for number in range(FRAMES):
        stamp = ORIGIN + number * S // 10
        picture = _picture(number)
        fields = {"header": header(stamp), "height": HEIGHT, "width": WIDTH, "encoding": "rgb8", "step": 3 * WIDTH}
        messages.append(Message("/head", stamp, encoded("cdr", IMAGE, data=picture.reshape(-1), **fields), IMAGE))
        arm = encoded("cdr", JOINTS, header=header(stamp), name=["a"], position=[_angle(number)])
        messages.append(Message("/arm", stamp, arm, JOINTS))
    return record(tmp_path_factory.mktemp("judging") / "day", "mcap", messages)


def _config(path: Path, quality: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "head"},
        "episodes": {"every": "1 s"},
        "quality": {"sample": "1000 Hz", **quality},
        "streams": {"head": {"topic": "/head"}, "arm": {"topic": "/arm", "field": "position"}},
        **more,
    }


def _verdicts(folder: Path, config: dict[str, Any], *, judge: bool = True) -> tuple[Verdict, ...]:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    opened = Opened(load(folder / "config.yaml", [], consumers_needed=False))
    (path,) = opened.paths()
    with opened.prepared(path, judge=judge) as prepared:
        return prepared.verdicts


def _gray(number: int) -> NDArray[np.float64]:
    """Luma of ITU-R BT.601, as JPEG and OpenCV have it, in whole levels."""
    return np.asarray(np.rint(_picture(number) @ np.array([0.299, 0.587, 0.114])))


def _laplacian(gray: NDArray[np.float64]) -> float:
    """Variance of the four-neighbour Laplacian with mirrored edges (Pech-Pacheco et al., 2000)."""
    padded = np.pad(gray, 1, mode="reflect")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return float((around - 4 * gray).var())


def test_black_and_blurred_pictures_are_counted_as_numpy_counts_them(recording: Path, tmp_path: Path) -> None:
    found = _verdicts(tmp_path, _config(recording, {"black": 5, "blur": 100, "max_bad": "20 %"}))
    assert [v.outcome for v in found] == ["kept", "flagged", "flagged", "kept"]
    (black, dull), (blurred,) = found[1].reasons, found[2].reasons
    bright = [_gray(number).mean() for number in range(FRAMES)]
    sharp = [_laplacian(_gray(number)) for number in range(FRAMES)]
    assert (black.limit, black.count, black.total) == ("black", 10, 10)
    assert black.found == pytest.approx(min(bright[10:20]), abs=0.5)
    assert dull.limit == "blur"  # of the dark ones
    assert (blurred.count, blurred.total) == (sum(value < 100 for value in sharp[20:30]), 10)
    assert blurred.found == pytest.approx(min(sharp[20:30]), rel=0.2)
    between = (sorted(sharp)[20] + sorted(sharp)[19]) / 2  # half of all pictures are below
    found = _verdicts(tmp_path, _config(recording, {"blur": between, "max_bad": "0 %"}))
    counts = [sum(reason.count for reason in v.reasons) for v in found]
    assert counts == [sum(value < between for value in sharp[n : n + 10]) for n in (0, 10, 20, 30)]


def test_what_rests_is_told_by_pictures_by_vectors_or_by_all(recording: Path, tmp_path: Path) -> None:
    everything = _verdicts(tmp_path, _config(recording, {"still": "50 %"}))
    assert [v.outcome for v in everything] == ["kept", "kept", "kept", "flagged"]
    assert [(r.count, r.total) for r in everything[3].reasons] == [(9, 9)]
    camera = _verdicts(tmp_path, _config(recording, {"still": {"share": "50 %", "stream": "head"}}))
    assert [v.outcome for v in camera] == ["kept", "flagged", "flagged", "flagged"]
    arm = _verdicts(tmp_path, _config(recording, {"still": {"share": "50 %", "stream": "arm", "below": 0.9}}))
    assert [v.outcome for v in arm] == ["kept", "kept", "kept", "flagged"]
    fast = _verdicts(tmp_path, _config(recording, {"still": {"share": "50 %", "stream": "arm", "below": 1.1}}))
    assert [v.outcome for v in fast] == ["flagged"] * 4


def test_limits_of_a_stream_take_the_place_of_the_general_ones(recording: Path, tmp_path: Path) -> None:
    own: dict[str, dict[str, Any]] = {"head": {"max_gap": None}}
    quality = {"max_gap": "50 ms", "streams": own}
    found = _verdicts(tmp_path, _config(recording, quality))
    assert [[r.stream for r in v.reasons] for v in found] == [["arm"]] * 4
    holding = {"head": {"topic": "/head"}, "arm": {"topic": "/arm", "field": "position", "align": "previous"}}
    found = _verdicts(tmp_path, _config(recording, quality, streams=holding))
    assert not any(v.reasons for v in found)  # a value that holds until the next may pause
    own["arm"] = {"max_gap": "99 ms"}
    found = _verdicts(tmp_path, _config(recording, quality, streams=holding))
    assert [[round(r.found, 9) for r in v.reasons] for v in found] == [[0.1]] * 4


def test_few_frames_are_looked_at_and_none_where_only_the_plan_is_asked(recording: Path, tmp_path: Path) -> None:
    config = _config(recording, {"black": 5, "sample": "2 Hz"})
    assert [r.total for r in _verdicts(tmp_path, config)[1].reasons] == [2]
    assert not any(v.reasons for v in _verdicts(tmp_path, config, judge=False))
    config["quality"]["on_low"] = "drop"  # which decides what is planned: it is looked at whoever asks
    assert [v.outcome for v in _verdicts(tmp_path, config, judge=False)] == ["kept", "left out", "kept", "kept"]


def test_a_whole_recording_is_judged_as_one_episode(recording: Path, tmp_path: Path) -> None:
    config = _config(recording, {"black": 5, "max_bad": "30 %"})
    del config["episodes"]
    assert [(v.number, v.outcome) for v in _verdicts(tmp_path, config)] == [(None, "kept")]
    config["quality"] |= {"max_bad": "20 %", "on_low": "drop"}
    (verdict,) = _verdicts(tmp_path, config)
    assert (verdict.number, verdict.outcome, verdict.reasons[0].count) == (None, "left out", 10)


@pytest.mark.parametrize(
    ("quality", "streams", "key"),
    [
        ({"black": 5}, {"arm": {"topic": "/arm", "field": "position"}}, "quality.black"),
        ({"streams": {"arm": {"blur": 5}}}, None, "quality.streams.arm.blur"),
    ],
)
def test_a_limit_of_what_is_not_there_is_refused(
    recording: Path, tmp_path: Path, quality: dict[str, Any], streams: dict[str, Any] | None, key: str
) -> None:
    config = _config(recording, quality) | ({"streams": streams, "timeline": {"from": "arm"}} if streams else {})
    with pytest.raises(ConfigError) as caught:
        _verdicts(tmp_path, config)
    assert caught.value.where.key == key
