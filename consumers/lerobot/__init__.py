"""Frames → a LeRobot dataset, to which every recording adds its episodes."""

from consumers.lerobot.consumer import LeRobot

__all__ = ["LeRobot"]
