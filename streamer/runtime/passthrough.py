"""A plan, and consumers that want the packets of videos → the streams that each is shown, and why some are pictures.

A video can be copied where a consumer sees each of its pictures once and in the order of the packets, from a key
picture on, and nothing reshapes them. All this is known from the plan and from the look at the heads of the packets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.decode.copied import CopyDecoder
from streamer.decode.packets import Kind
from streamer.errors import ConfigError
from streamer.layout import make_layout
from streamer.records import Flag, Spec
from streamer.runtime.codec import reorders
from streamer.runtime.plugin import packets_wanted
from streamer.runtime.prepare import Packets
from streamer.runtime.video import Pictures
from streamer.source.payload import MemoryPayload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.records import Index, Payload
    from streamer.runtime.job import ConsumerSeat
    from streamer.runtime.prepare import Prepared, Stream
    from streamer.runtime.video import Video


@dataclass(frozen=True, slots=True)
class Taker:
    """A consumer: what it is and how it is shown frames."""

    name: str
    use: str
    options: Mapping[str, Any]
    streams: Sequence[str]
    every: int = 1
    latest: bool = False
    quarantine: bool = False


def takers(seats: Mapping[str, ConsumerSeat]) -> list[Taker]:
    """Describe consumers by their seats."""
    return [
        Taker(
            *(name, seat.settings.get("use", ""), seat.settings.get("options", {}), seat.streams),
            *(seat.every, seat.latest, seat.quarantine),
        )
        for name, seat in seats.items()
    ]


def give_packets(prepared: Prepared, takers: Sequence[Taker]) -> Prepared:
    """Show packets in place of pictures to each consumer that wants them, where that can be.

    Where it cannot, a warning says why. Pictures that nobody is shown are not made.

    Raises:
        ConfigError: a consumer must have packets and cannot.

    """
    wishes = list(_wishes(prepared, takers))
    given, warnings = set[tuple[str, str]](), []
    for one, stream, copying in wishes:
        why = copying.against or against(prepared, stream, one)
        name = stream.settings.name
        if not why:
            given.add((one.name, name))
        elif copying.must:
            msg = f"{name!r} cannot be copied: {why}"
            key = f"consumers.{one.name}.options.codec"
            raise ConfigError(msg, key=key, hint="'codec: auto' encodes it where it must")
        else:
            warnings.append(f"{one.name}: {name!r} is encoded anew, not copied: {why}")
    names = {name for _, name in given}
    packets = {s.settings.name: _packets_of(s, prepared) for s in prepared.streams if s.settings.name in names}
    shown = show(prepared, takers, {key: packets[key[1]] for key in given})
    return replace(shown, warnings=(*prepared.warnings, *warnings))


def _wishes(prepared: Prepared, takers: Sequence[Taker]) -> Iterator[tuple[Taker, Stream, Any]]:
    pictures = {s.settings.name: s for s in prepared.streams if s.kind in ("image", "depth")}
    if not pictures or not prepared.plan.frames:
        return
    for one in takers:
        for name, copying in packets_wanted(one.use, one.options, one.streams).items():
            if name in pictures and name in one.streams and not copying.messages:
                yield one, pictures[name], copying


def show(prepared: Prepared, takers: Sequence[Taker], made: Mapping[tuple[str, str], Stream]) -> Prepared:
    """Show what is ``made`` to a consumer by the name of a stream, in place of its samples.

    It takes the stream's place where nobody is shown the samples, else it stands behind all.
    """
    streams, places = list(prepared.streams), dict(prepared.packets)
    names = [stream.settings.name for stream in prepared.streams]
    for number, name in enumerate(names):
        if name in names[:number]:
            continue  # what other consumers are shown by this name
        own = {id(new): new for key, new in made.items() if key[1] == name}
        others = [
            one for one in takers if name in one.streams and (one.name, name) not in (made.keys() | places.keys())
        ]
        free = not others and number not in places.values()
        for new in own.values():
            place = number if free else len(streams)
            streams[place : place + 1] = [new]
            places |= {key: place for key, taken in made.items() if taken is new}
            free = False
    if not places:
        return prepared
    layout = make_layout({f"{n}": stream.spec for n, stream in enumerate(streams)})
    named = (replace(p, name=s.settings.name) for p, s in zip(layout.places, streams, strict=True))
    return replace(
        prepared,
        streams=tuple(streams),
        plan=replace(prepared.plan, streams=tuple(stream.plan for stream in streams)),
        layout=replace(layout, places=tuple(named)),
        packets=places,
    )


def _packets_of(stream: Stream, prepared: Prepared) -> Stream:
    """Return a stream of the packets in place of the pictures."""
    assert isinstance(stream.source, Pictures)  # noqa: S101 - for the type checker: only videos come here
    source = PacketSource(stream.source, _numbers(stream)[_starts(prepared)])
    numbers = _numbers(stream)
    flags = np.where(source.video.kinds[numbers] == Kind.KEY, stream.plan.flags | Flag.KEY, stream.plan.flags)
    spec = Spec((int(source.lengths[numbers].max()),), "|u1", variable=True)
    return replace(
        stream,
        decoder=CopyDecoder("packets", spec),
        plan=replace(stream.plan, flags=flags.astype(np.uint8)),
        spec=spec,
        raw=spec,
        source=source,
        packets=Packets(source.video.codec, stream.spec.shape),
    )


class PacketSource:
    """The packets of a video's messages as a source.

    The packet at which a recording, or an episode, begins gets the parameter sets that it needs and does not carry.
    """

    def __init__(self, pictures: Pictures, starts: NDArray[np.int64]) -> None:
        self._pictures = pictures
        self.video = pictures.video
        sets = self.video.sets
        self._sets = {number: sets[number] for number in starts.tolist() if number in sets}
        self.lengths = self.video.lengths.copy()
        for number, found in self._sets.items():
            self.lengths[number] += len(found)

    def payload(self, index: Index, number: int) -> Payload:  # noqa: ARG002 - a source is asked so
        """Return a message's packet.

        Raises:
            RecordingError: it is damaged.

        """
        packet = self._pictures.packet(number)
        return MemoryPayload(memoryview(self._sets.get(packet, b"") + self._pictures.data(packet)))


# ---- why not


def against(prepared: Prepared, stream: Stream, one: Taker) -> str:
    """Say why a consumer cannot be shown a stream's packets in place of its pictures; empty where it can."""
    if not isinstance(stream.source, Pictures):
        return f"{stream.topic.name} holds no video ({stream.topic.msgtype})"
    reasons = (_reshaped(stream), _thinned(prepared, one), _taken(prepared, stream), _in_video(prepared, stream))
    return next((why for why in reasons if why), "")


