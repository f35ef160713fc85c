"""The clock of the machine is set: what is to be tried again is, and nothing waits for years.

A small library between Python and the system adds what a file says to every look at the clock; the monotonic clock
stays as it is, as it does when an administrator sets the time.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.ingest.driver import Watch
from tests.ingest.numbered import make, settings
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400
SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int answer = (int)syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_SET_BY");
    if (answer == 0 && clock == CLOCK_REALTIME && path) {
        char text[32] = {0};
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0 && read(file, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
        if (file >= 0) close(file);
    }
    return answer;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_recordings_are_tried_again_when_the_clock_was_set_back_or_forward(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    library = tmp_path / "clock.so"
    (tmp_path / "clock.c").write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "clock.c"], check=True)  # noqa: S607
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    content = bytearray(make(tmp_path / "damaged", 1, form="mcap-zstd").joinpath("damaged.mcap").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8000] = bytes(8000)
    (incoming / "damaged.mcap").write_bytes(content)
    config = settings(incoming, backoff="30 min", attempts=3)
    with Watch(tmp_path, config, LD_PRELOAD=str(library), CLOCK_SET_BY=str(clock)) as daemon:
        daemon.wait(damaged="failed")
        assert daemon.one("damaged")["attempts"] == 1
        clock.write_text(f"{-3650 * DAY}")
        wait_until(lambda: len(daemon.events("failed")) == 2, "the end of the second attempt")
        clock.write_text(f"{3650 * DAY}")
        daemon.wait(damaged="quarantined")
        (incoming / "good.bag").write_bytes(make(tmp_path / "good", 2).read_bytes())
        clock.write_text(f"{-DAY}")
        daemon.wait(good="done")
        assert daemon.end() == 0
