"""A run's report → a few lines for a person: what was written and where, what was left out or flagged, what is next."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.cli.screen import as_line, complain, screen
from streamer.cli.tables import remarks, show_recording
from streamer.cli.talk import is_quiet, is_verbose
from streamer.errors import ConfigError
from streamer.quality import FLAGGED, KEPT, LEFT_OUT
from streamer.records import Damage
from streamer.source.find import recording_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.config.load import Loaded
    from streamer.errors import StreamerError
    from streamer.supervisor.report import Report, Streamed

_NAMED = 3  # outputs that are listed; of more, the folder in which they lie
_STREAMS = 4  # that are named where something is flagged
_EPISODES = 5  # that are named where they are not kept as they are


def show_summary(
    report: Report, loaded: Loaded, workdir: Path, seconds: float, *, again: str = "", said: Sequence[str] = ()
) -> None:
    """Print what came of a run: one line, then what was left out or flagged, then where more is to be read.

    ``again`` is the command that goes on with what is missing, that of a configuration's run where it is left out;
    ``said`` are lines to add. Errors go to standard error, also with ``-q``.
    """
    console = screen()

    def line(text: str) -> None:
        console.print(as_line(text), soft_wrap=True)

    if is_verbose():
        for one in report.recordings:
            show_recording(console, one.path.name, one.state, one.values)
    if not is_quiet():
        for text in _lines(report, loaded, seconds):
            line(text)
        for text in said:
            line(f"  {text}")
        if any(_streamed(one) for one in report.recordings):
            line(f"  more: {_command('report', workdir)}")
    begun = any(one.state == "done" or _streamed(one) for one in report.recordings)
    if report.error is not None:
        complain(str(_whole(report.error, loaded) if not begun else loaded.locate(report.error)))
    if report.exit_code and not is_quiet() and (len(report.recordings) > 1 or report.error is None):
        again = again or f"streamer run {_shown(loaded.path)}{' --resume' * begun}"
        mended = "once that is mended" if report.error is not None else "to begin again"
        line(f"  to go on: {again}" if begun else f"  nothing was committed; {mended}: {again}")


def _whole(error: StreamerError, loaded: Loaded) -> StreamerError:
    """Return an error for which nothing was begun, with all other mistakes of the configuration where it is one."""
    if not isinstance(error, ConfigError):
        return loaded.locate(error)
    from streamer.inspect.mistakes import all_of_run

    return all_of_run(loaded, error)


def _lines(report: Report, loaded: Loaded, seconds: float) -> Iterator[str]:
    """Write the first line of a summary, and one for each recording that failed and each thing to know."""
    every = report.recordings
    now = [one for one in every if not one.values.get("earlier")]
    if not every or (len(every) == 1 and every[0].state == "failed" and not _streamed(every[0])):
        return  # the error says it all
    if not now:
        which = f"all {len(every)} recordings were" if len(every) > 1 else f"{every[0].path.name} was"
        yield f"✓ {which} done in an earlier run ({_repeat(loaded)}){_places(report, loaded)}"
        return
    frames, streams = sum(_streamed(one) for one in now), len(loaded.config.streams)
    what = f"{frames} frame{'s' * (frames != 1)}, {streams} stream{'s' * (streams != 1)}"
    if len(every) > 1:
        states = Counter(one.state for one in every)
        told = f" ({', '.join(f'{count} {state}' for state, count in states.items())})" if len(states) > 1 else ""
        of = f"{len(now)} of " if len(now) < len(every) else ""
        what = f"{of}{len(every)} recordings{told}: {what}"
    elif every[0].state != "done":
        what = f"{every[0].state}: {frames} of {every[0].values['frames']['planned']} frames"
    mark = "✗" if report.error is not None else "✓" if not report.exit_code and frames else "!"
    yield f"{mark} {what}{_places(report, loaded)} ({seconds:.1f} s)"
    if earlier := len(every) - len(now):
        yield f"  {earlier} {'were' if earlier > 1 else 'was'} done in an earlier run ({_repeat(loaded)})"
    told_at_the_end = isinstance(report.error, ConfigError)  # with all mistakes of the configuration
    for one in now:
        name = f"{one.path.name}: " if len(every) > 1 else ""
        if one.error is not None and name and not (isinstance(one.error, ConfigError) and told_at_the_end):
            yield f"  {name}{one.error.at(path='')}"
        for text in _flagged(one.values) if one.state == "done" or _streamed(one) else ():
            yield f"  {name}{text}"


def _repeat(loaded: Loaded) -> str:
    """Say how to have done again what is done: a dataset to which recordings are added does not take one twice."""
    added = [c for name, c in loaded.config.consumers.items() if (c.use or name) == "lerobot"]
    if not added:
        return "--again does it again"
    return f"to do it again, remove {_shown(loaded.base / str(added[0].options.get('out')))}"


def _flagged(values: dict[str, Any]) -> Iterator[str]:
    """Say what a person should know of a recording: what is not in the outputs, or not as it was meant."""
    yield from _judged(values.get("episodes", ()))
    if left := values.get("leftovers"):
        few = ", ".join(_shown(Path(path)) for path in left[:_NAMED]) + (" …" if len(left) > _NAMED else "")
        yield f"{len(left)} output{'s' * (len(left) > 1)} of an earlier run, which this one left out: remove {few}"
    for reason, count in values["frames"]["skipped"].items():
        yield f"left out: {count} frame{'s' * (count != 1)} ({reason})"
    for kind, words in (("gaps", "in a gap"), ("none", "without a sample")):
        counts = {name: stream[kind] for name, stream in values["streams"].items() if stream[kind]}
        told = [f"{name} {count}" for name, count in list(counts.items())[:_STREAMS]]
        more = f" and {len(counts) - len(told)} more streams" if len(counts) > len(told) else ""
        if told:
            yield f"frames {words}: {', '.join(told)}{more}"
    for damage in values["damage"]:
        yield f"salvaged {Damage(**damage)}"
    for name, consumer in values["consumers"].items():
        if crashes := consumer["restarts"]["crash"]:
            yield f"{name}: crashed {crashes} time{'s' * (crashes > 1)} and went on from its last commit"
    yield from remarks(values["consumers"])


def _judged(episodes: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Say how many episodes are kept, flagged and left out, and of those that are not kept, why."""
    found = Counter(e["verdict"] for e in episodes)
    if set(found) <= {KEPT}:
        return
    if len(episodes) > 1:
        yield f"episodes: {', '.join(f'{found[what]} {what}' for what in (KEPT, FLAGGED, LEFT_OUT) if found[what])}"
    low = [e for e in episodes if e["verdict"] != KEPT]
    for e in low[:_EPISODES]:
        which = "it is" if e["number"] is None else f"episode {e['number']} is"
        yield f"{which} {e['verdict']}: {'; '.join(reason['text'] for reason in e['reasons'])}"
    if len(low) > _EPISODES:
        yield f"and {len(low) - _EPISODES} more episodes that are not kept as they are"


