"""A path and a format → a writer of rosbags for it, and a place to write that becomes the output when all is well."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from lz4.frame import compress as lz4_compress
from rosbags import rosbag1, rosbag2
from rosbags.rosbag2.storage_mcap import McapWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rosbags.rosbag1.writer import WriteChunk

Writer: TypeAlias = rosbag1.Writer | rosbag2.Writer

COMPRESSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "ros1": ("none", "lz4", "bz2"),
    "mcap": ("none", "lz4", "zstd"),
    "db3": ("none", "zstd"),
}


class _LeanWriter(rosbag1.Writer):
    """A ROS 1 writer that forgets the index of what it has written.

    Its base keeps a tuple of two ints per message until it closes, 120 bytes each, although by then it
    asks only how many there were: here a chunk keeps one of them that many times.
    """

    def write_chunk(self, chunk: WriteChunk) -> None:
        super().write_chunk(chunk)
        for entries in chunk.connections.values():
            entries[:] = entries[:1] * len(entries)


class _Lz4Storage(McapWriter):
    """An MCAP file with lz4 chunks, which its base can write but gives no name to."""

    def __init__(self, path: Path, compression: rosbag2.CompressionMode) -> None:
        super().__init__(path, compression)
        self.compression = "lz4"
        self.compressor = lz4_compress


class _Lz4Writer(rosbag2.Writer):
    """A rosbag2 writer for MCAP with lz4 chunks."""

    STORAGE_PLUGINS = MappingProxyType({rosbag2.StoragePlugin.MCAP: _Lz4Storage})


def writer(path: Path, form: str, compression: str = "none") -> Writer:
    """Make a writer, to be used as a context manager.

    Args:
        path: A bag file, or for mcap and db3 a rosbag2 folder.
        form: ros1, mcap or db3.
        compression: One of COMPRESSIONS for it: of the chunks in ros1 and mcap, of each message in db3.

    """
    if form == "ros1":
        bag = _LeanWriter(path)
        if compression != "none":
            bag.set_compression(rosbag1.Writer.CompressionFormat[compression.upper()])
        return bag
    mcap = form == "mcap"
    plugin = rosbag2.StoragePlugin.MCAP if mcap else rosbag2.StoragePlugin.SQLITE3
    kind = _Lz4Writer if compression == "lz4" else rosbag2.Writer
    folder = kind(path, version=rosbag2.Writer.VERSION_LATEST, storage_plugin=plugin)
    if compression == "zstd":
        mode = rosbag2.CompressionMode.STORAGE if mcap else rosbag2.CompressionMode.MESSAGE
        folder.set_compression(mode, rosbag2.CompressionFormat.ZSTD)
    return folder


@contextmanager
def fresh(out: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of `out` when the block ends well, else it is removed.

    The draft has the name of the output, in a hidden folder beside it: a rosbag2 folder names its files after itself.
    """
    if out.exists():
        message = f"{out} exists already: remove it or choose another name"
        raise FileExistsError(message)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as folder:
        draft = Path(folder) / out.name
        yield draft
        draft.rename(out)
