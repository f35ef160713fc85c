"""What was typed for a verb → a checked configuration: that of a file, or the one that ``init`` would write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.config.lenient import leniently, load_leniently
from streamer.config.load import apply, checked, load, with_types
from streamer.inspect.proof import prove
from streamer.inspect.suggestion import no_stream, suggestion
from streamer.pipelines.recordings import address_of, is_recording, recordings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.config.load import Loaded, Where
    from streamer.errors import ConfigError

_NONE: dict[str, Any] = {"null": {}}  # consumers, where only recordings are looked for
_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.[^=/]+)*=")


class Given(NamedTuple):
    """A command line: a configuration's path or the addresses of recordings, and overrides of settings."""

    config: Path | None
    addresses: list[str]
    overrides: list[str]


def split(words: Sequence[str]) -> Given:
    """Tell recordings from a configuration by the first word; behind recordings, ``key.path=value`` overrides."""
    first, *rest = words
    if not is_recording(first):
        return Given(Path(first), [], rest)
    return Given(None, *split_recordings(words))


def split_recordings(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell the addresses of recordings from ``key.path=value``."""
    overrides = [word for word in words if _OVERRIDE.match(word) and not Path(word).expanduser().exists()]
    return [address_of(word) for word in words if word not in overrides], overrides


def given(
    words: Sequence[str], *, types: Sequence[str] = (), salvage: bool = False, consumers_needed: bool = False
) -> Loaded:
    """Return the configuration, of a file whose consumers may be left out unless they are needed.

    Raises:
        ConfigError: it holds a mistake. RecordingError: a recording cannot be read.

    """
    config, addresses, overrides = split(words)
    if config is not None:
        return load(config, _settings(overrides, types, salvage=salvage), consumers_needed=consumers_needed)
    path, values, lines = _chosen(addresses, overrides, types, salvage=salvage)
    return checked(path, values, lines)


def given_leniently(
    words: Sequence[str], *, types: Sequence[str] = (), salvage: bool = False
) -> tuple[Loaded | None, list[ConfigError]]:
    """Return what `load_leniently` does.

    Raises:
        As `given` does, where that can be told from nothing else.

    """
    config, addresses, overrides = split(words)
    if config is not None:
        return load_leniently(config, _settings(overrides, types, salvage=salvage))
    return leniently(*_chosen(addresses, overrides, types, salvage=salvage))


def _settings(overrides: Sequence[str], types: Sequence[str], *, salvage: bool) -> list[str]:
    return [*with_types(overrides, types), *(["source.on_damage=salvage"] if salvage else [])]


def _chosen(
    addresses: Sequence[str], overrides: Sequence[str], types: Sequence[str], *, salvage: bool
) -> tuple[Path, dict[str, Any], dict[Where, int | None]]:
    """Choose by the first recording that is named; return the values as `read` does for a file."""
    from streamer.inspect import open_contents

    path = Path.cwd() / "config.yaml"  # that is where init would write it; nothing is read or written there
    source: dict[str, Any] = {"path": list(addresses), **({"on_damage": "salvage"} if salvage else {})}
    found, *_ = recordings(checked(path, {"source": source, "streams": {"any": {"topic": "/any"}}, "consumers": _NONE}))
    with open_contents(found, salvage=salvage, types=types) as inside:
        chosen = prove(inside, suggestion(inside))
    if not chosen.streams:
        raise no_stream(chosen.left_out, found)
    values = chosen.values
    values["source"] |= source
    lines: dict[Where, int | None] = {}
    for override in overrides:
        apply(values, override, lines)
    return path, values, lines
