"""Bytes on the socket that no consumer of ours would send: dropped and counted, and nobody else notices."""

from __future__ import annotations

import socket
import stat
import struct
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import zmq

from tests.faults.harness import MISFITS, Config, let_go, reached
from tests.pipeline.driver import digests, run, start

if TYPE_CHECKING:
    from pathlib import Path

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
IDENTITIES = [b"a", b"a/1", b"a/1/" + b"0" * 32, b"digest/1/" + b"f" * 32, bytes([1, 2, 3])]
SAID: list[object] = [[1], [2, list(range(60))], [3, 3, None], [4], [5, [17]], [99], "text", {}, 2**63]
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"


def say(endpoint: str, *pieces: bytes) -> None:
    """Send bytes over a plain connection, as one that is no ZeroMQ."""
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(endpoint)
        try:
            for piece in pieces:
                plain.sendall(piece)
        except OSError:
            return  # it was hung up on


def test_strangers_on_the_socket_are_dropped_and_counted(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    config["consumers"]["a"] = {
        "use": f"{MISFITS}Waiting",
        "options": {"out": "a.json", "places": ["on_frame 17"]},
    }
    rng = np.random.default_rng(4)
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        assert stat.S_IMODE((tmp_path / ".streamer").stat().st_mode) == 0o700
        path = str(tmp_path / ".streamer" / "reader.sock")
        for size in (1, 10, 64, 5000):
            say(path, rng.bytes(size))
            say(path, GREETING, rng.bytes(size))
        for length in (2**26, 2**40, 2**63 - 1, 2**64 - 1):
            say(path, GREETING, READY, b"\x02" + struct.pack(">Q", length), bytes(100))  # a frame of that length
        with zmq.Context() as context:  # its end waits until all is sent
            for identity in IDENTITIES:
                with context.socket(zmq.DEALER) as stranger:
                    stranger.setsockopt(zmq.ROUTING_ID, identity)
                    stranger.setsockopt(zmq.LINGER, 30000)
                    stranger.connect(f"ipc://{path}")
                    for said in SAID:
                        stranger.send(msgpack.packb(said))
        let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code == 0, finished
    assert finished.report["reader"]["rejected"] >= len(IDENTITIES) * len(SAID)
    assert {c["restarts"]["crash"] for c in finished.report["consumers"].values()} == {0}
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "a.json") == expected


def test_a_consumer_that_sends_nonsense_in_its_own_name_harms_nobody_and_itself_as_little(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    """It acks frames that it does not hold, commits chunks that it was not shown, and says that it has closed."""
    config["consumers"]["bad"] = {"use": f"{MISFITS}Hostile", "options": {"out": "bad.json"}}
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    assert finished.report["reader"]["rejected"] > 60 * 10
    assert finished.report["consumers"]["bad"]["restarts"]["crash"] == 0
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "bad.json") == expected


def test_a_second_run_in_the_folder_is_told_to_wait_and_changes_nothing_there(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    (tmp_path / ".streamer").mkdir()
    (tmp_path / ".streamer").chmod(0o755)  # as somebody else made it
    config["consumers"]["a"] = {
        "use": f"{MISFITS}Waiting",
        "options": {"out": "a.json", "places": ["on_frame 17"]},
    }
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        assert stat.S_IMODE((tmp_path / ".streamer").stat().st_mode) == 0o700
        for arguments in ([], ["--restart"], ["--resume"]):
            second = run(tmp_path, config, *arguments)
            assert second.code == 75, second
            assert "in use by another run" in second.err
        let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "a.json") == expected
