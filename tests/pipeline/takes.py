"""Three recordings, and hands for the tests that stream them side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from streamer.demo import Workload, make
from tests.pipeline.driver import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Config = dict[str, Any]
NAMES = ["take-0", "take-1", "take-2"]
SECONDS = {"take-0": 1.0, "take-1": 0.6, "take-2": 0.8}
GATED = "take-1"


def make_takes(folder: Path) -> Path:
    """Write them into a folder; the first is the longest."""
    for seed, (name, seconds) in enumerate(SECONDS.items()):
        work = Workload(
            cameras=1, width=64, height=48, hz=30, image="jpeg", joint_topics=1, joint_hz=60, seconds=seconds, seed=seed
        )
        make(folder / f"{name}.bag", work)
    return folder


def gated(config: Config, folder: Path, names: Iterable[str] = (GATED,), of: Iterable[str] = NAMES) -> Config:
    """Add a consumer that stops in the second chunk of these recordings."""
    for name in of:
        (folder / "gates" / name).mkdir(parents=True, exist_ok=True)
        if name not in names:
            (folder / "gates" / name / "go").touch()
    gate = {"use": "tests.pipeline.probes:Gate", "options": {"folder": "gates/{recording}", "at": 7}}
    return config | {"consumers": config["consumers"] | {"gate": gate}}


def at_the_gate(folder: Path, name: str = GATED, deadline: float = DEADLINE) -> int:
    here = folder / "gates" / name / "here"
    wait_until(here.exists, f"{name} at its gate", deadline)
    return int(here.read_text())


def open_gate(folder: Path, name: str = GATED) -> None:
    (folder / "gates" / name / "go").touch()


def damaged(takes: Path, folder: Path) -> Path:
    """Copy the recordings; the one in the middle is cut off."""
    folder.mkdir()
    for name in NAMES:
        content = (takes / f"{name}.bag").read_bytes()
        (folder / f"{name}.bag").write_bytes(content[: len(content) // 2] if name == GATED else content)
    return folder


def status(folder: Path) -> dict[str, Any]:
    path = folder / ".streamer" / "status.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def committed(folder: Path, name: str) -> int:
    """Return how many chunks of a consumer the supervisor knows to be committed."""
    chunks: int = status(folder).get("consumers", {}).get(name, {}).get("committed_chunks", 0)
    return chunks
