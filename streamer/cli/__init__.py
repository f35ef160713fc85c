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
from streamer.cli.talk import Verb, is_verbose, talking
from streamer.errors import BusyError, StorageError, StreamerError, UsageError, from_shortage
from streamer.text import visible

# typer's codes, and ours; 1 is that of rich and click when who was reading has gone: no failure
_CODES: dict[object, int] = {1: 0, 2: UsageError.exit_code, 130: BusyError.exit_code}

_VERBS = {  # each verb, in the order of the help, and the module in which it is
    **{
        verb: verb for verb in ("convert", "init", "info", "survey", "check", "plan", "episodes", "show", "sync", "run")
    },
    **{verb: verb for verb in ("run", "debug", "merge", "push", "bench", "memory", "report", "top", "watch")},
    **dict.fromkeys(("status", "retry", "quarantine", "pause", "resume", "drain", "reload"), "watch"),
    **{verb: verb for verb in ("schema", "demo")},
}
_GROUPS = {"demo": "app", "quarantine": "quarantine"}  # verbs with verbs of their own, and what they are called there

app = typer.Typer(
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
    """Stream ROS bags as aligned frames to any number of consumers, in bounded memory.

    Begin with: streamer convert recording.bag --to lerobot

    Step by step: streamer init recording.bag, then streamer check config.yaml, then streamer run config.yaml
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
    word = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    is_asked_for_all = word not in _VERBS or any(name.endswith("_COMPLETE") for name in os.environ)
    for verb in _VERBS if is_asked_for_all else (word,):
        module = import_module(f"streamer.cli.{_VERBS[verb]}")
        if verb in _GROUPS:
            group: typer.Typer = getattr(module, _GROUPS[verb])
            for command in group.registered_commands:
                if command.callback is not None:
                    command.callback, command.cls = talking(command.callback), Verb
            app.add_typer(group, name=verb)
        else:
            app.command(verb, cls=Verb)(talking(getattr(module, verb)))
    _call()


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
