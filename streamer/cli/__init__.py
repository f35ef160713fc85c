"""The command ``streamer``: one file a verb, and one place where errors become exit codes."""

from __future__ import annotations

import sys

import click
import typer

from streamer.errors import StreamerError, UsageError

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
    sys.exit(_invoke())


def _invoke() -> int:
    try:
        code = app(standalone_mode=False)
    except click.exceptions.UsageError as error:
        error.show()
        return UsageError.exit_code
    except StreamerError as error:
        print(f"streamer: {error}", file=sys.stderr)
        return error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else 0
