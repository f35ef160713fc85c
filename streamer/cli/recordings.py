"""What was typed for recordings → their paths: files, folders, globs, ``~`` and demo:// alike, in every verb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def find(addresses: Sequence[str], *, salvage: bool = False, folder: Path | None = None) -> list[Path]:
    """Return the recordings, each once; those of the demo are made below ``folder`` (the current one).

    A path that exists is taken as it is, also where its name looks like a pattern.

    Raises:
        RecordingError: an address names none. ConfigError: there is no such demo.

    """
    from streamer.pipelines.recordings import address_of, is_demo, synthetic
    from streamer.source.find import find_recordings

    found: list[Path] = []
    for address in addresses:
        if is_demo(address):
            found.append(synthetic(address, (folder or Path.cwd()) / ".streamer" / "demo"))
            continue
        found += find_recordings([address_of(address)], Path.cwd(), salvage=salvage)
    return list(dict.fromkeys(found))
