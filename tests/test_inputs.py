"""Recordings as other programs write them are read as they were written, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inputs import Input, verdict
from tests.inputs.every import INPUTS


@pytest.mark.parametrize("one", [pytest.param(one, id=f"{one.kind}: {one.name}") for one in INPUTS])
def test_what_others_write_is_read_right_or_refused(tmp_path: Path, one: Input) -> None:
    found, said = verdict(one, tmp_path)
    assert found == ("refused" if isinstance(one.right, str) else "right"), said