def _reshaped(stream: Stream) -> str:
    how = stream.settings.decoding
    for name, changes in (("resize", how.resize), ("map", how.map), ("color", how.color not in (None, "rgb"))):
        if changes:
            return f"{name!r} of the stream makes other pictures of it"
    return ""


def _thinned(prepared: Prepared, one: Taker) -> str:
    if one.every != 1 or one.latest:
        return "'every' leaves frames out" if one.every != 1 else "with 'mode: latest' frames are left out"
    if one.quarantine:
        return "'on_error: quarantine' may leave frames out"
    for stream in prepared.read:
        if stream.settings.undecodable != "error":
            return f"'undecodable: {stream.settings.undecodable}' of {stream.settings.name!r} may leave a picture out"
    return ""


def _starts(prepared: Prepared) -> NDArray[np.int64]:
    """Return the frames at which a recording, or an episode of it, begins."""
    firsts = [episode.first for episode in prepared.episodes if episode.frames]
    return np.array(firsts or [0], np.int64)


def _numbers(stream: Stream) -> NDArray[np.int64]:
    """Return the packet of each frame."""
    assert isinstance(stream.source, Pictures)  # noqa: S101 - for the type checker: only videos come here
    return np.array([stream.source.packet(number) for number in stream.plan.first.tolist()], np.int64)


def _taken(prepared: Prepared, stream: Stream) -> str:
    """Say where the frames do not show each picture once."""
    if (stream.plan.first < 0).any():
        return f"frame {int(np.argmax(stream.plan.first < 0))} has no picture of it"
    steps = np.diff(_numbers(stream))
    steps[_starts(prepared)[1:] - 1] = 1
    if (steps == 1).all():
        return ""
    if (steps < 0).any():
        return f"its pictures have another order than its packets (B-frames), at frame {int(np.argmax(steps < 0)) + 1}"
    frame = int(np.argmax(steps != 1)) + 1
    again = steps[frame - 1] == 0
    return f"frame {frame} shows the picture before again" if again else f"a picture is left out before frame {frame}"


def _in_video(prepared: Prepared, stream: Stream) -> str:
    """Say what in the packets is against it."""
    assert isinstance(stream.source, Pictures)  # noqa: S101 - for the type checker: only videos come here
    video, numbers = stream.source.video, _numbers(stream)
    kinds = video.kinds[numbers]
    if (kinds == Kind.NOTHING).any():
        return f"the packet of frame {int(np.argmax(kinds == Kind.NOTHING))} holds no picture"
    for frame in _starts(prepared).tolist():
        if kinds[frame] != Kind.KEY:
            return f"frame {frame} is no key picture, and a video cannot begin there"
    lost = np.isin(numbers, list(video.lost))
    if lost.any():
        return f"a packet is missing or damaged at frame {int(np.argmax(lost))}"
    return _forms(video, numbers)


def _forms(video: Video, numbers: NDArray[np.int64]) -> str:
    """Say where the video changes its form, or the order of its pictures is another one than that of its packets."""
    first = video.forms[int(numbers[0])]
    for frame, number in enumerate(numbers.tolist()):
        if video.forms.get(number, first) != first:
            return f"its parameters (size, profile) change at frame {frame}"
    if video.codec not in ("h264", "hevc"):
        return ""
    if not first:
        return "it has no parameter sets"
    if video.both_ways or (video.codec == "hevc" and reorders(video.codec, first)):
        return "its pictures may have another order than its packets (B-frames)"
    return ""