def _places(report: Report, loaded: Loaded) -> str:
    """Say where the outputs of what is done are: a few by name, of more the folder."""
    every = list(dict.fromkeys(_outputs(report, loaded)))
    found = [path for path in every if not any(other in path.parents for other in every)]
    if not found:
        return ""
    if len(found) <= _NAMED:
        return f" → {', '.join(_shown(path) for path in found)}"
    return f" → {len(found)} outputs in {_shown(Path(os.path.commonpath(found)))}"


def _outputs(report: Report, loaded: Loaded) -> Iterator[Path]:
    """List what the consumers' options call ``out``; of a folder with one file of the recording, that file."""
    for one in report.recordings:
        if one.state != "done":
            continue
        name = recording_name(one.path)
        for consumer in loaded.config.consumers.values():
            out = consumer.options.get("out")
            if not isinstance(out, str):
                continue
            path = loaded.base / out.replace("{recording}", name)
            mine = [file for file in path.iterdir() if file.name.startswith(f"{name}.")] if path.is_dir() else []
            if len(mine) == 1 and len(report.recordings) == 1:
                yield mine[0]
            elif path.exists():
                yield path


def _streamed(one: Streamed) -> int:
    return int(one.values["frames"]["delivered"])


def _shown(path: Path) -> str:
    """Write a path as one would type it here."""
    here = Path.cwd()
    path = path.absolute()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _command(verb: str, workdir: Path) -> str:
    shown = _shown(workdir)
    return f"streamer {verb}" if shown == ".streamer" else f"streamer {verb} {shown}"
