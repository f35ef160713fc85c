"""A path → an open recording: its topics, the index of each, and any message's bytes on request.

A source is opened once and asked for messages by (topic, message number); it never writes to the
recording and never reads a payload that nobody asked for. The format is told by the first bytes
of a file, not by its name.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.errors import DamagedError, RecordingError, from_shortage
from streamer.files import FileIdentity, content_digest, is_there, may_be_written_to, open_regular, tells_changes
from streamer.records import Damage, Trust
from streamer.source import mcap, ros1, sqlite
from streamer.source.find import SALVAGE, data_files, recording_name, unreadable
from streamer.source.heads import FEW, MANY
from streamer.source.mcap_records import MAGIC
from streamer.source.metadata import read_metadata
from streamer.source.payload import sorted_index
from streamer.source.salvage import lost
from streamer.source.topics import join_topics
from streamer.source.unpack import MergedReader, open_unpacked, unpack_message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from streamer.records import Index, Payload
    from streamer.source.reader import Reader

_POINTER = b"version https://git-lfs"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_TRUST = Trust()
_ENDS = 64 * 1024  # bytes at each end of a file that go into its fingerprint


class Source:
    """One open recording, of one file or of several that a rosbag2 folder lists.

    Use it as a ``with`` block. All methods may be called from several threads.

    ``identities`` has the identity of each file as it was opened, by its name; it is empty where that is in doubt.
    """

    def __init__(
        self, path: Path, scratch: Path, *, mapped: bool = False, salvage: bool = False, trust: Trust = _TRUST
    ) -> None:
        """Open the recording at ``path``; a compressed file is unpacked into the folder ``scratch``.

        ``mapped`` lets SQLite map the file: twice as fast, but a file that is cut meanwhile, or a disk that fails,
        ends the process by a signal. It is for a process that is watched, as the reader is.

        ``salvage`` reads of a recording that was not closed, was cut off or has damaged chunks what is intact,
        and says in ``damage`` what is not. To find out, every compressed chunk is decompressed once.

        Raises:
            RecordingError: it does not exist, is of a kind that is not known, or is damaged; with ``salvage``,
                so that no message of it can be read.

        """
        self.began = time.monotonic()
        self.path = path
        self.name = recording_name(path)
        self.distro = ""
        self.file_compression = ""
        self._says_packed: bool | None = None  # as metadata.yaml says, where it is there
        self._packed: dict[Reader, bool] = {}  # files whose messages are compressed, each by itself
        self._salvage = salvage
        self.trust = trust
        self._damage: list[Damage] = []
        with ExitStack() as stack:
            try:
                self._open(stack, partial(_open_file, scratch=scratch, how=_How(mapped, salvage, trust)))
            except DamagedError as error:
                raise self._named(error) from error
            except OSError as error:
                raise unreadable(path, error) from error
            self._owner = [(reader, n) for reader in self._readers for n in range(reader.blocks)]
            self.kind = self._readers[0].kind
            self.size = sum(file.stat().st_size for file in self.files)
            self._stack = stack.pop_all()  # from here on the files are closed by `close`

    def _open(self, stack: ExitStack, open_file: Callable[[Path], Reader]) -> None:
        """Open the files; of several that are salvaged, those that can be opened."""
        about = [self.path / "metadata.yaml"] if self.path.is_dir() else []
        before = _identities(about)
        files = self._list_files()
        before |= _identities(files)
        self.files: list[Path] = []
        self._readers: list[Reader] = []
        for file in files:
            try:
                reader = stack.enter_context(closing(open_file(file)))
            except RecordingError as error:
                if not self._salvage or (file == files[-1] and not self._readers):
                    raise
                self._damage.append(lost(file, error))
                continue
            self.files.append(file)
            self._readers.append(reader)
            if self._says_packed is not None:
                self._packed[reader] = self._says_packed
            if reader.damage is not None:
                self._damage.append(reader.damage)
        self.identities = before if _identities([*about, *files]) == before else {}
        self.topics = join_topics(topic for reader in self._readers for topic in reader.topics.values())
        if self._damage and not any(topic.count for topic in self.topics.values()):
            msg = f"no message in it can be read: {self._damage[0].why}"
            raise RecordingError(msg, path=self.path)

    def prove(self) -> None:
        """Add a digest of the content to the identity of each file that may be written to without a trace.

        That is so on some file systems, and while a program has it open for writing.
        """
        for name, identity in self.identities.items():
            with open_regular(self.path / name if self.path.is_dir() else self.path) as file:
                if not tells_changes(file.fileno()) or may_be_written_to(file.fileno()):
                    self.identities[name] = replace(identity, digest=content_digest(file.fileno()))

    @property
    def walked(self) -> bool:
        """Tell whether a file had no whole index, so that opening it read through all of it."""
        return any(reader.walked for reader in self._readers)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What the files have lost that were salvaged; empty where nothing is wrong."""
        return tuple(self._damage)

    def _list_files(self) -> list[Path]:
        if not is_there(self.path):
            msg = "no such file or folder"
            raise RecordingError(msg, path=self.path)
        if not self.path.is_dir():
            return [self.path]
        try:
            return self._list_by_metadata()
        except DamagedError as error:
            found = data_files(self.path)
            if not found and not is_there(self.path / "metadata.yaml"):
                bags = ", ".join(sorted(path.name for path in self.path.glob("*.bag")))
                hint = f"; name one of its bags: {bags}" if bags else ""
                msg = f"the folder is no recording: it has no metadata.yaml, no .db3 and no .mcap{hint}"
                raise RecordingError(msg, path=self.path) from error
            if not self._salvage or not found:
                raise
            size = sum(file.stat().st_size for file in found)
            self._damage.append(Damage(self.path.name, size, size, size, 0, error.text))
            return found

    def _list_by_metadata(self) -> list[Path]:
        about = read_metadata(self.path)
        self.distro = str(about.get("ros_distro") or "")
        mode = str(about.get("compression_mode") or "").lower()
        if mode not in ("", "none") and about.get("compression_format") != "zstd":
            msg = f"compression {about.get('compression_format')!r} is not known; only 'zstd' is"
            raise RecordingError(msg, path=self.path)
        self._says_packed = mode == "message"
        self.file_compression = "zstd files" if mode == "file" else ""
        listed = about.get("relative_file_paths")
        names = [Path(str(name)).name for name in listed] if isinstance(listed, list) else []
        if missing := [name for name in names if not is_there(self.path / name)]:
            msg = f"metadata.yaml lists {missing[0]!r}, which is not in the folder"
            raise DamagedError(msg, path=self.path)
        if len(set(names)) < len(names):
            msg = "metadata.yaml lists a file twice"
            raise DamagedError(msg, path=self.path)
        if not names:
            msg = "metadata.yaml lists no file"
            raise DamagedError(msg, path=self.path)
        return [self.path / name for name in names]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files and remove what was unpacked."""
        self._stack.close()

    @property
    def compression(self) -> str:
        """The compressions in use, in words; ``none`` where there are none."""
        inner = {reader.compression for reader in self._readers} - {"none"}
        messages = {"zstd messages"} if any(self._packed.values()) else set()
        return ", ".join(sorted(inner | messages | ({self.file_compression} - {""}))) or "none"

    @property
    def blocks_loaded(self) -> int:
        """How many compressed blocks were decompressed so far."""
        return sum(reader.blocks_loaded for reader in self._readers)

    def index(self, topics: Collection[str]) -> dict[str, Index]:
        """Return where the messages of some topics lie, in the order of their receive stamps."""
        try:
            return self._index(topics)
        except RecordingError as error:
            raise self._named(error) from error

    def _index(self, topics: Collection[str]) -> dict[str, Index]:
        parts: dict[str, list[tuple[Index, int]]] = {topic: [] for topic in topics}
        base = 0
        for reader in self._readers:
            for topic, index in reader.index([t for t in topics if t in reader.topics]).items():
                parts[topic].append((index, base))
            base += reader.blocks
        self._find_packed(parts)
        result = {}
        for topic, found in parts.items():
            if len(found) == 1 and found[0][1] == 0:
                result[topic] = found[0][0]
                continue
            result[topic] = sorted_index(
                np.concatenate([index.stamps for index, _ in found]),
                np.concatenate([index.block + np.int32(base) for index, base in found]),
                np.concatenate([index.offset for index, _ in found]),
            )
        return result

    def _find_packed(self, parts: Mapping[str, list[tuple[Index, int]]]) -> None:
        """Find out from a message of each file whether its messages are compressed: none in CDR begins so.

        Asked where there is no metadata.yaml that says it.
        """
        for topic, found in parts.items():
            for index, base in found:
                if not len(index.stamps) or self.topics[topic].encoding != "cdr":
                    continue
                reader, block = self._owner[base + int(index.block[0])]
                if reader in self._packed or reader.compression != "none":
                    continue
                with suppress(RecordingError):  # a damaged message is told of when it is asked for
                    head = reader.payload(block, int(index.offset[0])).head()
                    self._packed[reader] = bytes(head[:4]) == _ZSTD_MAGIC

    def payload(self, index: Index, number: int) -> Payload:
        """Return message ``number`` of the topic that ``index`` describes.

        Raises:
            RecordingError: the file is damaged or was cut there.

        """
        reader, block = self._owner[index.block[number]]
        try:
            payload = reader.payload(block, int(index.offset[number]))
            return unpack_message(payload, self.trust.max_chunk) if self._packed.get(reader) else payload
        except RecordingError as error:
            raise self._named(error) from error

    def heads(self, index: Index, size: int, *, short: bool = False) -> NDArray[np.uint8]:
        """Return the first ``size`` bytes of every message of a topic, (n, size): those close together in one go.

        With ``short``, a message may be shorter; zeros stand behind it.

        Raises:
            RecordingError: the file is damaged, or a message is shorter.

        """
        heads = np.empty((len(index.stamps), size), np.uint8)
        order = np.argsort(index.block, kind="stable")  # block by block, whatever the order of the stamps
        edges = np.flatnonzero(np.diff(index.block[order])) + 1
        for start, stop in pairwise([0, *edges.tolist(), len(order)]):
            for first in range(start, stop, MANY):
                self._put_heads(heads, index, order[first : min(first + MANY, stop)], short=short)
        return heads

    def _put_heads(
        self, heads: NDArray[np.uint8], index: Index, chosen: NDArray[np.intp], *, short: bool = False
    ) -> None:
        """Fill in the rows of messages that are all of one block."""
        size = heads.shape[1]
        reader, block = self._owner[index.block[chosen[0]]]
        if len(chosen) > FEW and not self._packed.get(reader):
            try:
                found = reader.heads(block, index.offset[chosen], size, short=short)
            except RecordingError as error:
                raise self._named(error) from error
            if found is not None:
                heads[chosen] = found
                return
        for number in chosen.tolist():
            payload = self.payload(index, number)
            head = payload.head()[:size]
            if len(head) < min(size, len(payload)):
                head = payload.all()[:size]
            if short:
                heads[number, len(head) :] = 0
                heads[number, : len(head)] = head
                continue
            if len(head) < size:
                msg = f"a message of {len(head)} bytes is too short for a header"
                raise RecordingError(msg, path=self.path)
            heads[number] = head

    def _named(self, error: RecordingError) -> RecordingError:
        """Name the recording in an error, and say what can be done about damage."""
        hint = SALVAGE if isinstance(error, DamagedError) and not self._salvage else ""
        return error.within(path=str(self.path), hint=hint)

    def place(self, block: int) -> tuple[Reader, int]:
        """Return the reader of a block of an index, and its number there."""
        return self._owner[block]

    def file_of(self, index: Index, number: int) -> Path:
        """Return the file in which a message lies."""
        reader, _ = self._owner[index.block[number]]
        return self.files[self._readers.index(reader)]

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the content: names left out, sizes and both ends of each file taken, as they were at first."""
        digest = hashlib.sha256()
        for file in self.files:
            size = file.stat().st_size
            digest.update(size.to_bytes(8, "little"))
            with open_regular(file) as stream:
                digest.update(stream.read(_ENDS))
                stream.seek(max(size - _ENDS, 0))
                digest.update(stream.read(_ENDS))
        return digest.hexdigest()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in an error that names none."""
    try:
        yield
    except RecordingError as error:
        raise error.within(path=str(path)) from error


class _How(NamedTuple):
    """How a file is opened: as the arguments of `Source` say."""

    mapped: bool
    salvage: bool
    trust: Trust


def _open_file(path: Path, scratch: Path, *, how: _How) -> Reader:
    try:
        with open_regular(path) as file:
            magic = file.read(len(_POINTER))
    except OSError as error:
        msg = f"cannot be opened: {error.strerror}"
        raise from_shortage(error) or RecordingError(msg, path=path) from error
    if not magic:
        msg = "the file is empty"
        raise RecordingError(msg, path=path)
    if magic.startswith(_ZSTD_MAGIC):
        return open_unpacked(path, scratch, partial(_open_file, how=how))
    with _named(path):
        if magic.startswith(MAGIC):
            return mcap.McapSource(path, salvage=how.salvage, trust=how.trust)
        if magic.startswith(sqlite.MAGIC):
            if how.salvage and (log := sqlite.find_log(path)):
                return MergedReader(path, log, scratch, partial(_open_file, how=how._replace(salvage=False)))
            return sqlite.SqliteSource(path, mapped=how.mapped, trust=how.trust)
        if magic.startswith(b"#ROSBAG"):
            return ros1.Ros1Source(path, salvage=how.salvage, trust=how.trust)
    if magic == _POINTER:
        msg = "a pointer of Git LFS, not the recording itself"
        raise RecordingError(msg, path=path, hint="'git lfs pull' fetches the recording")
    msg = f"not a recording: it begins with {magic[:12]!r}, which is no ROS 1 bag, MCAP or rosbag2 SQLite file"
    raise RecordingError(msg, path=path)


def _identities(paths: Iterable[Path]) -> dict[str, FileIdentity]:
    """Return the identity of each file by its name; those that cannot be looked at are left out."""
    found = {}
    for path in paths:
        with suppress(OSError):  # whoever opens it says why
            found[path.name] = FileIdentity.of(path)
    return found
