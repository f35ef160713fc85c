"""The libraries that this program stands on → their versions, and which of them an error is about."""

from __future__ import annotations

import platform
import re
import sys
from traceback import walk_tb
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "rosbag-streamer"
LIBRARIES = (  # as they are called on PyPI; what is decided by their versions comes first
    *("numpy", "rosbags", "opencv-python-headless", "simplejpeg", "lz4", "isal", "backports.zstd", "pyzmq", "msgpack"),
    *("psutil", "pydantic", "PyYAML", "typer", "rich", "av", "pyarrow", "zarr", "h5py", "mcap", "rerun-sdk"),
    *("huggingface_hub", "matplotlib", "memray", "ray", "structlog", "starlette", "uvicorn", "prometheus-client"),
    *("pureini", "DracoPy"),
)
_MISMATCH = (AttributeError, TypeError, ImportError, NotImplementedError)  # what another version's answer ends in
_DOTTED = re.compile(r"\b([A-Za-z_]\w*)(?:\.\w+)+")


def versions() -> dict[str, str]:
    """Return the versions of this program, Python, the system and every library that is installed."""
    from importlib.metadata import PackageNotFoundError, version  # a tenth of what a process takes to start

    found = {NAME: version(NAME), "python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an extra that nobody asked for
            continue
    return found


def blamed(error: BaseException) -> str:
    """Return the libraries, with their versions, that an error may be about: `` (with av 19.0.2)``.

    A type or an attribute that was not expected often means another version of a library. The text is empty where
    no library is involved, and for an error of another kind.
    """
    if not isinstance(error, _MISMATCH):
        return ""
    from importlib.metadata import packages_distributions, version

    owners = packages_distributions()
    named = {owner for module in _modules(error) for owner in owners.get(module, ())} - {NAME}
    if not named:
        return ""
    return f" (with {', '.join(f'{name} {version(name)}' for name in sorted(named))})"


def _modules(error: BaseException) -> Iterator[str]:
    """Yield the top-level modules of which an error speaks or through which it came."""
    for frame, _ in walk_tb(error.__traceback__):
        yield str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if isinstance(error, AttributeError):
        thing = error.obj
        whole = thing.__name__ if isinstance(thing, ModuleType) else type(thing).__module__
        yield whole.partition(".")[0]
    if isinstance(error, ImportError):
        yield (error.name or "").partition(".")[0]
    for found in _DOTTED.finditer(str(error)):
        if found[1] in sys.modules:
            yield found[1]
