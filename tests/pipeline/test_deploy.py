"""The examples for clusters say what the command does: its options, its exit codes."""

from __future__ import annotations

import re
from typing import Any

import yaml

from streamer import errors
from streamer.cli.run import _part
from tests.pipeline.driver import ROOT

JOB = ROOT / "configs" / "deploy" / "k8s-indexed-job.yaml"


def job() -> Any:
    return yaml.safe_load(JOB.read_text(encoding="utf-8"))


def test_the_job_gives_every_task_its_own_part() -> None:
    spec = job()["spec"]
    assert spec["completionMode"] == "Indexed"
    (container,) = spec["template"]["spec"]["containers"]
    line = container["command"]
    assert line[:2] == ["streamer", "run"]
    assert "--resume" in line
    only = line[line.index("--only") + 1]
    variable, count = re.fullmatch(r"\$\((\w+)\)/(\d+)", only).groups()  # type: ignore[union-attr] # it matches
    assert variable in {entry["name"] for entry in container["env"]}
    assert int(count) == spec["completions"]
    assert _part(f"{spec['completions'] - 1}/{count}") == (spec["completions"] - 1, int(count))


def test_the_jobs_policy_knows_every_exit_code() -> None:
    spec = job()["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # which podFailurePolicy needs
    rules = {rule["action"]: rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule}
    assert all(rule["containerName"] == container["name"] for rule in rules.values())
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    known = {kind.exit_code for kind in kinds if issubclass(kind, errors.StreamerError)}
    assert known < {code for rule in rules.values() for code in rule["values"]}
    assert rules["FailJob"]["values"] == [errors.UsageError.exit_code]
    assert {errors.RecordingError.exit_code, errors.ConfigError.exit_code} < set(rules["FailIndex"]["values"])
    assert errors.BusyError.exit_code in rules["Count"]["values"]
