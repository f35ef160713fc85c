"""Look before you train: what a person rejects is left out of what is merged, counted, said, and comes back."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from streamer.errors import OutputError
from streamer.pipelines import review
from tests.consumers.test_merge import FRAMES, configured, content, lengths
from tests.ingest.driver import Watch, command
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.pipelines.review import Verdict


VIDEO = "videos/observation.images.head/chunk-000/file-000.mp4"


def pictures(dataset: Path) -> NDArray[np.uint8]:
    """Return the pictures of the camera's video, decoded by PyAV."""
    with av.open(str(dataset / VIDEO)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


@pytest.fixture(scope="module")
def finished(takes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run over three recordings, merged into a dataset and a folder of tables."""
    folder = tmp_path_factory.mktemp("finished")
    config = configured(takes)
    config["consumers"]["parquet"] = {"options": {"out": "tables"}}
    assert run(folder, config).code == 0
    return folder


def test_a_rejected_episode_is_left_out_and_comes_back(finished: Path, takes: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    whole = content(folder / "dataset")
    said = command(folder, "review", "dataset", "--reject", "1", "--note", "gripper\x1b slipped")
    assert said.returncode == 0, said.stderr
    assert "rejected  gripper\\x1b slipped" in said.stdout
    assert json.loads((folder / "dataset.review.json").read_text()) == {
        "episodes": {"take-1": {"verdict": "rejected", "note": "gripper\x1b slipped"}}
    }
    merged = command(folder, "merge", "config.yaml")
    assert merged.returncode == 0, merged.stderr
    assert merged.stdout == "3 of 3 recordings are done and merged; 1 rejected: [take-1]\n"
    assert "lerobot: without 1 that a review has rejected: [take-1]" in merged.stderr
    config = configured(takes) | {"source": {"path": [str(takes / f"take-{n}.bag") for n in (0, 2)]}}
    (tmp_path / "without").mkdir()
    assert run(tmp_path / "without", config).code == 0
    merged_files, expected = content(folder / "dataset"), content(tmp_path / "without" / "dataset")
    assert [merged_files.pop(VIDEO) is None, expected.pop(VIDEO) is None] == [False, False]  # it is cut, not joined
    assert merged_files == expected
    assert np.array_equal(pictures(folder / "dataset"), pictures(tmp_path / "without" / "dataset"))
    assert lengths(folder / "dataset.rejected") == [FRAMES[1]]
    assert command(folder, "review", "dataset", "--accept", "take-1").returncode == 0
    again = command(folder, "merge", "config.yaml")
    assert again.stdout == "3 of 3 recordings are done and merged\n"
    assert content(folder / "dataset") == whole


def test_an_episode_that_was_rejected_before_the_first_merging_waits_in_its_shares(takes: Path, tmp_path: Path) -> None:
    assert run(tmp_path, configured(takes), "--only", "0/1").code == 0
    assert command(tmp_path, "review", "dataset", "--reject", "take-0", "--reject", "take-2").returncode == 0
    assert "2 rejected: [take-0, take-2]" in command(tmp_path, "merge", "config.yaml").stdout
    assert lengths(tmp_path / "dataset") == [FRAMES[1]]
    assert command(tmp_path, "review", "dataset", "--forget", "take-0", "--forget", "take-2").returncode == 0
    assert command(tmp_path, "merge", "config.yaml").returncode == 0
    assert lengths(tmp_path / "dataset") == FRAMES


def test_all_may_be_rejected(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    command(folder, "review", "dataset", *(f"--reject={number}" for number in range(3)))
    merged = command(folder, "merge", "config.yaml")
    assert merged.returncode == 0, merged.stderr
    assert json.loads((folder / "dataset" / "meta" / "info.json").read_text())["total_episodes"] == 0
    command(folder, "review", "dataset", *(f"--accept=take-{number}" for number in range(3)))
    assert command(folder, "merge", "config.yaml").returncode == 0
    assert lengths(folder / "dataset") == FRAMES


def test_a_folder_of_tables_lists_the_rejected_ones_no_more(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")

    def names() -> list[str]:
        found = json.loads((folder / "tables" / "_recordings.json").read_text())["recordings"]
        return [one["name"] for one in found]

    assert names() == ["take-0", "take-1", "take-2"]
    command(folder, "review", "tables", "--reject", "take-2")
    assert "1 rejected: [take-2]" in command(folder, "merge", "config.yaml").stdout
    assert names() == ["take-0", "take-1"]
    assert pq.read_table(folder / "tables" / "take-2.parquet").num_rows == FRAMES[2]  # nothing is deleted
    assert lengths(folder / "dataset") == FRAMES  # it is another output's review


def test_a_name_that_is_not_there_and_a_damaged_review_are_told_in_words(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    asked: tuple[tuple[tuple[str, ...], str], ...] = (
        (("dataset", "--reject", "take-7"), "did you mean 'take-"),
        (("dataset", "--reject", "9"), "has no episode '9'"),
        (("dataset", "--note", "x"), "--note goes with"),
        (("nowhere",), "no folder"),
    )
    for arguments, words in asked:
        refused = command(folder, "review", *arguments)
        assert refused.returncode == 64, refused.stdout
        assert words in " ".join(refused.stderr.split())
    (folder / "dataset.review.json").write_text('{"episodes": [1]}')
    for verb, what in (("review", "dataset"), ("merge", "config.yaml")):
        refused = command(folder, verb, what)
        assert refused.returncode == 73
        assert "dataset.review.json: the review cannot be read" in refused.stderr
    assert lengths(folder / "dataset") == FRAMES


def test_what_was_said_is_kept_by_name_and_taken_back(tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    review.say(out, ["a", "b"], review.REJECTED, "bad light")
    review.say(out, ["a"], review.ACCEPTED)
    review.say(out, ["c"], note="look again")
    assert plain(review.read(out)) == {
        "a": ("accepted", "bad light"),
        "b": ("rejected", "bad light"),
        "c": ("", "look again"),
    }
    assert review.rejected(out) == {"b"}
    review.say(out, ["a", "b", "c"], "", "")
    assert review.read(out) == {}
    review.beside(out).write_text("no JSON")
    with pytest.raises(OutputError, match="cannot be read"):
        review.say(out, ["a"], review.REJECTED)
    assert review.beside(out).read_text() == "no JSON"  # nobody loses what a person may mend


def plain(found: dict[str, Verdict]) -> dict[str, tuple[str, str]]:
    return {name: (one.verdict, one.note) for name, one in found.items()}


def test_what_a_daemon_has_added_to_a_dataset_is_taken_out_and_in(takes: Path, tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    for number in (0, 1):
        shutil.copyfile(takes / f"take-{number}.bag", tmp_path / "incoming" / f"take-{number}.bag")
    config: dict[str, Any] = configured(takes) | {"free_space": "1 MB"}
    config["source"] = {"watch": "incoming", "settle": "300 ms", "scan": "1 s"}
    with Watch(tmp_path, config) as daemon:
        daemon.wait(**{"take-0": "done", "take-1": "done"})
        before = sorted(lengths(tmp_path / "dataset"))
        assert before == sorted(FRAMES[:2])
        assert command(tmp_path, "merge", "watch.yaml").returncode == 75  # it writes there
        assert daemon.end() == 0
    command(tmp_path, "review", "dataset", "--reject", "take-1")
    merged = command(tmp_path, "merge", "watch.yaml")
    assert merged.stdout == "the outputs are as the reviews want them; 1 rejected: [take-1]\n", merged.stderr
    assert lengths(tmp_path / "dataset") == [FRAMES[0]]
    command(tmp_path, "review", "dataset", "--accept", "take-1")
    command(tmp_path, "merge", "watch.yaml")
    assert sorted(lengths(tmp_path / "dataset")) == before
