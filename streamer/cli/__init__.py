"""The command ``streamer``: one file a verb, and one place where errors become exit codes."""

from __future__ import annotations

import sys

import typer

from streamer.errors import StreamerError, UsageError

_TYPERS_USAGE_ERROR = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Stream ROS bags as aligned frames to any number of consumers, in bounded memory.",
    epilog="Exit codes: 0 done · 64 usage · 65 bad recording · 70 internal or consumer failed · 73 cannot write · "
    "74 disk or memory gave out · 75 try again later (busy, interrupted) · 78 bad configuration",
)


def main() -> None:
    """Run the command and exit with its code."""
    from streamer.cli import demo, info, run

    app.command("run")(run.run)
    app.command("info")(info.info)
    app.add_typer(demo.app, name="demo")
    try:
        app()
    except SystemExit as end:
        sys.exit(UsageError.exit_code if end.code == _TYPERS_USAGE_ERROR else end.code)
    except StreamerError as error:
        print(f"streamer: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
