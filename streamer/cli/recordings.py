"""What was typed for recordings → their paths: files, folders, globs, ``~`` and demo:// alike, in every verb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEMO = "demo://"


def find(addresses: Sequence[str], *, salvage: bool = False, folder: Path | None = None) -> list[Path]:
    """Return the recordings, each once; those of the demo are made below ``folder`` (the current one).

    A path that exists is taken as it is, also where its name looks like a pattern.

    Raises:
        RecordingError: an address names none. ConfigError: there is no such demo.

    """
    import glob

    from streamer.pipelines.recordings import synthetic
    from streamer.source.find import find_recordings

    found: list[Path] = []
    for address in addresses:
        if address.startswith(_DEMO):
            found.append(synthetic(address, (folder or Path.cwd()) / ".streamer" / "demo"))
            continue
        is_name = glob.has_magic(address) and Path(address).expanduser().exists()
        pattern = glob.escape(address) if is_name else address
        found += find_recordings([pattern], Path.cwd(), salvage=salvage)
    return list(dict.fromkeys(found))


def is_demo(address: str) -> bool:
    """Tell whether a recording is one that the project makes itself."""
    return address.startswith(_DEMO)
