"""What a run would take → whether this machine has it: shared memory, and room and rights on the disk."""

from __future__ import annotations

import math
import shutil
import tempfile
from typing import TYPE_CHECKING

import psutil

from streamer.errors import ConfigError, OutputError
from streamer.supervisor.recording import fill_in
from streamer.units import show_size

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.config.load import Loaded
    from streamer.inspect.findings import Checked

_SMALL = 10**6  # bytes; as much as ledger and logs of a run take, generously


def check_memory(loaded: Loaded, found: Checked) -> None:
    """Hold the largest pool that a recording needs against the memory that is available."""
    pool = max((r["pool_bytes"] for r in found.recordings), default=0)
    available = psutil.virtual_memory().available
    found.memory = {
        "pool_bytes": pool,
        "processes": 1 + len(loaded.config.consumers),
        "available_bytes": available,
    }
    if pool > available:
        found.add(
            ConfigError(
                f"the run takes {show_size(pool)} of shared memory, this machine has {show_size(available)} available",
                key="pool",
                hint=f"set 'pool: {max(available // 2 // 10**6, 1)} MB' or less",
            )
        )


def check_disk(loaded: Loaded, recording: str, found: Checked) -> None:
    """Look at every folder that will be written to: the work folder, and what consumers' options call ``out``."""
    places = {"workdir": loaded.workdir}
    for name, consumer in loaded.config.consumers.items():
        if isinstance(out := fill_in(consumer.options, recording).get("out"), str):
            places[f"consumers.{name}.options.out"] = loaded.base / out
    arrays = sum(r["frames"] * r["frame_bytes"] for r in found.recordings)
    found.disk = {"frames_bytes": arrays}
    for setting, place in places.items():
        folder = place.parent if place.is_file() else place
        folder = next(above for above in (folder, *folder.parents) if above.exists())
        if not _writable(folder):
            found.add(OutputError(f"{folder} cannot be written to", key=setting, hint="name a folder that can"))
            continue
        free = shutil.disk_usage(folder).free
        if free < found.disk.get("free_bytes", math.inf):
            found.disk |= {"folder": str(folder), "free_bytes": free}
        if free < _SMALL:
            found.add(OutputError(f"{folder} has only {show_size(free)} free", key=setting))
    if _SMALL < found.disk.get("free_bytes", math.inf) < arrays:
        found.warn(
            f"all frames as they are take {show_size(arrays)} and {found.disk['folder']} has "
            f"{show_size(found.disk['free_bytes'])} free: enough only for consumers that compress or keep little"
        )


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
