"""Content → a file that is there whole or not at all."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_json(path: Path, values: object) -> None:
    """Write values as JSON, sorted so that equal values make equal files."""
    write_bytes(path, (json.dumps(values, indent=2, sort_keys=True) + "\n").encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write under a temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> Path:
    """Make a folder for outputs and find out now whether it can be written to."""
    path.mkdir(parents=True, exist_ok=True)
    probe = path / f".writable-{os.getpid()}"
    probe.touch()
    probe.unlink()
    return path
