"""Recordings with wrong bytes in them → every one is read or refused, in less than 1 GB and 20 s; nothing else."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.bags import START, joints, numbers, record
from tests.faults.mutations import attack, attempt, mutate, suggest

MUTATIONS = 500
FORMATS = {
    "ros1": ["example.bag", "kuka.bag", "ros_numpy.bag", "rosjava.bag", "defs_cut_first.bag"],
    "ros1-bz2": ["example-bz2.bag"],
    "ros1-lz4": ["example-lz4.bag"],
    "mcap": ["nav2_turtlebot.mcap", "*.mcap"],
    "db3": ["gpsnav.db3", "old_names.db3", "mixed_serialization.db3"],
}


def found(recordings: Path, names: list[str]) -> list[Path]:
    """Return the real and the hard recordings of these names that are there."""
    folders = (recordings, recordings.parent / "cases")
    return sorted({path for name in names for folder in folders for path in folder.glob(name)})


def told(outcomes: list[tuple[str, str, str]]) -> None:
    """Print how many were what; fail with those that were neither read nor refused."""
    sys.stdout.write(f"{dict(Counter(kind for _, kind, _ in outcomes))}\n")
    wrong = [f"{name}: {kind}: {said}" for name, kind, said in outcomes if kind not in ("whole", "refused")]
    assert not wrong, "\n".join(wrong)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", FORMATS)
def test_a_mutated_recording_is_read_or_refused_in_little_memory_and_time(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    paths = found(recordings, FORMATS[form])
    configs = {path: suggest(path, tmp_path) for path in paths}
    assert sum(config is not None for config in configs.values()) > len(paths) // 2
    outcomes = []
    for seed in range(MUTATIONS):
        path = paths[seed % len(paths)]
        kind, said, _ = attack(path, configs[path], seed, tmp_path)
        outcomes.append((f"{path.name} {seed}", kind, said))
    told(outcomes)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", ["mcap-zstd", "db3", "mcap-message", "db3-file"])
def test_a_folder_whose_metadata_are_mutated_is_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    messages = sorted(
        [*numbers("/a", range(START, START + 90), "cdr"), *joints("/j", range(START, START + 90), "cdr")],
        key=lambda message: message.stamp,
    )
    folder = record(tmp_path / "bag", form, messages)
    config = suggest(folder, tmp_path)
    assert config is not None
    whole, outcomes = (folder / "metadata.yaml").read_bytes(), []
    for seed in range(MUTATIONS // 4):
        (folder / "metadata.yaml").write_bytes(mutate(whole, f"{form} {seed}"))
        kind, said, _ = attempt(folder, config)
        outcomes.append((f"{form} {seed}", kind, said))
    told(outcomes)
    shutil.rmtree(folder)
