"""Errors and warnings → what ``check`` found: each once, with its exit code."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from streamer.errors import ConfigError, StreamerError

if TYPE_CHECKING:
    from streamer.config.load import Loaded


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should know; ``code`` is the exit code it means, 0 for a warning.

    ``key`` is the setting that it is about, as a dotted path.
    """

    code: int
    message: str
    recording: str | None = None
    key: str = ""


@dataclass(slots=True)
class Checked:
    """What was found: ``recordings`` has for each its frames, streams and memory, fit for JSON.

    ``loaded`` is the configuration in which settings have their lines; None where it could not be read.
    """

    loaded: Loaded | None = None
    findings: list[Finding] = field(default_factory=list)
    recordings: list[dict[str, Any]] = field(default_factory=list)
    consumers: dict[str, str] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    disk: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """78 where the configuration is to be mended, else the code of the first finding that has one, else 0."""
        codes = [finding.code for finding in self.findings if finding.code]
        return ConfigError.exit_code if ConfigError.exit_code in codes else codes[0] if codes else 0

    def add(self, error: StreamerError, recording: str | None = None) -> None:
        """Take in an error, or the ones that it stands for, each once."""
        for part in error.parts or (error,):
            located = part if self.loaded is None else self.loaded.locate(part)
            finding = Finding(part.exit_code, str(located), recording, part.where.key)
            if not any(known.message == finding.message for known in self.findings):
                self.findings.append(finding)

    def warn(self, message: str, recording: str | None = None, *, key: str = "") -> None:
        """Take in what is no error."""
        warning = StreamerError(message, key=key)
        located = warning if self.loaded is None else self.loaded.locate(warning)
        self.findings.append(Finding(0, str(located), recording, key))

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "exit_code": self.exit_code,
            "findings": [asdict(finding) for finding in self.findings],
            "recordings": self.recordings,
            "consumers": self.consumers,
            "memory": self.memory,
            "disk": self.disk,
        }
