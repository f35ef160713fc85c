"""A dataset's ``info.json`` and origins → its card, ``README.md``: what the Hub and ``datasets`` read, and a person.

The head is that of ``create_lerobot_dataset_card`` (``lerobot/datasets/utils.py``, 0.6.1): with ``configs``,
``datasets.load_dataset`` reads the rows and nothing else. Besides, this module takes local folders out of origins.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumers.files import write_bytes
from consumers.lerobot.features import COUNTED, plain_names
from consumers.lerobot.layout import V21

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MARK = "<!-- written by rosbag-streamer; without this line it stays as it is -->"
_PATHS = frozenset({"path", "out", "workdir", "task_file", "done", "failed", "file", "folder"})


def write_card(root: Path, info: Mapping[str, Any], origins: Iterable[Mapping[str, Any]], license_: str | None) -> None:
    """Write the card; one that a person wrote, or has taken over, stays."""
    path = root / "README.md"
    if path.exists():
        before = path.read_text(encoding="utf-8")
        if _MARK not in before:
            return
        if license_ is None:  # as an earlier run said it
            found = [line for line in before.splitlines() if line.startswith("license: ")]
            license_ = found[0].removeprefix("license: ") if found else None
    head = [f"license: {license_}"] if license_ else []
    head += ["task_categories:", "- robotics", "tags:", "- LeRobot", "- rosbag-streamer", "configs:"]
    head += ["- config_name: default", "  data_files: data/*/*.parquet"]
    lines = ["---", *head, "---", "", _MARK, "", *_body(info, list(origins))]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _body(info: Mapping[str, Any], origins: list[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"Made from ROS recordings for [LeRobot](https://github.com/huggingface/lerobot) {info['codebase_version']}.",
        "",
        f"- robot: {info.get('robot_type') or 'not said'}",
        f"- {info['total_episodes']} episodes, {info['total_frames']} frames at {info['fps']} Hz",
        f"- {info['total_tasks']} tasks: `meta/tasks.{'jsonl' if info['codebase_version'] == V21.name else 'parquet'}`",
        "- where each episode comes from: `meta/provenance.jsonl`",
        "",
        "| feature | type | shape | elements |",
        "| --- | --- | --- | --- |",
    ]
    for key, feature in info["features"].items():
        if key not in COUNTED:
            size = " × ".join(map(str, feature["shape"]))
            names = "" if feature["dtype"] in ("video", "image") else _plain(", ".join(plain_names(feature) or ()))
            lines.append(f"| `{key}` | {feature['dtype']} | {size} | {names} |")
    streams = origins[-1].get("plan", {}).get("streams", {}) if origins else {}
    if streams:
        lines += ["", "| stream | topic | message | unit |", "| --- | --- | --- | --- |"]
    for name, stream in sorted(streams.items()):  # an origin that was read back has lost its order
        unit = _plain(stream.get("unit") or "")
        lines.append(f"| {_plain(name)} | `{stream['topic']}` | {stream['msgtype']} | {unit} |")
    return lines


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def without_folders(value: Any, key: str = "") -> Any:
    """Take the local folders out of an origin: who gets the dataset has no use for them, and they name people."""
    if isinstance(value, dict):
        return {name: without_folders(one, str(name)) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(one, key) for one in value]
    if isinstance(value, str) and value.startswith("/"):
        local = key in _PATHS or any(value.startswith(f"{folder}/") for folder in (Path.home(), Path.cwd()))
        return Path(value).name if local else value
    return value
