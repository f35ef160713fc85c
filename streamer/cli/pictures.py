"""Whether pictures can be drawn here, asked before anything takes its time."""

from streamer.errors import UsageError


def check_plot() -> None:
    """Make sure that ``--plot`` will work.

    Raises:
        UsageError: matplotlib is not installed.

    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        msg = "--plot draws with matplotlib: pip install 'rosbag-streamer[plot]'"
        raise UsageError(msg) from error
    mpl.use("Agg")
