"""Video packets in their order → PyAV's pictures of them; what is damaged or made up is refused."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from streamer.errors import ConfigError, DecodeError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

LOST = "a packet before it is missing, or came twice; the video is whole again at the next key picture"
_DECODERS = {"h264": ("h264",), "hevc": ("hevc",), "av1": ("libdav1d", "libaom-av1", "av1"), "vp9": ("vp9",)}
_MISSING = "Could not find ref"  # as FFmpeg's hevc/refs.c says it
_FFMPEG_8 = 62  # of libavcodec


class Run:
    """A decoder on its way through the packets; ``pending`` are those whose picture has not come yet."""

    def __init__(self, codec: str, first: int, sets: bytes, *, both_ways: bool) -> None:
        """Begin at packet ``first``; ``sets`` are parameter sets that its picture needs and does not carry.

        Of a video ``both_ways`` whose sets do not say how far pictures are out of order, none is given before it is
        sure: else the decoder learns by leaving pictures out, others wherever it begins.
        """
        self._context = _open(codec)
        if both_ways:
            self._context.options = {**self._context.options, "strict": "1"}
        self._makes_up = codec == "hevc" and _makes_up()
        if sets and codec != "av1":
            self._context.extradata = sets
        self._before = sets if codec == "av1" else b""  # its decoder does not read the sequence header from there
        self.first = self.next = first
        self.pending: set[int] = set()
        self.rank = -1  # of the last picture that came

    def feed(self, number: int, data: bytes, picture: bool) -> list[Any]:  # noqa: FBT001 - of a packet
        """Decode a packet; one without a picture is given together with the next, which needs what it holds.

        Raises:
            DecodeError: it is damaged.

        """
        import av

        if not picture:
            self._before += data
            return []
        packet = av.Packet(self._before + data)
        packet.pts = number
        self._before = b""
        self.pending.add(number)
        try:
            with self._listen() as said:
                frames = list(self._context.decode(packet))
        except av.FFmpegError as error:
            msg = f"the packet does not decode ({error.strerror}); the video is whole again at the next key picture"
            raise DecodeError(msg) from error
        if any(_MISSING in line[2] for line in said):
            raise DecodeError(LOST)
        return frames

    def _listen(self) -> AbstractContextManager[list[tuple[int, str, str]]]:
        """Listen to what a decoder says that makes up pictures that it misses, and does not refuse."""
        import av

        if not self._makes_up:
            return nullcontext([])
        listening: Any = av.logging.Capture(local=True)
        return cast("AbstractContextManager[list[tuple[int, str, str]]]", listening)

    def drain(self) -> list[Any]:
        """Return the pictures that the decoder holds back; it takes no packet afterwards."""
        import av

        try:
            return list(self._context.decode(None))
        except av.FFmpegError:
            return []


def reorders(codec: str, sets: bytes) -> bool:
    """Tell whether parameter sets say that pictures are shown in another order than they are decoded."""
    context = _open(codec)
    context.extradata = sets
    context.open()
    return bool(context.has_b_frames)


@cache
def _makes_up() -> bool:
    """Tell whether HEVC's decoder, before FFmpeg 8, makes up missing pictures; if so, let it be heard."""
    import av

    if av.library_versions["libavcodec"][0] >= _FFMPEG_8:
        return False
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    return True


def _open(codec: str) -> Any:
    """Return a decoder that works in the thread that calls it and refuses what is damaged."""
    import av

    for name in _DECODERS[codec]:
        with suppress(ValueError, av.FFmpegError):
            context: Any = av.CodecContext.create(name, "r")
            context.thread_count = 1
            context.options = {"err_detect": "explode"}
            return context
    msg = f"PyAV {av.__version__} has no decoder for {codec}"
    raise ConfigError(msg)
