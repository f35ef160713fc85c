"""`streamer push`, through the real client, against a stand-in for the Hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.cli.hub import Hub
from tests.consumers.test_lerobot import finish, lead
from tests.pipeline.driver import Run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.pipeline.driver import Finished


def push(folder: Path, *arguments: str) -> Finished:
    with Run(folder, "push", *arguments) as running:
        return running.end()


def files(dataset: Path) -> dict[str, bytes]:
    found = (path for path in dataset.rglob("*") if path.is_file())
    return {str(path.relative_to(dataset)): path.read_bytes() for path in found if ".cache" not in path.parts}


def test_a_dataset_is_sent_in_one_commit_tagged_and_sent_again_without_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tmp_path / "set"
    finish(dataset, lead(dataset, fingerprint="one"), "one")
    with Hub() as hub:
        for name, value in (("HF_ENDPOINT", hub.url), ("HF_TOKEN", "hf_x"), ("HF_HUB_DISABLE_XET", "1")):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        dry = push(tmp_path, "set", "me/blocks", "--dry-run")
        assert dry.code == 0, dry
        assert "1 episodes" in dry.out
        assert "README.md" in dry.out
        assert not hub.asked

        hub.refuses = 403
        refused = push(tmp_path, "set", "me/blocks", "--private")
        assert refused.code == 78, (refused, hub.asked)
        assert "HF_TOKEN" in refused.err
        assert hub.files["me/blocks"] == {}  # all or nothing
        assert hub.private["me/blocks"]

        stored = [asked for asked in hub.asked if asked.startswith("PUT")]
        sent = push(tmp_path, "set", "me/blocks", "--tag", "first")
        assert sent.code == 0, (sent, hub.asked)
        assert f"{hub.url}/datasets/me/blocks (v3.0, first)" in sent.out
        assert [asked for asked in hub.asked if asked.startswith("PUT")] == stored  # nothing twice
        assert hub.files["me/blocks"] == files(dataset)
        assert hub.tags["me/blocks"] == ["v3.0", "first"]

        finish(dataset, lead(dataset, fingerprint="two"), "two")
        assert push(tmp_path, "set", "me/blocks").code == 0
        assert json.loads(hub.files["me/blocks"]["meta/info.json"])["total_episodes"] == 2
        assert hub.tags["me/blocks"] == ["first", "v3.0"]  # moved
        lead(dataset, fingerprint="three")
        half = push(tmp_path, "set", "me/blocks")
        assert (half.code, "not finished" in half.err) == (73, True), half
    unreachable = push(tmp_path, "nothing", "me/blocks")
    assert unreachable.code == 64, unreachable
