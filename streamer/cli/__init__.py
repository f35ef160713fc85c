"""The command ``streamer``: one file a verb, and one place where errors become exit codes."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from streamer.errors import BusyError, StorageError, StreamerError, UsageError

_CODES: dict[object, int] = {2: UsageError.exit_code, 130: BusyError.exit_code}  # typer's, and ours

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done · 64 usage · 65 bad recording · 70 internal or consumer failed · 73 cannot write · "
    "74 disk or memory gave out · 75 try again later (busy, interrupted) · 78 bad configuration",
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        from importlib.metadata import version

        print(f"rosbag-streamer {version('rosbag-streamer')}")
        raise typer.Exit


@app.callback()
def streamer(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and end")
    ] = False,
) -> None:
    """Stream ROS bags as aligned frames to any number of consumers, in bounded memory.

    Begin with: streamer init recording.bag, then streamer check config.yaml, then streamer run config.yaml
    """


def main() -> None:
    """Run the command and exit with its code."""
    from streamer.cli import bench, check, demo, info, init, memory, merge, plan, report, run, schema, top

    app.command("init")(init.init)
    app.command("info")(info.info)
    app.command("check")(check.check)
    app.command("plan")(plan.plan)
    app.command("run")(run.run)
    app.command("merge")(merge.merge)
    app.command("bench")(bench.bench)
    app.command("memory")(memory.memory)
    app.command("report")(report.report)
    app.command("top")(top.top)
    app.command("schema")(schema.schema)
    app.add_typer(demo.app, name="demo")
    try:
        app()
    except SystemExit as end:
        sys.exit(_CODES.get(end.code, end.code))
    except StreamerError as error:
        print(f"streamer: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EBADF):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        sys.exit(0 if error.errno == errno.EPIPE else StorageError.exit_code)
