"""The addresses of a configuration → the recordings that they name, those of the demo made where they are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from streamer.errors import ConfigError
from streamer.source.find import find_recordings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def recordings(addresses: Sequence[str], base: Path, demo: Path, *, salvage: bool = False) -> list[Path]:
    """Return all recordings, each once, in the order of the configuration; ``demo`` is the folder for synthetic ones.

    ``salvage`` as in `find_recordings`.

    Raises:
        ConfigError: there is no such demo. RecordingError: a path or pattern names no recording.

    """
    found: list[Path] = []
    for address in addresses:
        if address.startswith("demo://"):
            found.append(_demo(address, demo))
        else:
            found += find_recordings([address], base, salvage=salvage)
    return list(dict.fromkeys(found))


def _demo(address: str, folder: Path) -> Path:
    """Make the recording that a demo:// address names, unless it exists from an earlier run."""
    parts = urlsplit(address)
    if parts.netloc != "tabletop":
        msg = f"source.path: there is no demo {address!r}; there is 'demo://tabletop'"
        raise ConfigError(msg)
    query = parse_qs(parts.query)
    try:
        seconds = float(query.get("seconds", ["20"])[0])
        seed = int(query.get("seed", ["7"])[0])
    except ValueError as error:
        msg = f"source.path: {address!r}: {error}"
        raise ConfigError(msg) from error
    path = folder / f"tabletop-{seconds:g}s-{seed}.bag"
    if not path.exists():
        from streamer.demo import tabletop

        folder.mkdir(parents=True, exist_ok=True)
        tabletop(path, seconds=seconds, seed=seed)
    return path
