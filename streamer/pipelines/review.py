"""What a person says of the episodes of an output → a file beside it, by which merging leaves the rejected ones out."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.errors import OutputError, UsageError, nearest_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ACCEPTED, REJECTED = "accepted", "rejected"
_LISTS = ("meta/provenance.jsonl", "_recordings.json", "zarr.json")  # where outputs say what is in them
_LONGEST_NOTE = 2000  # letters


class Verdict(NamedTuple):
    """What was said of an episode: accepted, rejected or nothing yet, and a note."""

    verdict: str = ""
    note: str = ""


class Listed(NamedTuple):
    """An episode of an output: its number there, the name of its recording, its frames and its task where known."""

    number: int
    name: str
    frames: int | None
    task: str


def beside(out: Path) -> Path:
    """Return where the review of an output lies: ``dataset.review.json`` beside ``dataset``."""
    return out.with_name(f"{out.name}.review.json")


def read(out: Path) -> dict[str, Verdict]:
    """Return what was said, by the names of recordings or episodes; empty where nothing was.

    Raises:
        OutputError: the file is there and cannot be read.

    """
    path = beside(out)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["episodes"]
        return {name: Verdict(str(one.get("verdict", "")), str(one.get("note", ""))) for name, one in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        msg = f"the review cannot be read: {error}"
        raise OutputError(msg, path=path, hint="mend it, or move it aside to begin with an empty one") from error


def rejected(out: Path) -> frozenset[str]:
    """Return the names of what was rejected."""
    return frozenset(name for name, one in read(out).items() if one.verdict == REJECTED)


def say(out: Path, names: Sequence[str], verdict: str | None = None, note: str | None = None) -> None:
    """Note a verdict, a note or both of each of the names; what is None stays, what is empty is taken back.

    Raises:
        OutputError: the file cannot be read or written.

    """
    path = beside(out)
    try:
        with _locked(path.parent):
            known = read(out)
            for name in names:
                before = known.pop(name, Verdict())
                new = Verdict(
                    before.verdict if verdict is None else verdict,
                    before.note if note is None else note[:_LONGEST_NOTE],
                )
                if new != Verdict():
                    known[name] = new
            values = {"episodes": {name: known[name]._asdict() for name in sorted(known)}}
            draft = path.with_name(f".{path.name}.tmp")
            draft.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            draft.replace(path)
    except OSError as error:
        msg = f"the review cannot be written: {error.strerror}"
        raise OutputError(msg, path=path) from error


def listed(out: Path) -> list[Listed]:
    """Return the episodes that an output says it has; empty where it says nothing."""
    for name in _LISTS:
        path = out / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if name.endswith(".jsonl"):
                return [_listed(n, json.loads(line)) for n, line in enumerate(filter(str.strip, text.splitlines()))]
            values = json.loads(text)
            ones = values.get("recordings") or values.get("attributes", {}).get("recordings", [])
            return [_listed(n, one) for n, one in enumerate(ones)]
    return []


def chosen(out: Path, words: Sequence[str]) -> list[str]:
    """Return the names that a person means, by number or name.

    Raises:
        UsageError: the output has no such episode, nor is one known from the review.

    """
    episodes = listed(out)
    names = {one.name for one in episodes} | read(out).keys()
    found = []
    for word in words:
        by_number = [one.name for one in episodes if str(one.number) == word and word not in names]
        if not by_number and word not in names and names:
            msg = f"{out} has no episode {word!r}{nearest_name(word, names)}; 'streamer review {out}' lists them"
            raise UsageError(msg)
        found += by_number or [word]
    return list(dict.fromkeys(found))


def _listed(number: int, one: dict[str, Any]) -> Listed:
    frames = next((one[key] for key in ("frames", "rows") if isinstance(one.get(key), int)), None)
    name = one.get("recording") or one.get("name") or ""
    return Listed(int(one.get("episode_index", number)), str(name), frames, str(one.get("task") or ""))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold off others who write a review into a folder."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
