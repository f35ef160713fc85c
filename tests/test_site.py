"""The documentation site: it is built without a warning, and its reference names what the code takes."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from inspect import signature
from typing import TYPE_CHECKING

import pytest

from streamer.cli import _VERBS
from streamer.config.schema import schema_text
from tests.pipeline.driver import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("material", reason="needs mkdocs-material, of the extra dev")


def test_the_site_is_built_and_its_reference_has_every_verb_setting_and_option(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", ".mkdocs.yml", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    page = html.unescape((tmp_path / "reference" / "index.html").read_text(encoding="utf-8"))
    told = set(re.findall(r"<td><code>(.*?)</code></td>", page))
    schema = json.loads(schema_text())
    settings = {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", {})}
    found = [entry for entry in entry_points(group="streamer.consumers") if entry.value.startswith("consumers.")]
    options = {name for entry in found for name in signature(entry.load()).parameters}
    assert not {*_VERBS, *settings, *options} - told
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="configuration/"' in start
    assert "terminal.svg" in start
