"""Videos that are copied: the packets of the written files against those that were recorded, unit by unit."""

from __future__ import annotations

import json
import signal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

import streamer
from streamer.errors import ConfigError
from streamer.runtime.passthrough import Taker, give_packets
from tests.bags import START, record
from tests.pipeline.driver import digests, run, start, wait_until
from tests.pipeline.test_videos import chain
from tests.videos import FFMPEG, FOXGLOVE, PERIOD, Packet, decoded, encode, message, pictures, video

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bags import Message

FRAMES = 40
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "veryfast", "bf": "0"}),
    "hevc": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0"}),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "pred-struct=1"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "lag-in-frames": "0"}),
}


def packets_of(codec: str, size: tuple[int, int] = (96, 64), frames: int = FRAMES, gop: int = 15) -> list[Packet]:
    encoder, options = ENCODERS[codec]
    return encode(encoder, pictures(frames, size, seed=len(codec)), options, gop)


def units(codec: str, data: bytes, *, stored: bool) -> list[bytes]:
    """Split a packet, as it is recorded or as it is ``stored`` in MP4, into what the codec calls units."""
    if codec == "vp9":
        return [data]
    if codec == "av1":  # OBUs with their sizes; temporal delimiters (type 2) have no place in MP4
        found = []
        while data:
            size, at, shift = 0, 1, 0
            while True:
                size |= (data[at] & 127) << shift
                at, shift = at + 1, shift + 7
                if not data[at - 1] & 128:
                    break
            found.append(data[: at + size])
            data = data[at + size :]
        return [unit for unit in found if unit[0] >> 3 & 15 != 2]
    if not stored:
        return [unit.rstrip(b"\0") for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]]
    found = []
    while data:
        length = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + length].rstrip(b"\0"))
        data = data[4 + length :]
    return found


def stored(path: Path) -> tuple[str, list[Packet], list[Fraction]]:
    """Return a file's codec, packets and their times in seconds."""
    with av.open(str(path)) as file:
        track: Any = file.streams.video[0]
        unit = Fraction(track.time_base.numerator, track.time_base.denominator)
        found: list[Any] = [packet for packet in file.demux(track) if packet.size]
        assert all(packet.dts == packet.pts for packet in found)
        whole = [Packet(bytes(packet), packet.pts, packet.is_keyframe) for packet in found]
        return track.codec_context.codec.canonical_name, whole, [packet.pts * unit for packet in found]


def check_copy(path: Path, codec: str, packets: list[Packet]) -> list[Fraction]:
    name, found, times = stored(path)
    assert name == codec
    assert [one.key for one in found] == [one.key for one in packets]
    for one, right in zip(found, packets, strict=True):
        assert units(codec, one.data, stored=True) == units(codec, right.data, stored=False)
    return times


def config_of(path: Path, streams: dict[str, Any], consumers: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": {"path": str(path)},
        "timeline": {"from": next(iter(streams))},
        "chunk_size": 4,
        "streams": streams,
        "consumers": consumers,
    }


def record_all(folder: Path, codecs: list[str]) -> tuple[Path, dict[str, list[Packet]]]:
    packets = {codec: packets_of(codec, (96 + 16 * n, 64)) for n, codec in enumerate(codecs)}
    messages: list[Message] = []
    for codec, found in packets.items():
        messages += video(f"/{codec}", "cdr", FOXGLOVE, "h265" if codec == "hevc" else codec, found)
    path = record(folder / "bag", "mcap", sorted(messages, key=lambda message: message.stamp), chunk=20_000)
    return path, packets


def test_packets_of_every_codec_are_copied_beside_consumers_of_pictures(tmp_path: Path) -> None:
    """Chunks that begin between key pictures, recycling, a stop and a resumed run included."""
    path, packets = record_all(tmp_path, list(ENCODERS))
    copy = {"use": "video", "options": {"out": "copy", "codec": "copy"}, "recycle": {"chunks": 3}}
    config = config_of(
        path,
        {codec: {"topic": f"/{codec}"} for codec in packets},
        {
            "gate": {"use": "tests.pipeline.probes:Gate", "options": {"folder": str(tmp_path), "at": 18}},
            "copy": copy,
            "timed": {"use": "video", "options": {"out": "timed", "codec": "auto", "rate": "variable"}},
            "seen": {"use": "checksum", "streams": ["h264"], "options": {"out": "seen.json"}},
        },
    )
    with start(tmp_path, config) as running:
        wait_until((tmp_path / "here").exists)
        running.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in running.said(), "the announcement")
        (tmp_path / "go").touch()
        assert running.end().code != 0
    done = run(tmp_path, config, "--resume")
    assert done.code == 0, done
    for codec, right in packets.items():
        times = check_copy(tmp_path / "copy" / f"bag.{codec}.mp4", codec, right)
        assert times == [Fraction(n, 30) for n in range(FRAMES)]
        times = check_copy(tmp_path / "timed" / f"bag.{codec}.mp4", codec, right)
        wanted = [Fraction(n * PERIOD, 10**9) for n in range(FRAMES)]
        assert all(abs(a - b) < Fraction(1, 45_000) for a, b in zip(times, wanted, strict=True))
    about = json.loads((tmp_path / "copy" / "bag.video.json").read_text(encoding="utf-8"))
    assert (about["copied"], about["frames"]) == (list(packets), FRAMES)
    assert digests(tmp_path / "seen.json")["streams"] == {"h264": chain(decoded("h264", packets["h264"]))}


