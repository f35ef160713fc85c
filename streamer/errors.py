"""What went wrong → who must act: the one tree of errors and the exit code of each.

StreamerError                 70  a fault of this program
├── UsageError                64  the person at the command line
├── ConfigError               78  the author of the configuration
├── RecordingError            65  the owner of the recording
│   ├── DamagedError          65  … whose structure is damaged: what is intact of it can be salvaged
│   └── DecodeError           65  … one message of it
├── ConsumerError             70  the author of the consumer
│   └── ContractError         70  … who broke a rule: trying again would not help
│       └── EscapedViewError  70  … kept an array beyond its callback
├── OutputError               73  whoever owns the output folder (cannot create or write)
├── StorageError              74  whoever owns the disk or memory (full, failing)
└── BusyError                 75  nobody: try again later
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class StreamerError(Exception):
    """A fault with a message for a person and an exit code (sysexits.h) for a script."""

    exit_code = 70


class UsageError(StreamerError):
    """The command line asks for something that cannot be done as asked."""

    exit_code = 64


class ConfigError(StreamerError):
    """The configuration names something that does not exist or does not fit."""

    exit_code = 78


class RecordingError(StreamerError):
    """The recording cannot be read as it is."""

    exit_code = 65


class DamagedError(RecordingError):
    """The recording's structure is damaged: ``why`` says how, ``remedy`` what its owner can do about it."""

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why}; {remedy}" if remedy else why)
        self.why = why


class DecodeError(RecordingError):
    """One message of the recording cannot be turned into an array."""


class ConsumerError(StreamerError):
    """A consumer's code failed and trying again did not help."""


class ContractError(ConsumerError):
    """A consumer broke a rule of the contract; trying again would end the same way."""


class EscapedViewError(ContractError):
    """A consumer kept an array whose memory is about to be used again."""


class OutputError(StreamerError):
    """An output cannot be created or written."""

    exit_code = 73


class StorageError(StreamerError):
    """The disk or the memory behind an output, the pool or the ledger gave out."""

    exit_code = 74


class BusyError(StreamerError):
    """Somebody else holds what is needed, or the run was interrupted: try again later."""

    exit_code = 75


_BY_NAME = {
    cls.__name__: cls
    for cls in (
        StreamerError,
        UsageError,
        ConfigError,
        RecordingError,
        DamagedError,
        DecodeError,
        ConsumerError,
        ContractError,
        EscapedViewError,
        OutputError,
        StorageError,
        BusyError,
    )
}


def nearest_name(word: str, known: Iterable[str]) -> str:
    """Return a hint at the name that was probably meant, to go into a message; empty where none is near."""
    import difflib  # where something is wrong already

    names = sorted(known)
    folded = {name.lower(): name for name in names}
    inside = [name for name in folded if len(word) > 2 and word.lower() in name]
    near = difflib.get_close_matches(word.lower(), folded, 1) or sorted(inside, key=len)[:1]
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


_MOST_NAMES = 16
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")


def show_names(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    """Write names as a list for a message, as a configuration has it; of many, the first."""
    shown = [name if _PLAIN.fullmatch(name) else repr(name) for name in names[:most]]
    rest = len(names) - len(shown)
    return f"[{', '.join(shown)}{f', … {rest} more' if rest > 0 else ''}]"


def names_differ(names: Sequence[str], first: Sequence[str]) -> str:
    """Say how names differ from those that were there first: both lists, or of long ones what sets them apart."""
    if max(len(names), len(first)) <= _MOST_NAMES:
        return f"{show_names(names)} instead of {show_names(first)}"
    new, gone = [n for n in names if n not in set(first)], [n for n in first if n not in set(names)]
    if not new and not gone:
        shorter = min(len(names), len(first))
        at = next((n for n in range(shorter) if names[n] != first[n]), shorter)
        return f"the order differs from element {at} on: {show_names(names[at:])} instead of {show_names(first[at:])}"
    parts = [f"{verb} {show_names(part)}" for verb, part in (("with", new), ("without", gone)) if part]
    return f"{len(names)} names instead of {len(first)}, {' and '.join(parts)}"


_CANNOT_WRITE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
)
_GAVE_OUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


def by_name(name: str) -> type[StreamerError]:
    """Return the class of the tree with this name, or the root: how an error crosses a process."""
    return _BY_NAME.get(name, StreamerError)


def from_os_error(error: OSError) -> StreamerError | None:
    """Say whose fault an operating-system error is, where its number tells; otherwise None."""
    if error.errno in _CANNOT_WRITE:
        return OutputError(f"cannot write {error.filename or 'the output'}: {error.strerror}")
    if error.errno in _GAVE_OUT:
        where = f" at {error.filename}" if error.filename else ""
        return StorageError(f"the disk gave out{where}: {error.strerror}")
    return None
