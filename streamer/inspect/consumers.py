"""The consumers of a configuration → what they say of their options, and of each recording before it is streamed."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from streamer import text
from streamer.config.settings import provenance
from streamer.contract import Outlook
from streamer.errors import ConfigError, ConsumerError, StreamerError, from_os_error
from streamer.libraries import blamed
from streamer.runtime.about import about_recording, part_of, recording_of, whole
from streamer.runtime.originals import give_messages
from streamer.runtime.passthrough import Taker, give_packets
from streamer.runtime.plugin import importing, make_consumer, of_consumer
from streamer.supervisor.recording import fill_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.config.load import Loaded
    from streamer.config.model import ConsumerConfig
    from streamer.contract import Consumer, Recording
    from streamer.inspect.findings import Checked
    from streamer.runtime.prepare import Prepared


def check_consumers(loaded: Loaded, recording: str, found: Checked, *, several: bool) -> None:
    """Construct each consumer, as for a recording of this name; with ``several``, none may overwrite another's.

    Neither may one episode that of another, where recordings are cut into such.
    """
    cut = loaded.config.episodes is not None
    many, word = ("episodes", "{episode}") if cut else ("recordings", "{recording}")
    for name, config in loaded.config.consumers.items():
        consumer = _construct(loaded, name, recording, found)
        if consumer is None:
            continue
        out = config.options.get("out")
        if (several or cut) and not consumer.many_recordings and out is not None and word not in str(out):
            found.add(
                ConfigError(
                    f"several {many} would write {out!r}, each over the last",
                    key=f"consumers.{name}.options.out",
                    hint=f"put {word} into it",
                )
            )
        found.consumers[name] = config.use or name


def ask_consumers(loaded: Loaded, prepared: Prepared, name: str, found: Checked) -> None:
    """Let each consumer that could be constructed hold itself against a recording that is planned."""
    names = [stream.settings.name for stream in prepared.streams]
    prepared = _with_packets(loaded, prepared, names, found)
    for consumer_name in found.consumers:
        config = loaded.config.consumers[consumer_name]
        chosen = [name for name in names if config.streams is None or name in config.streams]
        shown = [prepared.place(consumer_name, name) for name in chosen]
        about = about_recording(prepared, name, loaded.config.chunk_size, provenance(loaded), shown)
        recording, _ = recording_of(about)
        for episode in about.episodes if about.cut else (whole(about),):
            consumer = _construct(loaded, consumer_name, name, found, episode.name)
            if consumer is None:
                break
            own = part_of(recording, episode)
            outlook = _outlook(own, prepared, config, shown, range(episode.first, episode.first + episode.frames))
            with (
                _blaming(consumer_name, "check", found, prepared),
                importing(loaded.base),
                contextlib.chdir(loaded.base),
            ):
                consumer.check(outlook)


def _with_packets(loaded: Loaded, prepared: Prepared, names: list[str], found: Checked) -> Prepared:
    """Find out which consumers are shown packets; say why one is not that wants them."""
    takers = [
        Taker(
            *(name, config.use or name, config.options, names if config.streams is None else config.streams),
            *(config.every, config.mode == "latest", config.on_error == "quarantine"),
        )
        for name, config in loaded.config.consumers.items()
        if name in found.consumers
    ]
    try:
        given = give_messages(give_packets(prepared, takers), takers)
    except ConfigError as error:
        found.add(error, str(prepared.source.path))
        return prepared
    for warning in given.warnings[len(prepared.warnings) :]:
        found.warn(warning, str(prepared.source.path))
    return given


def _construct(loaded: Loaded, name: str, recording: str, found: Checked, episode: str = "") -> Consumer | None:
    config = loaded.config.consumers[name]
    with _blaming(name, "its constructor", found), importing(loaded.base), contextlib.chdir(loaded.base):
        options = fill_in(config.options, recording)
        return make_consumer(name, config.use or name, text.fill_in(options, "episode", episode or recording))
    return None


def _outlook(
    recording: Recording, prepared: Prepared, config: ConsumerConfig, shown: list[int], frames: range
) -> Outlook:
    """Say what a consumer is shown: each ``every``-th frame; one that takes the newest may miss any of them."""
    plan, step = prepared.plan, slice(frames.start, frames.stop, config.every)
    without = {
        plan.streams[n].name: count for n in shown if (count := int(np.count_nonzero(plan.streams[n].first[step] < 0)))
    }
    return Outlook(recording, plan.ticks[step], plan.numbers[step], without)


@contextmanager
def _blaming(name: str, what: str, found: Checked, prepared: Prepared | None = None) -> Iterator[None]:
    """Take in what a consumer's code raises."""
    recording = None if prepared is None else str(prepared.source.path)
    try:
        yield
    except StreamerError as error:
        found.add(of_consumer(error, name), recording)
    except OSError as error:
        found.add(from_os_error(error) or ConsumerError(f"{what} raised {error!r}", key=f"consumers.{name}"), recording)
    except Exception as error:  # noqa: BLE001 - foreign code
        text = f"{what} raised {type(error).__name__}: {error}{blamed(error)}"
        found.add(ConsumerError(text, key=f"consumers.{name}"), recording)
