"""A dataset and episodes that do not fit to it → the difference in words, and nothing of what is the same."""

from __future__ import annotations

from consumers.lerobot.features import features_differ

STATE = {"dtype": "float32", "shape": [6], "names": ["a", "b", "c", "d", "e", "f"]}
FRONT = {"dtype": "video", "shape": [240, 320, 3], "names": ["height", "width", "channels"]}


def test_features_that_are_the_same_are_not_told() -> None:
    there = {"observation.state": STATE, "observation.images.front": FRONT, "action": STATE}
    new = {"observation.state": STATE, "observation.images.front": FRONT | {"shape": [480, 640, 3]}, "speed": STATE}
    assert list(features_differ(there, there)) == []
    assert list(features_differ(there, new)) == [
        "it has action",
        "it has no speed",
        "observation.images.front has shape [240, 320, 3], and [480, 640, 3] here",
    ]
