"""Maps of recordings in this process → what Pillow and OpenCV make of the same messages."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

import streamer
from streamer.errors import ConfigError
from tests.bags import COMPRESSED, JOINTS, START, Message, encoded, joints, record

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INFO = "sensor_msgs/msg/CameraInfo"
K = np.array([[300.0, 0, 158], [0, 290, 122], [0, 0, 1]])
P = np.array([[250.0, 0, 160, 0], [0, 250, 120, 0], [0, 0, 1, 0]])
D = np.array([-0.3, 0.1, 0.001, -0.002, 0.01])


def smooth(seed: int, size: tuple[int, int] = (240, 320)) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def pictures(kind: str, images: list[NDArray[np.uint8]]) -> tuple[list[Message], list[NDArray[np.uint8]]]:
    """Compress images; return them as Pillow reads them."""
    messages, seen = [], []
    for n, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
        data = np.frombuffer(file.getvalue(), np.uint8)
        messages.append(
            Message("/cam", START + n * 10**8, encoded("ros1", COMPRESSED, format=kind.lower(), data=data), COMPRESSED)
        )
        seen.append(np.asarray(Image.open(file)))
    return messages, seen


def frames(folder: Path, messages: list[Message], steps: list[Any], **more: Any) -> list[NDArray[Any]]:
    path = record(folder / "bag", "ros1", messages)
    stream = {"topic": messages[0].topic, "map": steps} | more
    config = {"source": {"path": str(path)}, "timeline": {"from": "it", "end": "timeline"}, "streams": {"it": stream}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return [np.array(frame["it"]) for frame in streamer.open(folder / "config.yaml").frames()]


def noise(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the ratio of peak signal to noise, in decibels."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_camera_is_cut_and_resized_whether_its_pictures_are_decoded_reduced_or_whole(
    tmp_path: Path, kind: str
) -> None:
    messages, seen = pictures(kind, [smooth(n) for n in range(4)])
    found = frames(tmp_path, messages, [{"crop": [40, 0, 240, 240]}, {"rotate": 270}, {"resize": [56, 56]}])
    assert len(found) == 4
    for array, image in zip(found, seen, strict=True):
        wanted = cv2.resize(np.ascontiguousarray(np.rot90(image[:, 40:280])), (56, 56), interpolation=cv2.INTER_AREA)
        assert array.shape == (56, 56, 3)
        assert noise(array, wanted) > 38


def test_a_camera_is_rectified_by_the_calibration_of_its_topic(tmp_path: Path) -> None:
    messages, seen = pictures("PNG", [smooth(n) for n in range(2)])
    info = {"height": 240, "width": 320, "distortion_model": "plumb_bob"}
    matrices = {"D": D, "K": K.ravel(), "R": np.eye(3).ravel(), "P": P.ravel()}
    calibration = Message("/cam/info", START, encoded("ros1", INFO, **info, **matrices), INFO)
    found = frames(tmp_path, [*messages, calibration], [{"undistort": {"camera_info": "/cam/info"}}])
    for array, image in zip(found, seen, strict=True):
        assert noise(array, cv2.undistort(image, K, D, newCameraMatrix=P[:, :3])) > 40


@pytest.mark.parametrize(
    ("topic", "said"),
    [("/cam/inof", "did you mean '/cam/info'?"), ("/cam", "/cam holds sensor_msgs/msg/CompressedImage")],
)
def test_a_calibration_that_is_not_there_is_told(tmp_path: Path, topic: str, said: str) -> None:
    messages, _ = pictures("PNG", [smooth(0)])
    calibration = Message("/cam/info", START, encoded("ros1", INFO), INFO)
    with pytest.raises(ConfigError, match=r"undistort: .*" + said) as caught:
        frames(tmp_path, [*messages, calibration], [{"undistort": {"camera_info": topic}}])
    assert caught.value.where.key == "streams.it.map[0]"


def test_a_map_comes_after_resize_scale_and_interpolation(tmp_path: Path) -> None:
    states = joints("/joints", [START, START + 2 * 10**8])
    path = record(tmp_path / "bag", "ros1", states)
    stream = {"topic": "/joints", "field": "position", "scale": 10, "align": "linear", "map": [{"offset": 1}, "norm"]}
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "grid", "rate": "10 Hz"},
        "streams": {"it": stream},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    found = [np.array(frame["it"])[0] for frame in streamer.open(tmp_path / "config.yaml").frames()]
    wanted = [np.linalg.norm(10 * (np.arange(3) + n) + 1) for n in (0, 0.5, 1)]
    assert np.allclose(found, wanted)


def test_a_stream_without_a_message_has_no_use_for_its_map_but_its_mistakes_are_told(tmp_path: Path) -> None:
    states = joints("/joints", [START, START + 10**8])
    late = Message("/late", START + 10**12, states[0].data, JOINTS)
    path = record(tmp_path / "bag", "ros1", [*states, late])
    missing = {"topic": "/late", "field": "position", "missing": "none", "tolerance": "1 s", "map": ["norm"]}
    config: dict[str, Any] = {
        "source": {"path": str(path)},
        "timeline": {"from": "it", "end": "timeline"},
        "streams": {"it": {"topic": "/joints", "field": "position"}, "late": missing},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert [frame["late"] for frame in streamer.open(tmp_path / "config.yaml").frames()] == [None, None]
    with pytest.raises(ConfigError, match="did you mean 'norm'"):
        next(iter(streamer.open(tmp_path / "config.yaml", "streams.late.map=[nrom]").frames()))
