"""What each file format offers: the promise that `ros1`, `mcap` and `sqlite` keep and `source` joins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from streamer.records import Damage, Index, Payload, Topic


class Reader(Protocol):
    """What each file format offers; `Source` joins them."""

    kind: str
    topics: dict[str, Topic]
    size: int
    walked: bool  # there was no whole index: it was made by reading through the file

    @property
    def damage(self) -> Damage | None:
        """Say what a file that was salvaged has lost."""

    @property
    def compression(self) -> str:
        """Name the compression inside the file."""

    @property
    def blocks(self) -> int:
        """Return the number of blocks."""

    @property
    def blocks_loaded(self) -> int:
        """Return how many blocks were decompressed so far."""

    def index(self, topics: Collection[str]) -> dict[str, Index]:
        """Return where the messages of some topics lie."""

    def payload(self, block: int, offset: int) -> Payload:
        """Return one message."""

    def heads(
        self, block: int, offsets: NDArray[np.int64], size: int, *, short: bool = False
    ) -> NDArray[np.uint8] | None:
        """Return the first ``size`` bytes of some messages of a block, (n, size); None where that takes one by one.

        A message may be shorter only where ``short`` is set; zeros stand behind it.
        """

    def packed(self, block: int) -> int:
        """Return how many bytes a block has once it is decompressed; 0 where nothing is to be decompressed."""

    def unpack(self, block: int) -> None:
        """Decompress a block, for whoever asks for it next."""

    def close(self) -> None:
        """Close the file."""
