"""A wish → a recording to try the system on: a small robot that stacks blocks, or a workload to measure."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.demo.record import Workload, make, tabletop
    from streamer.demo.scene import depth, frame, gripper_command, joint_angles

__all__ = ["Workload", "depth", "frame", "gripper_command", "joint_angles", "make", "tabletop"]

_RECORD = ("Workload", "make", "tabletop")


def __getattr__(name: str) -> object:
    """Import a public name on first use: OpenCV and rosbags take a second to load."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module = import_module(f"{__name__}.{'record' if name in _RECORD else 'scene'}")
    value: object = getattr(module, name)
    return value
