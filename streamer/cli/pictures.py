"""Lines over time or chunks → a picture in a file; and whether pictures can be drawn here at all."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streamer.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def check_plot(who: str = "--plot") -> None:
    """Make sure that ``--plot``, or who else draws, will work, before anything takes its time.

    Raises:
        UsageError: matplotlib is not installed.

    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        msg = f"{who} draws with matplotlib: pip install 'rosbag-streamer[plot]'"
        raise UsageError(msg) from error
    mpl.use("Agg")
    mpl.rcParams["text.parse_math"] = False  # names are no formulas
    warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)  # nor need a font have all of them


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Name the file that cannot be written in the block.

    Raises:
        OutputError: it cannot, or a picture's format is not known by its ending.

    """
    try:
        yield
    except (OSError, ValueError) as error:  # matplotlib says the latter of an ending that it does not know
        msg = f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}"
        raise OutputError(msg) from error


@contextmanager
def panels(path: Path, count: int, height: float) -> Iterator[list[Any]]:
    """Give ``count`` axes below each other for lines of megabytes that begin at 0; write the picture afterwards.

    Raises:
        OutputError: it cannot be written.

    """
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(count, 1, figsize=(9, height * count), layout="constrained", squeeze=False)
    yield list(grid[:, 0])
    for axes in grid[:, 0]:
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))  # beside the lines, never on them
    with written(path):
        figure.savefig(path, dpi=150)
    plt.close(figure)
