"""How a process ended, in words, and what Linux counts of its kills."""

from __future__ import annotations

from pathlib import Path

from streamer.supervisor.endings import how_it_ended, out_of_memory_kills


def test_an_exit_status_is_written_for_a_person() -> None:
    assert [how_it_ended(code) for code in (0, 70, -11, -9, -250)] == [
        "exit code 0",
        "exit code 70",
        "killed by SIGSEGV",
        "killed by SIGKILL",
        "killed by signal 250",
    ]


def test_the_kernels_count_is_read_from_the_own_control_group(tmp_path: Path) -> None:
    mine, groups = tmp_path / "cgroup", tmp_path / "fs"
    (groups / "user.slice" / "job").mkdir(parents=True)
    mine.write_text("1:name=systemd:/other\n0::/user.slice/job\n")
    assert out_of_memory_kills(mine, groups) == 0
    (groups / "user.slice" / "job" / "memory.events").write_text("low 0\nhigh 3\nmax 12\noom 5\noom_kill 2\n")
    assert out_of_memory_kills(mine, groups) == 2


def test_where_nothing_is_counted_it_is_zero(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("1:memory:/old\n")
    assert out_of_memory_kills(tmp_path / "cgroup", tmp_path) == 0
    assert out_of_memory_kills(tmp_path / "nowhere", tmp_path) == 0
    assert out_of_memory_kills() >= 0
