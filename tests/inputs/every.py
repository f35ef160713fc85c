"""All inputs, in the order of the table."""

from tests.inputs import Input
from tests.inputs.definitions import IDL, ROS1, ROS2
from tests.inputs.files import BAG, CHANNELS, MCAP, SQLITE

INPUTS: list[Input] = [*ROS2, *ROS1, *IDL, *CHANNELS, *MCAP, *SQLITE, *BAG]
