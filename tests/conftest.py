"""What all tests share: the real recordings, and a guard against processes left behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of real recordings, which lies beside the project and not in it."""
    folder = Path(os.environ.get("STREAMER_RECORDINGS", ROOT.parent / "shared" / "bags"))
    if not folder.is_dir():
        pytest.skip(f"needs the folder of real recordings {folder} (or STREAMER_RECORDINGS)")
    return folder


@pytest.fixture(autouse=True)
def nobody_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process, and end what it left."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    lines = [f"{child.pid} {' '.join(child.cmdline())}" for child in left if child.is_running()]
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=10)
    assert not lines, f"processes left behind: {lines}"
