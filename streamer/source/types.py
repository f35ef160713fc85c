"""The definitions of a recording's topics (or those the user names) → the fields of every type of a topic.

Types belong to the topic: two topics may call two definitions by one name.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rosbags.typesys import Stores, get_typestore

from streamer.errors import ConfigError, RecordingError, nearest_name
from streamer.source.definition import (
    PLACEHOLDER,
    Definition,
    DefinitionError,
    MissingTypeError,
    checksum,
    closure,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Self

    from rosbags.interfaces.typing import Typesdict

    from streamer.records import Topic
    from streamer.source.source import Source

ENCODINGS = ("ros1", "cdr")  # of messages that are read
KNOWN = frozenset({("protobuf", "foxglove.CompressedVideo")})  # encodings and types that are read without definition
_NOETIC = "ros1_noetic"
_MD5 = re.compile(r"[0-9a-f]{32}")
_OWN = "name a folder with its .msg or .idl files under 'types:'"


class Types:
    """The message types of one recording, a dictionary of them for each topic.

    What the user names (`types`: .msg or .idl folders, or a ROS distribution) goes before what the recording
    says. A definition that is missing, empty or cut is completed: by the same definition of another topic, else
    by the standard type; a ROS 1 checksum proves that it is the right one, else ``warnings`` says so by topic.
    """

    def __init__(
        self, named: Sequence[str], distro: str, base: Path, topics: Iterable[Topic] = (), *, verify: bool = True
    ) -> None:
        """Read the definitions that the user names; paths are relative to ``base``.

        ``topics`` are all of the recording, whose definitions complete each other. Without ``verify``, a definition
        with another checksum than its connection's is taken all the same.

        Raises:
            ConfigError: a name is neither a folder nor a ROS distribution.

        """
        self._folders: Typesdict = {}
        self._named: list[str] = []
        self._distros = [distro] if _find_store(distro) else []
        self._topics = tuple(topics)
        self._verify = verify
        self._found: dict[str, tuple[Topic, Typesdict]] = {}
        self.warnings: dict[str, str] = {}
        for name in named:
            folder = base / Path(name).expanduser()
            if folder.is_dir():
                self._folders |= _read_folder(folder)
            else:
                _store(name)
                self._named.append(name)

    @classmethod
    def of(cls, source: Source, named: Sequence[str], base: Path) -> Self:
        """Return the types of an open recording; ``named`` as the setting ``types``."""
        return cls(named, source.distro, base, source.topics.values(), verify=source.trust.verify)

    def fields(self, topic: Topic) -> Typesdict:
        """Return the definitions with which to read the messages of ``topic``; none where they are not needed.

        Raises:
            RecordingError: its messages are none of ROS, or of two kinds, or the definition does not parse.
            ConfigError: nobody defines the type.

        """
        if (topic.encoding, topic.msgtype) in KNOWN:
            return {}
        known = self._found.get(topic.name)
        if known is None or known[0] is not topic:
            _check_readable(topic)
            found = self._find(topic)
            for channel in topic.channels[1:]:
                self._check_same(topic, channel, found)
            self._found[topic.name] = known = topic, found
        return known[1]

    def _check_same(self, topic: Topic, other: Topic, found: Typesdict) -> None:
        """Make sure that the messages of another channel of the topic are laid out as those of the first."""
        if _MD5.fullmatch(topic.md5sum) and topic.md5sum == other.md5sum:
            return
        mine, theirs = ({name: inner[1] for name, inner in types.items()} for types in (found, self._find(other)))
        if mine != theirs:
            msg = (
                f"topic {topic.name} holds messages of two definitions of {topic.msgtype}: "
                "only one can be read as a stream"
            )
            raise RecordingError(msg)

    def _find(self, topic: Topic) -> Typesdict:
        named = self._overlay(topic)
        if topic.msgtype not in named:
            proof = topic.encoding == "ros1" and _MD5.fullmatch(topic.md5sum)
            return self._proven(topic, named) if proof else self._likely(topic, named)
        own = self._parsed(topic)
        layers = (own.types if isinstance(own, Definition) else {}) | named
        try:
            return closure(topic.msgtype, layers)
        except MissingTypeError as error:
            return self._completed(topic, Definition(topic.msgtype, layers), named, error)
        except DefinitionError as error:
            msg = f"topic {topic.name}: the definition of {topic.msgtype} cannot be used: {error}"
            raise ConfigError(msg, key="types") from error

    def _overlay(self, topic: Topic) -> Typesdict:
        """Return what the user names: folders before distributions, and these only of the topic's version of ROS."""
        types: Typesdict = {}
        for name in reversed(self._named):
            if _is_ros1(name) == (topic.encoding == "ros1"):
                types |= _standard(name)
        return types | self._folders

    @staticmethod
    def _parsed(topic: Topic) -> Definition | DefinitionError:
        """Parse a topic's own definition; an error stands for one that does not parse, or is not there."""
        if not topic.definition_format:
            return MissingTypeError("the recording holds none")
        try:
            return parse(topic.definition, topic.definition_format, topic.msgtype)
        except DefinitionError as error:
            return error

    def _alike(self, topic: Topic) -> Iterator[Topic]:
        """Yield a topic, then the others of its type, whose definitions may be whole."""
        yield topic
        for channel in (channel for other in self._topics for channel in other.channels or (other,)):
            if channel.msgtype == topic.msgtype and channel.encoding == topic.encoding and channel is not topic:
                yield channel

    # ---- by checksum

    def _proven(self, topic: Topic, named: Typesdict) -> Typesdict:
        """Find the definition that has the checksum which the connection says."""
        why = "its own has another checksum"
        for other in self._alike(topic):
            found = self._parsed(other)
            if isinstance(found, DefinitionError):
                why = str(found)
                continue
            try:
                types = _closed(topic.msgtype, found.types, _NOETIC)
                if checksum(found, _standard_sum) == topic.md5sum:
                    return closure(topic.msgtype, types | named)
            except DefinitionError as error:
                why = str(error)
        if _standard_sum(topic.msgtype) == topic.md5sum:
            return closure(topic.msgtype, _standard(_NOETIC) | named)
        if not self._verify:
            return self._likely(topic, named)
        msg = (
            f"topic {topic.name}: no definition of {topic.msgtype} has the checksum {topic.md5sum} with which its "
            f"messages were written ({why})"
        )
        raise RecordingError(msg, hint=_OWN)

    # ---- by name

    def _likely(self, topic: Topic, named: Typesdict) -> Typesdict:
        """Take the recording's own definition where it is whole, else complete it by name, with a warning."""
        why: DefinitionError = MissingTypeError("the recording holds none")
        for other in self._alike(topic):
            found = self._parsed(other)
            try:
                if isinstance(found, DefinitionError):
                    raise found
                types = closure(topic.msgtype, found.types | named)
            except DefinitionError as error:
                why = error if other is topic else why
                continue
            if not types[topic.msgtype][1] and topic.msgtype.rpartition("/")[2] != "Empty":
                break  # it has no text: the standard type, if it is one, may have fields
            if other is not topic:
                self.warnings[topic.name] = f"its definition is not whole; that of {other.name} was used"
            return types
        own = self._parsed(topic)
        return self._completed(topic, own if isinstance(own, Definition) else None, named, why)

    def _completed(self, topic: Topic, own: Definition | None, named: Typesdict, why: DefinitionError) -> Typesdict:
        """Complete a definition with standard types, or stand in for it with one; ``why`` it needs that."""
        distros = [_NOETIC] if topic.encoding == "ros1" else [*self._distros, "latest"]
        for distro in distros:
            standard = _standard(distro)
            mine = own.types if own and not _is_cut(own, standard) else {}
            if topic.msgtype not in mine | standard:
                continue
            try:
                types = closure(topic.msgtype, standard | mine | named)
            except DefinitionError as error:
                why = error
                continue
            if own is None or types[topic.msgtype] != own.types.get(topic.msgtype) or types.keys() - own.types.keys():
                self.warnings[topic.name] = (
                    f"the recording does not hold all of this type's definition, ROS's own is used ({distro})"
                )
            return types
        if own is not None and own.types.get(topic.msgtype) == ([], []):
            return closure(topic.msgtype, own.types)
        if isinstance(why, MissingTypeError):
            msg = f"topic {topic.name} has the type {topic.msgtype}, whose definition is not whole: {why}"
            raise ConfigError(msg, hint=_OWN)
        msg = f"topic {topic.name}: the definition of {topic.msgtype} inside the recording does not parse: {why}"
        raise RecordingError(msg, hint=f"to use another, {_OWN}")


