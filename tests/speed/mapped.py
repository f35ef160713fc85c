"""What raw pictures would gain if consumers mapped the recording's own pages: ``python -m tests.speed.mapped``.

The upper bound: a reader that does nothing but hand over numbers, with no formats and no sockets. ``pool`` copies each
picture by `preadv` into one of 32 slots of a memfd, and consumers read it there; ``mapped`` copies nothing, and
consumers read the recording's pages from the page cache. Each consumer adds up all bytes of a picture, or copies it.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE, COUNT, SLOTS, STEP = 640 * 480 * 3, 300, 32, 921_731  # bytes from picture to picture: no multiple of a page
ROUNDS = 7


def consume(
    numbers: int, done: int, memory: mmap.mmap, places: list[int], work: Callable[[memoryview], object]
) -> None:
    """Read pictures by number until there are none."""
    whole = memoryview(memory)
    while word := os.read(numbers, 4):
        start = places[int.from_bytes(word, "little")]
        work(whole[start : start + SIZE])
        os.write(done, b"x")


def add_up(picture: memoryview) -> int:
    return int(np.frombuffer(picture, np.uint64, SIZE // 8).sum())


def copy(picture: memoryview) -> bytes:
    return bytes(picture)


def stream(path: str, consumers: int, work: Callable[[memoryview], object], *, mapped: bool) -> float:
    """Return how many pictures a second go from the file to all consumers."""
    file, pool = os.open(path, os.O_RDONLY), os.memfd_create("pool")
    os.ftruncate(pool, SLOTS * SIZE)
    slots = mmap.mmap(pool, SLOTS * SIZE)
    slots.write(bytes(SLOTS * SIZE))  # its pages are there
    places = [n * STEP for n in range(COUNT)] if mapped else [n % SLOTS * SIZE for n in range(COUNT)]
    pipes = [(os.pipe(), os.pipe()) for _ in range(consumers)]
    children = []
    for numbers, done in pipes:
        if (child := os.fork()) == 0:
            for other, _ in pipes:
                os.close(other[1])
            source = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ) if mapped else slots
            consume(numbers[0], done[1], source, places, work)
            os._exit(0)
        children.append(child)
    views = [memoryview(slots)[n * SIZE : (n + 1) * SIZE] for n in range(SLOTS)]
    began = time.monotonic()
    for number in range(COUNT):
        if number >= SLOTS:
            for _, done in pipes:
                os.read(done[0], 1)
        if not mapped:
            os.preadv(file, [views[number % SLOTS]], number * STEP)
        for numbers, _ in pipes:
            os.write(numbers[1], number.to_bytes(4, "little"))
    for _ in range(SLOTS):
        for _, done in pipes:
            os.read(done[0], 1)
    seconds = time.monotonic() - began
    end([file, pool, *(fd for pair in pipes for ends in pair for fd in ends)], children)
    return COUNT / seconds


def end(descriptors: list[int], children: list[int]) -> None:
    """Close what is open, at which the children end."""
    for descriptor in descriptors:
        os.close(descriptor)
    for child in children:
        os.waitpid(child, 0)


def main() -> None:
    """Print the table in Markdown: medians of rounds that take turns."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(np.random.default_rng(0).bytes(COUNT * STEP))
        file.flush()
        sys.stdout.write("| consumers, each | pool | mapped | gain |\n| --- | ---: | ---: | ---: |\n")
        for consumers in (1, 3):
            for what, work in (("adding up", add_up), ("copying", copy)):
                one = partial(stream, file.name, consumers, work)
                rounds = [(one(mapped=False), one(mapped=True)) for _ in range(ROUNDS)]
                pool, mapped = (float(np.median(rates)) for rates in zip(*rounds, strict=True))
                gain = float(np.median([b / a for a, b in rounds]))
                sys.stdout.write(f"| {consumers}, {what} | {pool:.0f}/s | {mapped:.0f}/s | {gain:.2f} × |\n")


if __name__ == "__main__":
    main()
