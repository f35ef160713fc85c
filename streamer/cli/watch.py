"""``streamer watch CONFIG`` and what is asked of it while it runs: status, retry, quarantine, pause, drain, reload."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import Overrides
from streamer.cli.screen import say, screen
from streamer.errors import BusyError, ConfigError, StorageError, UsageError
from streamer.text import visible
from streamer.units import show_duration, show_size

if TYPE_CHECKING:
    from rich.console import Group

    from streamer.config.load import Loaded

_CONFIG = typer.Argument(metavar="CONFIG", help="the YAML configuration", show_default=False)
_JSON = typer.Option("--json", help="print JSON")
_SECONDS = 1.0
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)

quarantine = typer.Typer(no_args_is_help=True, help="Recordings that were put aside: list, show, retry.")


def watch(
    config: Annotated[Path, _CONFIG],
    overrides: Overrides = None,
    reprocess: Annotated[
        bool, typer.Option("--reprocess", help="do again what was done with another configuration")
    ] = False,
) -> None:
    """Watch folders for recordings and stream each to the consumers, for months; SIGTERM ends it, SIGHUP reloads.

    Example: streamer watch watch.yaml
    """
    try:
        from streamer.ingest.daemon import watch as run
        from streamer.ingest.log import Recent, make_log

        recent = Recent()
        log = make_log(recent)
    except ModuleNotFoundError as error:
        msg = f"streamer watch needs the package {error.name!r}: pip install 'rosbag-streamer[watch]'"
        raise UsageError(msg) from error
    run(lambda: _checked(config, overrides or []), log, recent.text, reprocess=reprocess)


def status(
    config: Annotated[Path, _CONFIG],
    live: Annotated[bool, typer.Option("--watch", help="show it again every second")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Say what a daemon is doing, and what became of every recording; also when it is not running.

    Example: streamer status watch.yaml
    """
    from rich.live import Live

    loaded = _load(config)
    console = screen()
    if as_json:
        while True:
            print(json.dumps(_status(loaded), indent=None if live else 2), flush=True)
            if not live:
                return
            time.sleep(_SECONDS)
    if not live:
        console.print(_table(_status(loaded), console.width))
        return
    with Live(_table(_status(loaded), console.width), console=console, auto_refresh=False) as shown:
        while True:
            time.sleep(_SECONDS)
            shown.update(_table(_status(loaded), console.width), refresh=True)


def retry(
    config: Annotated[Path, _CONFIG],
    recording: Annotated[str, typer.Argument(metavar="RECORDING", help="its name, path or number", show_default=False)],
) -> None:
    """Queue a recording again from its first attempt, whether it failed, was put aside, or is done.

    Example: streamer retry watch.yaml run_7
    """
    for values in _retry(_load(config), recording):
        say(visible(f"{values['name']}: queued ({values['path']})"))


def pause(config: Annotated[Path, _CONFIG]) -> None:
    """Let a daemon begin nothing new until 'streamer resume'; what runs goes on. It holds after a restart, too.

    Example: streamer pause watch.yaml
    """
    say(_hold(_load(config), "pause"))


def resume(config: Annotated[Path, _CONFIG]) -> None:
    """Let a daemon begin new recordings again, after 'streamer pause'.

    Example: streamer resume watch.yaml
    """
    say(_hold(_load(config), "resume"))


def drain(config: Annotated[Path, _CONFIG]) -> None:
    """Let a daemon finish the chunks at hand and end; what is not done goes on when it is started again.

    Example: streamer drain watch.yaml
    """
    from streamer.ingest.control import ask

    say(ask(_load(config).workdir, "drain")["text"])


def reload(config: Annotated[Path, _CONFIG]) -> None:
    """Make a daemon read its configuration again; if that has a mistake, the old one stays.

    Example: streamer reload watch.yaml
    """
    from streamer.ingest.control import ask

    say(ask(_load(config).workdir, "reload")["text"])


