"""``streamer demo make OUT``: write a synthetic recording to try or to measure the system on."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.screen import say
from streamer.cli.talk import is_quiet
from streamer.errors import OutputError, UsageError
from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(no_args_is_help=True, help="Make synthetic recordings.")


@app.callback()
def demo() -> None:
    """Make synthetic recordings."""


@app.command()
def tabletop(
    out: Annotated[Path, typer.Argument(help="the .bag file to write", show_default=False)],
    seconds: Annotated[float, typer.Option(help="length")] = 20.0,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 7,
) -> None:
    """Write the recording of the quickstart: a small robot with two cameras, depth, joints and a gripper.

    Example: streamer demo tabletop demo.bag
    """
    from streamer.demo import tabletop as write

    with _explained(out):
        write(out, seconds=seconds, seed=seed)
    _tell(out)


@app.command()
def trials(
    out: Annotated[Path, typer.Argument(help="the .bag file to write", show_default=False)] = Path("trials.bag"),
    count: Annotated[int, typer.Option("--trials", help="how many")] = 10,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 7,
) -> None:
    """Write a recording of several trials with markers, tasks and verdicts, and beside it the .yaml that cuts it.

    Of ten trials one is aborted, one fails, one loses the camera, one is started twice, one is dark and one idle.

    Example: streamer demo trials trials.bag && streamer episodes trials.yaml
    """
    from streamer.cli.screen import as_line, screen
    from streamer.demo import trials as write
    from streamer.demo import write_config

    config = out.with_suffix(".yaml")
    with _explained(out):
        write_config(config, out)
        try:
            write(out, count=count, seed=seed)
        except BaseException:
            config.unlink()
            raise
    screen().print(as_line(f"{out} and {config}; next: streamer episodes {config}"), soft_wrap=True)


@app.command()
def make(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    out: Annotated[Path, typer.Argument(help="a .bag file (ros1) or a folder (mcap, db3)", show_default=False)],
    cameras: Annotated[int, typer.Option(help="number of cameras")] = 3,
    size: Annotated[str, typer.Option(help="pixels, WIDTHxHEIGHT")] = "848x480",
    hz: Annotated[float, typer.Option(help="frames a second of each camera")] = 30.0,
    form: Annotated[str, typer.Option("--format", help="ros1, mcap or db3")] = "ros1",
    image: Annotated[str, typer.Option(help="raw or jpeg")] = "raw",
    compression: Annotated[str, typer.Option(help="none, lz4, bz2 or zstd, as the format has it")] = "none",
    joints: Annotated[str, typer.Option(help="joint topics, COUNTxHZ")] = "2x500",
    seconds: Annotated[float, typer.Option(help="length")] = 60.0,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 7,
) -> None:
    """Write a workload to measure on.

    Example: streamer demo make --cameras 3 --image jpeg --seconds 10 work.bag
    """
    from streamer.demo import Workload
    from streamer.demo import make as write

    width, height = _pair(size, "--size", "848x480")
    topics, rate = _pair(joints, "--joints", "2x500")
    work = Workload(
        cameras=cameras,
        width=width,
        height=height,
        hz=hz,
        format=form,
        image=image,
        compression=compression,
        joint_topics=topics,
        joint_hz=float(rate),
        seconds=seconds,
        seed=seed,
    )
    with _explained(out):
        write(out, work)
    _tell(out)


def _pair(text: str, option: str, example: str) -> tuple[int, int]:
    first, cross, second = text.partition("x")
    if not cross or not first.isdigit() or not second.isdigit():
        msg = f"{option}: {text!r} is not two numbers like {example}"
        raise UsageError(msg)
    return int(first), int(second)


def _tell(out: Path) -> None:
    """Say what was written."""
    if not is_quiet():
        files = [file for file in out.rglob("*") if file.is_file()] if out.is_dir() else [out]
        say(f"✓ {out}: {show_size(sum(file.stat().st_size for file in files))}")


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Say what went wrong in the block as this project does."""
    try:
        yield
    except OSError as error:
        msg = f"{out}: cannot be written: {error.strerror or error}"
        raise OutputError(msg) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
