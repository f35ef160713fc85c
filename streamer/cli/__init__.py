"""The command ``streamer``: one file a verb, and one place where errors become exit codes."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module
from typing import Annotated

import typer

from streamer.cli.screen import complain, let_go
from streamer.cli.talk import Verb, Verbs, as_paragraphs, is_verbose, talking
from streamer.errors import BusyError, StorageError, StreamerError, UsageError, from_shortage
from streamer.text import visible

# typer's codes, and ours; 1 is that of rich and click when who was reading has gone: no failure
_CODES: dict[object, int] = {1: 0, 2: UsageError.exit_code, 130: BusyError.exit_code}

_BEGIN, _LOOK, _RUN, _DAEMON = "Begin here", "Look before you run", "Run", "For months: a daemon"
_TOLD = {  # each verb, in the order of the help: where it stands there, and what it does, in a line
    "convert": (_BEGIN, "recordings → a dataset, a table, a video, …: one command"),
    "info": (_BEGIN, "what is in a recording: topics, rates, gaps, clocks"),
    "init": (_BEGIN, "write a configuration for a recording, to edit and run"),
    "survey": (_BEGIN, "which of many recordings one configuration fits"),
    "demo": (_BEGIN, "make a recording to try things on"),
    "check": (_LOOK, "every mistake at once; memory, disk, frames to expect"),
    "plan": (_LOOK, "how well the streams fit together in time"),
    "show": (_LOOK, "draw one frame, every stream before and after its map"),
    "episodes": (_LOOK, "where recordings are cut into episodes"),
    "sync": (_LOOK, "how late a camera is, from the motion in its pictures"),
    "run": (_RUN, "stream a configuration's recordings to its consumers"),
    "debug": (_RUN, "one consumer in the foreground, for breakpoints"),
    "top": (_RUN, "watch what runs"),
    "report": (_RUN, "what the last run came to, in tables"),
    "memory": (_RUN, "what each process took, and what came back"),
    "merge": (_RUN, "put together what parts of a run have written"),
    "review": (_RUN, "say which episodes are good; merge leaves the others out"),
    "push": (_RUN, "send a LeRobot dataset to the Hugging Face Hub"),
    "bench": (_RUN, "measure ways to read a recording"),
    "schema": (_RUN, "the configuration's JSON Schema, for editors"),
    "watch": (_DAEMON, "convert whatever appears in a folder"),
    "status": (_DAEMON, "what the daemon does, what became of each recording"),
    "retry": (_DAEMON, "queue a recording again"),
    "quarantine": (_DAEMON, "recordings that were put aside"),
    "pause": (_DAEMON, "begin no further recording, for a while"),
    "resume": (_DAEMON, "begin recordings again"),
    "drain": (_DAEMON, "finish the chunks at hand, and end"),
    "reload": (_DAEMON, "read the configuration again"),
}
_ELSEWHERE = dict.fromkeys(("status", "retry", "quarantine", "pause", "resume", "drain", "reload"), "watch")
_VERBS = {verb: _ELSEWHERE.get(verb, verb) for verb in _TOLD}  # the module in which each is
_GROUPS = {"demo": "app", "quarantine": "quarantine"}  # verbs with verbs of their own, and what they are called there

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Exit codes: 0 done · 64 usage · 65 bad recording · 70 internal or consumer failed · 73 cannot write · "
    "74 disk or memory gave out · 75 try again later (busy, interrupted) · 78 bad configuration",
)


def _version(context: typer.Context, wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if not wanted:
        return
    from streamer.libraries import NAME, versions

    found = versions()
    for name, number in found.items() if context.params.get("verbose") else [(NAME, found[NAME])]:
        print(f"{name} {number}")
    raise typer.Exit


@app.callback()
def streamer(
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", is_eager=True, help="with --version: also those of all libraries")
    ] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, help="print the version and end")] = False,
) -> None:
    """Turn ROS bags into datasets, tables and videos: aligned, in bounded memory, with nothing lost.

    In one command: streamer convert recording.bag --to lerobot

    Step by step: streamer init recording.bag, streamer check config.yaml, streamer run config.yaml
    """
    if verbose and not version:
        msg = "-v goes with --version: streamer --version -v"
        raise UsageError(msg)


def main() -> None:
    """Run the command and exit with its code; what goes wrong is one message, never a traceback."""
    _open_standard_streams()
    try:
        _run()
    except SystemExit as end:
        sys.exit(_CODES.get(end.code, end.code))
    except KeyboardInterrupt:
        sys.exit(BusyError.exit_code)
    except StreamerError as error:
        if is_verbose():
            traceback.print_exception(error)
        complain(str(error))
        sys.exit(error.exit_code)
    except (OSError, MemoryError, RuntimeError) as error:
        if (lack := from_shortage(error)) is not None:
            complain(str(lack))
            sys.exit(lack.exit_code)
        if not isinstance(error, OSError) or error.errno not in (errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EBADF):
            raise
        _end_unheard(error)


def _end_unheard(error: OSError) -> None:
    """End where standard output takes nothing any more."""
    let_go()
    if error.errno == errno.EPIPE:
        sys.exit(0)
    at = error.filename or "standard output"
    complain(f"{visible(str(at))}: cannot be written: {error.strerror}")
    sys.exit(StorageError.exit_code)


def _open_standard_streams() -> None:
    """Put the null device in the place of streams that who started us has closed: no file of ours may be taken for one.

    Descriptors are given out lowest first, so opening it until all three exist fills the holes.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _run() -> None:
    """Run the command that was typed; only the module of its verb is imported, as that takes most of the time."""
    completed = os.environ.get("_TYPER_COMPLETE_ARGS", os.environ.get("COMP_WORDS", ""))  # zsh and fish, bash
    word = next(iter(sys.argv[1:] or completed.split()[1:]), "")
    if word in _VERBS:
        _add(word)
    else:
        for verb in _VERBS:
            _name(verb)
    _call()


