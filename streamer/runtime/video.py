"""A topic of video packets → any of its pictures, decoded forward from the key picture before it.

At planning the heads of all packets are looked at: from which key picture each can be decoded, which parameter sets it
needs, where packets are missing. While streaming, each stream has a decoder that runs in the order of the packets: a
thread that wants a picture decodes up to it, and keeps what other threads have ordered of the pictures in between. A
picture is the same wherever decoding began. One that may be wrong (behind a lost or damaged packet, up to the next key
picture) is never given out: it is a `DecodeError`.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.decode import IMAGE_TYPES
from streamer.decode.packets import Kind, Scanner
from streamer.decode.video import VIDEO_TYPES, Picture, VideoDecoder, require_codec
from streamer.errors import ConfigError, DecodeError, RecordingError
from streamer.records import Index
from streamer.resets import in_file_order
from streamer.runtime.codec import LOST, Run
from streamer.runtime.order import NO_PTS, UNREAD, Counting, follow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from streamer.decode.video import Packet
    from streamer.records import Decoding, Payload, Topic
    from streamer.source.source import Source

_LOOKS = 8  # messages that are asked what the topic holds
_FURTHEST = 32  # packets behind one of which the picture has not come: H.264 and HEVC reorder 16
_UNCOUNTED = ("av1", "vp9")
_MOST_PARTS = 0.25  # of the packets that begin within a picture; fewer are damaged
_RUNS = 2  # decoders of a stream: for a consumer that catches up beside the others
_NO_KEY = "no key picture comes before it: the video was joined in its middle"
_NO_SETS = "no parameter sets (SPS, PPS) come before it: the encoder sent them before the recording began, or never"
_DAMAGED = "the packet is damaged; the video is whole again at the next key picture"
ORDER = "the video's pictures have another order than its messages (B-frames): use 'clock: header'"


@dataclass(frozen=True, slots=True)
class Video:
    """A look at a topic of n packets, in the order of the file.

    ``packets`` say where they are; ``kinds`` (n,) uint8 of `Kind`; ``start`` (n,) int64 from which packet each is
    decoded, -1 where from none; ``sets`` has the parameter sets for key pictures that carry none; ``lost`` are the
    packets before which one is missing; ``index`` is ``packets`` in the order in which the pictures are shown.
    ``forms`` has the parameters that hold from each key picture on, ``lengths`` (n,) int64 the bytes of each packet;
    ``both_ways`` says whether pictures of H.264 may be made from later ones. ``gaps`` are packets before which others
    may be missing by their stamps, and by nothing else.
    """

    source: Source
    decoder: VideoDecoder
    codec: str
    packets: Index
    kinds: NDArray[np.uint8]
    start: NDArray[np.int64]
    sets: Mapping[int, bytes]
    lost: frozenset[int]
    index: Index
    forms: Mapping[int, bytes] = field(default_factory=dict)
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    both_ways: bool = False
    gaps: frozenset[int] = frozenset()

    @property
    def doubt(self) -> str:
        """Say where packets may be missing that neither count themselves nor have a pts; empty where none are."""
        count, what = len(self.gaps), "whose packets do not count themselves: if one was lost"
        if self.codec not in _UNCOUNTED:
            what = "longer than the numbers of its pictures can show: if packets were lost"
        where = f"{count} gap{'s' * (count > 1)} between key pictures of a video of {self.codec}, {what}"
        return f"{where}, pictures up to the next key picture are wrong" * bool(count)

    def decode_all(self) -> Iterator[tuple[int, Picture]]:
        """Yield every picture with the number of its packet: all that a reader of the whole video would do.

        Raises:
            DecodeError: a packet is damaged.

        """
        run = Run(self.codec, 0, b"", both_ways=self.both_ways)
        for number, kind in enumerate(self.kinds.tolist()):
            payload = self.source.payload(self.packets, number)
            data = bytes(_data(payload.all(), self.decoder.parse(payload)))
            yield from ((int(frame.pts), Picture(frame)) for frame in run.feed(number, data, kind != Kind.NOTHING))
        yield from ((int(frame.pts), Picture(frame)) for frame in run.drain())

    def pictures(self, index: Index) -> Pictures:
        """Return the pictures of the messages of an index: of all, or of a part, on any clock."""
        return Pictures(self, index)


def share_pictures(videos: Mapping[str, tuple[str, Video, Index]]) -> dict[str, Pictures]:
    """Give each stream its pictures, those of the same messages of a topic the same ones: they are decoded once.

    ``videos`` has for each stream the topic's name, its video and the index of its messages.
    """
    made: dict[tuple[str, bytes, bytes], Pictures] = {}
    found = {}
    for name, (topic, video, index) in videos.items():
        key = topic, index.block.tobytes(), index.offset.tobytes()
        found[name] = made[key] = made.get(key) or video.pictures(index)
    return found


def find_video(source: Source, topic: Topic, index: Index, how: Decoding) -> Video | None:
    """Look at a topic's packets; None where it holds no video.

    Raises:
        ConfigError: PyAV is not installed. RecordingError: a message is damaged, or the codec is not known.

    """
    if topic.msgtype not in IMAGE_TYPES or how.field is not None:
        return None
    decoder = VideoDecoder(topic.msgtype, topic.encoding, how)
    order = in_file_order(index)
    packets = index if order is None else Index(index.stamps[order], index.block[order], index.offset[order])
    encoding = _encoding(source, packets, decoder, must=topic.msgtype in VIDEO_TYPES)
    if encoding is None:
        return None
    _require_av()
    video = Video(
        source, decoder, require_codec(encoding), packets, *_nothing(len(packets.stamps)), frozenset(), packets
    )
    return _scanned(video)


def _nothing(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], dict[int, bytes]]:
    return np.zeros(count, np.uint8), np.full(count, -1, np.int64), {}


def _encoding(source: Source, packets: Index, decoder: VideoDecoder, *, must: bool) -> str | None:
    """Ask the first messages what the topic holds."""
    for number in range(min(_LOOKS, len(packets.stamps))):
        with suppress(RecordingError):  # of a damaged message, whoever wants it is told
            payload = source.payload(packets, number)
            if must or decoder.codec(payload) is not None:
                return decoder.parse(payload).encoding
            return None
    return "" if must and len(packets.stamps) else None


def _require_av() -> None:
    try:
        import av  # noqa: F401 - asked for here, where what to install can be said
    except ImportError as error:
        msg = "the topic holds a video: pip install 'rosbag-streamer[video]' to decode it"
        raise ConfigError(msg, key="topic") from error


def _scanned(video: Video) -> Video:
    """Look at the head of every packet."""
    count = len(video.packets.stamps)
    kinds, start, lengths = video.kinds.copy(), video.start.copy(), np.zeros(count, np.int64)
    pts = np.full(count, UNREAD, np.int64)
    scanner, lost, sets, forms = Scanner(video.codec), set[int](), dict[int, bytes](), dict[int, bytes]()
    key = before = -1
    for number in range(count):
        try:
            payload = video.source.payload(video.packets, number)
            packet = video.decoder.parse(payload, whole=False)
            pts[number] = NO_PTS if packet.pts is None or packet.pts >= 1 << 63 else packet.pts
            head = payload.head()
            look = scanner.look(_data(head, packet), cut=len(head) < packet.start + packet.length)
            if not look.whole:
                look = scanner.look(_data(payload.all(), packet))
        except RecordingError:  # told where it is decoded
            lost.add(number)
            start[number] = key
            continue
        kinds[number], lengths[number] = look.kind, packet.length
        if look.lost or (not packet.length and video.codec in _UNCOUNTED):
            lost.add(number)
        if look.kind == Kind.KEY:
            before, key = key, number
            forms[number] = scanner.sets or look.form
            if scanner.sets and look.sets != scanner.sets:
                sets[number] = scanner.sets
        start[number] = before if look.kind == Kind.LEADING else key
    _require_whole(scanner, count)
    how = Counting.NONE if video.codec in _UNCOUNTED else Counting.ALL if scanner.counted else Counting.SOME
    missing, gaps, shown = follow(video.packets, kinds, pts, how)
    seen = replace(video, kinds=kinds, start=start, sets=sets, lost=frozenset(lost | missing), index=shown)
    return replace(seen, forms=forms, lengths=lengths, both_ways=scanner.both_ways, gaps=frozenset(gaps - lost))


def _require_whole(scanner: Scanner, count: int) -> None:
    """Refuse a video each of whose ``count`` messages holds a part of a picture."""
    if scanner.parts > count * _MOST_PARTS:
        msg = (
            f"{scanner.parts} of {count} video packets begin within a picture: the publisher splits pictures (slices); "
            "a message must hold a whole one"
        )
        raise DecodeError(msg)


def _data(content: memoryview, packet: Packet) -> memoryview:
    return content[packet.start : packet.start + packet.length]


class Pictures:
    """The pictures of one stream's messages; several threads ask, and one at a time decodes."""

    def __init__(self, video: Video, index: Index) -> None:
        """Find the packet of each message of ``index``."""
        self.video = video
        places = zip(video.packets.block.tolist(), video.packets.offset.tolist(), strict=True)
        numbers = {place: number for number, place in enumerate(places)}
        self._packets = [numbers[place] for place in zip(index.block.tolist(), index.offset.tolist(), strict=True)]
        self._rank = {packet: row for row, packet in enumerate(self._packets)}
        self._keys = np.flatnonzero(video.kinds == Kind.KEY)
        self._lock = threading.Lock()
        self._wanted: Counter[int] = Counter()
        self._ready: dict[int, Any] = {}  # pictures that are wanted, by packet
        self._why: dict[int, str] = {}  # packets that make no picture, and why
        self._runs: list[Run] = []  # the one that was used last stands last

    def packet(self, number: int) -> int:
        """Return the packet of a message."""
        return self._packets[number]

    def data(self, packet: int) -> bytes:
        """Return a packet as it was recorded.

        Raises:
            RecordingError: it is damaged, or of another codec.

        """
        return self._bytes(packet)

    @property
    def refused(self) -> Mapping[int, str]:
        """Return the packets that were found to make no picture, and why."""
        return self._why

    def expect(self, number: int) -> None:
        """Say that a message's picture will be asked for, so that it is kept when decoding passes it."""
        with self._lock:
            self._wanted[self._packets[number]] += 1

    def release(self, number: int) -> None:
        """Take back what `expect` said."""
        packet = self._packets[number]
        with self._lock:
            self._wanted[packet] -= 1
            if self._wanted[packet] <= 0:
                del self._wanted[packet]
                self._ready.pop(packet, None)

    def payload(self, index: Index, number: int) -> Payload:  # noqa: ARG002 - a source is asked so
        """Return a message's picture.

        Raises:
            DecodeError: it has none, or one that may be wrong.

        """
        packet = self._packets[number]
        self.expect(number)
        try:
            with self._lock:
                if packet not in self._ready and packet not in self._why:
                    self._find(packet)
                if packet in self._why:
                    raise DecodeError(self._why[packet])
                return Picture(self._ready[packet])
        finally:
            self.release(number)

    # ---- with the lock

    def _find(self, packet: int) -> None:
        """Decode up to a packet's picture, or find out why it has none."""
        video, start = self.video, int(self.video.start[packet])
        if video.kinds[packet] == Kind.NOTHING and packet not in video.lost:
            self._why[packet] = f"a packet of {video.codec} that holds no picture"
        elif start < 0:
            self._why[packet] = self._reason(packet, _NO_KEY)
        elif video.codec in ("h264", "hevc") and not video.forms[start]:
            self._why[packet] = _NO_SETS
        else:
            while packet not in self._ready and packet not in self._why:
                self._step(self._run_to(packet, start), packet)

    def _run_to(self, packet: int, start: int) -> Run:
        """Return a decoder that comes by the packet: the nearest one before it, or one that begins at ``start``."""
        able = [run for run in self._runs if run.first <= start]  # one from behind leaves leading pictures out
        behind = [run for run in able if run.next <= packet or packet in run.pending]
        run = max(behind, key=lambda run: run.next, default=None)
        if run is None and len(self._runs) >= _RUNS:
            run = self._runs[0]
        if run is not None:
            self._runs.remove(run)
            if start < run.next and run in behind:
                self._runs.append(run)
                return run
            self._take(run, run.drain())
        run = Run(self.video.codec, start, self.video.sets.get(start, b""), both_ways=self.video.both_ways)
        self._runs.append(run)
        return run

    def _step(self, run: Run, packet: int) -> None:
        """Give a decoder the next packet; at the end, or far behind the one that is wanted, let it give what it has."""
        number = run.next
        if number >= len(self.video.kinds) or number > packet + _FURTHEST:
            self._end(run)
            if packet not in self._ready:
                self._why.setdefault(packet, "it makes no picture")
            return
        if self.video.kinds[number] == Kind.LEADING and self.video.start[number] < run.first:
            run.next += 1
            return
        if number in self.video.lost and number != run.first:
            self._spoil(run, number, packet, self._reason(number, LOST))
            return
        try:
            run.next += 1
            self._take(run, run.feed(number, self._bytes(number), self.video.kinds[number] != Kind.NOTHING))
        except RecordingError as error:
            self._spoil(run, number, packet, error.text)

    def _reason(self, number: int, usual: str) -> str:
        """Say what is wrong with a packet itself; ``usual`` where nothing is."""
        try:
            Scanner(self.video.codec).look(memoryview(self._bytes(number)))
        except RecordingError as error:
            return error.text
        return usual

    def _bytes(self, number: int) -> bytes:
        payload = self.video.source.payload(self.video.packets, number)
        packet = self.video.decoder.parse(payload)
        if require_codec(packet.encoding) != self.video.codec:
            msg = f"a packet of {packet.encoding!r} in a video of {self.video.codec}: the topic changed"
            raise DecodeError(msg)
        return bytes(_data(payload.all(), packet))

    def _take(self, run: Run, frames: list[Any]) -> None:
        """Keep the pictures that are wanted."""
        for frame in frames:
            number = int(frame.pts)
            run.pending.discard(number)
            rank = self._rank.get(number, run.rank)
            if frame.is_corrupt:
                self._refuse(number, _DAMAGED, leading=bool(self.video.kinds[number] == Kind.LEADING))
            elif rank < run.rank:
                self._why[number] = ORDER
            elif number in self._wanted and number not in self._why:
                self._ready[number] = frame
            run.rank = max(run.rank, rank)

    def _spoil(self, run: Run, number: int, packet: int, why: str) -> None:
        """End a decoder at a packet ``number`` that it cannot take, on its way to ``packet``.

        What it cannot take because of what came before may yet be decoded from its key picture on.
        """
        self._end(run)
        kind = self.video.kinds[number]
        anew = kind == Kind.LEADING or (kind == Kind.KEY and number != run.first)
        self._refuse(number, why, leading=anew)
        if packet not in self._ready and not (anew and packet >= number):
            self._why.setdefault(packet, why)

    def _refuse(self, number: int, why: str, *, leading: bool = False) -> None:
        """Refuse what may be wrong from a packet on: all up to the next key picture, or the ``leading`` ones.

        Without the former, what that key picture's leading ones still need is missing.
        """
        kinds, keys = self.video.kinds, self._keys[self._keys > number]
        key = int(keys[0]) if len(keys) else len(kinds)
        wrong = [n for n in range(number, key) if not leading or kinds[n] == Kind.LEADING]
        behind = key + 1
        while not leading and behind < len(kinds) and kinds[behind] == Kind.LEADING:
            wrong.append(behind)
            behind += 1
        for packet in wrong:
            self._why.setdefault(packet, why)
            self._ready.pop(packet, None)

    def _end(self, run: Run) -> None:
        self._runs.remove(run)
        self._take(run, run.drain())
