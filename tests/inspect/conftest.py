"""The commands of the command line's tests, to hold the functions against."""

from __future__ import annotations

from tests.cli.conftest import commands

__all__ = ["commands"]
