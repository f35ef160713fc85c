"""Video topics → the pictures that PyAV decodes from the same packets, wherever reading begins; or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mcap.writer import Writer

from streamer import inspect
from streamer.errors import DecodeError, RecordingError
from streamer.records import StreamSettings, TimelineSettings
from streamer.runtime.prepare import prepare
from streamer.source.source import Source
from streamer.source.types import Types
from tests.bags import COMPRESSED, IMAGE, START, encoding_of
from tests.runtime.shown import AV1, OPEN, QUICK, VP9, X265, Prepare, check, show, without_vui
from tests.videos import FFMPEG, FOXGLOVE, PERIOD, Packet, decoded, encode, pictures, video

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def split(data: bytes) -> list[bytes]:
    return [part for part in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if part]


def units(data: bytes, sets: bool) -> bytes:  # noqa: FBT001 - a filter
    """Keep the parameter sets of a packet of H.264, or all else."""
    return b"".join(b"\0\0\0\1" + part for part in split(data) if (part[0] & 31 in (7, 8)) == sets)


SHUFFLED = np.random.default_rng(1).permutation(32).tolist()


@pytest.mark.parametrize(
    ("form", "kind", "text"),
    [
        ("ros1", FOXGLOVE, "h264"),
        ("mcap", FOXGLOVE, "h264"),
        ("ros1-lz4", FFMPEG, "libx264"),
        ("db3", FFMPEG, "h264_nvenc;yuv420p;bgr8;bgr8"),
        ("mcap-zstd", COMPRESSED, "h264"),
        ("ros1", IMAGE, "h264"),
    ],
)
def test_a_video_in_each_message_is_a_camera_whose_pictures_are_those_of_pyav(
    prepared: Prepare, h264: list[Packet], form: str, kind: str, text: str
) -> None:
    found = prepared(video("/cam", encoding_of(form), kind, text, h264), form)
    assert found.streams[0].decoder.kind == "image"
    assert found.streams[0].spec.shape == (64, 96, 3)
    right = decoded("h264", h264)
    check(found, right, list(range(32)))
    check(found, right, SHUFFLED)


@pytest.mark.parametrize(
    ("codec", "encoder", "options", "gop"),
    [
        ("hevc", "libx265", X265, 10),
        ("hevc", "libx265", OPEN, 10),
        ("av1", "libsvtav1", AV1, 8),
        ("vp9", "libvpx-vp9", VP9, 12),
        ("h264", "libx264", {"preset": "veryfast"}, 12),
        ("h264", "libx264", {"preset": "veryfast", "x264-params": "open-gop=1"}, 12),
    ],
)
def test_every_codec_and_group_of_pictures_gives_pyavs_pictures_in_any_order(
    prepared: Prepare,
    images: list[NDArray[np.uint8]],
    codec: str,
    encoder: str,
    options: dict[str, str],
    gop: int,
) -> None:
    packets = encode(encoder, images, options, gop)
    assert sum(packet.key for packet in packets) > 1
    right = decoded(codec, packets)
    assert len(right) == 32
    for kind, how in ((FFMPEG, {}), (FOXGLOVE, {"clock": "header"})):
        found = prepared(video("/cam", "cdr", kind, codec, packets), "mcap", **how)
        assert found.plan.frames == 32
        check(found, right, SHUFFLED[:20])
        check(found, right, list(range(32)))


def test_foxgloves_videos_in_protobuf_are_cameras_too(tmp_path: Path, h264: list[Packet]) -> None:
    pb = pytest.importorskip("google.protobuf.descriptor_pb2")
    descriptor_pool, message_factory, timestamp_pb2 = (
        pytest.importorskip(f"google.protobuf.{name}")
        for name in ("descriptor_pool", "message_factory", "timestamp_pb2")
    )
    file = pb.FileDescriptorProto(name="v.proto", package="foxglove", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    kind = file.message_type.add(name="CompressedVideo")
    kind.field.add(name="timestamp", number=1, type=11, label=1, type_name=".google.protobuf.Timestamp")
    for number, (name, code) in enumerate((("frame_id", 9), ("data", 12), ("format", 9)), 2):
        kind.field.add(name=name, number=number, type=code, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    make = message_factory.GetMessageClass(pool.FindMessageTypeByName("foxglove.CompressedVideo"))
    path = tmp_path / "fox.mcap"
    with path.open("wb") as out:
        writer: Any = Writer(out)
        writer.start()
        schema = writer.register_schema("foxglove.CompressedVideo", "protobuf", file.SerializeToString())
        channel = writer.register_channel("/cam", "protobuf", schema)
        for n, packet in enumerate(h264):
            values: Any = make(frame_id="cam", data=packet.data, format="h264")
            values.timestamp.FromNanoseconds(START + n * PERIOD)
            when = START + n * PERIOD + 5_000_000
            writer.add_message(channel, when, values.SerializeToString(), when)
        writer.finish()
    settings = StreamSettings("cam", ("/cam",), clock="header")
    with Source(path, tmp_path / "scratch") as source:
        found = prepare(source, Types([], source.distro, tmp_path), TimelineSettings("cam"), [settings])
        assert found.ticks.tolist() == [START + n * PERIOD for n in range(32)]
        check(found, decoded("h264", h264), SHUFFLED)
    assert inspect.suggest(path).kinds == {"cam": "image"}


def test_only_the_first_packet_has_parameter_sets_and_reading_begins_anywhere(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    packets = encode("libx264", images, QUICK)
    bare = packets[:1] + [packet._replace(data=units(packet.data, sets=False)) for packet in packets[1:]]
    assert len(bare[10].data) < len(packets[10].data)
    check(prepared(video("/cam", "cdr", FOXGLOVE, "h264", bare), "mcap"), decoded("h264", packets), [25, 11, 31])
    half = packets[:1] + [p._replace(data=units(p.data, sets=False)) for p in packets[1:]]
    for kind in (7, 8):  # of the sets, key pictures carry one
        own = b"".join(b"\0\0\0\1" + part for part in split(packets[0].data) if part[0] & 31 == kind)
        some = [p._replace(data=own + p.data) if p.key and n else p for n, p in enumerate(half)]
        check(prepared(video("/cam", "cdr", FOXGLOVE, "h264", some), "mcap"), decoded("h264", packets), [25, 11, 31])
    with pytest.raises(RecordingError, match="no parameter sets"):
        prepared(video("/cam", "cdr", FOXGLOVE, "h264", half[10:]), "mcap")
    alone = Packet(units(packets[0].data, sets=True), 0, key=False)
    late = [alone, *(p._replace(data=units(p.data, sets=False), pts=p.pts + 1) for p in packets)]
    found = prepared(video("/cam", "cdr", FOXGLOVE, "h264", late), "mcap", undecodable="skip")
    np.testing.assert_array_equal(show(found, 16), decoded("h264", packets)[15])
    with pytest.raises(DecodeError, match="holds no picture"):
        show(found, 0)


def test_pictures_that_may_be_wrong_are_refused_up_to_the_next_key_picture(
    prepared: Prepare, h264: list[Packet], images: list[NDArray[np.uint8]]
) -> None:
    hevc = encode("libx265", images, X265)
    right = {"h264": decoded("h264", h264), "hevc": decoded("hevc", hevc)}
    for codec, packets in (("h264", h264), ("hevc", hevc)):
        lost = [packet for packet in packets if packet.pts != 13]
        found = prepared(video("/cam", "cdr", FOXGLOVE, codec, lost), "mcap", undecodable="skip", clock="header")
        for frame in (25, 12, 5, 18, 13, 19):  # frame 13 and all behind it show a picture one later
            pts = lost[frame].pts
            if 13 < pts < 20:
                with pytest.raises(DecodeError, match=r"missing|does not decode"):
                    show(found, frame)
            else:
                np.testing.assert_array_equal(show(found, frame), right[codec][pts])


def test_with_lost_packets_and_pictures_between_others_each_is_right_or_refused_in_any_order(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    for codec, encoder, options in (("h264", "libx264", {"preset": "veryfast"}), ("hevc", "libx265", OPEN)):
        whole = encode(encoder, images, options)
        right = decoded(codec, whole)
        cut = whole[17]._replace(data=whole[17].data[: len(whole[17].data) // 2])
        for packets, exact in (
            ([p for n, p in enumerate(whole) if n not in (4, 12, 13)], True),
            ([*whole[:17], cut], False),
        ):
            messages = video("/cam", "cdr", FOXGLOVE, codec, packets)
            found = prepared(messages, "mcap", undecodable="skip", clock="header")
            shown = sorted(packet.pts for packet in packets)
            count = 0
            for frame in [frame for frame in SHUFFLED if frame < len(shown)]:
                try:
                    picture = show(found, frame)
                except DecodeError:
                    count += 1
                    continue
                if exact:  # what is cut may decode by chance
                    np.testing.assert_array_equal(picture, right[shown[frame]])
            assert count < len(shown)
            assert count or not exact


def test_gaps_of_codecs_that_do_not_count_are_refused_by_their_time_stamps_or_told_of(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    for codec, encoder, options in (("vp9", "libvpx-vp9", VP9), ("av1", "libsvtav1", AV1)):
        packets = encode(encoder, images, options)
        right = decoded(codec, packets)
        messages = video("/cam", "cdr", FFMPEG, codec, packets)
        found = prepared(messages[:13] + messages[14:], "mcap", undecodable="skip")
        for frame in (12, 13, 18, 19):
            pts = frame + (frame > 12)
            if 13 < pts < 20:
                with pytest.raises(DecodeError, match="missing"):
                    show(found, frame)
            else:
                np.testing.assert_array_equal(show(found, frame), right[pts])
        messages = video("/cam", "cdr", FOXGLOVE, codec, packets)
        (warning,) = prepared(messages[:13] + messages[14:], "mcap", undecodable="skip").warnings
        assert "cam: 1 gap between key pictures" in warning
        assert not prepared(messages, "mcap").warnings


def test_a_damaged_packet_and_a_video_joined_in_its_middle_are_refused_until_the_next_key_picture(
    prepared: Prepare, h264: list[Packet]
) -> None:
    right = decoded("h264", h264)
    data = h264[15].data
    damaged = [*h264[:15], h264[15]._replace(data=data[: len(data) // 2]), *h264[16:]]
    found = prepared(video("/cam", "cdr", FOXGLOVE, "h264", damaged[4:]), "mcap", undecodable="skip")
    for frame in range(28):
        if frame < 6:
            with pytest.raises(DecodeError, match="no key picture"):
                show(found, frame)
        elif 11 <= frame < 16:
            with pytest.raises(DecodeError, match=r"does not decode|damaged"):
                show(found, frame)
        else:
            np.testing.assert_array_equal(show(found, frame), right[frame + 4])
    with pytest.raises(RecordingError, match="no key picture"):
        prepared(video("/cam", "cdr", FOXGLOVE, "h264", h264[4:]), "mcap")


def test_pictures_out_of_the_order_of_their_messages_are_refused_with_the_clock_that_helps(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    packets = encode("libx264", images, {"preset": "veryfast"}, 12)
    found = prepared(video("/cam", "cdr", FOXGLOVE, "h264", packets), "mcap", undecodable="skip")
    refused = []
    for frame in range(32):
        try:
            show(found, frame)
        except DecodeError as error:
            refused.append(str(error))
    assert refused
    assert all("clock: header" in why for why in refused)


def test_a_change_of_size_is_refused_or_resized(prepared: Prepare, h264: list[Packet]) -> None:
    large = encode("libx264", pictures(10, (128, 80)), QUICK)
    both = h264[:20] + [packet._replace(pts=packet.pts + 20) for packet in large]
    messages = video("/cam", "cdr", FFMPEG, "h264", both)
    found = prepared(messages, "mcap")
    check(found, decoded("h264", h264), [3, 19])
    with pytest.raises(DecodeError, match="128"):
        show(found, 24)
    assert show(prepared(messages, "mcap", resize=(48, 32)), 24).shape == (32, 48, 3)


def test_colours_are_given_as_they_are_asked_for(prepared: Prepare, h264: list[Packet]) -> None:
    messages = video("/cam", "cdr", FOXGLOVE, "h264", h264)
    np.testing.assert_array_equal(show(prepared(messages, "mcap", color="bgr"), 7), decoded("h264", h264, "bgr24")[7])
    gray = show(prepared(messages, "mcap", color="gray"), 7)
    luma = decoded("h264", h264, "yuv420p")[7][:64].astype(float)
    assert np.abs(gray - np.clip((luma - 16) * 255 / 219, 0, 255)).max() <= 1


def test_leading_pictures_are_the_same_behind_a_consumer_that_began_at_their_key_picture(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    packets = encode("libx265", images, {"preset": "ultrafast", "x265-params": f"{OPEN['x265-params']}:b-adapt=0"})
    right = decoded("hevc", packets)
    for key in (10, 20):
        found = prepared(video("/cam", "cdr", FFMPEG, "hevc", packets), "mcap")
        check(found, right, [key, key + 2, key - 1, key - 2, 0, key + 1])


def test_av1_with_its_sequence_header_only_at_the_start_is_read_from_any_key_picture(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    packets = encode("libsvtav1", images, AV1)
    bare = packets[:1]
    for packet in packets[1:]:
        kind, size = packet.data[2] >> 3, packet.data[3]  # behind the temporal delimiter
        data = packet.data[:2] + packet.data[4 + size :] if kind == 1 else packet.data
        bare.append(packet._replace(data=data))
    assert len(bare[10].data) < len(packets[10].data)
    check(prepared(video("/cam", "cdr", FOXGLOVE, "av1", bare), "mcap"), decoded("av1", packets), [25, 11, 31, 3])


def test_h264_that_does_not_say_how_far_it_reorders_is_the_same_wherever_reading_begins(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    packets = encode("libx264", images, {"preset": "medium", "x264-params": "bframes=8:b-adapt=0:b-pyramid=normal"})
    right = decoded("h264", packets)
    silent = [packet._replace(data=without_vui(packet.data)) for packet in packets]
    assert len(silent[0].data) < len(packets[0].data)
    assert len(decoded("h264", silent)) < 32  # PyAV leaves pictures out where it has to guess
    for begin in (0, 14, 25):
        found = prepared(video("/cam", "cdr", FFMPEG, "h264", silent), "mcap")
        check(found, right, [*range(begin, 32), 9, 5, 2])


def test_messages_of_slices_are_refused_at_once_and_zeros_before_a_start_code_are_none(
    prepared: Prepare, images: list[NDArray[np.uint8]], h264: list[Packet]
) -> None:
    sliced = encode("libx264", images, QUICK | {"x264-params": "slices=2"})
    wide = pictures(6, (256, 192))
    for codec, packets in (
        ("h264", sliced),
        ("hevc", encode("libx265", wide, {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:slices=2"})),
    ):
        parts = []
        for packet in packets:
            cut = packet.data.rindex(b"\0\0\1")
            parts += [packet._replace(data=packet.data[:cut]), packet._replace(data=packet.data[cut:])]
        with pytest.raises(RecordingError, match="begin within a picture"):
            prepared(video("/cam", "cdr", FOXGLOVE, codec, parts), "mcap", undecodable="skip")
    padded = [packet._replace(data=b"\0\0\0" + packet.data) for packet in h264]
    check(prepared(video("/cam", "cdr", FOXGLOVE, "h264", padded), "mcap"), decoded("h264", h264), [0, 13, 31])
    bare = [packet._replace(data=b"\0\0\4\0" + packet.data[4:]) for packet in h264]
    with pytest.raises(RecordingError, match="annex B"):
        prepared(video("/cam", "cdr", FOXGLOVE, "h264", bare), "mcap")
