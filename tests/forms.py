"""The forms that a recording may have, for tests that go through them: some always, the others in the slow tests."""

from __future__ import annotations

import pytest

SOME_FORMS = [
    "ros1",
    "mcap-zstd",
    "db3",
    pytest.param("ros1-lz4", marks=pytest.mark.slow),
    pytest.param("mcap", marks=pytest.mark.slow),
]
