"""The first and last lines of every child process: tied to its parent, deaf to the terminal.

Only the supervisor judges life and death: children take no notice of SIGINT, SIGTERM and SIGHUP, which reach
them when a terminal or a service manager signals the whole group, and die with their parent.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import fcntl
import gc
import io
import logging
import os
import signal
import stat
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from streamer.errors import ConsumerError, StreamerError, from_shortage
from streamer.libraries import blamed
from streamer.runtime.channel import Channel
from streamer.runtime.messages import Failed
from streamer.text import LineFormatter

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
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF_TO),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEAF_TO),
        after_in_child=_hear_again,
    )
    live(main, title, Channel.inherited(fd), parent, foreign=foreign)


def live(main: Callable[[Channel], None], title: str, channel: Channel, parent: int, *, foreign: bool) -> NoReturn:
    """Do as `run` does, in a process that has begun otherwise."""
    bind(title, parent)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(f"%(asctime)s {title} %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if foreign:
        _tell_own_kills(channel)
    try:
        main(channel)
    except EOFError:
        os._exit(1)  # the supervisor is gone: nobody to tell, nothing to save
    except Exception as fault:  # noqa: BLE001 - the last frame of a process: bring every error home
        error = from_shortage(fault) or fault
        error.__cause__ = fault if error is not fault else fault.__cause__
        report(channel, error)
        _leave(error.exit_code if isinstance(error, StreamerError) else StreamerError.exit_code, foreign=foreign)
    _leave(0, foreign=foreign)


def report(channel: Channel, error: BaseException) -> None:
    """Tell the supervisor of an error, with its traceback, and write it to the log."""
    trace = "".join(traceback.format_exception(error))
    logging.getLogger("streamer").error("%s", trace)
    known = (
        error if isinstance(error, StreamerError) else StreamerError(f"{type(error).__name__}: {error}{blamed(error)}")
    )
    channel.send(Failed.of(known, trace))


def _tell_own_kills(channel: Channel) -> None:
    """Have the supervisor told of a SIGKILL that Python code sends its own process, which nobody could tell later."""
    own = os.getpid()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in ("os.kill", "os.killpg") or args[1] != signal.SIGKILL or os.getpid() != own:
            return
        if args[0] == own or (args[0] in (0, -own) and event == "os.kill"):
            error = ConsumerError(f"its own code sent it SIGKILL ({event})")
            channel.send(Failed.of(error, "".join(traceback.format_stack())))

    sys.addaudithook(hook)


def bind(title: str, parent: int) -> None:
    """Tie this process to its parent, make it deaf, and give it a name."""
    for number in _DEAF_TO:
        signal.signal(number, _deaf)
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


def _leave(code: int, *, foreign: bool) -> NoReturn:
    """End the process without taking the interpreter down, which would take longer than a handover may.

    Where there was ``foreign`` code, what an exit does for it is done: threads are waited for (not for ever), exit
    handlers run, and files that were written to are flushed, Python's and those of native code.
    """
    if foreign:
        watchdog = threading.Timer(_LONGEST_EXIT, os._exit, (code,))
        watchdog.daemon = True
        watchdog.start()
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - what the interpreter itself calls first
        atexit._run_exitfuncs()  # noqa: SLF001 - and then
        if _writes_files():
            for thing in gc.get_objects():
                if issubclass(type(thing), io.IOBase):  # isinstance would ask proxies what they are
                    _flush(thing)
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    ctypes.CDLL(None).fflush(None)
    os._exit(code)


def _writes_files() -> bool:
    """Tell whether a file is open for writing, but for the log: to look for its buffers takes time."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names are all that is wanted
        with suppress(OSError):  # the descriptor of this listing is closed by now
            regular = int(name) > 2 and stat.S_ISREG(os.fstat(int(name)).st_mode)
            if regular and fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                return True
    return False


def _flush(stream: Any) -> None:
    """Flush a file; one that is closed or broken has nobody left to tell."""
    with suppress(Exception):
        if stream is not None and not stream.closed and stream.writable():
            stream.flush()
