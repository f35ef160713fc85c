"""Bytes that a fuzzer makes → the parsers, the compiler of field paths, and the heads of pictures.

    pip install atheris
    python -m tests.faults.fuzz ros1|mcap|db3|wire|heads CORPUS [-max_total_time=600 …]

CORPUS is a folder of files to begin with, which grows; the options are libFuzzer's. What is neither read nor refused
is told once for each place in the code, and its input kept in ``CORPUS.wrong``.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import StreamerError

if TYPE_CHECKING:
    from collections.abc import Callable

    Target = Callable[[bytes], object]

KIND = "my_msgs/msg/Thing"


def parser(suffix: str, path: Path) -> Target:
    """Write bytes to ``path``, open them as a recording, read all messages: with and without checksums, salvaged."""
    from streamer.records import Trust
    from streamer.source.mcap import McapSource
    from streamer.source.ros1 import Ros1Source
    from streamer.source.sqlite import SqliteSource

    kinds: dict[str, Any] = {"ros1": Ros1Source, "mcap": McapSource, "db3": SqliteSource}
    opened = kinds[suffix]

    def read(*, salvage: bool, verify: bool) -> None:
        also = {} if suffix == "db3" else {"salvage": salvage}
        source = opened(path, trust=Trust(2**24, verify), **also)
        try:
            for index in source.index(list(source.topics)).values():
                for block, offset in zip(index.block[:50].tolist(), index.offset[:50].tolist(), strict=True):
                    source.payload(block, offset).all()
                    source.heads(block, index.offset[index.block == block][:50], 64, short=True)
        finally:
            source.close()

    def target(data: bytes) -> None:
        path.write_bytes(data)
        for salvage, verify in ((False, True), (False, False), (True, False)):
            with suppress(StreamerError):
                read(salvage=salvage, verify=verify)

    return target


def wire(data: bytes) -> None:
    """Compile a definition (what stands before the first zero) and read a message (what stands behind) by it."""
    from streamer.decode.names import Namer
    from streamer.decode.wire import Wire
    from streamer.source.definition import checksum, closure, parse

    text, _, message = data.partition(b"\0")
    form = "idl" if text.startswith(b"module") else "msg"

    with suppress(StreamerError):
        parsed = parse(text.decode(errors="replace"), form, KIND)
        types = closure(parsed.root, parsed.types)
        with suppress(StreamerError):
            checksum(parsed, lambda _: "")
        for encoding in ("ros1", "cdr"):
            reader = Wire(types, encoding)
            for path in ["", *[named.partition(" ")[0] for named in reader.numeric_paths(parsed.root)[:8]]]:
                with suppress(StreamerError):
                    reader.field(parsed.root, path).read(memoryview(message))
                with suppress(StreamerError):
                    Namer(types, encoding, parsed.root, path).read(memoryview(message))
            with suppress(StreamerError):
                reader.check(parsed.root)(memoryview(message))


def heads(data: bytes) -> None:
    """Look at a picture's head, and decode it where that allows it."""
    from streamer.decode.compressed import CompressedDecoder
    from streamer.records import Decoding
    from streamer.source.payload import MemoryPayload
    from tests.bags import COMPRESSED, encoded

    form, _, picture = data.partition(b"\0")
    message = encoded("cdr", COMPRESSED, format=form.decode(errors="replace"), data=np.frombuffer(picture, np.uint8))
    payload = MemoryPayload(memoryview(message))
    for depth in (False, True):
        decoder = CompressedDecoder("cdr", Decoding(max_pixels=10**6), depth=depth)
        with suppress(StreamerError):
            spec = decoder.probe(payload)
            decoder.decode(payload, np.empty(spec.shape, spec.dtype))


def main() -> None:
    """Fuzz one target."""
    atheris: Any = import_module("atheris")
    name, corpus = sys.argv[1], Path(sys.argv[2])
    wrong, known = corpus.with_suffix(".wrong"), set()
    with atheris.instrument_imports(include=["streamer"]):
        target = {"wire": wire, "heads": heads}.get(name) or parser(name, corpus.with_suffix(".now"))
        target(b"")

    def watched(data: bytes) -> None:
        try:
            target(data)
        except Exception as error:  # noqa: BLE001 - to go on
            frames = traceback.extract_tb(error.__traceback__)
            place = f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}"
            if place not in known:
                known.add(place)
                wrong.mkdir(exist_ok=True)
                (wrong / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
                os.write(2, f"WRONG {place}\n{traceback.format_exc()}\n".encode())

    atheris.Setup([sys.argv[0], str(corpus), "-rss_limit_mb=1024", "-timeout=20", *sys.argv[3:]], watched)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
