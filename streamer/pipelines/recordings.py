"""The addresses of a configuration → the recordings that they name, those of the demo made where they are missing."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from streamer.errors import ConfigError
from streamer.source.find import find_recordings, recording_name

if TYPE_CHECKING:
    from streamer.config.load import Loaded

_DEMO = "demo://"
_ENDINGS = (".bag", ".mcap", ".db3", ".active", ".zstd")


def is_demo(address: str) -> bool:
    """Tell whether a recording is one that the project makes itself."""
    return address.startswith(_DEMO)


def is_recording(address: str) -> bool:
    """Tell whether what was typed names recordings, and not a configuration: a folder, a pattern, or by its ending."""
    path = Path(address).expanduser()
    return (
        is_demo(address)
        or path.is_dir()
        or address.endswith(_ENDINGS)
        or (glob.has_magic(address) and not path.exists())
    )


def address_of(text: str) -> str:
    """Return the address that names what was typed: a path that exists is no pattern, also where it looks like one."""
    return glob.escape(text) if glob.has_magic(text) and Path(text).expanduser().exists() else text


def recordings(loaded: Loaded, demo: Path | None = None) -> list[Path]:
    """Return all recordings, each once, in the order of the configuration.

    ``demo`` is the folder for synthetic ones, in the work folder where left out.

    Raises:
        ConfigError: there is no such demo, or none are named. RecordingError: a path or pattern names no recording.

    """
    source = loaded.config.source
    if source.path is None:
        msg = f"recordings that appear in folders are for 'streamer watch {loaded.path.name}'"
        raise ConfigError(msg, key="source.watch")
    found: list[Path] = []
    for address in source.path:
        if is_demo(address):
            found.append(synthetic(address, demo or loaded.workdir / "demo"))
        else:
            found += find_recordings([address], loaded.base, salvage=source.salvage)
    return list(dict.fromkeys(found))


def synthetic(address: str, folder: Path) -> Path:
    """Make the recording that a demo:// address names, unless it exists from an earlier run.

    Raises:
        ConfigError: there is no such demo.

    """
    parts = urlsplit(address)
    if parts.netloc != "tabletop":
        msg = f"there is no demo {address!r}; there is 'demo://tabletop'"
        raise ConfigError(msg, key="source.path")
    query = parse_qs(parts.query)
    try:
        seconds = float(query.get("seconds", ["20"])[0])
        seed = int(query.get("seed", ["7"])[0])
    except ValueError as error:
        msg = f"{address!r}: {error}"
        raise ConfigError(msg, key="source.path") from error
    path = folder / f"tabletop-{seconds:g}s-{seed}.bag"
    if not path.exists():
        from streamer.demo import tabletop

        folder.mkdir(parents=True, exist_ok=True)
        tabletop(path, seconds=seconds, seed=seed)
    return path


def unique_names(paths: list[Path]) -> dict[Path, str]:
    """Name the recordings; those that would have one name are numbered."""
    names: dict[Path, str] = {}
    for path in paths:
        name = recording_name(path)
        number = 2
        while name in names.values():
            name = f"{recording_name(path)}-{number}"
            number += 1
        names[path] = name
    return names
