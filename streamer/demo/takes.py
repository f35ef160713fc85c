"""A wish → a recording of several trials of the demo robot, pressed record once, and the configuration that cuts it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from streamer.demo import files, messages, motion, scene
from streamer.demo.record import JPEG_FORMAT, START, Topic, jittered, jpeg, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


_SECOND: Final = 10**9  # ns
_MS: Final = 10**6  # ns
_SIZE: Final = (320, 240)
_REST: Final = 1.2  # seconds between two trials, in which the robot rests and nobody counts
_IDLE: Final = 0.6  # seconds from the marker to the first movement, and from the last movement to the marker
_LOST: Final = 0.6  # seconds for which the camera of one trial is silent
_EDGES: Final = (0.0, 3.4, 8.0, 11.2, 15.1, motion.PERIOD)  # of the moves in the script of the robot
_TASKS: Final = (
    "put the red block on the green one",
    "put the yellow block on top",
    "take the yellow block off",
    "put the red block back",
    "put the yellow block back",
)
_FATES: Final = ("", "", "", "aborted", "failed", "camera lost", "started twice", "dark", "idle", "")


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: seconds from the beginning at which it is marked, moves and ends, and what becomes of it.

    ``script`` is where the robot's script stands when it begins to move.
    """

    start: float
    moves: float
    rests: float
    stop: float
    script: float
    task: str
    fate: str

    @property
    def middle(self) -> float:
        """Half of its way."""
        return (self.moves + self.rests) / 2


def plan_trials(count: int) -> list[Trial]:
    """Decide what the robot does, trial by trial; of ten in a row one each goes wrong in some way (``fate``)."""
    found, at, script, move = [], 1.0, 0.0, 0
    for number in range(count):
        fate = _FATES[number % len(_FATES)]
        length = _EDGES[move + 1] - _EDGES[move]
        moves = at + _IDLE
        rests = moves + (0.0 if fate == "idle" else length)
        stop = rests + (2.0 if fate == "idle" else _IDLE)
        task = "wait" if fate == "idle" else _TASKS[move]
        found.append(Trial(at, moves, rests, stop, script, task, fate))
        if fate != "idle":
            script, move = script + length, (move + 1) % len(_TASKS)
        at = stop + _REST
    return found


def trials(path: Path, *, count: int = 10, seed: int = 7) -> None:
    """Record the demo robot in several trials into one ROS 1 bag, with a rest after each.

    A JPEG camera (320x240, 15 Hz), six joints (100 Hz), a String on ``/trial`` (``start: <task>``, ``stop``,
    ``abort``) and one on ``/verdict`` (``success``, ``failure``).

    Args:
        path: The bag to write.
        count: How many trials.
        seed: Changes jitter and latency, never the pictures at a given instant.

    Raises:
        ValueError: `count` is not positive.
        FileExistsError: There is something at `path`.
        OSError: It cannot be written; nothing is left of it.

    """
    if count <= 0:
        message = f"trials is {count}: it has to be more than 0"
        raise ValueError(message)
    planned = plan_trials(count)
    rng = np.random.default_rng([seed, 0])
    seconds = planned[-1].stop + _REST
    camera = jittered(15.0, seconds, rng, after=12 * _MS)
    for trial in planned:
        if trial.fate == "camera lost":
            lost = START + round(trial.middle * _SECOND)
            camera = camera[(camera < lost) | (camera >= lost + round(_LOST * _SECOND))]
    script = _Script(planned)
    topics = [
        _texts("/trial", _markers(planned)),
        _texts("/verdict", _verdicts(planned)),
        Topic("/joint_states", messages.JOINT_STATE, jittered(100.0, seconds, rng, after=9 * _MS), script.say_joints),
        Topic("/camera/image_raw/compressed", messages.COMPRESSED_IMAGE, camera, script.say_picture, encodes=True),
    ]
    write(path, topics, np.random.default_rng([seed, 1]))


def _markers(planned: list[Trial]) -> dict[int, str]:
    found = {}
    for trial in planned:
        found[_stamp(trial.start)] = f"start: {trial.task}"
        if trial.fate == "started twice":
            found[_stamp(trial.start + 0.5)] = f"start: {trial.task}"
        found[_stamp(trial.middle if trial.fate == "aborted" else trial.stop)] = (
            "abort" if trial.fate == "aborted" else "stop"
        )
    return found


def _verdicts(planned: list[Trial]) -> dict[int, str]:
    judged = (trial for trial in planned if trial.fate != "aborted")
    return {_stamp(t.stop + 0.4): "failure" if t.fate in {"failed", "idle"} else "success" for t in judged}


def _stamp(seconds: float) -> int:
    return START + round(seconds * _SECOND)


def _texts(name: str, said: dict[int, str]) -> Topic:
    def say(stamp: int) -> Callable[[], memoryview]:
        return partial(messages.ros1().text, said[stamp])

    return Topic(name, messages.STRING, np.array(sorted(said), np.int64), say)


class _Script:
    """What the robot does and the camera sees at a stamp: the script goes on while a trial moves, and rests between."""

    def __init__(self, planned: list[Trial]) -> None:
        self._seconds = [edge for trial in planned for edge in (trial.moves, trial.rests)]
        self._script = [at for t in planned for at in (t.script, t.script + t.rests - t.moves)]
        self._dark = [(_stamp(t.start), _stamp(t.stop)) for t in planned if t.fate == "dark"]

    def _at(self, stamp: int) -> float:
        return float(np.interp((stamp - START) / _SECOND, self._seconds, self._script))

    def say_joints(self, stamp: int) -> Callable[[], memoryview]:
        """Say where the joints are, how fast they move, which at rest is not at all, and what they bear."""
        at = self._at(stamp)
        position, speed, effort = motion.joint_motion(at)
        moves = self._at(stamp + 1) > at
        joints = messages.Joints(motion.JOINTS, position, speed if moves else np.zeros_like(speed), effort)
        return partial(messages.ros1().joint_state, stamp, joints)

    def say_picture(self, stamp: int) -> Callable[[], memoryview]:
        """Show the robot; in the dark trial, what a camera sees behind its cap."""
        pixels = scene.frame(self._at(stamp), 0, _SIZE)
        if any(low <= stamp < high for low, high in self._dark):
            pixels = pixels // 64
        return lambda: messages.ros1().compressed(stamp, "cam_front", JPEG_FORMAT, jpeg(_plain(pixels)))


def _plain(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels, np.uint8)


CONFIG: Final = """\
# Cuts {name} into its trials and writes each as an episode.
#
#   streamer episodes {config} --plot trials.png
#   streamer run {config}

source: {{path: {name}}}
timeline: {{from: front, rate: 10 Hz}}

episodes:
  from: {{topic: /trial, start: "start*", stop: stop, discard: abort, task: data, label: /verdict}}
  min: 1 s
  trim: {{still: joints, below: 0.01}}   # idle ends are cut off

quality: {{max_gap: 200 ms, max_held: 10 %, black: 5, still: 80 %, on_low: flag}}   # or drop

streams:
  front:  {{topic: /camera/image_raw/compressed}}
  joints: {{topic: /joint_states, field: position}}

consumers:
  preview:  {{options: {{out: out}}}}
  checksum: {{options: {{out: "out/{{episode}}.json"}}}}
"""


def write_config(path: Path, recording: Path) -> None:
    """Write the configuration that cuts such a recording, which lies beside it.

    Raises:
        FileExistsError: There is something at `path`.
        OSError: It cannot be written; nothing is left of it.

    """
    with files.fresh(path) as draft:
        draft.write_text(CONFIG.format(name=recording.name, config=path.name), encoding="utf-8")
