"""How a process ended, in words, and what Linux counts of its kills."""

from __future__ import annotations

from pathlib import Path

from streamer.supervisor.endings import MemoryKills, given_up, how_it_ended, out_of_memory_kills


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
    assert out_of_memory_kills(mine, groups, tmp_path / "nowhere") == 0
    (groups / "user.slice" / "job" / "memory.events").write_text("low 0\nhigh 3\nmax 12\noom 5\noom_kill 2\n")
    assert out_of_memory_kills(mine, groups) == 2


def test_an_older_control_group_counts_as_well_and_at_last_the_system(tmp_path: Path) -> None:
    mine, groups, system = tmp_path / "cgroup", tmp_path / "fs", tmp_path / "vmstat"
    mine.write_text("4:memory:/job\n0::/\n")
    system.write_text("nr_free_pages 1\noom_kill 7\n")
    assert out_of_memory_kills(mine, groups, system) == 7
    (groups / "memory" / "job").mkdir(parents=True)
    (groups / "memory" / "job" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert out_of_memory_kills(mine, groups, system) == 3


def test_where_nothing_is_counted_it_is_zero(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    (tmp_path / "cgroup").write_text("1:memory:/old\nnonsense\n")
    assert out_of_memory_kills(tmp_path / "cgroup", tmp_path, nowhere) == 0
    assert out_of_memory_kills(nowhere, tmp_path, nowhere) == 0
    assert out_of_memory_kills() >= 0


def test_several_processes_that_end_of_one_shortage_are_all_told_so() -> None:
    count, now = 5, 100.0
    kills = MemoryKills(lambda: count, lambda: now)
    assert not kills.just_now()
    count = 6
    assert kills.just_now()
    now += 0.5
    assert kills.just_now()
    now += 60
    assert not kills.just_now()


def test_a_reader_that_never_has_enough_memory_is_told_apart_from_one_that_somebody_kills() -> None:
    assert [given_up(20, starved).exit_code for starved in (20, 11, 10, 0)] == [70, 70, 75, 75]
