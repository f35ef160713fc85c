"""A topic → whether its last message holds for whoever comes later.

That is `latching` of ROS 1 (http://wiki.ros.org/Bags/Format/2.0) and the durability `transient_local` of ROS 2, which
rosbag2 writes down with the publishers' other policies.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.records import Topic

# of a profile in YAML or JSON: a name, or the number that rmw_qos_durability_policy_t gives it
_TRANSIENT_LOCAL = re.compile(r"""\bdurability["']?\s*:\s*["']?(?:transient_local|1)\b""", re.IGNORECASE)


def is_latched(topic: Topic) -> bool:
    """Tell whether one of a topic's publishers hands its last message to whoever comes later."""
    return any(
        channel.metadata.get("latching") == "1"
        or _TRANSIENT_LOCAL.search(channel.metadata.get("offered_qos_profiles", "")) is not None
        for channel in (topic, *topic.channels)
    )
