"""Errors and warnings → what ``check`` found: each once, with its exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streamer.errors import ConfigError

if TYPE_CHECKING:
    from streamer.errors import StreamerError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should know; ``code`` is the exit code it means, 0 for a warning."""

    code: int
    message: str
    recording: str | None = None


@dataclass(slots=True)
class Checked:
    """What was found: ``recordings`` has for each its frames, streams and memory, fit for JSON."""

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
        """Take in an error, once."""
        finding = Finding(error.exit_code, str(error), recording)
        if not any(known.message == finding.message for known in self.findings):
            self.findings.append(finding)

    def warn(self, message: str, recording: str | None = None) -> None:
        """Take in what is no error."""
        self.findings.append(Finding(0, message, recording))
