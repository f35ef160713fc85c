"""Runs in an environment with ``lerobot``: changes a dataset with its own tools, tells what it reads, trains on it.

``python real_lerobot.py edit TOOL ROOT RESULT`` and ``python real_lerobot.py read ROOT``, which prints JSON.
"""
# mypy: ignore-errors

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

COUNTED = ("timestamp", "frame_index", "episode_index", "index", "task_index")
SECONDS = [-0.1, 0.0, 0.1]


try:
    from lerobot.datasets.dataset_tools import delete_episodes, merge_datasets, modify_tasks, split_dataset
except ImportError:  # 0.3, which has no tools and reads v2.1
    delete_episodes = merge_datasets = modify_tasks = split_dataset = None


def opened(root: Path, **more: Any) -> LeRobotDataset:
    return LeRobotDataset("me/dataset", root=root, video_backend="pyav", **more)


def like(dataset: LeRobotDataset, number: int) -> dict[str, Any]:
    """Make a frame that fits a dataset; the elements of its vectors are 100 and the number."""
    frame: dict[str, Any] = {"task": "Recorded"}
    for key, feature in dataset.features.items():
        shape = tuple(feature["shape"])
        if feature["dtype"] in ("image", "video"):
            depth = shape[2] == 1
            frame[key] = np.full(shape, 1000 + number if depth else 10 * number, np.uint16 if depth else np.uint8)
        elif key not in COUNTED:
            frame[key] = np.full(shape, 100 + number, feature["dtype"])
    return frame


def record(dataset: LeRobotDataset, frames: int) -> None:
    for number in range(frames):
        dataset.add_frame(like(dataset, number))
    dataset.save_episode()
    dataset.finalize()


def resume(root: Path, _: Path) -> None:
    record(LeRobotDataset.resume("me/dataset", root=root) if hasattr(LeRobotDataset, "resume") else opened(root), 6)


def merge(root: Path, result: Path) -> None:
    """Merge with a dataset that lies beside, or that this version of the package records itself."""
    first, other = opened(root), Path(f"{result}.own")
    if not other.exists():
        features = {
            key: {k: v for k, v in feature.items() if feature["dtype"] == "image" or k != "info"}
            for key, feature in first.features.items()
        }
        record(LeRobotDataset.create("me/own", first.fps, features, root=other, robot_type=first.meta.robot_type), 6)
    merge_datasets([first, opened(other)], "me/dataset", output_dir=result)


def convert(root: Path, _: Path) -> None:
    """Bring a dataset from v2.1 to v3.0, in its place."""
    try:
        from lerobot.scripts.convert_dataset_v21_to_v30 import convert_dataset  # 0.6
    except ImportError:
        from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset

        convert_dataset(root.name, root=root.parent, push_to_hub=False)
    else:
        convert_dataset("me/dataset", root=root, push_to_hub=False)


EDITS = {
    "convert": convert,
    "delete": lambda root, result: delete_episodes(opened(root), [1], output_dir=result, repo_id="me/dataset"),
    "split": lambda root, result: split_dataset(opened(root), {"train": [0, 2]}, output_dir=result),
    "tasks": lambda root, _: modify_tasks(opened(root), episode_tasks={0: "Changed"}),
    "resume": resume,
    "merge": merge,
}


def rows(root: Path) -> int | None:
    """Return how many rows ``datasets`` finds by the card; what a converter makes has none."""
    if not (root / "README.md").exists():
        return None
    return len(datasets.load_dataset(str(root), split="train", cache_dir=str(root / ".rows")))


def read(root: Path) -> dict[str, Any]:
    """Return what a training sees: every item, then batches of a loader with workers and windows of time."""
    dataset = opened(root)
    items = [dataset[n] for n in range(len(dataset))]
    tensors = {key: value for key, value in items[0].items() if isinstance(value, torch.Tensor)}
    vectors = [key for key, value in tensors.items() if value.dim() == 1]
    pictures = [key for key, value in tensors.items() if value.dim() == 3]
    windows = opened(root, delta_timestamps=dict.fromkeys(vectors, SECONDS))
    loader = torch.utils.data.DataLoader(windows, batch_size=4, num_workers=2)
    return {
        "episodes": [item["episode_index"].item() for item in items],
        "index": [item["index"].item() for item in items],
        "tasks": [item["task"] for item in items],
        "states": [item["observation.state"].tolist() for item in items],
        "windows": torch.cat([batch["observation.state"] for batch in loader]).tolist(),
        "means": {key: [item[key].float().mean().item() for item in items] for key in pictures},
        "stats": {key: np.ravel(dataset.meta.stats[key]["mean"]).tolist() for key in (*pictures, *vectors)},
        "rows": rows(root),
        "count": int(np.ravel(dataset.meta.stats["observation.state"]["count"])[0]),
    }


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "read":
        sys.stdout.write(json.dumps(read(Path(arguments[0]))) + "\n")
    else:
        EDITS[arguments[0]](Path(arguments[1]), Path(arguments[2]))
    sys.stdout.flush()
    os._exit(0)  # at a proper exit, a thread of 0.4.4's libraries now and then ends the process by SIGABRT
