"""The ledger: what is committed stays, whatever dies, and what cannot be used says so."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from streamer.errors import StorageError
from streamer.ledger import Cursor, Ledger, why_unusable

if TYPE_CHECKING:
    from pathlib import Path

COMMIT_FOR_EVER = """
import sys
from pathlib import Path
from streamer.ledger import Ledger
with Ledger(Path(sys.argv[1])) as ledger:
    number = ledger.begin("pipeline", "a.bag", "f", "p", 10**9, 10**9)
    for chunk in range(10**9):
        ledger.commit(number, "out", chunk, b"state of %d" % chunk)
        print(chunk, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def begin(ledger: Ledger, recording: str = "a.bag", plan: str = "plan") -> int:
    return ledger.begin("pipeline", recording, "fingerprint", plan, 100, 10)


def test_a_consumer_without_a_commit_is_at_the_beginning(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.cursor(begin(ledger), "out") == Cursor(0, None, closed=False)


def test_a_commit_moves_the_cursor_and_stores_the_state_until_the_next(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        ledger.commit(number, "out", 0, b"one")
        assert ledger.cursor(number, "out") == Cursor(1, b"one", closed=False)
        ledger.commit(number, "out", 1, None)
        assert ledger.cursor(number, "out") == Cursor(2, None, closed=False)


def test_cursors_survive_reopening_and_another_begin(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        ledger.commit(number, "out", 4, b"\x00state")
    with Ledger(path) as ledger:
        assert begin(ledger) == number
        assert ledger.cursor(number, "out") == Cursor(5, b"\x00state", closed=False)


def test_a_process_killed_between_commits_leaves_cursor_and_state_together(path: Path) -> None:
    command = [sys.executable, "-c", COMMIT_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        said += [int(line) for line in process.stdout]
    with Ledger(path) as ledger:
        cursor = ledger.cursor(begin(ledger), "out")
    assert cursor.chunk > said[-1], "a commit that was acknowledged is lost"
    assert cursor.state == b"state of %d" % (cursor.chunk - 1)


def test_a_commit_that_cannot_be_stored_changes_nothing(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        ledger.commit(number, "out", 0, b"one")
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TRIGGER full BEFORE UPDATE ON cursors BEGIN SELECT raise(ABORT, 'disk is full'); END")
        with pytest.raises(StorageError, match="disk is full"):
            ledger.commit(number, "out", 1, b"two")
        assert ledger.cursor(number, "out") == Cursor(1, b"one", closed=False)


def test_cursors_belong_to_one_recording_and_one_consumer(path: Path) -> None:
    with Ledger(path) as ledger:
        one, two = begin(ledger), begin(ledger, "b.bag")
        ledger.commit(one, "out", 0, b"one")
        assert ledger.cursor(one, "view").chunk == 0
        assert ledger.cursor(two, "out").chunk == 0


def test_closing_keeps_the_cursor_and_its_state(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        ledger.commit(number, "out", 9, b"state")
        ledger.close_consumer(number, "out")
        ledger.close_consumer(number, "empty")
        assert ledger.cursor(number, "out") == Cursor(10, b"state", closed=True)
        assert ledger.cursor(number, "empty") == Cursor(0, None, closed=True)


def test_attempts_are_counted_per_chunk_and_begin_anew_at_the_next(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        assert [ledger.attempt(number, "out", chunk) for chunk in (0, 0, 0, 1, 1, 2)] == [1, 2, 3, 1, 2, 1]
        assert ledger.attempt(number, "view", 2) == 1


def test_attempts_survive_reopening_and_are_forgiven(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        ledger.attempt(number, "out", 3)
        ledger.attempt(number, "view", 3)
    with Ledger(path) as ledger:
        assert ledger.attempt(number, "out", 3) == 2
        ledger.forgive(number, "out")
        assert ledger.attempt(number, "out", 3) == 1
        assert ledger.attempt(number, "view", 3) == 2


def test_frames_left_out_are_kept_with_their_reasons(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        ledger.skip(number, 7, "undecodable head")
        ledger.skip(number, 3, "undecodable head")
        ledger.skip(number, 7, "undecodable depth")
        assert ledger.skips(number) == {3: "undecodable head", 7: "undecodable depth"}


def test_a_reset_drops_what_was_noted_of_one_recording_only(path: Path) -> None:
    with Ledger(path) as ledger:
        one, two = begin(ledger), begin(ledger, "b.bag")
        for number in (one, two):
            ledger.commit(number, "out", 0, b"state")
            ledger.attempt(number, "out", 1)
            ledger.skip(number, 7, "reason")
        ledger.reset(one)
        assert ledger.cursor(one, "out") == Cursor(0, None, closed=False)
        assert ledger.skips(one) == {}
        assert ledger.attempt(one, "out", 1) == 1
        assert ledger.cursor(two, "out").chunk == 1
        assert ledger.skips(two) == {7: "reason"}
        assert ledger.attempt(two, "out", 1) == 3
        assert list(ledger.recordings("pipeline")) == ["a.bag", "b.bag"]


def test_forgetting_a_pipeline_removes_everything_of_it_and_nothing_else(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        other = ledger.begin("other", "a.bag", "", "", 1, 1)
        for each in (number, other):
            ledger.commit(each, "out", 0, b"state")
            ledger.skip(each, 1, "reason")
        ledger.forget("pipeline")
        assert ledger.recordings("pipeline") == {}
        assert ledger.cursor(number, "out").chunk == 0
        assert ledger.skips(number) == {}
        assert ledger.recordings("other")["a.bag"].committed == 1
        assert ledger.skips(other) == {1: "reason"}


def test_recordings_are_known_with_their_state_plan_and_committed_chunks(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger, plan="first")
        assert ledger.recordings("pipeline")["a.bag"] == (number, "a.bag", "fingerprint", "first", "running", 0)
        ledger.commit(number, "out", 2, None)
        ledger.commit(number, "view", 0, None)
        ledger.finish(number, "failed", "it broke")
        assert ledger.recordings("pipeline")["a.bag"] == (number, "a.bag", "fingerprint", "first", "failed", 4)
        begin(ledger, plan="second")
        assert ledger.recordings("pipeline")["a.bag"] == (number, "a.bag", "fingerprint", "second", "running", 4)


# ---- files that cannot be used


def test_a_file_of_a_newer_version_is_an_error_and_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match=r"newer version of this program \(schema 99") as caught:
        Ledger(path)
    assert str(path) in str(caught.value)
    with closing(sqlite3.connect(path)) as newer:
        assert newer.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_file_that_is_no_ledger_is_an_error_that_names_it(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 500)
    with pytest.raises(StorageError, match="the ledger cannot be used") as caught:
        Ledger(path)
    assert str(path) in str(caught.value)


def test_a_file_damaged_in_the_middle_is_an_error_when_it_is_used(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        for chunk in range(50):
            ledger.commit(number, f"out{chunk}", chunk, bytes(1000))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with pytest.raises(StorageError, match="the ledger cannot be used"), Ledger(path) as ledger:
        ledger.cursor(number, "out7")


def test_a_folder_that_does_not_exist_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ledger cannot be used") as caught:
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")
    assert "nowhere" in str(caught.value)


def test_a_run_does_not_go_on_from_a_ledger_that_is_damaged_or_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    assert why_unusable(path) == ""
    with Ledger(path) as ledger:
        for number in range(200):
            ledger.begin("p", f"/{number}.bag", "f", "p", 1, 1)
    assert why_unusable(path) == ""
    content = path.read_bytes()
    path.write_bytes(content[:8192] + bytes(8192) + content[16384:])
    assert "it is damaged" in why_unusable(path)
    path.write_bytes(b"no database at all" * 1000)
    assert "it is damaged" in why_unusable(path)
    path.write_bytes(content)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    assert "a newer version of this program wrote it (schema 99" in why_unusable(path)


def told(path: Path) -> dict[str, object]:
    """Return what a run would go on from; nothing where the ledger is refused."""
    try:
        with Ledger(path) as ledger:
            known = ledger.recordings("pipeline")
            if "a.bag" not in known:
                return {}
            number = known["a.bag"].number
            found: dict[str, object] = {name: ledger.cursor(number, name) for name in ("one", "two")}
            found |= {f"episode {n}": value for n, value in ledger.episodes(number, "one").items()}
            found |= {f"skip {n}": value for n, value in ledger.skips(number).items()}
            return found | {f"frame {one.frame}": one for one in ledger.quarantined(number)}
    except StorageError:
        return {}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Damage a file as disks and copies do: bits, a block of another place or of zeros, a cut."""
    wrong, at = bytearray(content), chance.randrange(len(content))
    match chance.randrange(8):
        case 0:
            return content[:at]
        case 1:
            wrong[at : at + 512] = bytes(len(wrong[at : at + 512]))
        case 2:
            page, other = (4096 * chance.randrange(len(content) // 4096) for _ in range(2))
            wrong[page : page + 4096] = content[other : other + 4096]
        case _:
            for _ in range(chance.choice((1, 1, 3))):
                # where the rows are, rather than in what is empty
                at = chance.choice([n for n, byte in enumerate(content) if byte]) if chance.random() < 0.9 else at
                wrong[at] ^= 1 << chance.randrange(8)
    return bytes(wrong)


def test_five_hundred_damaged_ledgers_are_refused_or_right(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        number = begin(ledger)
        for chunk in range(7):
            ledger.commit(number, "one", chunk, b"state of %d" % chunk, episode=chunk // 2)
            ledger.commit(number, "two", chunk * 3, b"digest")
        ledger.close_consumer(number, "two")
        ledger.close_episode(number, "one", 2)
        ledger.skip(number, 5, "damaged")
        ledger.quarantine(number, "one", 9, "killed it", "trace")
    whole, right = path.read_bytes(), told(path)
    assert len(right) == 8
    harmless = refused = 0
    for seed in range(500):
        wrong = tmp_path / f"{seed}.sqlite"
        wrong.write_bytes(mutated(whole, random.Random(seed)))  # noqa: S311 - chance that can be repeated
        found = told(wrong)
        harmless += found == right
        refused += not found
        # what is not told is done again, from the beginning; what is told is what was written
        assert all(found[name] in (right.get(name), Cursor(0, None, closed=False)) for name in found), seed
    assert harmless + refused >= 400
    assert refused >= 100


def test_a_wrong_bit_in_a_cursor_is_told_to_the_daemon_and_by_the_run(path: Path) -> None:
    with Ledger(path) as ledger:
        number = begin(ledger)
        ledger.commit(number, "out", 41, b"what it was")
    path.write_bytes(path.read_bytes().replace(b"what it was", b"what it is!"))
    assert why_unusable(path) == "it is damaged: cursors without their checksum"
    with Ledger(path) as ledger, pytest.raises(StorageError, match="its cursors do not have their checksum"):
        ledger.cursor(number, "out")


def test_what_another_version_wrote_is_taken_over_with_checksums(path: Path) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.executescript(" ".join(Ledger.steps[:5]))
        old.execute("INSERT INTO recordings VALUES (1, 'pipeline', 'a.bag', 'f', 'p', 9, 3, 'interrupted', '', 0)")
        old.execute("INSERT INTO cursors VALUES (1, 'out', 2, x'0102', 0)")
        old.execute("PRAGMA user_version = 5")
        old.commit()
    with Ledger(path) as ledger:
        assert ledger.cursor(1, "out") == Cursor(2, b"\1\2", closed=False)
        ledger.commit(1, "out", 2, b"\3")
        assert ledger.cursor(1, "out") == Cursor(3, b"\3", closed=False)
    assert why_unusable(path) == ""


def test_recordings_of_a_pipeline_agree_about_their_elements(path: Path) -> None:
    with Ledger(path) as ledger:
        first, second = begin(ledger), begin(ledger, "b.bag")
        assert ledger.agree(first, {"arm": ["waist", "wrist"], "hand": ["left"]}) is None
        assert ledger.agree(first, {"arm": ["waist", "wrist"]}) is None  # the same again, by a run that goes on
        assert ledger.agree(second, {"arm": ["wrist", "waist"]}) == ("arm", "a.bag", ["waist", "wrist"])
        assert ledger.agree(second, {"arm": ["waist", "wrist"], "lift": ["z"]}) is None
        other = ledger.begin("other", "c.bag", "f", "p", 1, 1)
        assert ledger.agree(other, {"arm": ["wrist", "waist"]}) is None


def test_a_recording_that_failed_before_a_commit_says_nothing_of_elements(path: Path) -> None:
    with Ledger(path) as ledger:
        first, second = begin(ledger), begin(ledger, "b.bag")
        ledger.agree(first, {"arm": ["waist"]})
        ledger.finish(first, "failed")
        assert ledger.agree(second, {"arm": ["wrist"]}) is None
        ledger.commit(first, "out", 0, None)
        assert ledger.agree(second, {"arm": ["wrist"]}) == ("arm", "a.bag", ["waist"])
        ledger.forget("pipeline")
        assert ledger.agree(begin(ledger, "d.bag"), {"arm": ["x"]}) is None


def test_what_a_consumer_leaves_is_stored_even_where_it_has_committed_nothing(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.close_consumer(begin(ledger), "out", b"nothing")
    with Ledger(path) as ledger:
        assert ledger.cursor(begin(ledger), "out") == Cursor(0, b"nothing", closed=True)