@quarantine.command("list")
def quarantine_list(config: Annotated[Path, _CONFIG], as_json: Annotated[bool, _JSON] = False) -> None:
    """List the recordings that were put aside, with the reason.

    Example: streamer quarantine list watch.yaml
    """
    found = [values for values in _status(_load(config))["recordings"] if values["state"] == "quarantined"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for values in found:
        say(visible(f"#{values['id']} {values['name']}: {values['error']} ({values['path']})"))
    if not found:
        say("nothing is quarantined")


@quarantine.command("show")
def quarantine_show(
    config: Annotated[Path, _CONFIG],
    recording: Annotated[str, typer.Argument(metavar="RECORDING", help="its name, path or number", show_default=False)],
) -> None:
    """Show everything that is known of a recording, with the report of its last attempt.

    Example: streamer quarantine show watch.yaml run_7
    """
    loaded = _load(config)
    found = [
        values
        for values in _status(loaded)["recordings"]
        if recording.removeprefix("#") in (str(values["id"]), values["name"], values["path"])
        or str(Path(recording).absolute()) == values["path"]
    ]
    if not found:
        msg = f"no recording is known as {recording!r}: 'streamer quarantine list {config}' names them"
        raise UsageError(msg)
    for values in found:
        report = loaded.workdir / "reports" / f"{values['id']}.json"
        whole = {"report": json.loads(report.read_text(encoding="utf-8"))} if report.exists() else {}
        print(json.dumps(values | whole, indent=2))


@quarantine.command("retry")
def quarantine_retry(
    config: Annotated[Path, _CONFIG],
    recording: Annotated[
        str, typer.Argument(metavar="[RECORDING]", help="its name, path or number; all where left out")
    ] = "all",
) -> None:
    """Queue again what was put aside, from its first attempt.

    Example: streamer quarantine retry watch.yaml
    """
    found = _retry(_load(config), recording)
    for values in found:
        say(visible(f"{values['name']}: queued ({values['path']})"))
    if not found:
        say("nothing is quarantined")


def _checked(config: Path, overrides: list[str]) -> Loaded:
    """Read the configuration, and have a process that ends again make its consumers: what they import stays there.

    Raises:
        ConfigError: it has a mistake, or a consumer does not take its options. Better now than once a recording comes.

    """
    from streamer.config.load import load

    loaded = load(config, overrides)
    if loaded.config.source.watch is None:
        msg = f"{config} names recordings, not folders to watch: streamer run {config}"
        raise UsageError(msg)
    command = [sys.executable, "-m", "streamer", "check", "--no-recordings", "--json", str(config), *overrides]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603 - our own
    except OSError as error:
        msg = f"{config} could not be checked: the system refused a process ({error.strerror}); try again"
        raise BusyError(msg) from error
    try:
        findings = json.loads(done.stdout)["findings"]
    except ValueError as error:
        raise _unchecked(config, done.returncode, done.stderr) from error
    mistakes = [f["message"] for f in findings if f["code"] == ConfigError.exit_code]
    if mistakes:
        raise ConfigError(parts=[ConfigError(mistake) for mistake in mistakes])
    return loaded


def _unchecked(config: Path, code: int, said: str) -> BusyError | ConfigError:
    """Say why a check has found nothing: somebody ended it, which may go better next time, or it ended by itself."""
    from streamer.supervisor.endings import how_it_ended

    if -code in _FROM_OUTSIDE or code in (BusyError.exit_code, StorageError.exit_code):
        how = how_it_ended(code)
        return BusyError(f"{config} could not be checked: the check ended before its time ({how}); try again")
    last = said.strip() or how_it_ended(code)
    return ConfigError(f"{config} could not be checked: {last}")


def _load(config: Path) -> Loaded:
    """Read a configuration for where its work folder is."""
    from streamer.config.load import load

    loaded = load(config)
    if loaded.config.source.watch is None:
        msg = f"{config}: names recordings, not folders to watch; 'streamer top' shows a run, 'streamer report' its end"
        raise UsageError(msg)
    return loaded


def _status(loaded: Loaded) -> dict[str, Any]:
    """Ask the daemon; where none is running, read what it left."""
    from streamer.ingest.control import ask
    from streamer.ingest.queue import Queue
    from streamer.ingest.snapshot import Live, snapshot

    try:
        found: dict[str, Any] = ask(loaded.workdir, "status")["status"]
    except BusyError:
        if not (loaded.workdir / "queue.sqlite").exists():
            msg = f"no daemon has run in {loaded.workdir}; start one with: streamer watch {loaded.path}"
            raise UsageError(msg) from None
        with Queue(loaded.workdir / "queue.sqlite") as queue:
            return snapshot(queue, Live(str(loaded.path)))
    return found


def _retry(loaded: Loaded, what: str) -> list[dict[str, Any]]:
    """Have the daemon queue recordings again; where none is running, do it in its place."""
    from streamer.ingest.control import ask
    from streamer.ingest.queue import Queue
    from streamer.ingest.snapshot import as_json
    from streamer.supervisor.workdir import open_workdir

    if not what.startswith("#") and Path(what).exists():
        what = str(Path(what).absolute())
    try:
        found: list[dict[str, Any]] = ask(loaded.workdir, "retry", what=what)["recordings"]
    except BusyError:
        with open_workdir(loaded.workdir) as workdir, Queue(workdir.path / "queue.sqlite") as queue:
            return [as_json(entry) for entry in queue.retry(what)]
    return found


def _hold(loaded: Loaded, verb: str) -> str:
    """Have the daemon pause or resume; where none is running, the next one finds it written down."""
    from streamer.ingest.control import ask
    from streamer.ingest.queue import HELD, RESUMED, Queue
    from streamer.supervisor.workdir import open_workdir

    try:
        return str(ask(loaded.workdir, verb)["text"])
    except BusyError:
        with open_workdir(loaded.workdir) as workdir, Queue(workdir.path / "queue.sqlite") as queue:
            queue.hold(wanted=verb == "pause")
        return HELD if verb == "pause" else RESUMED


def _table(found: dict[str, Any], width: int) -> Group:
    """Put together what `snapshot` has for a person."""
    from rich.console import Group
    from rich.text import Text

    from streamer.cli.progress import words
    from streamer.cli.screen import table

    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count) or "no recordings yet"
    used = f", {show_size(found['memory']['used'])} of memory" if found["pid"] else ""
    lines = [Text(f"{Path(found['config']).name}: {found['state']}{used}; {counts}")]
    lines += [Text(visible(text), style="yellow") for text in [found["paused"], *found["warnings"]] if text]
    for one in found["running"]:
        values = one["status"]
        frames = values.get("frames")
        how = f"{frames['done']}/{frames['all']} frames, {words(values)}" if frames else "opening"
        lines.append(Text(visible(f"{one['name']}: {how}")))
    headings = ("recording", "#", "state", "attempts", "size", "frames", "took")
    rows = [_row(values) for values in found["recordings"]]
    why = [Text(visible(f"{values['name']}: {what}")) for values in found["recordings"] if (what := _why(values))]
    return Group(*lines, *([table(headings, rows, width, ("took", "size"))] if rows else []), *why)


def _row(values: dict[str, Any]) -> tuple[str, ...]:
    """Describe a recording, in the order of the headings."""
    took = (values["ended"] or 0) - (values["began"] or 0) if values["state"] == "done" else 0
    return (
        values["name"],
        str(values["id"] or ""),
        values["state"],
        str(values["attempts"] or ""),
        show_size(values["size"]),
        "" if values["frames"] is None else str(values["frames"]),
        show_duration(round(took * 1e9)) if took > 0 else "",
    )


def _why(values: dict[str, Any]) -> str:
    """Say what is to be known of a recording beyond its numbers."""
    again = f"again {_clock(values['next_try'])}" if values["next_try"] else ""
    return "; ".join(text for text in (values["error"], values["note"], again) if text)


def _clock(when: float) -> str:
    return time.strftime("at %H:%M:%S", time.localtime(when))
