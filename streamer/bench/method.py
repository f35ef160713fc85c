"""The name of a method and a configuration → the method, done in this fresh process.

Prints one JSON object a line: ``opening`` when the recording begins to be opened, ``done`` when all is let go of. Then
it waits for its input to end, so that what it still holds can be measured.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.bench.witness import Callback
from streamer.config.load import load
from streamer.pipelines.recordings import recordings

if TYPE_CHECKING:
    from streamer.config.load import Loaded


def main() -> None:
    """Run the method that the command line names: METHOD CONFIG FRAMES."""
    name, path, frames = sys.argv[1:]
    loaded = load(Path(path))
    callback = Callback(int(frames))
    methods = {"full": _full, "chunked": _chunked, "process": _process, "limit": _limit}
    told = methods[name](loaded, callback)
    gc.collect()
    _tell("done", **callback.told() | told)
    sys.stdin.read()


def _tell(event: str, **values: object) -> None:
    print(json.dumps({"event": event, "at": time.time(), **values}), flush=True)  # noqa: T201 - its one output


def _full(loaded: Loaded, callback: Callback) -> dict[str, Any]:
    from streamer.bench import baseline
    from streamer.config.settings import stream_settings, timeline_settings

    _tell("opening")
    baseline.full(_path(loaded), timeline_settings(loaded.config), stream_settings(loaded.config), callback)
    return {}


def _chunked(loaded: Loaded, callback: Callback) -> dict[str, Any]:
    from streamer.bench import baseline
    from streamer.config.settings import stream_settings, timeline_settings

    _tell("opening")
    settings = timeline_settings(loaded.config), stream_settings(loaded.config)
    baseline.chunked(_path(loaded), *settings, callback, chunk_size=loaded.config.chunk_size)
    return {}


def _process(loaded: Loaded, callback: Callback) -> dict[str, Any]:
    from streamer.inprocess import Opened

    _tell("opening")
    for chunk in Opened(loaded).chunks():
        for frame in chunk:
            callback(frame.number, frame)
    return {}


def _limit(loaded: Loaded, callback: Callback) -> dict[str, Any]:
    from streamer.bench.limit import limit
    from streamer.inprocess import Opened

    del callback
    with Opened(loaded).prepared(_path(loaded), mapped=True) as prepared:
        seconds = limit(prepared, loaded.config.threads)
        frames = prepared.plan.frames
    _tell("opening")
    return {"loop_seconds": seconds, "frames": frames, "steady": frames / seconds if seconds else None}


def _path(loaded: Loaded) -> Path:
    return recordings(loaded)[0]


if __name__ == "__main__":
    main()
