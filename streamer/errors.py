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
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from streamer.text import paragraph, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Self


@dataclass(frozen=True, slots=True)
class Where:
    """What an error is about, as far as it is known; empty and None stand for unknown.

    ``key`` is the dotted path of a setting (``streams.head.topic``) and ``line`` where it stands (``config.yaml:12``,
    ``the command line``); ``message`` is the number of a message of the ``stream``, needed for ``frame``; ``path`` is
    the file or folder that is at fault; ``hint`` says what to do.
    """

    key: str = ""
    line: str = ""
    stream: str = ""
    message: int | None = None
    frame: int | None = None
    consumer: str = ""
    path: str = ""
    hint: str = ""


class StreamerError(Exception):
    """A fault: what is wrong (``text``), what it is about (``where``), an exit code (sysexits.h) for a script.

    ``str(error)`` is the whole message for a person: put it together at the edge, and never take it apart.
    """

    exit_code = 70

    def __init__(  # noqa: PLR0913 - one argument a field of `Where`
        self,
        text: str = "",
        *,
        key: str = "",
        line: str = "",
        stream: str = "",
        message: int | None = None,
        frame: int | None = None,
        consumer: str = "",
        path: Path | str = "",
        hint: str = "",
        parts: Sequence[StreamerError] = (),
    ) -> None:
        """Say what is wrong; ``parts`` are the faults that this one stands for, each told in a line of its own."""
        super().__init__(text)
        self.text = text
        self.where = Where(key, line, stream, message, frame, consumer, str(path), hint)
        self.parts = tuple(parts)

    def within(self, **fields: Any) -> Self:
        """Return this error with more said about it: what is known already stays, a hint is added to the hints."""
        known = {name: value for name, value in asdict(self.where).items() if value not in ("", None)}
        old, new = self.where.hint, fields.get("hint", "")
        hints = [hint for hint in (old, "" if new in old else new) if hint]
        return self.at(**{**fields, **known, "hint": "; ".join(hints)})

    def under(self, *names: str) -> Self:
        """Return this error with its key below others: ``field``, under ``streams``, ``head``: streams.head.field."""
        return self.at(key=".".join([*names, *([self.where.key] if self.where.key else [])]))

    def at(self, **fields: Any) -> Self:
        """Return this error with other fields, or another ``text``, in place of its own."""
        return type(self)(**{"text": self.text, "parts": self.parts, **asdict(self.where), **fields})

    def __str__(self) -> str:
        if self.parts:
            return "\n".join(map(str, self.parts))
        where = self.where
        subject = where.key or (f"streams.{where.stream}" if where.stream else "")
        subject = subject or (f"consumer {where.consumer}" if where.consumer else "")
        needed = f", needed for frame {where.frame}" if where.frame is not None else ""
        message = f"message {where.message}{needed}" if where.message is not None else ""
        places = [visible(place) for place in (where.line, subject, message, where.path) if place]
        hint = f"; {visible(where.hint)}" if where.hint else ""
        return ": ".join([*places, paragraph(self.text)]) + hint

    def to_wire(self) -> dict[str, Any]:
        """Return the error as plain values, to cross a process."""
        return {
            "kind": type(self).__name__,
            "text": self.text,
            "where": {name: value for name, value in asdict(self.where).items() if value not in ("", None)},
            "parts": [part.to_wire() for part in self.parts],
        }

    @staticmethod
    def from_wire(values: dict[str, Any]) -> StreamerError:
        """Return the error of which these are the plain values; a class that is not of the tree becomes its root."""
        parts = [StreamerError.from_wire(part) for part in values["parts"]]
        return by_name(values["kind"])(values["text"], **values["where"], parts=parts)


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
    """The recording's structure is damaged; what is intact of it can be salvaged."""


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


_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS})


def from_shortage(error: BaseException) -> StorageError | None:
    """Say that the system had too little of something (descriptors, memory, processes), which passes; else None."""
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        return StorageError(
            f"the system has too little of what this needs: {error.strerror}", path=error.filename or ""
        )
    if isinstance(error, MemoryError):
        return StorageError("the system has no memory for this")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return StorageError("the system has no thread for this")
    return None


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
        at = f" at {error.filename}" if error.filename else ""
        return StorageError(f"the disk gave out{at}: {error.strerror}")
    return from_shortage(error)