def _check_readable(topic: Topic) -> None:
    """Make sure that a topic holds messages of ROS, of one type.

    Raises:
        RecordingError: it does not; the text says what it holds.

    """
    for what, found in (("types", topic.msgtype), ("encodings", topic.encoding)):
        if " and " in found:
            msg = f"topic {topic.name} holds messages of two {what} ({found}): only one can be read as a stream"
            raise RecordingError(msg)
    if topic.encoding not in ENCODINGS:
        kind = f"encoded as {topic.encoding!r}" if topic.encoding else "of an encoding that is not said"
        msg = f"topic {topic.name}: its messages are {kind}; only ROS messages ('ros1', 'cdr') are read"
        raise RecordingError(msg)
    if "/srv/" in topic.msgtype and topic.msgtype.endswith("_Event"):
        msg = f"topic {topic.name} holds service events ({topic.msgtype}), which are not supported"
        raise RecordingError(msg)


def _is_cut(own: Definition, standard: Typesdict) -> bool:
    """Tell whether a definition begins as the standard one does and ends before it."""
    mine = own.types.get(own.root, ([], []))[1]
    whole = standard[own.root][1] if own.root in standard else []
    if not mine:
        return bool(whole)
    begins = [*mine[:-1]] == [*whole[: len(mine) - 1]]
    return begins and len(mine) <= len(whole) and whole[len(mine) - 1][0].startswith(mine[-1][0])