def test_a_lerobot_dataset_of_copied_videos_has_their_packets_and_statistics(tmp_path: Path) -> None:
    path, packets = record_all(tmp_path, ["h264"])
    options = {"out": "set", "task": "x", "codec": "copy", "features": {"observation.images.front": "h264"}}
    config = config_of(
        path, {"h264": {"topic": "/h264"}}, {"set": {"use": "lerobot", "options": options, "recycle": {"chunks": 2}}}
    )
    done = run(tmp_path, config)
    assert done.code == 0, done
    film = tmp_path / "set" / "videos" / "observation.images.front" / "chunk-000" / "file-000.mp4"
    assert check_copy(film, "h264", packets["h264"]) == [Fraction(n, 30) for n in range(FRAMES)]
    info = json.loads((tmp_path / "set" / "meta" / "info.json").read_text(encoding="utf-8"))
    feature = info["features"]["observation.images.front"]
    assert (feature["shape"], feature["info"]["video.codec"], info["fps"]) == ([64, 96, 3], "h264", 30)
    stats = json.loads((tmp_path / "set" / "meta" / "stats.json").read_text(encoding="utf-8"))
    found = stats["observation.images.front"]
    images = decoded("h264", packets["h264"])
    keys = np.stack([images[n] for n in (0, 15, 30)]).astype(float) / 255  # one in each chunk that has one
    np.testing.assert_allclose(np.ravel(found["mean"]), keys.mean((0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(np.ravel(found["min"]), keys.min((0, 1, 2)), atol=1e-9)
    assert found["count"] == [FRAMES]


def test_what_cannot_be_copied_is_encoded_and_told_or_refused_before_the_start(tmp_path: Path) -> None:
    path, _ = record_all(tmp_path, ["h264"])
    streams: dict[str, Any] = {"h264": {"topic": "/h264", "resize": [48, 32]}}
    config = config_of(path, streams, {"film": {"use": "video", "options": {"out": "film", "codec": "auto"}}})
    done = run(tmp_path, config)
    assert done.code == 0, done
    name, found, _ = stored(tmp_path / "film" / "bag.h264.mp4")
    assert (name, len(found)) == ("h264", FRAMES)
    told = "film: 'h264' is encoded anew, not copied: 'resize' of the stream makes other pictures of it"
    assert told in json.dumps(done.report), done
    config["consumers"]["film"]["options"]["codec"] = "copy"
    done = run(tmp_path, config, "--restart")
    assert done.code == 78, done
    assert "'h264' cannot be copied: 'resize'" in done.err, done
    assert "consumers.film.options.codec" in done.err


def wanted(
    tmp_path: Path, messages: list[Message], stream: dict[str, Any], timeline: dict[str, Any], **own: Any
) -> str:
    """Return why a consumer of a video cannot be given its packets; empty where it can."""
    path = record(tmp_path / "bag", "mcap", sorted(messages, key=lambda message: message.stamp))
    config = tmp_path / "config.yaml"
    options = own.pop("options", {})
    values: dict[str, Any] = {
        "source": {"path": str(path)},
        "streams": {"a": {"topic": "/a"} | stream},
        "timeline": {"from": "a"},
    }
    config.write_text(json.dumps(values | {"timeline": values["timeline"] | timeline}), encoding="utf-8")
    opened = streamer.open(config)
    one = Taker("film", "video", {"codec": "copy"} | options, ["a"], **own)
    with opened.prepared(opened.paths()[0]) as prepared:
        try:
            given = give_packets(prepared, [one])
        except ConfigError as error:
            return error.text
        assert [s.kind for s in given.streams] == ["packets"]
        return ""


PLAIN = ENCODERS["h264"]
REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, ""),
    "rate": ({"timeline": {"rate": "15 Hz"}}, "a picture is left out before frame 1"),
    "middle": ({"timeline": {"skip": 3}}, "frame 0 is no key picture"),
    "key": ({"timeline": {"crop": [0.375, 1.0]}}, ""),
    "color": ({"stream": {"color": "gray"}}, "'color' of the stream"),
    "map": ({"stream": {"map": [{"flip": "horizontal"}]}}, "'map' of the stream"),
    "skip": ({"stream": {"undecodable": "skip"}}, "'undecodable: skip' of 'a'"),
    "every": ({"every": 2}, "'every' leaves frames out"),
    "latest": ({"latest": True}, "mode: latest"),
    "quarantine": ({"quarantine": True}, "'on_error: quarantine'"),
    "overlay": ({"options": {"overlay": True}}, "'overlay' draws"),
    "grid": ({"options": {"layout": "grid"}}, "'grid' draws"),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_reason_against_copying_is_found_at_planning(tmp_path: Path, name: str) -> None:
    given, why = REASONS[name]
    stream, timeline = given.get("stream", {}), given.get("timeline", {})
    messages = video("/a", "cdr", FOXGLOVE, "h264", packets_of("h264", gop=15))
    own = {key: value for key, value in given.items() if key not in ("stream", "timeline")}
    found = wanted(tmp_path, messages, stream, timeline, **own)
    assert (why in found) if why else found == "", found


def test_a_video_with_pictures_out_of_order_is_not_copied(tmp_path: Path) -> None:
    for number, (codec, options) in enumerate(
        (("h264", {"preset": "veryfast", "bf": "2"}), ("hevc", {"x265-params": "log-level=none:bframes=2"}))
    ):
        packets = encode(ENCODERS[codec][0], pictures(FRAMES), options, 15)
        assert [packet.pts for packet in packets] != sorted(packet.pts for packet in packets)
        folder = tmp_path / str(number)
        folder.mkdir()
        messages = video("/a", "cdr", FOXGLOVE, codec, packets)
        assert "B-frames" in wanted(folder, messages, {}, {})
        (folder / "counted").mkdir()
        messages = video("/a", "cdr", FFMPEG, codec, packets)
        assert "B-frames" in wanted(folder / "counted", messages, {}, {})


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_video_that_changes_its_size_is_not_copied(tmp_path: Path, codec: str) -> None:
    parts = packets_of(codec, frames=6), packets_of(codec, (128, 64), 6)
    packets = [*parts[0], *(packet._replace(pts=packet.pts + 6) for packet in parts[1])]
    messages = video("/a", "cdr", FOXGLOVE, codec, packets)
    assert "change at frame 6" in wanted(tmp_path, messages, {}, {})


def test_a_video_with_a_lost_packet_is_not_copied(tmp_path: Path) -> None:
    packets = packets_of("h264", frames=20)
    messages = [message("/a", "cdr", FOXGLOVE, "h264", p, START + p.pts * PERIOD) for p in packets if p.pts != 7]
    assert "a packet is missing or damaged at frame 7" in wanted(tmp_path, messages, {}, {})


def test_a_video_whose_key_pictures_lack_their_parameters_begins_with_them(tmp_path: Path) -> None:
    """An encoder that sends its parameter sets once, in a message of their own."""
    packets = packets_of("h264", frames=20, gop=10)
    bare = []
    for packet in packets:
        kept = [unit for unit in units("h264", packet.data, stored=False) if unit[0] & 31 not in (6, 7, 8)]
        bare.append(packet._replace(data=b"".join(b"\0\0\0\1" + unit for unit in kept)))
    sets = [unit for unit in units("h264", packets[0].data, stored=False) if unit[0] & 31 in (7, 8)]
    first = Packet(b"".join(b"\0\0\0\1" + unit for unit in sets), -1, key=False)
    messages = video("/a", "cdr", FOXGLOVE, "h264", [first, *bare])
    path = record(tmp_path / "bag", "mcap", messages)
    config = config_of(
        path, {"a": {"topic": "/a"}}, {"film": {"use": "video", "options": {"out": "o", "codec": "copy"}}}
    )
    config["timeline"] |= {"start": f"{PERIOD} ns"}
    done = run(tmp_path, config)
    assert done.code == 0, done
    _, found, _ = stored(tmp_path / "o" / "bag.a.mp4")
    whole = [units("h264", packet.data, stored=True) for packet in found]
    assert whole[0] == sets + units("h264", bare[0].data, stored=False)
    assert whole[1:] == [units("h264", packet.data, stored=False) for packet in bare[1:]]
    with av.open(str(tmp_path / "o" / "bag.a.mp4")) as file:
        images = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    right = decoded("h264", packets)
    assert all(np.array_equal(image, right[n]) for n, image in enumerate(images))
    assert len(images) == 20
