"""The daemon as a service manager has it: told when it is ready, alive, reloading, stopping; the files to deploy it."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from streamer.config.load import load
from streamer.errors import StreamerError
from tests.ingest.driver import Watch, command
from tests.ingest.numbered import settings
from tests.pipeline.driver import DEADLINE, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

DEPLOY = ROOT / "configs" / "deploy"
WATCHDOG = 2.0  # seconds


class Manager:
    """What stands for systemd: a datagram socket, and what came over it, with its time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(DEADLINE)
        self.times: list[float] = []  # of signs of life

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self, line: str) -> list[str]:
        """Return all lines up to the message that has this one."""
        heard: list[str] = []
        while line not in heard:
            message = self._socket.recv(4096).decode().split("\n")
            heard += message
            if "WATCHDOG=1" in message:
                self.times.append(time.monotonic())
        return heard


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@streamer-test-{os.getpid()}"
    with Manager(address) as manager:
        yield manager


@pytest.fixture
def watching(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "incoming").mkdir()
    return settings(tmp_path / "incoming", scan="1 h")


def test_the_manager_hears_of_the_whole_life(tmp_path: Path, watching: dict[str, Any], manager: Manager) -> None:
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(round(WATCHDOG * 1e6))}
    with Watch(tmp_path, watching, **told) as daemon:
        assert "WATCHDOG=1" not in manager.wait("READY=1")
        for _ in range(4):
            manager.wait("WATCHDOG=1")
        gaps = [after - before for before, after in zip(manager.times, manager.times[1:], strict=False)]
        assert max(gaps) < WATCHDOG
        daemon.process.send_signal(signal.SIGHUP)
        heard = manager.wait("RELOADING=1") + manager.wait("READY=1")
        (stamp,) = [line.partition("=")[2] for line in heard if line.startswith("MONOTONIC_USEC=")]
        assert 0 <= time.monotonic() - int(stamp) / 1e6 < DEADLINE
        daemon.write(watching | {"jobs": 0})
        daemon.process.send_signal(signal.SIGHUP)
        manager.wait("RELOADING=1")
        manager.wait("READY=1")  # with the old one
        daemon.process.send_signal(signal.SIGTERM)
        manager.wait("STOPPING=1")
        assert daemon.process.wait(DEADLINE) == 0


def test_a_loop_that_stands_still_gives_no_sign_of_life(
    tmp_path: Path, watching: dict[str, Any], manager: Manager
) -> None:
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with Watch(tmp_path, watching, **told) as daemon:
        manager.wait("READY=1")
        manager.wait("WATCHDOG=1")
        daemon.process.send_signal(signal.SIGSTOP)
        manager._socket.settimeout(1.0)  # noqa: SLF001 - five times as long as it may be silent
        with pytest.raises(TimeoutError):
            manager.wait("never")


def test_a_daemon_that_hangs_is_told_apart_from_one_that_does_not_run(
    tmp_path: Path, watching: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.ingest.control._ANSWER_SECONDS", 0.2)
    with Watch(tmp_path, watching) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StreamerError, match="does not answer") as caught:
            daemon.status()
        assert caught.value.exit_code == 70  # which a health check sees
        daemon.kill()
    assert json.loads(command(tmp_path, "status", "watch.yaml", "--json").stdout)["state"] == "not running"


# the files


@pytest.fixture
def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment] # keys as they are written
    parser.read(DEPLOY / "streamer-watch.service")
    return parser


