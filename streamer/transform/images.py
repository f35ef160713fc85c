"""Images (height, width[, channels]) → cut, turned, mirrored, resized, gray, or within bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from streamer.errors import ConfigError
from streamer.resize import resize_into
from streamer.transform.base import Step, in_unit, number, one_of, require_image, shape_text, usual_unit, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Spec

_FITS = ("stretch", "pad", "cover")
_OPENCV = ("uint8", "uint16", "float32")  # as images have them; channels are three at most


@dataclass(frozen=True, slots=True)
class Crop(Step):
    """A part of the image: ``area`` is [x, y, width, height] in pixels, from the upper left corner."""

    name: ClassVar[str] = "crop"
    area: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        """Check the area."""
        if not isinstance(self.area, list | tuple) or len(self.area) != 4:
            msg = f"it should be [x, y, width, height], not {self.area!r}"
            raise ConfigError(msg)
        least = (0, 0, 1, 1)
        names = ("x", "y", "width", "height")
        area = tuple(whole(value, name, low) for value, name, low in zip(self.area, names, least, strict=True))
        object.__setattr__(self, "area", area)

    def probe(self, spec: Spec) -> Spec:
        """Make sure that the area lies in the image."""
        height, width = require_image(spec)
        x, y, across, down = self.area
        if x + across > width or y + down > height:
            msg = f"[x, y, width, height] = {list(self.area)} does not lie in an image of {shape_text(spec)}"
            raise ConfigError(msg)
        return replace(spec, shape=(down, across, *spec.shape[2:]))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view."""
        x, y, across, down = self.area
        return array[y : y + down, x : x + across]

    def reduced(self, factor: int) -> Step | None:
        """Cut the same part, where its edges lie between pixels."""
        if any(value % factor for value in self.area):
            return None
        x, y, across, down = (value // factor for value in self.area)
        return Crop((x, y, across, down))


@dataclass(frozen=True, slots=True)
class Rotate(Step):
    """The image turned clockwise by 90, 180 or 270 degrees."""

    name: ClassVar[str] = "rotate"
    degrees: int

    def __post_init__(self) -> None:
        """Check the angle."""
        if isinstance(self.degrees, bool) or self.degrees not in (90, 180, 270):
            msg = f"it should be 90, 180 or 270 (degrees, clockwise), not {self.degrees!r}"
            raise ConfigError(msg)

    def probe(self, spec: Spec) -> Spec:
        """Swap height and width for a quarter turn."""
        height, width = require_image(spec)
        size = (height, width) if self.degrees == 180 else (width, height)
        return replace(spec, shape=(*size, *spec.shape[2:]))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turn it, by OpenCV where that has the type: it goes through memory in blocks."""
        if array.dtype.name not in _OPENCV:
            return np.rot90(array, -self.degrees // 90)
        import cv2

        codes = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        return _channels(cv2.rotate(np.ascontiguousarray(array), codes[self.degrees]), array)

    def reduced(self, factor: int) -> Step | None:
        """Turn it all the same."""
        del factor
        return self


@dataclass(frozen=True, slots=True)
class Flip(Step):
    """The image mirrored: ``horizontal`` swaps left and right, ``vertical`` top and bottom."""

    name: ClassVar[str] = "flip"
    direction: str

    def __post_init__(self) -> None:
        """Check the direction."""
        one_of(self.direction, "it", ("horizontal", "vertical"))

    def probe(self, spec: Spec) -> Spec:
        """Keep the shape."""
        require_image(spec)
        return spec

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Mirror it, by OpenCV where that has the type."""
        if self.direction == "vertical":
            return array[::-1]
        if array.dtype.name not in _OPENCV:
            return array[:, ::-1]
        import cv2

        return _channels(cv2.flip(np.ascontiguousarray(array), 1), array)

    def reduced(self, factor: int) -> Step | None:
        """Mirror it all the same."""
        del factor
        return self


@dataclass(frozen=True, slots=True)
class Resize(Step):
    """The image at another ``size``, [width, height]; ``fit`` says what becomes of its proportions.

    ``stretch`` changes them, ``pad`` fills the rest with ``fill``, ``cover`` cuts what is too much, around the centre.
    Pictures are averaged where they shrink; measured values, such as depth, are picked.
    """

    name: ClassVar[str] = "resize"
    size: tuple[int, int]
    fit: str = "stretch"
    fill: float = 0

    def __post_init__(self) -> None:
        """Check the size and the fit."""
        if not isinstance(self.size, list | tuple) or len(self.size) != 2:
            msg = f"size should be [width, height] in pixels, not {self.size!r}"
            raise ConfigError(msg)
        size = whole(self.size[0], "the width", 1), whole(self.size[1], "the height", 1)
        object.__setattr__(self, "size", size)
        one_of(self.fit, "fit", _FITS)
        number(self.fill, "fill")

    def probe(self, spec: Spec) -> Spec:
        """Change height and width."""
        require_image(spec)
        if self.fit == "pad" and np.dtype(spec.dtype).kind in "iu":
            limits = np.iinfo(spec.dtype)
            if not limits.min <= self.fill <= limits.max or self.fill != int(self.fill):
                msg = f"fill: {self.fill} is no value of {np.dtype(spec.dtype)}"
                raise ConfigError(msg)
        return replace(spec, shape=(*self.size[::-1], *spec.shape[2:]))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Resize into an array of its own."""
        width, height = self.size
        out = np.empty((height, width, *array.shape[2:]), array.dtype)
        part = out
        if self.fit == "cover":
            array = self._cut(array)
        elif self.fit == "pad":
            top, left, down, across = self.inside(array.shape[0], array.shape[1])
            out[...] = self.fill
            part = out[top : top + down, left : left + across]
        place = part if part.flags.c_contiguous else np.empty(part.shape, part.dtype)
        resize_into(np.ascontiguousarray(array), place, picture=_is_picture(array))
        if place is not part:
            part[...] = place
        return out

    def shrinks(self, spec: Spec) -> bool:
        """Tell whether an image is nowhere smaller than what is made of it."""
        height, width = spec.shape[:2]
        scales = self.size[0] / width, self.size[1] / height
        return min(scales) <= 1 if self.fit == "pad" else max(scales) <= 1

    def inside(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (top, left, height, width) of the whole image, fitted into the size."""
        scale = min(self.size[0] / width, self.size[1] / height)
        across = min(max(round(width * scale), 1), self.size[0])
        down = min(max(round(height * scale), 1), self.size[1])
        return (self.size[1] - down) // 2, (self.size[0] - across) // 2, down, across

    def _cut(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the largest part around the centre that has the size's proportions."""
        height, width = array.shape[:2]
        scale = max(self.size[0] / width, self.size[1] / height)
        across = min(max(round(self.size[0] / scale), 1), width)
        down = min(max(round(self.size[1] / scale), 1), height)
        top, left = (height - down) // 2, (width - across) // 2
        return array[top : top + down, left : left + across]


@dataclass(frozen=True, slots=True)
class Gray(Step):
    """A colour image as brightness (ITU-R BT.601); ``order`` says how its colours come."""

    name: ClassVar[str] = "gray"
    order: str = "rgb"

    def __post_init__(self) -> None:
        """Check the order."""
        one_of(self.order, "order", ("rgb", "bgr"))

    def probe(self, spec: Spec) -> Spec:
        """Drop the channels."""
        require_image(spec)
        if spec.shape[2:] != (3,) or np.dtype(spec.dtype) not in (np.uint8, np.uint16, np.float32):
            msg = f"it is for colour images, and is given {shape_text(spec)} of {np.dtype(spec.dtype)}"
            raise ConfigError(msg)
        return replace(spec, shape=spec.shape[:2])

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Convert."""
        import cv2

        code = cv2.COLOR_RGB2GRAY if self.order == "rgb" else cv2.COLOR_BGR2GRAY
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(array), code))


@dataclass(frozen=True, slots=True)
class Clip(Step):
    """Values below ``low`` raised to it, those above ``high`` lowered to it; None leaves that side open.

    For depth they may be lengths (``0.3 m``): whole numbers are millimetres and fractions metres (ROS REP 118), unless
    the stream or ``unit`` says otherwise.
    """

    name: ClassVar[str] = "clip"
    low: float | str | None = None
    high: float | str | None = None
    unit: str = ""

    @classmethod
    def parse(cls, value: object) -> Clip:
        """Take [low, high] as well."""
        if isinstance(value, list | tuple):
            if len(value) != 2:
                msg = f"it should be [low, high], not {value!r}"
                raise ConfigError(msg)
            return cls(*value)
        return super(Clip, cls).parse(value)

    def __post_init__(self) -> None:
        """Check that there is a bound."""
        if self.low is None and self.high is None:
            msg = "it needs a lower or an upper bound: [low, high]"
            raise ConfigError(msg)

    def probe(self, spec: Spec) -> Spec:
        """Fix the bounds in the unit of the values."""
        self.bounds(np.dtype(_plain(spec)), spec.unit, image=len(spec.shape) > 1)
        return spec

    def bound(self, spec: Spec) -> Step:
        """Return the step with its bounds in the unit of the values."""
        low, high = self.bounds(np.dtype(_plain(spec)), spec.unit, image=len(spec.shape) > 1)
        return replace(self, low=low, high=high)

    def bounds(self, dtype: np.dtype[Any], unit: str, *, image: bool) -> tuple[float | None, float | None]:
        """Return the bounds as numbers.

        Raises:
            ConfigError: they are none, or the wrong way round.

        """
        unit = self.unit or unit or (usual_unit(dtype) if image else "")
        low, high = (
            None if value is None else in_unit(value, what, unit)
            for value, what in ((self.low, "low"), (self.high, "high"))
        )
        if low is not None and high is not None and low > high:
            msg = f"the lower bound {self.low!r} is above the upper one {self.high!r}"
            raise ConfigError(msg)
        if dtype.kind in "iu":  # the nearest values of the type that lie within
            least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
            low = None if low is None else max(float(np.ceil(low)), least)
            high = None if high is None else min(float(np.floor(high)), most)
            if (least if low is None else low) > (most if high is None else high):
                msg = f"no value of {dtype} lies between {self.low!r} and {self.high!r}"
                raise ConfigError(msg)
        return low, high

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Clip; what is no number stays none."""
        low, high = self.bounds(array.dtype, self.unit, image=array.ndim > 1)
        return np.asarray(np.clip(array, _as(low, array.dtype), _as(high, array.dtype)))


@dataclass(frozen=True, slots=True)
class Range(Clip):
    """Values outside of ``low`` to ``high`` taken out: what says *no measurement*, 0 or NaN, takes their place."""

    name: ClassVar[str] = "range"

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Replace what lies outside."""
        low, high = self.bounds(array.dtype, self.unit, image=array.ndim > 1)
        outside = np.zeros(array.shape, bool)
        if low is not None:
            outside |= array < _as(low, array.dtype)
        if high is not None:
            outside |= array > _as(high, array.dtype)
        if array.dtype.kind != "f":
            return np.asarray(array * ~outside)
        return np.where(outside, array.dtype.type(np.nan), array)


def _channels(found: Any, array: NDArray[Any]) -> NDArray[Any]:
    """Give back the third axis, which OpenCV drops where it is 1."""
    return np.asarray(found).reshape(*found.shape[:2], *array.shape[2:])


def _as(value: float | None, dtype: np.dtype[Any]) -> Any:
    return None if value is None else dtype.type(value)


def _plain(spec: Spec) -> Any:
    if isinstance(spec.dtype, dict) or np.dtype(spec.dtype).kind not in "iuf":
        msg = f"it is for numbers, and is given {shape_text(spec)}"
        raise ConfigError(msg)
    return spec.dtype


def _is_picture(array: NDArray[Any]) -> bool:
    """Tell whether neighbouring pixels may be averaged: 8 bits are light, as are three channels of 16."""
    return array.dtype == np.uint8 or (array.dtype == np.uint16 and array.ndim == 3)
