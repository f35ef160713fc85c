"""Who hears what goes on: the observer of a session, and the display that a person looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from streamer.runtime.messages import Planned, Progress


class Observer(Protocol):
    """Who shows a person what goes on."""

    def planned(self, plan: Planned) -> None:
        """Take in the plan."""

    def progress(self, progress: Progress, lives: dict[str, dict[str, Any]], memory: dict[str, Any]) -> None:
        """Take in how far everyone is, several times a second: each consumer's process too, and who holds how much."""

    def note(self, text: str, **about: Any) -> None:
        """Take in something that a person should know now; ``about`` has the consumer, generation, chunk or frame."""


class Display(Protocol):
    """Who shows a person what goes on."""

    def planned(self, plan: Planned, recording: str = "") -> None:
        """Take in the plan of a recording; that of one of many is named."""

    def progress(self, values: dict[str, Any]) -> None:
        """Take in a snapshot, several times a second."""

    def note(self, text: str, **about: Any) -> None:
        """Take in something that a person should know now; ``about`` has the consumer, generation, chunk or frame."""
