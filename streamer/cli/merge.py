"""``streamer merge CONFIG``: put together what the recordings of a configuration that are done have written."""

from __future__ import annotations

from streamer.cli.options import ConfigPath, Overrides


def merge(
    config: ConfigPath,
    overrides: Overrides = None,
) -> None:
    """Merge the outputs of CONFIG's recordings, as a run over several does at its end.

    For runs with --only, each of which has a part of the recordings, and after a run that was interrupted. Doing it
    again changes nothing; recordings that are done later come in at their place.

    Example: streamer merge config.yaml
    """
    from streamer.cli.progress import make_observer
    from streamer.config.load import load
    from streamer.pipelines.merge import merge_all

    with make_observer() as observer:
        merged, count = merge_all(load(config, overrides or ()), observer)
    print(f"{merged} of {count} recordings are done and merged")