def _name(verb: str) -> None:
    """Add a verb's name and line alone, for the help, for what a shell completes, and for what was meant."""

    def misplaced() -> None:
        msg = f"the verb stands first: streamer {verb} …"
        raise UsageError(msg)

    panel, told = _TOLD[verb]
    app.command(verb, cls=Verb, short_help=told, rich_help_panel=panel)(misplaced)


def _add(verb: str) -> None:
    """Add a verb, or a verb with its own, to the command."""
    module = import_module(f"streamer.cli.{_VERBS[verb]}")
    panel, told = _TOLD[verb]
    if verb in _GROUPS:
        group: typer.Typer = getattr(module, _GROUPS[verb])
        for command in group.registered_commands:
            if command.callback is not None:
                command.help = as_paragraphs(command.callback.__doc__ or "")
                command.callback, command.cls = talking(command.callback), Verb
        app.add_typer(group, name=verb, cls=Verbs, short_help=told, rich_help_panel=panel)
        return
    callback = getattr(module, verb)
    text = as_paragraphs(callback.__doc__ or "")
    app.command(verb, cls=Verb, help=text, short_help=told, rich_help_panel=panel)(talking(callback))


def _call() -> None:
    """Call the verb; what cannot be understood of the command line is an error like any other."""
    try:
        code = app(prog_name="streamer", standalone_mode=False)
    except Exception as error:
        shown = getattr(error, "format_message", None)  # typer's own, which no public module of it names
        context = getattr(error, "ctx", None)
        if shown is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(context.get_help() if context else "", end="")
            raise SystemExit(UsageError.exit_code) from error
        usage = f"\n  {context.command_path} -h says what it takes" if context else ""
        msg = f"{shown()}{usage}"
        raise UsageError(msg) from error
    sys.exit(code if isinstance(code, int) else 0)
