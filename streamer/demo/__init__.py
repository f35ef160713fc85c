"""A wish → a recording to try the system on: a small robot that stacks blocks, or a workload to measure."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.demo.record import Workload, make, tabletop
    from streamer.demo.scene import depth, frame, gripper_command, joint_angles
    from streamer.demo.takes import trials, write_config

__all__ = [
    "Workload",
    "depth",
    "frame",
    "gripper_command",
    "joint_angles",
    "make",
    "tabletop",
    "trials",
    "write_config",
]

_ELSEWHERE = {"Workload": "record", "make": "record", "tabletop": "record", "trials": "takes", "write_config": "takes"}


def __getattr__(name: str) -> object:
    """Import a public name on first use: OpenCV and rosbags take a second to load."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module = import_module(f"{__name__}.{_ELSEWHERE.get(name, 'scene')}")
    value: object = getattr(module, name)
    return value
