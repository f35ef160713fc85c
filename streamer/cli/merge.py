"""``streamer merge CONFIG``: put together what the recordings of a configuration that are done have written."""

from __future__ import annotations

from streamer.cli.options import ConfigPath, Overrides


def merge(
    config: ConfigPath,
    overrides: Overrides = None,
) -> None:
    """Merge the outputs of CONFIG's recordings, as a run over several does at its end.

    For runs with --only, each of which has a part of the recordings, and after a run that was interrupted. Doing it
    again changes nothing; recordings that are done later come in at their place. What 'streamer review' has rejected is
    left out. Of a daemon that is drained, it brings the outputs to what the reviews say.

    Example: streamer merge config.yaml
    """
    from streamer.cli.progress import make_observer
    from streamer.config.load import load
    from streamer.errors import show_names
    from streamer.pipelines.merge import merge_all

    with make_observer() as observer:
        loaded = load(config, overrides or ())
        done = merge_all(loaded, observer)
    watched = "the outputs are as the reviews want them"
    said = watched if loaded.config.source.watch else f"{done.merged} of {done.known} recordings are done and merged"
    print(f"{said}; {len(done.rejected)} rejected: {show_names(done.rejected)}" if done.rejected else said)
