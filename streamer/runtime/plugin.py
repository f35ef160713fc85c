"""The name of a consumer and its options → an object with the methods of the contract, checked before it runs."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.contract import Consumer
from streamer.errors import ConfigError, StreamerError, nearest_name
from streamer.runtime.options import mistake_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from importlib.metadata import EntryPoint

    from streamer.contract import Frame
    from streamer.records import Copying

GROUP = "streamer.consumers"
_OURS = "rosbag-streamer"
_OTHERS = ("consumers.", "streams.", "timeline.", "source.")  # settings that are no consumer's
_METHODS = ("check", "open", "on_frame", "on_chunk", "close", "merge")


class _Function(Consumer):
    """A plain function as a consumer."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def on_frame(self, frame: Frame) -> None:
        self._function(frame)


def make_consumer(name: str, use: str, options: Mapping[str, Any]) -> Consumer:
    """Import what ``use`` names and construct it with its options.

    Raises:
        ConfigError: it does not exist, is no consumer, or does not take these options.

    """
    found = _find(name, use)
    if inspect.isclass(found):
        _check_options(name, use, found, options)
        consumer = _construct(name, found, options)
        if not callable(getattr(consumer, "on_frame", None)):
            msg = f"{use} has no method on_frame(frame)"
            raise ConfigError(msg, key=f"consumers.{name}.use")
        return consumer if isinstance(consumer, Consumer) else _complete(consumer)
    if not callable(found):
        msg = f"{use} is a {type(found).__name__}, neither a class nor a function"
        raise ConfigError(msg, key=f"consumers.{name}.use")
    _check_options(name, use, found, options, given=1)
    return _Function(functools.partial(found, **options))


def preload(use: str) -> None:
    """Import what ``use`` names where it is built in: of others nobody knows whether they can be forked."""
    entry = None if ":" in use else _known().get(use)
    if entry is not None and entry.dist is not None and entry.dist.name == _OURS:
        with suppress(ImportError):  # told by `make_consumer`
            importlib.import_module(entry.module)


def packets_wanted(use: str, options: Mapping[str, Any], streams: Sequence[str]) -> Mapping[str, Copying]:
    """Ask a consumer that is built in which streams it takes as packets: the code of others runs in their processes."""
    entry = None if ":" in use else _known().get(use)
    if entry is None or entry.dist is None or entry.dist.name != _OURS:
        return {}
    try:
        found = entry.load()
    except ImportError:  # told by `make_consumer`
        return {}
    return found.takes_packets(options, streams) if issubclass(found, Consumer) else {}


@functools.cache
def _known() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _find(name: str, use: str) -> Any:
    module, colon, attribute = use.partition(":")
    if not colon:
        known = _known()
        if use not in known:
            msg = (
                f"there is no consumer {use!r}{nearest_name(use, known) or '.'} "
                f"Known: {', '.join(sorted(known))}; your own is written 'module:Name'"
            )
            raise ConfigError(msg, key=f"consumers.{name}.use")
        module, _, attribute = known[use].value.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except (ImportError, ValueError, TypeError) as error:
        msg = f"{use!r} cannot be imported: {error}"
        hint = f"name the module, not its file: '{module.removesuffix('.py')}:{attribute}'" * module.endswith(".py")
        raise ConfigError(msg, key=f"consumers.{name}.use", hint=hint) from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        msg = f"the module {module!r} has no {attribute!r}"
        raise ConfigError(msg, key=f"consumers.{name}.use") from error
    return found


def _check_options(
    name: str, use: str, target: Callable[..., object], options: Mapping[str, Any], *, given: int = 0
) -> None:
    """Hold the options against the signature and its annotations, so that a mistake is found before anything runs."""
    mistake = mistake_in(target, options, given)
    if mistake is not None:
        option, what = mistake
        raise _misfit(name, f"{use!r} {what}", option)


def _construct(name: str, cls: type, options: Mapping[str, Any]) -> Any:
    try:
        return cls(**options)
    except StreamerError as error:
        placed = error.under("consumers", name, "options")
        raise placed from error
    except (TypeError, ValueError) as error:
        begins = str(error).partition(" ")[0]  # 'frames is at least 1': about the option of that name
        raise _misfit(name, str(error), begins if begins in options else "") from error


def _misfit(name: str, what: str, option: str) -> ConfigError:
    """Name an option by its path, by which its line is found."""
    return ConfigError(what, key=option).under("consumers", name, "options")


def of_consumer(error: StreamerError, name: str) -> StreamerError:
    """Say of an error that a consumer's own code raised whose it is; settings of others keep their place."""
    if isinstance(error, ConfigError) and not error.where.key.startswith(_OTHERS):
        return error.under("consumers", name)
    return error.within(consumer=name)


def _complete(consumer: object) -> Consumer:
    """Let an object that has only some of the methods serve as a consumer."""
    whole = Consumer()
    for method in _METHODS:
        if callable(own := getattr(consumer, method, None)):
            setattr(whole, method, own)
    return whole


@contextmanager
def importing(base: Path) -> Iterator[None]:
    """Find modules where the processes of a run find them: ``base`` is the configuration's folder."""
    before = list(sys.path)
    sys.path[:0] = [str(base), str(Path.cwd())]
    try:
        yield
    finally:
        sys.path[:] = before
