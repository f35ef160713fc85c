"""Nothing → shared memory without a name, as a descriptor to write and one to read.

Nothing is left behind whatever dies, and what makes it needs nothing heavy.
"""

from __future__ import annotations

import os
import sys
import tempfile


def create() -> tuple[int, int]:
    """Make an empty pool; return its writable and its read-only descriptor."""
    if sys.platform == "linux":
        writable = os.memfd_create("streamer-pool", os.MFD_CLOEXEC)
        return writable, _open_beside(writable, f"/proc/self/fd/{writable}")
    with tempfile.NamedTemporaryFile(prefix="streamer-pool-") as file:  # no memfd there: a file without a name
        writable = os.dup(file.fileno())
        return writable, _open_beside(writable, file.name)


def _open_beside(writable: int, name: str) -> int:
    """Open the pool for reading; ``writable`` is closed where that fails."""
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except BaseException:
        os.close(writable)
        raise
