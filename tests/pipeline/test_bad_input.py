"""Every mistake is one clear message with the value found and what to do, and its exit code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.pipeline.driver import Run, digests, run

if TYPE_CHECKING:
    from collections.abc import Callable

Config = dict[str, Any]


def set_to(path: str, value: object) -> Callable[[Config], None]:
    """Return a change of one setting."""

    def change(config: Config) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


def cut(config: Config) -> None:
    whole = Path(config["source"]["path"]).read_bytes()
    Path("cut.bag").write_bytes(whole[: len(whole) // 2])
    config["source"]["path"] = "cut.bag"


def text(config: Config) -> None:
    Path("notes.bag").write_text("not a bag at all\n")
    config["source"]["path"] = "notes.bag"


def empty(config: Config) -> None:
    Path("empty.bag").touch()
    config["source"]["path"] = "empty.bag"


def blocked(config: Config) -> None:
    Path("file").touch()
    config["consumers"]["digest"]["options"]["out"] = "file/digest.json"


MISTAKES: dict[str, tuple[Callable[[Config], None], int, list[str]]] = {
    "missing file": (set_to("source.path", "gone.bag"), 65, ["gone.bag", "no such file"]),
    "no match": (set_to("source.path", "*.bagg"), 65, ["*.bagg", "no recording matches"]),
    "empty file": (empty, 65, ["empty.bag", "is empty"]),
    "text named .bag": (text, 65, ["notes.bag", "not a recording", "not a bag"]),
    "cut bag": (cut, 65, ["cut.bag", "cut off"]),
    "missing topic": (
        set_to("streams.camera.topic", "/camera_0/image_raw/compresed"),
        78,
        ["streams.camera.topic", "did you mean '/camera_0/image_raw/compressed'", "/joints_0"],
    ),
    "wrong field": (
        set_to("streams.joints.field", "positions"),
        78,
        ["positions", "did you mean 'position'", "velocity (float64[])"],
    ),
    "text field": (set_to("streams.joints.field", "name"), 78, ["'name'", "is no number (string)", "position"]),
    "slice too far": (set_to("streams.joints.field", "position[12:26]"), 78, ["position[12:26]", "7 values"]),
    "no field": (set_to("streams.joints", {"topic": "/joints_0"}), 78, ["no number", "position (float64[])"]),
    "pool too small": (set_to("pool", "10 kB"), 78, ["pool: 10 kB", "one frame", "camera 120x160x3 uint8 = 57.6 kB"]),
    "unknown consumer": (set_to("consumers.digest.use", "cheksum"), 78, ["'cheksum'", "did you mean 'checksum'"]),
    "unknown module": (set_to("consumers.digest.use", "nowhere:Name"), 78, ["nowhere", "cannot be imported"]),
    "unknown name": (
        set_to("consumers.digest.use", "tests.pipeline.probes:Nothing"),
        78,
        ["probes", "has no 'Nothing'"],
    ),
    "no consumer": (
        set_to("consumers.digest.use", "tests.pipeline.probes:NOT_CALLABLE"),
        78,
        ["neither a class nor a function"],
    ),
    "unknown option": (
        set_to("consumers.digest.options", {"oud": "digest.json"}),
        78,
        ["consumers.digest.options", "no option 'oud'", "did you mean 'out'"],
    ),
    "missing option": (set_to("consumers.digest.options", {}), 78, ["missing", "'out'"]),
    "bad option": (
        set_to("consumers.digest", {"use": "preview", "options": {"out": "out", "frames": 0}}),
        78,
        ["frames is at least 1"],
    ),
    "blocked output": (blocked, 73, ["consumer digest", "cannot write", "file"]),
    "unknown key": (set_to("streams.camera.resiz", [4, 4]), 78, ["config.yaml:", "resiz", "did you mean 'resize'"]),
    "faster than the camera": (set_to("timeline.rate", "60 Hz"), 78, ["60 Hz", "from: grid"]),
    "header clock without header": (
        set_to("streams.joints", {"topic": "/joints_0", "field": "position", "clock": "neither"}),
        78,
        ["streams.joints.clock", "'neither'"],
    ),
    "no sample": (
        set_to("streams.joints.tolerance", "1 us"),
        65,
        ["streams.joints", "no sample for", "missing: skip", "tolerance is 1 µs"],
    ),
    "linear image": (set_to("streams.camera.align", "linear"), 78, ["streams.camera.align", "vectors"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_message_and_can_be_mended(
    tmp_path: Path, config: Config, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    right = yaml.safe_load(yaml.safe_dump(config))
    change, code, words = MISTAKES[mistake]
    change(config)
    finished = run(tmp_path, config)
    assert finished.code == code, finished
    for word in words:
        assert word in finished.err, finished
    assert "Traceback" not in finished.err + finished.out, finished
    assert finished.err.count("streamer: ") == 1, finished
    assert "digest.json" not in finished.out  # no output is offered that this run did not finish
    assert not (tmp_path / "digest.json").exists()
    assert not list(tmp_path.glob("*.tmp"))
    assert not (tmp_path / ".streamer" / "reader.sock").exists()
    if mistake in ("missing file", "wrong field", "blocked output", "pool too small", "unknown option"):
        mended = run(tmp_path, right, "--resume")
        assert mended.code == 0, mended
        assert digests(tmp_path / "digest.json")["frames"] == 40


def test_two_streams_of_one_name_are_told_with_their_lines(tmp_path: Path, config: Config) -> None:
    text = yaml.safe_dump(config, sort_keys=False).replace("  joints:", "  camera:")
    (tmp_path / "config.yaml").write_text(text)
    with Run(tmp_path, "run", "config.yaml") as running:
        finished = running.end()
    assert finished.code == 78, finished
    assert "'streams.camera' stands here twice" in finished.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run"], 64, ["CONFIG"]),
        (["run", "nowhere.yaml"], 78, ["nowhere.yaml", "cannot be read"]),
        (["run", "config.yaml", "--resume", "--restart"], 64, ["--resume", "--restart"]),
        (["run", "config.yaml", "chunk_size"], 78, ["'chunk_size' is not an override"]),
        (["fly"], 64, ["fly"]),
        (["info", "nowhere.bag"], 65, ["nowhere.bag", "no such file"]),
    ],
)
def test_the_command_line_is_checked(
    tmp_path: Path, config: Config, arguments: list[str], code: int, words: list[str]
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with Run(tmp_path, *arguments) as running:
        finished = running.end()
    assert finished.code == code, finished
    assert all(word in finished.err for word in words), finished
    assert "Traceback" not in finished.err


@pytest.fixture
def damaged(tmp_path: Path, config: Config) -> Config:
    """Return the configuration on a copy of the recording in which one picture in use is damaged."""
    path = Path(shutil.copy(config["source"]["path"], tmp_path / "damaged.bag"))
    content = bytearray(path.read_bytes())
    start = -1
    for _ in range(31):  # the timeline takes every third picture
        start = content.index(b"\xff\xd8\xff", start + 1)
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    config["source"]["path"] = str(path)
    return config


def test_a_damaged_picture_ends_the_run_and_can_be_left_out(tmp_path: Path, damaged: Config) -> None:
    failed = run(tmp_path, damaged)
    assert failed.code == 65, failed
    assert "streams.camera: message 30, needed for frame 10" in failed.err
    assert "undecodable: skip" in failed.err
    assert "Traceback" not in failed.err
    assert failed.report["error"]["kind"] == "DecodeError"
    assert failed.report["consumers"]["digest"]["generations"] == 1  # a successor would wait for a reader in vain
    again = run(tmp_path, damaged, "--resume", "streams.camera.undecodable=skip")
    assert again.code == 0, again
    frames = again.report["frames"]
    assert frames == {"planned": 40, "delivered": 39, "skipped": {"undecodable camera": 1}, "remaining": 0}
    assert digests(tmp_path / "digest.json")["frames"] == 39


def test_a_damaged_picture_can_be_none(tmp_path: Path, damaged: Config) -> None:
    damaged["streams"]["camera"]["undecodable"] = "none"
    finished = run(tmp_path, damaged)
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json")["frames"] == 40


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", ["consumer bad", "on_frame, frame 3", "KeyError", "upside down", "bad.log"]),
        ("exit", ["consumer bad", "SystemExit"]),
        ("keep", ["consumer bad", "stream 'camera' of frame 3", "copy()"]),
        ("write", ["consumer bad", "read-only"]),
        ("state", ["consumer bad", "cannot be stored"]),
        ("kill", ["consumer bad", "its own code sent it SIGKILL", "at frame 3"]),
    ],
)
def test_a_consumer_that_fails_each_time_ends_the_run_with_its_name(
    tmp_path: Path, config: Config, how: str, words: list[str]
) -> None:
    config["consumers"]["bad"] = {"use": "tests.pipeline.probes:Faulty", "options": {"how": how}}
    finished = run(tmp_path, config)
    assert finished.code == 70, finished
    last = finished.err.strip().splitlines()[-1]
    assert all(word in last for word in words), finished
    assert "Traceback" not in finished.err + finished.out
    if how == "raise":
        assert "Traceback" in (tmp_path / ".streamer" / "logs" / "bad.log").read_text()


def test_a_consumer_that_fails_can_be_isolated(tmp_path: Path, config: Config) -> None:
    config["consumers"]["bad"] = {
        "use": "tests.pipeline.probes:Faulty",
        "options": {"how": "keep"},
        "on_failed": "isolate",
    }
    finished = run(tmp_path, config)
    assert finished.code == 70, finished  # said, though the others are complete
    assert digests(tmp_path / "digest.json")["frames"] == 40
