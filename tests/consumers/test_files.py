"""Outputs are written where they belong, whatever lies in the folder already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumers.files import remove_folder, replacing, working_folder, write_json


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("mine")
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


def test_a_link_in_the_place_of_a_draft_or_an_output_is_replaced_and_not_followed(out: Path, victim: Path) -> None:
    for name in ("a.json", ".a.json.tmp"):
        (out / name).symlink_to(victim)
    write_json(out / "a.json", {"a": 1})
    assert victim.read_text() == "mine"
    assert [path.name for path in out.iterdir()] == ["a.json"]
    assert not (out / "a.json").is_symlink()


def test_nobody_else_may_put_anything_where_a_draft_is_written(out: Path) -> None:
    with replacing(out / "a") as draft:
        assert draft.parent.stat().st_mode & 0o077 == 0
        draft.write_text("new")
        assert not (out / "a").exists()
    assert (out / "a").read_text() == "new"


def test_what_a_killed_process_left_is_in_nobodys_way(out: Path) -> None:
    (out / ".a.tmp").mkdir()
    (out / ".a.tmp" / "a").write_text("half")
    with replacing(out / "a") as draft:
        assert not draft.exists()
        draft.write_text("whole")
    (out / "a").unlink()
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("name", [".run.parts", ".run.parts.done"])
def test_a_link_in_the_place_of_a_folder_for_parts_leads_nowhere(out: Path, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "photo").touch()
    (out / name).symlink_to(theirs)
    if name.endswith("parts"):
        with pytest.raises(NotADirectoryError, match="a link lies where the parts of this recording were"):
            working_folder(out / ".run.parts", anew=False)
    folder = working_folder(out / ".run.parts", anew=True)
    assert not folder.is_symlink()
    assert not list(folder.iterdir())
    remove_folder(folder)
    assert os.listdir(theirs) == ["photo"]  # noqa: PTH208 - names are compared
    assert not list(out.iterdir())


def test_arrow_is_used_without_importing_pandas_until_somebody_wants_a_data_frame() -> None:
    script = """
import sys
from consumers.files import require
pa = require("pyarrow", "parquet")
values = {"a": [1, 2], "b": ["x", "y"]}
table = pa.table(values)
assert "pandas" not in sys.modules or int(pa.__version__.split(".")[0]) < 18  # which looks for it each time
import pandas
assert table.to_pandas().to_dict("list") == values
assert pa.Table.from_pandas(pandas.DataFrame(values)).to_pydict() == values
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
