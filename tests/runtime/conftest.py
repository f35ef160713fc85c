"""Videos, and recordings of them that are prepared, for the tests of video topics."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from streamer.records import Alignment, Decoding, StreamSettings, TimelineSettings
from streamer.runtime.prepare import Prepared, prepare
from streamer.source.source import Source
from streamer.source.types import Types
from tests.bags import Message, record
from tests.runtime.shown import QUICK, Prepare
from tests.videos import Packet, encode, pictures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    return pictures(32)


@pytest.fixture(scope="module")
def h264(images: list[NDArray[np.uint8]]) -> list[Packet]:
    return encode("libx264", images, QUICK)


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Prepare]:
    """Record messages and prepare a stream of them; everything is closed behind the test."""
    with ExitStack() as stack:

        def run(messages: list[Message], form: str = "ros1", rate: int | None = None, **how: Any) -> Prepared:
            path = record(tmp_path / f"bag{len(list(tmp_path.iterdir()))}", form, messages, chunk=20_000)
            source = stack.enter_context(Source(path, tmp_path / "scratch"))
            decoding = Decoding(**{key: how.pop(key) for key in ("resize", "color") if key in how})
            settings = StreamSettings("cam", ("/cam",), decoding=decoding, alignment=Alignment(tolerance=1), **how)
            timeline = TimelineSettings("cam", rate=(rate, 1) if rate else None)
            return prepare(source, Types([], source.distro, tmp_path), timeline, [settings])

        yield run
