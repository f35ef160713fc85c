"""A suggested configuration and its recording → the same configuration, changed until it would run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamer.config.load import checked
from streamer.config.settings import stream_settings, timeline_settings
from streamer.errors import StreamerError
from streamer.inspect.messages import misfits
from streamer.inspect.suggestion import set_timeline
from streamer.runtime.joined import prepare_all

if TYPE_CHECKING:
    from streamer.inspect.contents import Contents
    from streamer.inspect.messages import Misfit
    from streamer.inspect.suggestion import Suggestion
    from streamer.runtime.prepare import Prepared

_POOL = 512 * 10**6  # bytes, where nothing else is said
_SLOTS = 8  # frames that should fit into the pool
_ROUNDS = 3  # for each stream, and once more


def prove(contents: Contents, found: Suggestion, *, quick: bool = False) -> Suggestion:
    """Plan what is suggested and look at every planned message; mend or leave out the streams that do not fit.

    With ``quick`` no message is looked at but those that planning itself looks at.
    """
    for _ in range(_ROUNDS * len(found.streams) + 1):
        if not found.streams:
            break
        camera = found.streams.get(found.values["timeline"]["from"], {}).get("topic", "")
        try:
            prepared = plan_of(contents, found)
        except StreamerError as error:
            name = error.where.stream or error.where.key.removeprefix("streams.").partition(".")[0]
            if name not in found.streams:
                raise
            found.drop(name, error.text)
            set_timeline(found, camera)
            continue
        wrong = [] if quick else list(misfits(prepared))
        for misfit in wrong:
            _mend(found, misfit)
        if not wrong or all(misfit.stream.settings.undecodable == "skip" for misfit in wrong):
            _make_room(found, prepared)
            break
        set_timeline(found, camera)
    return found


def plan_of(contents: Contents, found: Suggestion) -> Prepared:
    """Plan what is suggested, as a run would."""
    config = checked(Path("suggestion.yaml"), found.values).config
    return prepare_all(contents.source, contents.types, timeline_settings(config), stream_settings(config))


def _mend(found: Suggestion, misfit: Misfit) -> None:
    """Bring pictures of several sizes to one, and leave out the frames of those that cannot be decoded."""
    settings = found.streams[misfit.stream.settings.name]
    picture = misfit.stream.decoder.kind in ("image", "depth")
    if picture and len(misfit.shapes) > 1 and "resize" not in settings:
        height, width = misfit.stream.raw.shape[:2]
        settings["resize"] = [width, height]
    elif "undecodable" not in settings:
        settings["undecodable"] = "skip"
        found.notes[misfit.stream.settings.name] += f", {misfit.messages} messages cannot be read: {misfit.error.text}"


def _make_room(found: Suggestion, prepared: Prepared) -> None:
    """Enlarge the pool where few frames would fit."""
    needed = _SLOTS * prepared.layout.slot_size
    if needed > _POOL:
        found.values["pool"] = f"{-(-needed // 10**6)} MB"
