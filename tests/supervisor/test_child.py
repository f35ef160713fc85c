"""How a child process is heard and how its end is announced."""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING

import pytest

from streamer.supervisor.child import Child

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux announces the end of a process")
def test_an_end_is_announced_until_somebody_has_been_told_of_it(tmp_path: Path) -> None:
    child = Child("this", "one", folder=tmp_path, log=tmp_path / "log")  # a module of the standard library
    try:
        assert select.select([child.channel], [], [], 60)[0], "its end of the channel closes as it ends"
        child.heard()
        assert not child.channel.open
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken its status
        (end,) = child.watched()
        assert select.select([end], [], [], 60)[0]
        assert child.ended() == 0
        assert child.watched() == []
    finally:
        child.close()
