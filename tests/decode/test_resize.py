"""Pictures of one size → another, near to the average of the area that becomes each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.scale import jpeg_scale
from streamer.errors import DecodeError
from streamer.records import Decoding
from streamer.resize import resize_into
from tests.decode.pictures import packed, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fine(height: int, width: int) -> NDArray[np.uint8]:
    """Draw rings that become ever finer: what is sampled and not averaged shows others."""
    y, x = np.mgrid[:height, :width]
    rings = 127 + 127 * np.sin((x * x + y * y) / 700.0)
    return np.repeat(rings.astype(np.uint8)[..., None], 3, axis=2)


def area(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize(
    ("size", "least"),
    [((320, 240), 45), ((160, 120), 45), ((200, 150), 24), ((170, 128), 28), ((224, 224), 22), ((80, 60), 45)],
)
def test_a_jpeg_is_shrunk_to_what_averaging_gives(size: tuple[int, int], least: float) -> None:
    data = simplejpeg.encode_jpeg(fine(480, 640), 95, colorsubsampling="444")
    whole = simplejpeg.decode_jpeg(data)
    wanted = area(whole, size)
    sampled = cv2.PSNR(wanted, np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR)))
    found = cv2.PSNR(wanted, unpack(packed(data), Decoding(resize=size)))
    assert found > least
    assert found > sampled + 4 or sampled > 60


@pytest.mark.parametrize("color", [None, "bgr", "gray"])
@pytest.mark.parametrize("size", [(320, 240), (300, 100), (100, 300), (640, 100), (700, 500), (37, 23), (1, 1)])
def test_every_size_and_colour_of_a_jpeg_is_reached(size: tuple[int, int], color: str | None) -> None:
    y, x = np.mgrid[:479, :637]
    soft = np.stack([x // 3, y // 3, (x + y) // 6], axis=2).astype(np.uint8)
    data = simplejpeg.encode_jpeg(soft, 95)
    whole = unpack(packed(data), Decoding(color=color))
    found = unpack(packed(data), Decoding(color=color, resize=size))
    assert found.shape[:2] == size[::-1]
    assert np.abs(found.astype(int) - area(whole, size)).max() <= 6


@pytest.mark.parametrize(
    ("target", "scaled"),
    [
        ((224, 224), (240, 320)),
        ((240, 320), (240, 320)),
        ((60, 80), (60, 80)),
        ((100, 100), (120, 160)),
        ((1, 1), (60, 80)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_holds_the_target(
    target: tuple[int, int], scaled: tuple[int, int]
) -> None:
    assert jpeg_scale(480, 640, target) == (*scaled, True)


@pytest.mark.parametrize("target", [(480, 640), (400, 500), (300, 400), (1000, 20), (481, 320)])
def test_a_jpeg_that_shrinks_little_or_grows_is_decoded_whole(target: tuple[int, int]) -> None:
    assert jpeg_scale(480, 640, target) == (480, 640, False)


def test_an_axis_that_shrinks_is_averaged_where_the_other_one_grows() -> None:
    pixels = fine(300, 40)
    out = np.empty((60, 80, 3), np.uint8)
    resize_into(pixels, out, picture=True)
    wanted = cv2.resize(area(pixels, (40, 60)), (80, 60), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(out, wanted)


def test_measured_values_are_picked() -> None:
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    out = np.empty((3, 4), np.uint16)
    resize_into(pixels, out, picture=False)
    assert np.array_equal(out, pixels[::2, ::2])


def test_another_type_or_number_of_channels_is_a_decode_error() -> None:
    for other in (np.empty((3, 4, 3), np.uint8), np.empty((3, 4), np.uint16)):
        with pytest.raises(DecodeError, match="the topic changed"):
            resize_into(np.zeros((6, 8), np.uint8), other, picture=True)


@pytest.mark.parametrize("size", [(224, 224), (200, 150), (170, 128), (100, 75), (64, 64), (320, 240), (20, 400)])
def test_a_large_picture_is_shrunk_to_what_averaging_gives(size: tuple[int, int]) -> None:
    pixels = fine(480, 640)
    out = np.empty((size[1], size[0], 3), np.uint8)
    resize_into(pixels, out, picture=True)
    wanted = area(pixels, size)
    found, sampled = cv2.PSNR(wanted, out), cv2.PSNR(wanted, cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR))
    assert found > 30
    assert found >= sampled + 10 or sampled > 60


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.integers(1, 300)] * 4), st.sampled_from([1, 3, 4]))
def test_a_picture_of_one_value_keeps_it_at_every_size(sizes: tuple[int, int, int, int], channels: int) -> None:
    out = np.zeros((sizes[2], sizes[3], channels)[: 2 if channels == 1 else 3], np.uint8)
    resize_into(np.full((sizes[0], sizes[1], *out.shape[2:]), 137, np.uint8), out, picture=True)
    assert np.all(out == 137)
