"""Frames → a LeRobot v3.0 dataset, to which every recording adds its episodes."""

from consumers.lerobot.consumer import LeRobot

__all__ = ["LeRobot"]