def test_the_unit_says_what_the_daemon_relies_on(unit: configparser.RawConfigParser) -> None:
    service = unit["Service"]
    expected = {
        "Type": "notify",
        "KillMode": "mixed",
        "OOMPolicy": "continue",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "64 78",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "PrivateTmp": "yes",
    }
    assert {key: service[key] for key in expected} == expected
    assert float(service["WatchdogSec"]) > 15  # the loop may be held up so long by a disk
    work = service["Environment"].split("WORKDIR=")[1].split()[0]
    assert work == f"/var/lib/{service['StateDirectory']}"  # which StateDirectory makes writable
    for word in service["Environment"].split():
        name, _, path = word.partition("=")
        if name != "WORKDIR":
            assert Path(path).is_relative_to(service["ReadWritePaths"]), name
    for key in ("ExecStart", "ExecReload"):
        verb = service[key].split()[1]
        assert command(ROOT, verb, "--help").returncode == 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "streamer-watch.service").read_text()
    path = tmp_path / "streamer-watch.service"
    path.write_text(text.replace("/opt/streamer/bin/streamer", sys.executable))  # there has to be a program
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],  # noqa: S607 - the one that which found
        capture_output=True,
        text=True,
        check=False,
    )
    if "Failed to" in done.stderr and path.name not in done.stderr:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert path.name not in done.stderr, done.stderr


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def test_a_linter_finds_nothing_in_the_container_file() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    if not linter.exists():
        pytest.skip("hadolint is missing: the extra dev has it for Linux on x86-64")
    done = subprocess.run(
        [str(linter), "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_image_is_made_of_what_there_is_and_runs_as_nobody_under_tini() -> None:
    found = instructions(DEPLOY / "Dockerfile")
    last = max(n for n, (word, _) in enumerate(found) if word == "FROM")
    final = dict(found[last:])
    assert "slim" in final["FROM"]
    assert json.loads(final["ENTRYPOINT"])[0] == "tini"
    assert json.loads(final["CMD"])[0] == "watch"
    assert "useradd --uid 1000" in "".join(rest for word, rest in found if word == "RUN")
    assert final["USER"] == "1000:1000"
    assert "streamer status" in final["HEALTHCHECK"]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for word, rest in found[:last]:
        if word == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in ignored
    extras = re.search(r"\.\[([\w,]+)\]", "".join(rest for _, rest in found))
    assert extras
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) <= known.keys()


def test_the_container_has_what_the_configuration_and_a_drain_need(monkeypatch: pytest.MonkeyPatch) -> None:
    (service,) = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values()
    assert service["stop_grace_period"] == "10m"
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    mounts = {target.split(":")[1]: target for target in (re.sub(r"\$\{[^}]*\}", "", v) for v in service["volumes"])}
    words = " ".join(rest for word, rest in instructions(DEPLOY / "Dockerfile") if word == "ENV").split()
    environment = dict(word.split("=") for word in words)
    for name in ("INCOMING", "DATASETS", "WORKDIR"):
        monkeypatch.setenv(name, environment[name])
        assert environment[name] in mounts
    config = load(ROOT / "configs" / "watch.yaml").config
    assert config.workdir == "/state"
    assert config.source.watch == ["/data/incoming"]
    assert config.memory
    assert config.memory < int(service["mem_limit"].removesuffix("g")) * 2**30
    assert all(str(consumer.options["out"]).startswith("/data/datasets/") for consumer in config.consumers.values())


def test_docker_takes_the_composition() -> None:
    if shutil.which("docker") is None:
        pytest.skip("needs docker")
    compose = ["docker", "compose", "-f", str(DEPLOY / "compose.yaml")]
    if subprocess.run([*compose[:2], "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs docker compose")
    done = subprocess.run([*compose, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_crash_is_told_with_where_the_threads_stood(tmp_path: Path, watching: dict[str, Any]) -> None:
    with Watch(tmp_path, watching) as daemon:
        daemon.process.send_signal(signal.SIGABRT)  # as the watchdog of systemd does
        # Python looks at the threads while they run, and may stumble over one: it has ended and told of one then, too.
        assert daemon.process.wait(DEADLINE) in (-signal.SIGABRT, -signal.SIGSEGV)
        said = (tmp_path / "daemon.log").read_text()
    assert "Fatal Python error: Aborted" in said
    assert "most recent call first" in said
