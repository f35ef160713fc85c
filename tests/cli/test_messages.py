"""Mistakes as a set: each is a message with what was found, what was expected and what to do; its exit code; no trace.

Found in what is typed, in a configuration, in a recording and on the machine; in a folder whose name has a space and
an umlaut.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.pipeline.driver import ROOT, Run, wait_until

if TYPE_CHECKING:
    from tests.cli.conftest import Command
    from tests.pipeline.driver import Finished

GOOD = """\
source: {path: "drive ü.bag"}
timeline: {from: camera, rate: 10 Hz}
chunk_size: 5
streams:
  camera: {topic: /camera_0/image_raw/compressed}
  joints: {topic: /joints_0, field: position}
consumers:
  digest: {use: checksum, options: {out: digest.json}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_bag: Path) -> Path:
    """Return a folder with a recording, a configuration, and what people take for these."""
    folder = tmp_path_factory.mktemp("mit Leerzeichen und ü")
    shutil.copy(small_bag, folder / "drive ü.bag")
    content = small_bag.read_bytes()
    (folder / "cut.bag").write_bytes(content[: len(content) // 2])
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (folder / "empty.bag").touch()
    (folder / "nothing").mkdir()
    (folder / "good.yaml").write_text(GOOD)
    (folder / "list.yaml").write_text("- source\n")
    (folder / "broken.yaml").write_text("source: {path: a.bag\nstreams: {}\n")
    return folder


def plain(finished: Finished) -> str:
    """Return what was said, without the frames that typer draws around its messages."""
    assert "Traceback" not in finished.err + finished.out, finished
    return " ".join(re.sub("[│╭╮╰╯─]", " ", finished.err).split())


TYPED = [
    # what is typed
    ("runn good.yaml", 64, ["No such command 'runn'", "Did you mean 'run'?"]),
    ("run", 64, ["Missing argument 'CONFIG'", "streamer run -h says"]),
    ("run good.yaml --resme", 64, ["No such option: --resme", "--resume"]),
    (
        "run good.yaml --resume --restart",
        64,
        ["--resume continues", "--restart and --again forget", "give one of them"],
    ),
    ("run good.yaml --report none/r.json", 73, ["--report", "none/r.json", "folder does not exist"]),
    ("run good.yaml chunk_size", 78, ["'chunk_size' is not an override", "key.path=value", "chunk_size=50"]),
    ("demo make x.bag --size 3", 64, ["--size: '3'", "two numbers like 848x480"]),
    ("demo make cut.bag/x.bag --seconds 0.1", 73, ["cut.bag/x.bag", "cannot be written", "File exists"]),
    ("bench cut.bag --methods fast", 64, ["--methods: 'fast'", "full, chunked, process, stream, limit"]),
    ("plan good.yaml --csv absent/x.csv", 73, ["absent/x.csv", "cannot be written"]),
    ("report none", 64, ["none", "cannot be read", "a run writes it into its work folder"]),
    ("top none --once", 64, ["none", "no run has left its status there", "name the work folder"]),
    # what is no configuration
    ("check gone.yaml", 78, ["gone.yaml", "cannot be read: No such file", "'streamer init RECORDING' writes"]),
    ("check nothing", 65, ["nothing", "holds no recording"]),
    ("check picture.png", 78, ["picture.png", "no text in UTF-8", "'streamer init RECORDING' writes"]),
    ("check list.yaml", 78, ["list.yaml", "should be a mapping (key: value), it is a list"]),
    ("check broken.yaml", 78, ["broken.yaml:2", "not valid YAML"]),
    # what is no recording
    ("info gone.bag", 65, ["gone.bag", "no such file or folder"]),
    ("init empty.bag -o -", 65, ["empty.bag", "the file is empty"]),
    ("info picture.png", 65, ["picture.png", "not a recording", "PNG", "no ROS 1 bag, MCAP or rosbag2"]),
    ("info nothing", 65, ["nothing", "holds no recording", "no metadata.yaml, no *.bag"]),
    ("info *.mcap", 65, ["no recording matches '*.mcap'"]),
    ("init cut.bag -o -", 65, ["cut.bag", "is cut off", "--salvage"]),
    ("run good.yaml source.path=nothing", 65, ["nothing", "holds no recording"]),
    ("run good.yaml source.path=*.mcap", 65, ["no recording matches '*.mcap'"]),
]


@pytest.mark.parametrize(("typed", "code", "words"), TYPED, ids=[typed for typed, _, _ in TYPED])
def test_a_mistake_on_the_command_line_is_one_message(
    commands: Command, folder: Path, typed: str, code: int, words: list[str]
) -> None:
    finished = commands(folder, *typed.split())
    assert finished.code == code, finished
    said = plain(finished)
    assert all(word in said for word in words), said
    assert not finished.out


# (line that is changed, what it becomes, what is said of it)
WRITTEN = [
    ("timeline:", "timline: {from: camera}", ["timline: unknown key; did you mean 'timeline'?"]),
    ("chunk_size:", "chunk_size: ten", ["chunk_size: should be a whole number, it is 'ten'"]),
    ("  camera:", "  camera: {topic: /c, align: neerest}", ["'previous', 'linear' or 'mean', it is 'neerest'; did"]),
    ("  joints:", "  joints: {topic: /j, tolerance: 50 msec}", ["unknown unit 'msec'", "ns, us, µs, ms, s, min, h"]),
    ("  joints:", "  joints: {topic: /j, tolerance: 50}", ["50 is not a duration", "such as '50 ms'"]),
    (
        "  joints:",
        "  joints: {topic: /j, feild: position}",
        ["streams.joints.feild: unknown key; did you mean 'field'?"],
    ),
    ("  camera:", "  camera: {topic: /c, resize: 3}", ["streams.camera.resize: should be a list, it is 3"]),
    ("  camera:", "  camera: 3", ["streams.camera: should be a group of settings (key: value), it is 3"]),
    ("  digest:", "  digest: {recycle: {chunks: 0}}", ["recycle.chunks: should be at least 1, it is 0"]),
    ("  digest:", "  digest: {recycle: {chunk: 3}}", ["consumers.digest.recycle.chunk: unknown key; did you mean"]),
    ("  digest:", "  digest: {trace_malloc: si}", ["trace_malloc: should be true or false, it is 'si'"]),
    ("source:", "source: {path: []}", ["source.path: should be at least 1 entry, it is []"]),
]


def test_a_mistake_in_a_configuration_is_told_with_its_line(commands: Command, folder: Path) -> None:
    """All of a file's mistakes are told at once, so a few commands tell all of these."""
    left = list(WRITTEN)
    while left:
        lines, at = GOOD.splitlines(), {}
        for line, text, words in list(left):
            number = next((n for n, have in enumerate(lines) if have == GOOD.splitlines()[n] and line in have), None)
            if number is not None:
                lines[number], at[number + 1] = text, words
                left.remove((line, text, words))
        (folder / "bad.yaml").write_text("\n".join(lines))
        finished = commands(folder, "check", "bad.yaml")
        assert finished.code == 78, finished
        plain(finished)
        said = [line for line in finished.out.splitlines() if line.startswith("error: ")]
        for number, words in at.items():  # beside them what a run over the recording would say
            of_line = [line for line in said if f"bad.yaml:{number}: " in line]
            assert any(all(word in line for word in words) for line in of_line), finished


OPTIONS = {  # of each built-in consumer: such that do not exist, of a wrong type, of a wrong value, missing
    "preview": [
        ("{out: out, frmes: 3}", ["takes no option 'frmes'; did you mean 'frames'?", "It takes: out, frames, width"]),
        ("{out: 3}", ["options.out: ", "wants out to be a text, and it is 3"]),
        ("{out: out, frames: 0}", ["options.frames: frames is at least 1", "not 0"]),
        ("{}", ["missing a required argument: 'out'", "It takes: out, frames, width"]),
    ],
    "stats": [("{out: out, plot: please}", ["wants plot to be true or false, and it is 'please'"])],
    "checksum": [("{out: [a]}", ["wants out to be a text, and it is ['a']"])],
    "null": [("{out: out}", ["takes no option 'out'", "It takes: no options"])],
    "parquet": [
        ("{out: out, compression: zip}", ["zstd, snappy, gzip, lz4, none", "not 'zip'"]),
        ("{out: out, layout: tall}", ["wide, list", "not 'tall'"]),
    ],
    "csv": [("{out: out, layout: list}", ["takes no option 'layout'", "It takes: out"])],
    "zarr": [("{out: out, streams: head}", ["wants streams to be a list (of a text), and it is 'head'"])],
    "hdf5": [("{out: out, layout: aloha, features: {action: joints}}", ["the layout aloha needs 'observations/qpos'"])],
    "video": [
        ("{out: out, rate: slow}", ["rate is constant or variable, not 'slow'"]),
        ("{out: out, quality: high}", ["wants quality to be a whole number, and it is 'high'"]),
    ],
    "lerobot": [
        ("{out: out, task: t}", ["missing a required argument: 'features'"]),
        ("{out: out, task: t, features: [head]}", ["wants features to be a mapping", "it is ['head']"]),
        ("{out: out, task: t, features: {a: camera}, images: gif}", ["images", "'gif'"]),
    ],
    "previe": [("{out: out}", ["there is no consumer 'previe'; did you mean 'preview'?", "'module:Name'"])],
    "mine:Frames": [("{}", ["'mine:Frames' cannot be imported: No module named 'mine'"])],
}


def test_what_a_consumer_does_not_take_is_told_with_its_line_before_anything_starts(
    commands: Command, folder: Path
) -> None:
    cases = [(use, options, words) for use, listed in OPTIONS.items() for options, words in listed]
    lines = [f"  c{n}: {{use: '{use}', options: {options}}}" for n, (use, options, _) in enumerate(cases)]
    good = GOOD.splitlines()[:-1]
    (folder / "options.yaml").write_text("\n".join([*good, *lines]))
    checked = commands(folder, "check", "options.yaml")
    assert checked.code == 78, checked
    plain(checked)
    for n, (_, _, words) in enumerate(cases):
        (said,) = [line for line in checked.out.splitlines() if f"options.yaml:{len(good) + n + 1}: " in line]
        assert f"consumers.c{n}." in said
        assert all(word in said for word in words), said
    assert f"{len(cases)} errors" in checked.out
    (folder / "one.yaml").write_text("\n".join([*good, "  digest: {use: preview, options: {out: seen}}"]))
    ran = commands(folder, "run", "one.yaml", "consumers.digest.options.width=wide")
    assert ran.code == 78, ran
    assert "streamer: the command line: consumers.digest.options.width: 'preview' wants width to be" in ran.err
    assert not (folder / "seen").exists()
    plain(ran)


def test_an_extra_that_is_missing_is_named(folder: Path) -> None:
    """A library is hidden, as it would be where it was never installed."""
    hidden = dict.fromkeys(("av", "pyarrow", "zarr", "h5py", "matplotlib"))
    hide = f"import sys; sys.modules.update({hidden}); "
    uses = ["video", "parquet", "zarr", "hdf5", "lerobot"]
    lines = [f"  {use}: {{options: {{out: out}}}}" for use in uses[:-2]]
    lines.append("  hdf5: {options: {out: out, layout: robomimic, features: {actions: joints}}}")
    lines.append("  lerobot: {options: {out: out, task: t, features: {action: joints}}}")
    (folder / "extras.yaml").write_text("\n".join([*GOOD.splitlines()[:-1], *lines]))
    program = [sys.executable, "-c", f"{hide}from streamer.cli import main; main()"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments, told in ((["check", "extras.yaml"], uses), (["plan", "good.yaml", "--plot", "p.png"], ["plot"])):
        done = subprocess.run(
            [*program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == (78 if told is uses else 64), done
        for extra in told:
            assert f"pip install 'rosbag-streamer[{extra}]'" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


# ---- the machine


def test_folders_that_cannot_be_written_to_are_told_by_check_and_by_run(commands: Command, folder: Path) -> None:
    settings = ["workdir=/proc/none", "consumers.digest.options.out=/proc/none/digest.json"]
    checked = commands(folder, "check", "good.yaml", *settings)
    assert checked.code == 73, checked
    assert "workdir: /proc cannot be written to; name a folder that can" in checked.out
    assert "consumers.digest.options.out: /proc cannot be written to" in checked.out
    ran = commands(folder, "run", "good.yaml", settings[0])
    assert (ran.code, plain(ran)[:33]) == (73, "streamer: workdir: /proc/none can")
    wrote = commands(folder, "init", "drive ü.bag", "-o", "/proc/none.yaml")
    assert wrote.code == 73
    assert "/proc/none.yaml: cannot be written" in plain(wrote)


@pytest.mark.parametrize("typed", ["info drive_ü.bag", "schema", "plan good.yaml --json", "report work", "--help"])
def test_a_full_disk_behind_the_output_is_told_and_a_reader_that_went_is_no_mistake(
    commands: Command, folder: Path, typed: str
) -> None:
    (folder / "work").mkdir(exist_ok=True)
    (folder / "work" / "report.json").write_text(
        '{"recordings": [], "exit_code": 65, "error": null, "config": "c.yaml"}'
    )
    arguments = [part.replace("_", " ") for part in typed.split()]
    full = commands(folder, *arguments, out="/dev/full")
    assert (full.code, plain(full)) == (
        74,
        "streamer: standard output: cannot be written: No space left on device",
    )
    unread = commands(folder, *arguments, out="unread")
    assert (unread.code, unread.err) == (65 if typed.startswith("report") else 0, "")


def test_a_command_whose_output_is_closed_does_its_work(folder: Path) -> None:
    program = [sys.executable, "-c", "from streamer.cli import main; main()", "info", "drive ü.bag"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(closed, cwd=folder, env=environment, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("how", ["words", "lines"])
def test_a_run_goes_on_when_nobody_reads_what_it_says(folder: Path, how: str) -> None:
    arguments = ["good.yaml", f"workdir={how}", f"consumers.digest.options.out={how}.json"]
    with Run(folder, "run", *arguments, *(["--json-lines"] if how == "lines" else [])) as running:
        for stream in (running.process.stdout, running.process.stderr):
            assert stream is not None
            stream.close()
        running.process.stdout = running.process.stderr = None
        assert running.process.wait(60) == 0
    assert (folder / f"{how}.json").exists()


INTERRUPTED: dict[str, list[str]] = {
    "demo": ["make", "big.bag", "--seconds", "600"],
    "top": [".streamer", "--json"],
}


@pytest.mark.parametrize("verb", INTERRUPTED)
def test_ctrl_c_ends_a_command_with_75_and_without_a_trace(tmp_path: Path, verb: str) -> None:
    (tmp_path / "config.yaml").write_text(GOOD)
    (tmp_path / ".streamer").mkdir()
    mine = {"pid": os.getpid(), "began": psutil.Process().create_time(), "state": "opening", "config": "c.yaml"}
    (tmp_path / ".streamer" / "status.json").write_text(json.dumps(mine))
    with Run(tmp_path, verb, *INTERRUPTED[verb]) as running:
        if verb == "demo":
            wait_until(lambda: list(tmp_path.glob(".big*")), "the draft of the recording")
        else:
            assert running.process.stdout is not None
            assert running.process.stdout.readline()
        running.signal(signal.SIGINT)
        finished = running.end()
    assert finished.code == 75, finished
    plain(finished)
    assert not list(tmp_path.glob(".big*"))
