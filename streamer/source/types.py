"""The definitions of a recording's topics (or those the user names) → the fields of every type.

Parsing of definitions is rosbags' (`rosbags.typesys`); only the types that are asked for are parsed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from streamer.errors import ConfigError, RecordingError, nearest_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rosbags.interfaces.typing import Typesdict

    from streamer.records import Topic

_BUILTIN: Typesdict = {  # what ROS 1 calls time and duration; no definition spells them out
    f"builtin_interfaces/msg/{name}": (
        [],
        [("sec", (Nodetype.BASE, ("int32", 0))), ("nanosec", (Nodetype.BASE, ("uint32", 0)))],
    )
    for name in ("Time", "Duration")
}
_IDL_SEPARATOR = "=" * 80 + "\n"


class Types:
    """The message types of one recording.

    Where a recording holds no definition of a type, it comes from the `types` that the user named
    (.msg or .idl folders, or a ROS distribution), else from the distribution that the recording
    names, else from the newest one; ``borrowed`` then lists what was not the recording's own.
    """

    def __init__(self, named: Sequence[str], distro: str, base: Path) -> None:
        """Read the definitions that the user names; paths are relative to ``base``.

        Raises:
            ConfigError: a name is neither a folder nor a ROS distribution.

        """
        self._known: Typesdict = {**_BUILTIN}
        self._named: Typesdict = {}
        self._distros = [distro] if _find_store(distro) else []
        self._parsed: set[str] = set()
        self.borrowed: dict[str, str] = {}
        for name in named:
            folder = base / Path(name).expanduser()
            if folder.is_dir():
                self._read_folder(folder)
            else:
                _store(name)
                self._distros.insert(0, name)

    def fields(self, topic: Topic) -> Typesdict:
        """Return the definitions with which to read the messages of ``topic``.

        Raises:
            RecordingError: two types on one topic, or a definition that does not parse.
            ConfigError: nobody defines the type.

        """
        if " and " in topic.msgtype:
            msg = f"topic {topic.name} holds messages of two types ({topic.msgtype}): only one can be read as a stream"
            raise RecordingError(msg)
        if topic.msgtype not in self._parsed:
            if topic.definition_format:
                self._known |= _parse(topic)
            elif topic.msgtype in self._named:  # what it is made of may be anybody's
                self._known = {**self._standard(), **self._named, **self._known}
            elif topic.msgtype not in self._known:
                self._borrow(topic)
            self._parsed.add(topic.msgtype)
        return self._known

    def _borrow(self, topic: Topic) -> None:
        for name in [*self._distros, "latest"]:
            types = get_typestore(_store(name)).fielddefs
            if topic.msgtype in types:
                self._known = {**types, **self._known}
                self.borrowed[topic.name] = name
                return
        msg = (
            f"topic {topic.name} has the type {topic.msgtype}, of which the recording holds no definition: "
            "name a folder with its .msg or .idl files under 'types:'"
        )
        raise ConfigError(msg)

    def _standard(self) -> Typesdict:
        return get_typestore(_store([*self._distros, "latest"][0])).fielddefs

    def _read_folder(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*.msg")):
            package = path.parent.parent.name if path.parent.name == "msg" else path.parent.name
            self._named |= _parsed(path, f"{package}/msg/{path.stem}")
        for path in sorted(folder.rglob("*.idl")):
            self._named |= _parsed(path, None)


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


def _parsed(path: Path, msgtype: str | None) -> Typesdict:
    try:
        text = path.read_text(encoding="utf-8")
        return get_types_from_idl(text) if msgtype is None else get_types_from_msg(text, msgtype)
    except (TypesysError, OSError, UnicodeDecodeError) as error:
        msg = f"{path} does not parse: {error}"
        raise ConfigError(msg, key="types") from error


def _parse(topic: Topic) -> Typesdict:
    try:
        if topic.definition_format == "msg":
            return get_types_from_msg(topic.definition, topic.msgtype)
        types: Typesdict = {}
        if topic.definition.startswith(f"{_IDL_SEPARATOR}IDL: "):
            for part in topic.definition.split(_IDL_SEPARATOR)[1:]:
                types |= get_types_from_idl(part.split("\n", 1)[1])
        else:
            types |= get_types_from_idl(topic.definition)
    except (TypesysError, IndexError) as error:
        msg = f"topic {topic.name}: the definition of {topic.msgtype} inside the recording does not parse: {error}"
        raise RecordingError(msg) from error
    return types
