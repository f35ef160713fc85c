"""Functions and classes of the user's own, entry points, and calibrations → steps, held to what they promised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
import pytest

from streamer import transform
from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec
from streamer.transform import CameraInfo, Chain, Step, Undistort, make_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = "tests.transform.test_own"


def double(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float32) * 2


def fickle(array: NDArray[Any]) -> NDArray[Any]:
    return array if not array.any() else array[:1]


def spoils(array: NDArray[Any]) -> NDArray[Any]:
    array += 1
    return array


class Sums:
    """A class with arguments and names."""

    names = ("sum", "times")

    def __init__(self, times: float = 1.0) -> None:
        self._times = times

    def __call__(self, array: NDArray[Any]) -> NDArray[np.float64]:
        return np.array([array.sum(), self._times])


@dataclass(frozen=True, slots=True)
class Halve(Step):
    """A step as a plug-in would bring it."""

    name: ClassVar[str] = "halve"

    def probe(self, spec: Spec) -> Spec:
        return replace(spec, shape=(spec.shape[0] // 2,))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[: len(array) // 2]


VECTOR = Spec((4,), "<f4", names=("a", "b", "c", "d"))


def test_a_function_is_a_step_whose_shape_is_found_out() -> None:
    chain = Chain.bind(make_steps([f"{HERE}:double"]), VECTOR)
    assert chain.spec == VECTOR
    assert chain(np.ones(4, np.float32)).tolist() == [2, 2, 2, 2]


def drawn(array: NDArray[Any]) -> NDArray[Any]:
    return np.repeat((array > 0).astype(np.uint8)[:, None], 3, axis=1)


def table(array: NDArray[Any]) -> NDArray[Any]:
    return np.outer(array, array)


def imaginary(array: NDArray[Any]) -> NDArray[Any]:
    return array * 1j


def pairs(array: NDArray[Any]) -> NDArray[Any]:
    found = np.zeros(len(array), np.dtype([("x", "<f4"), ("n", "<u2")]))
    found["x"], found["n"] = array, 7
    return found


def test_what_a_function_may_make_of_a_vector() -> None:
    assert Chain.bind(make_steps([f"{HERE}:drawn"]), VECTOR).spec.shape == (4, 3)
    chain = Chain.bind(make_steps([f"{HERE}:pairs", {"fields": "n"}]), VECTOR)
    out = np.zeros(4, np.dtype(chain.spec.dtype))
    chain.into(np.ones(4, np.float32), out)
    assert out["n"].tolist() == [7] * 4
    for name, said in (("table", r"makes an array of \(4, 4\) of a vector"), ("imaginary", "of complex64")):
        with pytest.raises(ConfigError, match=said):
            Chain.bind(make_steps([f"{HERE}:{name}"]), VECTOR)


def test_a_class_takes_options_and_names_its_elements() -> None:
    chain = Chain.bind(make_steps([{"use": f"{HERE}:Sums", "times": 3.0}]), VECTOR)
    assert (chain.spec.shape, chain.spec.names) == ((2,), ("sum", "times"))
    assert chain(np.ones(4, np.float32)).tolist() == [4, 3]


def test_a_class_that_is_a_step_is_used_as_one() -> None:
    chain = Chain.bind(make_steps([f"{HERE}:Halve"]), replace(VECTOR, names=()))
    assert chain.spec.shape == (2,)


def test_an_entry_point_brings_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("halve", f"{HERE}:Halve", "streamer.transforms")
    monkeypatch.setattr(
        transform, "entry_points", lambda *, group, name=None: [point] if name in (None, "halve") and group else []
    )
    assert Chain.bind(make_steps(["halve"]), replace(VECTOR, names=())).spec.shape == (2,)
    with pytest.raises(ConfigError, match=r"there is no step 'halv'; did you mean 'halve'\?"):
        make_steps(["halv"])


def test_a_function_that_does_not_keep_its_promise_is_a_decode_error() -> None:
    chain = Chain.bind(make_steps([f"{HERE}:fickle"]), VECTOR)
    with pytest.raises(DecodeError, match=r"fickle returns float32 \(1,\) where it promised <f4 \(4,\)"):
        chain(np.ones(4, np.float32))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (f"{HERE}:nothing", "cannot be loaded"),
        ("no.such.module:f", "cannot be loaded"),
        (f"{HERE}:VECTOR", "should be a function of an array, it is Spec"),
        ({"use": f"{HERE}:double", "by": 2}, "takes no options, which by would be"),
        ({"use": f"{HERE}:Sums", "tims": 2}, "does not take {'tims': 2}"),
        (f"{HERE}:spoils", "spoils fails with 4 of zeros: ValueError"),
    ],
)
def test_what_cannot_be_a_step_is_told(entry: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Chain.bind(make_steps([entry]), VECTOR)


K = (300.0, 0.0, 160.0, 0.0, 310.0, 120.0, 0.0, 0.0, 1.0)
P = (280.0, 0.0, 158.0, 0.0, 0.0, 290.0, 119.0, 0.0, 0.0, 0.0, 1.0, 0.0)
INFOS = {
    "plumb_bob": (-0.2, 0.05, 0.001, -0.002, 0.01),
    "rational_polynomial": (0.5, 0.1, 0.001, -0.001, 0.02, 0.8, 0.2, 0.05),
    "equidistant": (-0.02, 0.01, 0.003, -0.001),
}


def undistorted(point: NDArray[np.float64], info: CameraInfo) -> NDArray[np.float64]:
    """Let OpenCV say where a point of the raw image lies in the rectified one."""
    k, p, d = np.reshape(info.k, (3, 3)), np.reshape(info.p, (3, 4)), np.asarray(info.d)
    if info.model == "equidistant":
        return np.asarray(cv2.fisheye.undistortPoints(point.reshape(1, 1, 2), k, d, P=p[:, :3]), np.float64).reshape(2)
    return np.asarray(cv2.undistortPoints(point.reshape(1, 1, 2), k, d, P=p), np.float64).reshape(2)


@pytest.mark.parametrize("model", INFOS)
def test_an_undistorted_image_shows_each_spot_where_the_model_puts_it(model: str) -> None:
    info = CameraInfo(320, 240, model, INFOS[model], K, p=P)
    for spot in ((80, 60), (230, 170), (160, 120)):
        pixels = np.zeros((240, 320), np.uint8)
        cv2.circle(pixels, spot, 6, 255, -1)
        step = Undistort(info=info)
        chain = Chain.bind([step], Spec((240, 320), "|u1"))
        found = chain(pixels).astype(float)
        y, x = np.mgrid[:240, :320]
        centre = np.array([(found * x).sum(), (found * y).sum()]) / found.sum()
        assert np.abs(centre - undistorted(np.array(spot, float), info)).max() < 0.4


def test_a_lens_without_distortion_changes_nothing_but_what_binning_and_a_region_leave_out() -> None:
    info = CameraInfo(320, 240, "plumb_bob", (0.0,) * 5, K, binning=(2, 2), roi=(40, 20, 200, 160))
    pixels = np.random.default_rng(0).integers(0, 255, (80, 100, 3), np.uint8)
    found = Chain.bind([Undistort(info=info)], Spec((80, 100, 3), "|u1"))(pixels)
    assert np.array_equal(found, pixels)


def test_depth_is_picked_when_it_is_undistorted() -> None:
    info = CameraInfo(320, 240, "plumb_bob", INFOS["plumb_bob"], K, p=P)
    pixels = np.random.default_rng(0).choice(np.array([500, 900], np.uint16), (240, 320))
    found = Chain.bind([Undistort(info=info)], Spec((240, 320), "<u2"))(pixels)
    assert set(np.unique(found)) <= {0, 500, 900}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "omni"}, "the model 'omni' with 5 numbers is not known"),
        ({"d": (1.0, 2.0)}, "the model 'plumb_bob' with 2 numbers is not known"),
        ({"k": (0.0,) * 9}, "the camera is not calibrated"),
        ({"k": (np.nan,) * 9}, "the calibration has numbers that are not finite"),
        ({"d": (0.1, 0.1, 0.1, 0.1, np.inf)}, "the calibration has numbers that are not finite"),
        ({"width": 0}, "the calibration is for images of 0×240: it does not say their size"),
        ({"binning": (1000, 1)}, "it does not say their size"),
        ({"width": 640}, "the calibration is for images of 640×240, and is given 320×240"),
    ],
)
def test_a_calibration_that_does_not_fit_is_told(changes: dict[str, Any], said: str) -> None:
    info = replace(CameraInfo(320, 240, "plumb_bob", INFOS["plumb_bob"], K, p=P), **changes)
    with pytest.raises(ConfigError, match=said):
        Chain.bind([Undistort(info=info)], Spec((240, 320), "|u1"))


def test_undistort_names_its_topic_and_waits_for_the_calibration() -> None:
    (step,) = make_steps([{"undistort": {"camera_info": "/cam/camera_info"}}])
    assert isinstance(step, Undistort)
    with pytest.raises(ConfigError, match="no calibration was found on '/cam/camera_info'"):
        Chain.bind([step], Spec((240, 320), "|u1"))
    info = CameraInfo(320, 240, "plumb_bob", INFOS["plumb_bob"], K, p=P)
    assert Chain.bind([step.calibrated(info)], Spec((240, 320), "|u1")).spec.shape == (240, 320)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_pictures_of_every_type_are_undistorted_as_by_opencv(dtype: str, channels: tuple[int, ...]) -> None:
    info = CameraInfo(320, 240, "plumb_bob", INFOS["plumb_bob"], K, p=P)
    pixels = np.random.default_rng(2).integers(0, 120, (240, 320, *channels)).astype(dtype)
    found = Chain.bind([Undistort(info=info)], Spec(pixels.shape, pixels.dtype.str))(pixels)
    maps = cv2.initUndistortRectifyMap(
        np.reshape(K, (3, 3)), np.array(info.d), np.eye(3), np.reshape(P, (3, 4))[:, :3], (320, 240), cv2.CV_32FC1
    )
    light = dtype == "u1" or (dtype == "u2" and len(channels) == 1)
    right = cv2.remap(pixels, *maps, cv2.INTER_LINEAR if light else cv2.INTER_NEAREST)
    assert np.array_equal(found, right.reshape(pixels.shape))
    with pytest.raises(ConfigError, match="it is not for images of uint32"):
        Chain.bind([Undistort(info=info)], Spec((240, 320), "<u4"))
