"""Steps on images with random arguments → what numpy, OpenCV and Pillow make of the same pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from streamer.errors import ConfigError
from streamer.records import Spec
from streamer.transform import Chain, make_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray


def image(height: int, width: int, channels: int = 3, dtype: str = "u1") -> NDArray[Any]:
    rng = np.random.default_rng(height * 1000 + width)
    shape = (height, width) if channels == 1 else (height, width, channels)
    if dtype == "f4":
        return rng.random(shape, np.float32) * 5
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype)


def spec_of(array: NDArray[Any], **more: Any) -> Spec:
    return Spec(array.shape, array.dtype.str, **more)


def apply(array: NDArray[Any], *entries: object, **more: Any) -> NDArray[Any]:
    """Bind the steps, and write what they make where it was promised to fit."""
    array.setflags(write=False)
    chain = Chain.bind(make_steps(entries), spec_of(array, **more))
    out = np.zeros(chain.spec.shape, chain.spec.dtype)
    assert chain.into(array, out) == len(out)
    return out


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(deadline=None)
@given(size=SIZES, data=st.data(), channels=st.sampled_from([1, 3]))
def test_a_crop_is_numpys_slice(size: tuple[int, int], data: st.DataObject, channels: int) -> None:
    pixels = image(*size, channels)
    y, x = (data.draw(st.integers(0, n - 1)) for n in size)
    down, across = (data.draw(st.integers(1, n - start)) for n, start in zip(size, (y, x), strict=True))
    found = apply(pixels, {"crop": [x, y, across, down]})
    assert np.array_equal(found, pixels[y : y + down, x : x + across])


@settings(deadline=None)
@given(size=SIZES, degrees=st.sampled_from([90, 180, 270]), channels=st.sampled_from([1, 3]))
def test_a_turn_is_pillows_clockwise(size: tuple[int, int], degrees: int, channels: int) -> None:
    pixels = image(*size, channels)
    wanted = np.asarray(Image.fromarray(pixels).rotate(-degrees, expand=True))
    assert np.array_equal(apply(pixels, {"rotate": degrees}), wanted)


@settings(deadline=None)
@given(size=SIZES, direction=st.sampled_from(["horizontal", "vertical"]))
def test_a_mirror_is_opencvs(size: tuple[int, int], direction: str) -> None:
    pixels = image(*size)
    assert np.array_equal(apply(pixels, {"flip": direction}), cv2.flip(pixels, int(direction == "horizontal")))


@settings(deadline=None)
@given(size=SIZES, target=SIZES, channels=st.sampled_from([1, 3]))
def test_a_stretched_resize_is_opencvs(size: tuple[int, int], target: tuple[int, int], channels: int) -> None:
    pixels = image(*size, channels)
    shrinks = target[0] <= size[0] and target[1] <= size[1]
    grows = target[0] >= size[0] and target[1] >= size[1]
    found = apply(pixels, {"resize": list(target[::-1])})
    assert found.shape[:2] == target
    if shrinks or grows:
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        assert np.array_equal(found, cv2.resize(pixels, target[::-1], interpolation=how).reshape(found.shape))


@pytest.mark.parametrize(("size", "inside"), [((30, 60), (20, 40)), ((60, 30), (40, 20)), ((50, 50), (40, 40))])
def test_padding_keeps_the_proportions_and_fills_the_rest(size: tuple[int, int], inside: tuple[int, int]) -> None:
    pixels = image(*size)
    found = apply(pixels, {"resize": {"size": [40, 40], "fit": "pad", "fill": 7}})
    top, left = (40 - inside[0]) // 2, (40 - inside[1]) // 2
    wanted = np.full((40, 40, 3), 7, np.uint8)
    wanted[top : top + inside[0], left : left + inside[1]] = cv2.resize(
        pixels, inside[::-1], interpolation=cv2.INTER_AREA
    )
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize(("size", "cut"), [((30, 60), np.s_[:, 15:45]), ((60, 30), np.s_[15:45, :])])
def test_covering_cuts_what_is_too_much_around_the_centre(size: tuple[int, int], cut: Any) -> None:
    pixels = image(*size)
    found = apply(pixels, {"resize": {"size": [15, 15], "fit": "cover"}})
    wanted = cv2.resize(np.ascontiguousarray(pixels[cut]), (15, 15), interpolation=cv2.INTER_AREA)
    assert np.array_equal(found, wanted)


@settings(deadline=None)
@given(size=SIZES, target=SIZES, fit=st.sampled_from(["stretch", "pad", "cover"]))
def test_depth_is_picked_and_never_mixed(size: tuple[int, int], target: tuple[int, int], fit: str) -> None:
    pixels = image(*size, 1, "u2")
    found = apply(pixels, {"resize": {"size": list(target), "fit": fit}})
    assert found.shape == target[::-1]
    assert np.isin(found, [*pixels.ravel(), 0]).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_gray_is_the_brightness_of_bt601(order: str, dtype: str) -> None:
    pixels = image(12, 16, 3, dtype)
    red, green, blue = (pixels[..., order.index(name)].astype(float) for name in "rgb")
    found = apply(pixels, {"gray": {"order": order}} if order == "bgr" else "gray")
    assert found.shape == (12, 16)
    most = 2 if dtype == "u2" else 1  # of 65,535: OpenCV rounds its factors
    assert np.abs(found - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= most


@pytest.mark.parametrize(
    ("dtype", "bounds", "low", "high"),
    [
        ("u2", [300, 4000], 300, 4000),
        ("u2", ["0.3 m", "4 m"], 300, 4000),
        ("u2", ["30 cm", None], 300, 65_535),
        ("f4", ["30 cm", "4 m"], 0.3, 4.0),
        ("f4", [None, 2.5], -1, 2.5),
        ("u1", [10, 300], 10, 255),
    ],
)
def test_bounds_come_in_the_unit_of_depth(dtype: str, bounds: list[Any], low: float, high: float) -> None:
    pixels = image(12, 16, 1, dtype)
    kind = np.dtype(dtype).type
    assert np.array_equal(apply(pixels, {"clip": bounds}), np.clip(pixels, kind(low), kind(high)))
    outside = (pixels < kind(low)) | (pixels > kind(high))
    wanted = np.where(outside, kind(np.nan if dtype == "f4" else 0), pixels)
    assert np.array_equal(apply(pixels, {"range": bounds}), wanted, equal_nan=True)


def test_a_streams_unit_goes_before_the_usual_one() -> None:
    pixels = image(4, 4, 1, "f4") * 100
    found = apply(pixels, {"clip": [None, "2 m"]}, unit="cm")
    assert np.array_equal(found, np.minimum(pixels, 200))


def test_bounds_beyond_the_type_take_everything_or_are_refused() -> None:
    pixels = image(6, 7, 1, "u2")
    assert np.array_equal(apply(pixels, {"range": [-5, 1_000_000]}), pixels)
    assert np.array_equal(apply(pixels, {"clip": [-5, "1 km"]}), pixels)
    for entry in ({"range": [70_000, None]}, {"clip": [0.3, 0.7]}, {"range": [None, -1]}):
        with pytest.raises(ConfigError, match="no value of uint16 lies between"):
            apply(pixels, entry)


def test_a_scaled_depth_is_bounded_in_the_unit_that_it_then_has() -> None:
    pixels = image(6, 7, 1, "u2")
    metres = Chain.bind(make_steps([{"scale": 0.001}, {"clip": [None, "2 m"]}]), spec_of(pixels, unit="mm"))
    assert [spec.unit for spec in metres.shapes] == ["mm", "m", "m"]
    assert np.allclose(metres(pixels), np.minimum(pixels * 0.001, 2))
    odd = make_steps([{"scale": 2}, {"clip": [None, "2 m"]}])
    with pytest.raises(ConfigError, match="what unit the values have is not known"):
        Chain.bind(odd, spec_of(pixels, unit="mm"))
    assert Chain.bind(odd[:1], spec_of(pixels)).spec.unit == "0.5 mm"


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_pictures_of_every_type_are_turned_mirrored_and_cut_as_by_numpy(dtype: str, channels: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(5).integers(0, 100, (13, 17, *channels)).astype(dtype)
    for quarter in (1, 2, 3):
        assert np.array_equal(apply(pixels, {"rotate": 90 * quarter}), np.rot90(pixels, -quarter))
    assert np.array_equal(apply(pixels, {"flip": "horizontal"}), pixels[:, ::-1])
    assert np.array_equal(apply(pixels, {"flip": "vertical"}), pixels[::-1])
    assert np.array_equal(apply(pixels, {"crop": [2, 3, 7, 5]}), pixels[3:8, 2:9])
    shrunk = apply(pixels, {"resize": {"size": [6, 6], "fit": "cover"}})
    assert (shrunk.shape, shrunk.dtype) == ((6, 6, *channels), pixels.dtype)


def test_what_is_no_measurement_stays_none() -> None:
    pixels = np.array([[np.nan, 1.0], [9.0, 3.0]], np.float32)
    assert np.array_equal(apply(pixels, {"clip": [2, 4]}), np.array([[np.nan, 2], [4, 3]], np.float32), equal_nan=True)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"crop": [700, 0, 640, 640]},
            r"crop: .* = \[700, 0, 640, 640\] does not lie in an image of 1280×720×3",
        ),
        ({"crop": [0, 0, 640]}, r"should be \[x, y, width, height\]"),
        ({"crop": [0, -1, 5, 5]}, "y should be a whole number of at least 0, not -1"),
        ({"crop": [0, 0, 0, 5]}, "width should be a whole number of at least 1, not 0"),
        ({"rotate": 45}, "rotate: it should be 90, 180 or 270"),
        ({"flip": "both"}, "should be 'horizontal' or 'vertical', not 'both'"),
        ({"resize": [0, 5]}, "the width should be a whole number of at least 1"),
        ({"resize": {"size": [5, 5], "fit": "fill"}}, "fit should be 'stretch' or 'pad' or 'cover'"),
        ({"resize": {"size": [5, 5], "fit": "pad", "fill": 256}}, "fill: 256 is no value of uint8"),
        ({"resize": {"size": [5, 5], "crop": 1}}, "there is no argument 'crop'"),
        ({"clip": [5, 1]}, "the lower bound 5 is above the upper one 1"),
        ({"clip": ["5 m", 1]}, "what unit the values have is not known"),
        ({"clip": [None, None]}, "needs a lower or an upper bound"),
        ({"elements": ["a"]}, "it is for vectors, and is given 1280×720×3"),
        ({"cropp": [0, 0, 1, 1]}, "there is no step 'cropp'; did you mean 'crop'?"),
        ({"crop": [0, 0, 1, 1], "rotate": 90}, "one name with its arguments, not crop, rotate"),
        (5, "a name, or a name with its arguments, not 5"),
    ],
)
def test_arguments_that_do_not_fit_are_told(entry: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Chain.bind(make_steps([entry]), Spec((720, 1280, 3), "|u1"))


def test_a_chain_shows_its_shapes_and_where_it_breaks() -> None:
    spec = Spec((720, 1280, 3), "|u1")
    steps = [{"crop": [0, 0, 640, 640]}, {"resize": [224, 224]}, "gray"]
    drawn = str(Chain.bind(make_steps(steps), spec))
    assert drawn == "1280×720×3 → crop → 640×640×3 → resize → 224×224×3 → gray → 224×224"
    with pytest.raises(ConfigError, match=r"map\[1\]: crop: .* does not lie in .* \(1280×720×3 → crop → 640×640×3\)"):
        Chain.bind(make_steps([steps[0], {"crop": [0, 0, 641, 10]}]), spec)


@pytest.mark.parametrize("factor", [2, 4])
def test_steps_on_a_reduced_picture_give_the_reduced_result(factor: int) -> None:
    small = image(12, 16)
    pixels = np.repeat(np.repeat(small, factor, 0), factor, 1)
    for step in make_steps([{"crop": [4, 8, 16, 8]}, {"rotate": 90}, {"flip": "vertical"}]):
        reduced = step.reduced(factor)
        assert reduced is not None
        assert np.array_equal(reduced(small), step(pixels)[::factor, ::factor])
    assert make_steps([{"crop": [1, 0, 8, 8]}])[0].reduced(factor) is None


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_a_chain_for_reduced_pictures_makes_the_same_shape_and_never_enlarges(data: st.DataObject) -> None:
    height, width = (data.draw(st.sampled_from([64, 72, 96, 100, 101])) for _ in "hw")
    area = [data.draw(st.sampled_from([0, 8, 12])) for _ in "xy"] + [data.draw(st.sampled_from([24, 40, 48]))] * 2
    before = data.draw(st.lists(st.sampled_from([{"crop": area}, {"rotate": 90}, {"flip": "vertical"}]), max_size=2))
    size = [data.draw(st.integers(1, 30)) for _ in "wh"]
    resize = {"resize": {"size": size, "fit": data.draw(st.sampled_from(["stretch", "pad", "cover"]))}}
    try:
        chain = Chain.bind(make_steps([*before, resize, "gray"]), Spec((height, width, 3), "|u1"))
    except ConfigError:  # cut twice
        return
    found = chain.reduced()
    if found is None:
        return
    factor, fewer = found
    assert fewer.spec == chain.spec
    assert (fewer.shapes[0].shape[0] * factor, fewer.shapes[0].shape[1] * factor) == (height, width)
    down, across = fewer.shapes[len(before)].shape[:2]
    fit = min if resize["resize"]["fit"] == "pad" else max
    assert fit(size[0] / across, size[1] / down) <= 1


def test_a_chain_that_needs_all_pixels_is_not_reduced() -> None:
    camera = Spec((480, 640, 3), "|u1")
    for entries in (["gray"], [{"crop": [1, 0, 320, 320]}, {"resize": [32, 32]}], [{"resize": [400, 400]}]):
        assert Chain.bind(make_steps(entries), camera).reduced() is None
    assert Chain.bind(make_steps([{"resize": [224, 224]}]), Spec((480, 640), "<u2")).reduced() is None
    found = Chain.bind(make_steps([{"crop": [80, 0, 480, 480]}, {"resize": [224, 224]}]), camera).reduced()
    assert found is not None
    assert found[0] == 2
