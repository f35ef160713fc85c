"""Print how many inputs of each kind are right, refused as they have to be, or wrong; name the wrong ones."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.inputs import verdict
from tests.inputs.every import INPUTS


def main() -> int:
    """Return 1 if any is wrong."""
    counts: dict[str, Counter[str]] = {}
    wrong = []
    for one in INPUTS:
        with tempfile.TemporaryDirectory() as folder:
            found, said = verdict(one, Path(folder))
        counts.setdefault(one.kind, Counter())[found] += 1
        if found == "wrong":
            wrong.append(f"wrong: {one.kind}, {one.name}: {said}")
    out = ["| kind | inputs | right | refused | wrong |", "| --- | --- | --- | --- | --- |"]
    for kind, of in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        out.append(f"| {kind} | {of.total()} | {of['right']} | {of['refused']} | {of['wrong']} |")
    sys.stdout.write("\n".join([*out, *wrong]) + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
