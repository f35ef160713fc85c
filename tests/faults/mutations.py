"""Recordings with wrong bytes → what became of reading them, each in a process of its own with little memory and time.

A mutation is drawn from a seed, so that each can be made again: ``python -m tests.faults.mutations RECORDING SEED``.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamer
from streamer import inspect
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 20
MOST = 2**30  # bytes that the process may hold
_ADDRESSES = 4 * 2**30  # bytes beyond those at the start: protects the machine
_NUMBERS = (0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 10**9)
_LARGE = (2**33, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


class Outcome(NamedTuple):
    """What became of one mutation: ``whole``, ``refused``, or what is wrong; ``said`` is the error, ``peak`` bytes."""

    kind: str
    said: str
    peak: int


def place(rng: random.Random, content: bytearray) -> int:
    """Choose a place: often where a file says what is in it, at its ends."""
    near = min(len(content), rng.choice((200, 5000)))
    return rng.choice((rng.randrange(len(content)), rng.randrange(near), len(content) - 1 - rng.randrange(near)))


def flip(rng: random.Random, content: bytearray) -> None:
    """Turn some bits."""
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        content[place(rng, content)] ^= 1 << rng.randrange(8)


def cut(rng: random.Random, content: bytearray) -> None:
    """End early."""
    del content[place(rng, content) :]


def cut_out(rng: random.Random, content: bytearray) -> None:
    """Leave out a stretch."""
    start = place(rng, content)
    del content[start : start + rng.choice((1, 4, 8, 100, 5000))]


def repeat(rng: random.Random, content: bytearray) -> None:
    """Say a stretch twice."""
    start = place(rng, content)
    content[start:start] = content[start : start + rng.choice((1, 4, 8, 100, 5000))]


def blank(rng: random.Random, content: bytearray) -> None:
    """Write zeros, or noise, over a stretch."""
    start, length = place(rng, content), rng.choice((1, 4, 16, 512, 4096))
    noise = rng.randbytes(length) if rng.random() < 0.5 else bytes(length)
    content[start : start + length] = noise[: len(content) - start]


def claim(rng: random.Random, content: bytearray) -> None:
    """Write another number over what may be a length: a small one followed by so many bytes."""
    for _ in range(200):
        at = min(place(rng, content), len(content) - 8)
        (length,) = struct.unpack_from("<I", content, at)
        if 0 < length < len(content) - at:
            break
    near = (length - 1, length + 1, length * 2, len(content) & 0xFFFFFFFF)
    if rng.random() < 0.3:
        struct.pack_into("<Q", content, at, rng.choice((*_LARGE, len(content), len(content) - 8)))
    else:
        struct.pack_into("<I", content, at, rng.choice((*_NUMBERS, *near)) & 0xFFFFFFFF)


KINDS: tuple[Callable[[random.Random, bytearray], None], ...] = (flip, cut, cut_out, repeat, blank, claim, claim)


def mutate(content: bytes, seed: str) -> bytes:
    """Return other bytes, the same for one seed."""
    rng = random.Random(seed)  # noqa: S311 - to be repeated
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(changed) > len(KINDS) + 1:
            rng.choice(KINDS)(rng, changed)
    return bytes(changed)


def suggest(path: Path, folder: Path) -> Path | None:
    """Write the configuration that is suggested for a whole recording; None where none is."""
    try:
        text = inspect.suggest(path).as_yaml()
    except StreamerError:
        return None
    if not text:
        return None
    config = folder / f"{path.name}.yaml"
    config.write_text(text)
    return config


def read(path: Path, config: Path | None) -> list[str]:
    """Look at a recording in every way that needs no other process; return the errors of ours."""
    said = []

    def ours(look: Callable[[], object]) -> None:
        try:
            look()
        except StreamerError as error:
            said.append(f"{type(error).__name__}: {error}"[:300])

    ours(lambda: inspect.info(path))
    ours(lambda: inspect.info(path, salvage=True))
    ours(lambda: inspect.suggest(path))
    if config is not None:
        for more in ((), ("source.verify=false",), ("source.on_damage=salvage", "source.verify=false")):
            at = (f"source.path={path}", *more)
            ours(lambda at=at: inspect.check(config, *at))  # type: ignore[misc]
            ours(lambda at=at: [None for _ in streamer.open(config, *at).frames()])  # type: ignore[misc]
    return said


def attempt(path: Path, config: Path | None) -> Outcome:
    """Read a recording in a child, and tell what became of that."""
    mine, its = os.pipe()
    child = os.fork()
    if not child:
        _child(path, config, its)
    os.close(its)
    with os.fdopen(mine, "rb") as pipe:
        text = pipe.read()
    _, status, used = os.wait4(child, 0)
    peak = used.ru_maxrss * 1024
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Outcome("slow" if name == "SIGALRM" else "killed", name, peak)
    kind, said = json.loads(text)
    return Outcome("large" if peak > MOST and kind != "broken" else kind, said, peak)


def _child(path: Path, config: Path | None, pipe: int) -> None:
    signal.alarm(SECONDS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + _ADDRESSES,) * 2)
    try:
        said = read(path, config)
        answer = ("refused" if said else "whole", " | ".join(said))
    except BaseException:  # noqa: BLE001 - told to the parent
        answer = ("broken", traceback.format_exc())
    with os.fdopen(pipe, "wb") as out:
        out.write(json.dumps(answer).encode())
    os._exit(0)


def attack(path: Path, config: Path | None, seed: int, folder: Path) -> Outcome:
    """Read what a seed makes of a recording."""
    folder.mkdir(exist_ok=True)
    changed = folder / f"changed{path.suffix}"
    changed.write_bytes(mutate(path.read_bytes(), f"{path.name} {seed}"))
    return attempt(changed, config)


def main() -> None:
    """Show what becomes of one mutation."""
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        config = suggest(path, Path(folder))
        for seed in map(int, sys.argv[2:]):
            print(seed, *attack(path, config, seed, Path(folder)))  # noqa: T201


if __name__ == "__main__":
    main()
