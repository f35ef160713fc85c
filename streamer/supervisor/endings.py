"""The end of a process → how it came about, in words."""

from __future__ import annotations

import signal


def how_it_ended(code: int) -> str:
    """Write an exit status for a person."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
