"""The episodes that a run has written, and the outputs' folders → what an earlier run has left of other episodes there.

A consumer replaces what it writes again, and lists what there is. A file of an episode that is written no more, because
it was left out or the recording is cut otherwise, stays where it lies: whoever reads the folder would take it for one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.quality import LEFT_OUT
from streamer.text import fill_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_NUMBER = r"-(\d{3,})"
_PLACE = "{episode}"


def leftovers(outs: Iterable[Path], name: str, episodes: Sequence[Mapping[str, Any]], *, cut: bool) -> list[Path]:
    """Return the files and folders of episodes of a recording that this run has not written, in their order.

    ``outs`` are the consumers' options ``out``: a folder, or a path with ``{episode}``, as they stand in the
    configuration; ``episodes`` is what the report says of each. A recording that is not ``cut`` is its only one.
    """
    written = {e["number"] for e in episodes if e["verdict"] != LEFT_OUT}
    if not cut and (not episodes or None in written):
        return []
    number = _NUMBER if cut else "()"
    found = {path for out in outs for path, one in _entries(out, name, number) if not cut or int(one) not in written}
    return sorted(found)


def _entries(out: Path, name: str, number: str) -> Iterator[tuple[Path, str]]:
    """Yield what lies in an output and is called as an episode of the recording, and the episode's number."""
    out = Path(fill_in(str(out), "recording", name))
    before, placed, after = out.name.partition(_PLACE)
    folder = out.parent if placed else out
    if _PLACE in str(folder) or not folder.is_dir():
        return
    ending = re.escape(after) if placed else r"\..+"
    pattern = re.compile(f"{re.escape(before) if placed else ''}{re.escape(name)}{number}{ending}", re.DOTALL)
    for path in folder.iterdir():
        if match := pattern.fullmatch(path.name):
            yield path, match[1]
