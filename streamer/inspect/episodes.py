"""A recording that is cut into episodes → the list of them that a person looks at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from streamer.inspect.markers import guess
from streamer.quality import KEPT, Verdict
from streamer.records import EpisodeSettings
from streamer.runtime.cutting import Material, cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.episodes import Cut, Problem
    from streamer.inspect.contents import Contents
    from streamer.inspect.markers import Guess
    from streamer.quality import Reason
    from streamer.records import Episode
    from streamer.runtime.prepare import Prepared
    from streamer.source.source import Source


@dataclass(frozen=True, slots=True)
class Listed:
    """An episode, of how many frames it is (None where no stream is known), and what becomes of it."""

    episode: Episode
    frames: int | None = None
    verdict: str = KEPT
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Division:
    """How one recording is cut; ``begins`` and ``ends`` are its first receive stamp and its last, in nanoseconds.

    ``idle`` are stretches, from where to where, that were cut off because nothing moves in them.
    """

    name: str
    path: str
    begins: int
    ends: int
    episodes: Sequence[Listed]
    problems: Sequence[Problem]
    idle: Sequence[tuple[int, int]] = ()

    def at(self, stamp: int) -> float:
        """Return the seconds from the recording's beginning."""
        return (stamp - self.begins) / 1e9

    def as_json(self) -> dict[str, Any]:
        """Return plain values, fit for JSON; times in seconds from the recording's beginning."""
        return {
            "recording": self.path,
            "seconds": self.at(self.ends),
            "episodes": [
                {
                    "number": e.episode.number,
                    "start_s": self.at(e.episode.start),
                    "seconds": (e.episode.end - e.episode.start) / 1e9,
                    "frames": e.frames,
                    "task": e.episode.task,
                    "label": e.episode.label,
                    "why": e.episode.why,
                    "verdict": e.verdict,
                    "reasons": [asdict(reason) for reason in e.reasons],
                }
                for e in self.episodes
            ],
            "problems": [
                {"at_s": self.at(p.stamp), "text": p.text} | ({} if p.until is None else {"until_s": self.at(p.until)})
                for p in self.problems
            ],
            "idle": [{"start_s": self.at(start), "seconds": (end - start) / 1e9} for start, end in self.idle],
        }


def divide(prepared: Prepared, name: str) -> Division:
    """Describe how a configuration cuts a recording."""
    verdicts = {v.number: v for v in prepared.verdicts}
    usual = Verdict(None, KEPT)
    judged = [(e, verdicts.get(e.episode.number, usual)) for e in prepared.episodes]
    found = [Listed(e.episode, e.frames, verdict.outcome, verdict.reasons) for e, verdict in judged]
    return _division(prepared.source, name, found, prepared.cut)


def divide_alone(contents: Contents, name: str) -> tuple[Division | None, Guess]:
    """Cut a recording as its topics suggest; None where none of them marks episodes."""
    found = guess(contents)
    if found.markers is None:
        return None, found
    source = contents.source
    division = cut(Material(source, contents.types, name, {}, {}, {}, "grid", ()), EpisodeSettings(found.markers))
    return _division(source, name, [Listed(episode) for episode in division.episodes], division), found


def _division(source: Source, name: str, episodes: Sequence[Listed], found: Cut | None) -> Division:
    stamps = [index.stamps for index in source.index(source.topics).values() if len(index.stamps)]
    begins, ends = min((int(s[0]) for s in stamps), default=0), max((int(s[-1]) for s in stamps), default=0)
    problems, idle = ((), ()) if found is None else (found.problems, found.idle)
    return Division(name, str(source.path), begins, ends, episodes, problems, idle)
