"""Which tests are slow → `slow.txt`, one a line, made of a run's durations and of what is kept in the quick tier.

    pytest -m "not soak" --durations=0 --durations-min=0.5 > run.log; python -m tests.tiers run.log

A test that took more than a second and a half is slow, unless it stands for a promise in the quick tier: `quick.txt`
names those. One that is slow by its nature says so itself, with ``@pytest.mark.slow``. What is named and no longer
there is an error of the whole run.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOW, QUICK = (Path(__file__).with_name(name) for name in ("slow.txt", "quick.txt"))
MOST_SECONDS = 1.5


def named(path: Path) -> frozenset[str]:
    """Return the tests that a list names."""
    return frozenset(path.read_text(encoding="utf-8").splitlines())


def mark(items: Iterable[pytest.Item], *, whole: bool) -> None:
    """Mark the tests that are listed; ``whole`` says that ``items`` are all that there are.

    Raises:
        pytest.UsageError: one that is listed, or kept, is not there.

    """
    slow, there = named(SLOW), set()
    for item in items:
        there.add(item.nodeid)
        if item.nodeid in slow:
            item.add_marker(pytest.mark.slow)
    if whole and (gone := sorted((slow | named(QUICK)) - there)):
        msg = f"tests/slow.txt and tests/quick.txt name tests that are not there: {', '.join(gone)}"
        raise pytest.UsageError(msg)


def took(log: str) -> dict[str, float]:
    """Return the seconds of each test in a log of pytest with ``--durations=0``, without what it shares with others."""
    return {
        match["test"]: float(match["seconds"])
        for match in re.finditer(r"^(?P<seconds>[\d.]+)s call +(?P<test>tests/.*?)$", log, re.MULTILINE)
    }


def main(logs: list[str]) -> None:
    """Write the list; a test that a log does not name stays as it is."""
    seconds: dict[str, float] = {}
    for log in logs:
        seconds |= took(Path(log).read_text(encoding="utf-8"))
    kept = named(QUICK)
    slow = {test for test in named(SLOW) - kept if seconds.get(test, MOST_SECONDS) >= MOST_SECONDS}
    slow |= {test for test, taken in seconds.items() if taken > MOST_SECONDS and test not in kept}
    SLOW.write_text("".join(f"{test}\n" for test in sorted(slow)), encoding="utf-8")
    sys.stdout.write(f"{len(slow)} slow tests in {SLOW.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
