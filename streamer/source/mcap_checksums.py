"""The chunks of an MCAP file → a refusal of those that are not what their checksums say.

A chunk is compared once, before anything of it is given out. Where one message is most of it, that message is not
read twice for it: the checksum is made while its bytes pass.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from streamer.errors import DamagedError
from streamer.source.file import Once
from streamer.source.mcap_records import CHUNK, CHUNK_HEAD, DATA_END, MAGIC, RECORD
from streamer.source.payload import read_into

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamer.source.file import RecordingFile
    from streamer.source.mcap_records import Block

DATA_END_SIZE = RECORD.size + 4  # bytes of the record that ends the data section
_SMALL = 64 * 2**20  # bytes; all of such a file is compared when it is opened


class Checksums:
    """Those of one file; block 0 is what lies outside chunks."""

    def __init__(self, path: Path, file: RecordingFile, block: Callable[[int], Block], *, verify: bool) -> None:
        """Remember where to read; without ``verify`` nothing is compared."""
        self._path = path
        self._file = file
        self._block = block
        self._verify = verify
        self._data_end = 0
        self._once = Once(self.check)

    def data_ends(self, position: int) -> None:
        """Take in where the record that ends the data section begins; compare all of a small file.

        Raises:
            DamagedError: it differs.

        """
        self._data_end = position
        if self._file.size <= _SMALL:
            self._check_data()
            self._data_end = 0

    def check_once(self, number: int) -> None:
        """Compare a block, unless that was done before; who asks meanwhile waits.

        Raises:
            DamagedError: it differs.

        """
        if self._verify:
            self._once(number)

    def is_done(self, number: int) -> bool:
        """Tell whether a block needs no comparing any more; raises as `check_once` does."""
        return not self._verify or self._once.is_done(number)

    def is_needless(self, number: int) -> bool:
        """Tell whether a chunk is whole as far as can be told: compared before, or without a checksum."""
        if not self.is_done(number) and not self._crc(number):
            self._once.settle(number, None)
        return self.is_done(number)

    def check(self, number: int) -> None:
        """Compare an uncompressed chunk, or, as block 0, the whole data section.

        Raises:
            DamagedError: it differs.

        """
        if number == 0:
            self._check_data()
        elif self._crc(number):
            block = self._block(number)
            self.compare(number, self._file.checksum(block.start, block.start + block.length))

    def read(self, number: int, position: int, out: memoryview) -> None:
        """Fill ``out`` with a part of a chunk, and compare the chunk with it.

        Raises:
            DamagedError: it differs.

        """
        if self.is_done(number):
            read_into(self._file.fd, position, out)
            return
        block = self._block(number)
        found = self._file.checksum(block.start, position)
        found = self._file.read_summed(position, out, found)
        found = self._file.checksum(position + len(out), block.start + block.length, found)
        try:
            self.compare(number, found)
        except DamagedError as error:
            self._once.settle(number, error)
        self._once.settle(number, None)

    def compare(self, number: int, found: int) -> None:
        """Compare what was found with what a chunk's record says.

        Raises:
            DamagedError: it differs.

        """
        if (crc := self._crc(number)) and crc != found:
            msg = f"chunk {number - 1} at byte {self._block(number).start} is damaged: its checksum differs"
            raise DamagedError(msg, path=self._path)

    def _crc(self, number: int) -> int:
        """Return the checksum in a chunk's record; 0 stands for none, and for the record of a chunk that is cut."""
        block = self._block(number)
        if block.record < 0 or not self._verify:
            return 0
        head = self._file.read(block.record, RECORD.size + CHUNK_HEAD.size)
        if head[0] != CHUNK:
            msg = f"the index points at byte {block.record}, where no chunk is: the file is damaged"
            raise DamagedError(msg, path=self._path)
        return int(CHUNK_HEAD.unpack_from(head, RECORD.size)[3])

    def _check_data(self) -> None:
        if self._data_end < len(MAGIC) or not self._verify:
            return
        head = self._file.read(self._data_end, DATA_END_SIZE)
        (op, length), (crc,) = RECORD.unpack_from(head), struct.unpack_from("<I", head, RECORD.size)
        if (op, length) == (DATA_END, 4) and crc and self._file.checksum(0, self._data_end) != crc:
            msg = f"the data before byte {self._data_end} is damaged: its checksum differs"
            raise DamagedError(msg, path=self._path)
