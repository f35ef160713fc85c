"""A camera's calibration → images without the distortion of its lens.

sensor_msgs/CameraInfo: K and D of the full picture, R and P of the rectified one. Models: plumb_bob (4 or 5 numbers),
rational_polynomial (8 and more) and equidistant (4), as image_geometry reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from streamer.errors import ConfigError
from streamer.transform.base import Step, require_image, shape_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Spec

_TYPES = ("uint8", "uint16", "int8", "int16", "int32", "float32", "float64")
_MODELS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,), "fisheye": (4,)}


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """What a CameraInfo message says: ``k`` (9,), ``r`` (9,) and ``p`` (12,) by rows, ``d`` as long as the model's.

    ``binning`` (x, y) and ``roi`` (x, y, width, height) say which pixels of the full picture the images hold; 0 stands
    for all of them.
    """

    width: int
    height: int
    model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    p: tuple[float, ...] = ()
    binning: tuple[int, int] = (1, 1)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Undistort(Step):
    """The image as a camera without distortion would take it, through the matrix P of the calibration.

    ``camera_info`` is the topic; ``info`` what its message says, from which the maps are made once. Measured values
    are picked, pictures blended; what no pixel shows is 0.
    """

    name: ClassVar[str] = "undistort"
    camera_info: str = ""
    info: CameraInfo | None = None
    maps: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make the maps."""
        if not isinstance(self.camera_info, str) or not (self.camera_info or self.info):
            msg = f"camera_info should be the topic of the calibration, not {self.camera_info!r}"
            raise ConfigError(msg)
        if self.info is not None and self.maps is None:
            object.__setattr__(self, "maps", make_maps(self.info))

    def calibrated(self, info: CameraInfo) -> Undistort:
        """Return the step with a calibration."""
        return replace(self, info=info, maps=None)

    def probe(self, spec: Spec) -> Spec:
        """Make sure that image and calibration are of one size."""
        height, width = require_image(spec)
        if np.dtype(spec.dtype).name not in _TYPES:
            msg = f"it is not for images of {np.dtype(spec.dtype)}"
            raise ConfigError(msg)
        if self.info is None:
            msg = f"no calibration was found on {self.camera_info!r}"
            raise ConfigError(msg)
        if self.maps[0].shape[:2] != (height, width):
            down, across = self.maps[0].shape[:2]
            msg = f"the calibration is for images of {across}×{down}, and is given {shape_text(spec)}: undistort first"
            raise ConfigError(msg)
        return spec

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Remap."""
        import cv2

        picture = array.dtype == np.uint8 or (array.dtype == np.uint16 and array.ndim == 3)
        how = cv2.INTER_LINEAR if picture else cv2.INTER_NEAREST
        across, down = self.maps
        found = cv2.remap(np.ascontiguousarray(array), across, down, how)
        return np.asarray(found).reshape(array.shape)


def make_maps(info: CameraInfo) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where each pixel of the rectified image lies in the raw one, x and y (height, width).

    Raises:
        ConfigError: the calibration is none, or of a model that is not known.

    """
    import cv2

    if not np.isfinite([*info.k, *info.d, *info.r, *info.p]).all():
        msg = "the calibration has numbers that are not finite"
        raise ConfigError(msg)
    k, d = np.reshape(info.k, (3, 3)).astype(np.float64), np.asarray(info.d, np.float64)
    lengths = _MODELS.get(info.model)
    if lengths is None or (len(d) not in lengths and len(d)):
        msg = f"the model {info.model!r} with {len(d)} numbers is not known; known are {', '.join(_MODELS)}"
        raise ConfigError(msg)
    if not k[0, 0] or not k[1, 1]:
        msg = "the camera is not calibrated: its matrix K is 0"
        raise ConfigError(msg)
    p = np.reshape(info.p, (3, 4))[:, :3].astype(np.float64) if info.p and info.p[0] and info.p[5] else k.copy()
    r = np.reshape(info.r, (3, 3)).astype(np.float64) if any(info.r) else np.eye(3)
    (k, p), size = _seen(info, k, p)
    if min(size) < 1:
        msg = f"the calibration is for images of {size[0]}×{size[1]}: it does not say their size"
        raise ConfigError(msg)
    if not len(d):
        d = np.zeros(4)
    fisheye = info.model in ("equidistant", "fisheye")
    make = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
    across_map, down_map = make(k, d, r, p, size, cv2.CV_32FC1)
    return np.asarray(across_map, np.float32), np.asarray(down_map, np.float32)


def _seen(info: CameraInfo, *matrices: NDArray[np.float64]) -> tuple[list[NDArray[np.float64]], tuple[int, int]]:
    """Return matrices for the pixels that the images hold, and their (width, height), as image_geometry does."""
    x, y, width, height = info.roi
    across, down = (max(n, 1) for n in info.binning)
    size = (width or info.width) // across, (height or info.height) // down
    moved = []
    for given in matrices:
        matrix = given.copy()
        matrix[0, 2] -= x
        matrix[1, 2] -= y
        matrix[0] /= across
        matrix[1] /= down
        moved.append(matrix)
    return moved, size
