"""The first mistake of a configuration, which ended a run → all of them, as ``check`` finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.config.lenient import load_leniently
from streamer.errors import ConfigError
from streamer.inspect.checks import check_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from streamer.config.load import Loaded


def all_of_file(path: Path, overrides: Iterable[str], first: ConfigError) -> ConfigError:
    """Return the mistakes that keep a file from being loaded, with those that would have been found later."""
    try:
        loaded, mistakes = load_leniently(path, overrides)
    except ConfigError:
        return first  # it is no configuration at all
    return first if loaded is None else _together(mistakes, loaded, mistakes)


def all_of_run(loaded: Loaded, first: ConfigError) -> ConfigError:
    """Return the mistake that a run began with and all others."""
    located = loaded.locate(first)
    return _together([located if isinstance(located, ConfigError) else first], loaded)


def _together(known: Sequence[ConfigError], loaded: Loaded, mistakes: Sequence[ConfigError] = ()) -> ConfigError:
    found = check_config(loaded, quick=True, mistakes=mistakes)
    texts, keys = {str(error) for error in known}, {error.where.key for error in known}
    others = [
        ConfigError(finding.message)
        for finding in found.findings
        if finding.code == ConfigError.exit_code and finding.message not in texts and finding.key not in keys
    ]
    return ConfigError(parts=[*known, *others]) if others or len(known) > 1 else known[0]
