"""The first and last lines of every child process: tied to its parent, deaf to the terminal.

Only the supervisor judges life and death: children take no notice of SIGINT, SIGTERM and SIGHUP, which reach
them when a terminal or a service manager signals the whole group, and die with their parent.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING

from streamer.errors import StreamerError
from streamer.runtime.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LONGEST_EXIT = 5.0  # seconds


def run(main: Callable[[Channel], None], *, foreign: bool) -> None:
    """Run a child's main function with its channel; report how it failed; exit.

    ``foreign`` says whether there is code in the process that is not ours, which may want to do something at exit.

    The command line is: program, title, descriptor of the channel, process id of the parent.
    """
    title, fd, parent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _bind_to_parent(title, parent)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=f"%(asctime)s {title} %(levelname)s %(message)s")
    channel = Channel.inherited(fd)
    try:
        main(channel)
    except EOFError:
        os._exit(1)  # the supervisor is gone: nobody to tell, nothing to save
    except Exception as error:  # noqa: BLE001 - the last frame of a process: bring every error home
        report(channel, error)
        _leave(error.exit_code if isinstance(error, StreamerError) else StreamerError.exit_code, foreign=foreign)
    _leave(0, foreign=foreign)


def report(channel: Channel, error: BaseException, **context: object) -> None:
    """Tell the supervisor of an error, with its traceback, and write it to the log."""
    trace = "".join(traceback.format_exception(error))
    logging.getLogger("streamer").error("%s", trace)
    known = isinstance(error, StreamerError)
    channel.send(
        "error",
        kind=type(error).__name__ if known else "",
        message=str(error) if known else f"{type(error).__name__}: {error}",
        trace=trace,
        **context,
    )


def _bind_to_parent(title: str, parent: int) -> None:
    for number in _DEAF_TO:
        signal.signal(number, _deaf)
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF_TO),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEAF_TO),
        after_in_child=_hear_again,
    )
    faulthandler.enable()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NAME, title.encode()[:15], 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


def _hear_again() -> None:
    """Let a process that foreign code forks be ended like any other, from its first moment on."""
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEAF_TO)


def _deaf(number: int, frame: object) -> None:
    """Take no notice; a handler, unlike SIG_IGN, is not inherited by what the process starts."""


def _leave(code: int, *, foreign: bool) -> None:
    """Exit; with foreign code as a process does, so that its files are flushed, but not wait for its threads."""
    if not foreign:  # everything of ours is closed: taking the interpreter down would take longer than a chunk
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    watchdog = threading.Timer(_LONGEST_EXIT, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
    sys.exit(code)