def _closed(root: str, types: Typesdict, distro: str) -> Typesdict:
    """Return the closure of a type, with standard types where it needs some that are not defined."""
    try:
        return closure(root, types)
    except MissingTypeError:
        if root not in types:
            raise
        return closure(root, _standard(distro) | types)


# ---- what is known without the recording


def _find_store(name: str) -> Stores | None:
    names = {store.value: store for store in Stores if store is not Stores.EMPTY}
    short = {value.rpartition("_")[2]: store for value, store in names.items()}
    return names.get(name.lower()) or short.get(name.lower())


def _store(name: str) -> Stores:
    found = _find_store(name)
    if found is None:
        names = [store.value for store in Stores if store is not Stores.EMPTY]
        short = [value.rpartition("_")[2] for value in names]
        hint = nearest_name(name, [*names, *short])
        msg = f"{name!r} is neither a folder nor one of {', '.join(names)}{hint}"
        raise ConfigError(msg, key="types")
    return found


def _is_ros1(name: str) -> bool:
    return _store(name) is Stores.ROS1_NOETIC


@cache
def _standard(distro: str) -> Typesdict:
    """Return the types of a distribution; one without fields has none, as its definition says."""
    found = get_typestore(_store(distro)).fielddefs
    return {
        name: (constants, [field for field in fields if field[0] != PLACEHOLDER])
        for name, (constants, fields) in found.items()
    }


@cache
def _standard_sum(msgtype: str) -> str:
    """Return the ROS 1 checksum of a standard type; empty where it is none."""
    store = get_typestore(Stores.ROS1_NOETIC)
    return store.generate_msgdef(msgtype, ros_version=1)[1] if msgtype in store.fielddefs else ""


def _read_folder(folder: Path) -> Typesdict:
    types: Typesdict = {}
    for path in sorted(folder.rglob("*.msg")):
        package = path.parent.parent.name if path.parent.name == "msg" else path.parent.name
        types |= _read_file(path, "msg", f"{package}/msg/{path.stem}")
    for path in sorted(folder.rglob("*.idl")):
        types |= _read_file(path, "idl", "")
    return types


def _read_file(path: Path, form: str, msgtype: str) -> Typesdict:
    try:
        return parse(path.read_text(encoding="utf-8"), form, msgtype).types
    except (DefinitionError, OSError, UnicodeDecodeError) as error:
        msg = f"{path} does not parse: {error}"
        raise ConfigError(msg, key="types") from error
