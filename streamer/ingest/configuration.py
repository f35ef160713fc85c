"""A checked configuration → what follows from it for the daemon, as values."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.config.settings import fingerprint
from streamer.errors import ConfigError
from streamer.pipelines.need import needed

if TYPE_CHECKING:
    from streamer.config.load import Loaded
    from streamer.config.model import Config

SECOND = 10**9  # nanoseconds
LONGEST_BACKOFF = 3600.0  # seconds between two attempts, at streaming or at filing
_FIXED = ("workdir", "http", "http_token")  # cannot change while the daemon runs


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration in force, and what follows from it."""

    loaded: Loaded
    workdir: Path
    fingerprint: str = field(init=False)
    folders: tuple[Path, ...] = field(init=False)  # that are watched
    archive: Path | None = field(init=False)  # where recordings go that are done
    most: int = field(init=False)  # recordings at once
    own: dict[str, Any] = field(init=False)  # settings of each pipeline in place of the configuration's

    def __post_init__(self) -> None:
        config = self.config
        room = config.jobs if config.memory is None else config.memory // needed(self.loaded)
        most = max(1, min(config.jobs, room))
        shared = "threads" in config.model_fields_set
        values = {
            "fingerprint": fingerprint(self.loaded),
            "folders": tuple(self._absolute(folder) for folder in config.source.watch or ()),
            "archive": self._absolute(config.source.move_to) if config.source.move_to else None,
            "most": most,
            "own": {} if shared else {"threads": max(1, config.threads // most)},
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def config(self) -> Config:
        """The settings themselves."""
        return self.loaded.config

    @property
    def left_out(self) -> tuple[Path, ...]:
        """Folders in which no recording is looked for: the daemon's own."""
        return (self._absolute(str(self.workdir)), *([self.archive] if self.archive else []))

    def outs(self) -> list[str]:
        """Return what the consumers' options call ``out``."""
        found = [consumer.options.get("out") for consumer in self.config.consumers.values()]
        return [out for out in found if isinstance(out, str)]

    def disks(self) -> tuple[Path, ...]:
        """Return a folder that exists on each file system that is written to.

        Raises:
            OSError: one was unmounted a moment ago, or fails.

        """
        found: dict[int, Path] = {}
        for folder in (self.workdir, *(self.loaded.base / out for out in self.outs())):
            there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 - never raises
            found.setdefault(there.stat().st_dev, there)
        return tuple(found.values())

    def seen_disks(self) -> tuple[Path, ...]:
        """Return the same for display; empty where one cannot be looked at."""
        with suppress(OSError, ValueError):
            return self.disks()
        return ()

    def may_become(self, other: InForce) -> None:
        """Accept another configuration in place of this one.

        Raises:
            ConfigError: it changes what needs a restart.

        """
        for key in _FIXED:
            if getattr(self.config, key) != getattr(other.config, key):
                msg = f"{key} cannot change while the daemon runs: restart it"
                raise ConfigError(msg)

    def _absolute(self, folder: str) -> Path:
        """Return a folder as the kernel and a scan name it, without any '..'."""
        return Path(os.path.abspath(self.loaded.base / Path(folder).expanduser()))  # noqa: PTH100 - keep links as written
