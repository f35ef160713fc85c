"""Parts of many recordings → one dataset, numbered by their order, which takes the old one's place or not at all.

A part lies in its shares, or in the dataset already, from which an earlier merging without all of the recordings took
it. So the result is the same whenever which recording came; only what was in the dataset before all of them, written
by others, stays in front.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from consumers.files import remove_folder, write_json
from consumers.lerobot.dataset import AnyDataset, dataset_at
from consumers.lerobot.episode import Told
from consumers.lerobot.layout import ORIGINS, STATS, TASKS, locked, replace
from consumers.lerobot.settings import Settings
from consumers.lerobot.version21 import TABLES21
from streamer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consumers.lerobot.episode import Episode, Shared, Written

_DRAFT = ".merge"
_ABOUT = "part.json"
_OURS = frozenset(Path(name).name for name in (STATS, TASKS, ORIGINS, *TABLES21))  # in the folder meta, made anew


class Wanted(NamedTuple):
    """A recording's place in the order: its name, the key of its episodes, where its shares lie or lay."""

    name: str
    key: str
    shares: Path


def leave_part(shares: Path, episodes: int, told: Told, origin: dict[str, Any]) -> None:
    """Say of a recording's shares what they are, once they are whole."""
    write_json(shares / _ABOUT, {"episodes": episodes, "origin": origin} | told._asdict())


def merge(
    root: Path, wanted: Sequence[Wanted], license_: str | None = None, rejected: frozenset[str] = frozenset()
) -> None:
    """Bring the dataset into the order that is wanted; a draft that a killed process left is taken up.

    The episodes of ``rejected`` recordings are put into the dataset ``<root>.rejected`` beside it, from which they come
    back where they are rejected no more.

    Raises:
        OutputError: of one there is neither a part nor an episode.

    """
    with locked(root):
        settings = Settings.of(root)
        there = dataset_at(root, settings).written()
        aside = _Aside(root, settings)
        aside.take([episode for episode in there if _name(episode) in rejected])
        order = _order(root, (there, aside.written()), wanted, rejected)
        if [episode.key for episode in order] != [episode.key for episode in there]:
            draft = _draft(root, settings, order, there)
            draft.extend(order[draft.episodes :])
            draft.write_totals()
            replace(root, draft.root)
        dataset_at(root, settings).write_card(license_)
        for one in wanted:
            remove_folder(one.shares)


class _Aside:
    """The dataset of what was rejected, beside another; it is there once something was."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self._root, self._settings = root.with_name(f"{root.name}.rejected"), settings

    def written(self) -> list[Written]:
        """Return its episodes."""
        return dataset_at(self._root, self._settings).written() if self._root.exists() else []

    def take(self, episodes: Sequence[Written]) -> None:
        """Take in those that it does not have."""
        known = {episode.key for episode in self.written()}
        if new := [episode for episode in episodes if episode.key not in known]:
            self._root.mkdir(exist_ok=True)
            dataset = dataset_at(self._root, self._settings)
            dataset.extend(new)
            dataset.write_totals()


def _name(episode: Written) -> str:
    return str(episode.origin.get("recording", ""))


def _key(episode: Written) -> str:
    return episode.key.rpartition("/")[0]


def _order(
    root: Path, written: tuple[list[Written], list[Written]], wanted: Sequence[Wanted], rejected: frozenset[str]
) -> list[Episode]:
    """Put the episodes of others in front, then those that come back, then what is wanted.

    ``written`` are those of the dataset, and those that were rejected once.
    """
    there, aside = written
    ours, names = {one.key for one in wanted}, {_name(e) for e in there} | {one.name for one in wanted}
    order: list[Episode] = [e for e in there if _key(e) not in ours and _name(e) not in rejected]
    order += [episode for episode in aside if _name(episode) not in rejected | names]
    known = there + [episode for episode in aside if episode.key not in {one.key for one in there}]
    by_key = {episode.key: episode for episode in known}
    for one in wanted:
        found = [by_key.get(shared.key, shared) for shared in _shared(one)]
        found = found or [episode for episode in known if _key(episode) == one.key]
        if not found:
            msg = f"{root} has no episode of {one.name}, and its part {one.shares} is gone: stream it again (--restart)"
            raise OutputError(msg)
        order += found
    return order


def _shared(one: Wanted) -> Iterator[Shared]:
    path = one.shares / _ABOUT
    if not path.exists():
        return
    about = json.loads(path.read_text(encoding="utf-8"))
    for number in range(about["episodes"]):
        shares = sorted(one.shares.glob(f"chunk-*/{number:06d}"))
        told = Told(about["task"], about.get("label", ""), about.get("success"))
        yield told.shared(one.key, number, about["episodes"], about["origin"], shares)


def _draft(root: Path, settings: Settings, order: list[Episode], there: list[Written]) -> AnyDataset:
    """Return a dataset with the first of the episodes: what was begun, or what is there, or nothing."""
    folder, keys = root / _DRAFT, [episode.key for episode in order]
    if folder.exists():
        begun = dataset_at(folder, settings)
        if begun.keys() == keys[: begun.episodes]:
            return begun
        remove_folder(folder)
    fresh = folder.with_name(f"{_DRAFT}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    if [episode.key for episode in there] == keys[: len(there)]:
        for name in ("meta", "data", "videos"):
            if (root / name).exists():
                shutil.copytree(root / name, fresh / name, copy_function=_link)
    (fresh / "meta").mkdir(exist_ok=True)
    for path in (root / "meta").iterdir():  # and what others have put there
        if path.is_file() and path.name not in _OURS and not (fresh / "meta" / path.name).exists():
            _link(str(path), str(fresh / "meta" / path.name))
    fresh.rename(folder)
    return dataset_at(folder, settings)


def _link(source: str, target: str) -> None:
    """Give a file a second name: whoever changes it replaces it; copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
