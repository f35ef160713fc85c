"""The text of a message definition → the fields of each type in it, and its ROS 1 checksum.

Formats: .msg of ROS 1 (http://wiki.ros.org/msg) and ROS 2 (https://docs.ros.org/en/rolling/Concepts/Basic/
About-Interfaces.html), with nested types behind lines of `=`; IDL as rosidl writes it, whose grammar is rosbags'.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import md5
from typing import TYPE_CHECKING, Any, NamedTuple

from rosbags.interfaces import Nodetype
from rosbags.typesys import TypesysError, get_types_from_idl

from streamer.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rosbags.interfaces.typing import FieldDesc, Typesdict

PLACEHOLDER = "structure_needs_at_least_one_member"  # the field that rosidl puts into a type without fields
_LONGEST = 4 * 2**20  # characters; the longest definitions of real packages have some 100,000
_DEEPEST = 64  # levels of nesting; those of real packages have some ten
_LARGEST = 2**30  # bytes that the fixed part of a message may take
_WIDEST = 20_000  # fields of a type and its types; those of real packages have some hundred
_SIZES = {"bool": 1, "byte": 1, "char": 1, "octet": 1, "string": 4, "wstring": 4, "wchar": 1, "float128": 16}
_SIZES |= {f"{kind}{bits}": bits // 8 for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)}
_PRIMITIVES = frozenset(_SIZES) - {"octet", "float8", "float16", "float128"}
_SECTION = re.compile(r"^={8,}[ \t]*\r?\n(MSG|IDL):[ \t]*(\S+)[ \t]*\r?$", re.MULTILINE)
_FIELD = re.compile(
    r"(?P<type>[A-Za-z][\w/]*?)(?:<=(?P<bound>\d{1,99}))?(?P<array>\[(?:<=)?\d{0,99}\])?\s+(?P<name>[A-Za-z]\w*)(?P<rest>.*)"
)
_ROS1_NAMES = {
    "time": "builtin_interfaces/msg/Time",
    "duration": "builtin_interfaces/msg/Duration",
    "Header": "std_msgs/msg/Header",
}
TIMES: Typesdict = {  # what ROS 1 calls time and duration; no definition spells them out
    f"builtin_interfaces/msg/{name}": (
        [],
        [("sec", (Nodetype.BASE, ("int32", 0))), ("nanosec", (Nodetype.BASE, ("uint32", 0)))],
    )
    for name in ("Time", "Duration")
}


class DefinitionError(RecordingError):
    """A definition cannot be used; the text says why, without naming topic or type."""


def full_name(name: str) -> str:
    """Write a type's name as ROS 2 does: ``sensor_msgs/msg/Imu`` for ``sensor_msgs/Imu``; others stay as they are."""
    name = name.replace("::", "/")
    package, slash, rest = name.partition("/")
    return f"{package}/msg/{rest}" if slash and package and rest and "/" not in rest else name


class _Line(NamedTuple):
    """One field or constant of a .msg text; ``value`` is a constant's, as it is written."""

    type: str
    bound: int
    array: str
    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Definition:
    """What one text defines: ``types`` by full name; ``lines`` of those that came from .msg, for the checksum."""

    root: str
    types: Typesdict
    lines: dict[str, list[_Line]] = field(default_factory=dict)


def parse(text: str, form: str, root: str) -> Definition:
    """Parse what a recording says of the type ``root``; ``form`` is ``msg`` or ``idl``.

    Raises:
        DefinitionError: it does not parse.

    """
    if len(text) > _LONGEST:
        msg = f"it has {len(text)} characters, more than the {_LONGEST} that are read"
        raise DefinitionError(msg)
    found = Definition(root, {})
    for kind, name, part in _sections(text, form, root):
        if kind == "IDL":
            found.types.update(parse_idl(part))
        else:
            found.lines.setdefault(name, _lines(part))
    for name, lines in found.lines.items():
        found.types.setdefault(name, _fields(name, lines, found.lines))
    return found


def _sections(text: str, form: str, root: str) -> Iterator[tuple[str, str, str]]:
    """Split a text into kind, name and text of each type; the first has its name from outside."""
    heads = list(_SECTION.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    first = text[: heads[0].start()] if heads else text
    if form == "msg" or first.strip():
        yield form.upper(), root, first
    for head, end in zip(heads, ends if heads else [], strict=True):
        yield head[1], full_name(head[2]), text[head.end() : end]


def _lines(text: str) -> list[_Line]:
    found = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _FIELD.fullmatch(line)
        if match is None:
            hint = " (annotations are not known)" if line.startswith("@") else ""
            hint = hint or (" (a request and a response, as of a service)" if line == "---" else "")
            msg = f"line {line[:60]!r} is neither a field nor a constant{hint}"
            raise DefinitionError(msg)
        value = _constant(match["type"], match["rest"])
        bound = int(match["bound"]) if match["bound"] else 0
        found.append(_Line(match["type"], bound, match["array"] or "", match["name"], value))
    return found


def _constant(kind: str, rest: str) -> str | None:
    """Return a constant's value as it is written; None for a field, whose default decides nothing here."""
    rest = rest.lstrip()
    if not rest.startswith("="):
        return None
    return rest[1:].strip() if kind in ("string", "wstring") else " ".join(rest[1:].partition("#")[0].split())


def _fields(name: str, lines: list[_Line], defined: dict[str, list[_Line]]) -> Any:
    constants = [(line.name, line.type, _value(line.type, line.value)) for line in lines if line.value is not None]
    return constants, [(line.name, _describe(line, name, defined)) for line in lines if line.value is None]


def _value(kind: str, text: str) -> Any:
    if kind == "bool":
        return text.lower() in ("true", "1")
    for make in (lambda: int(text, 0), lambda: int(text), lambda: float(text)) if "string" not in kind else ():
        with suppress(ValueError):
            return make()
    return text


def _describe(line: _Line, owner: str, defined: dict[str, list[_Line]]) -> FieldDesc:
    inner: Any = (
        (Nodetype.BASE, (line.type, line.bound))
        if line.type in _PRIMITIVES
        else (Nodetype.NAME, resolve(line.type, owner, defined))
    )
    if not line.array:
        return inner  # type: ignore[no-any-return]
    size = line.array.strip("[]<=")
    fixed = bool(size) and "<" not in line.array
    return (Nodetype.ARRAY if fixed else Nodetype.SEQUENCE, (inner, int(size or 0)))


def resolve(name: str, owner: str, defined: dict[str, list[_Line]]) -> str:
    """Return the full name of the type that ``owner`` calls ``name``."""
    if "/" in name:
        return full_name(name)
    folder, _, _ = owner.rpartition("/")
    package = owner.partition("/")[0] if folder else ""
    near = [f"{folder}/{name}" if folder else name, f"{package}/msg/{name}" if package else name]
    for candidate in near:
        if candidate in defined:
            return candidate
    if name in _ROS1_NAMES:
        return _ROS1_NAMES[name]
    alike = [known for known in defined if known.rpartition("/")[2] == name]
    return alike[0] if len(alike) == 1 else near[-1]


def checksum(found: Definition, standard: Callable[[str], str]) -> str:
    """Return the MD5 sum of a definition without rings, as genmsg's compute_md5_text does.

    ``standard`` gives the sum of a type that the text does not define; empty where it is not known.
    """
    known: dict[str, str] = {}

    def of(name: str) -> str:
        if name not in known:
            known[name] = text_of(name) if name in found.lines else standard(name)
        return known[name]

    def text_of(name: str) -> str:
        lines = found.lines[name]
        texts = [f"{line.type} {line.name}={line.value}" for line in lines if line.value is not None]
        for line in (line for line in lines if line.value is None):
            plain = line.type in _PRIMITIVES or line.type in ("time", "duration")
            inner = f"{line.type}{line.array}" if plain else of(resolve(line.type, name, found.lines))
            texts.append(f"{inner} {line.name}")
        return md5("\n".join(texts).strip().encode(), usedforsecurity=False).hexdigest()

    return of(found.root)


def closure(root: str, types: Typesdict) -> Typesdict:
    """Return ``root`` and all that it is made of; time and duration are known.

    Raises:
        DefinitionError: one of them contains itself, is nested too deep or too large; or is not defined.

    """
    sizes: dict[str, int] = {}
    heights: dict[str, int] = {}
    widths: dict[str, int] = {}  # fields, those of its fields' types counted
    waiting = [root]
    while waiting:
        name = waiting[-1]
        inner = _named_in(name, types)
        if missing := [other for other in inner if other not in sizes]:
            if len(waiting) > _DEEPEST or missing[0] in waiting:
                how = "contains itself" if missing[0] in waiting else f"is nested more than {_DEEPEST} levels deep"
                msg = f"{missing[0]} {how}"
                raise DefinitionError(msg)
            waiting.append(missing[0])
            continue
        heights[name] = 1 + max((heights[other] for other in inner), default=0)
        sizes[name] = sum(_least(desc, sizes) for _, desc in types[name][1]) if name in types else 8
        widths[name] = _width(types[name][1], widths) if name in types else 2
        if sizes[name] > _LARGEST or heights[name] > _DEEPEST:
            msg = f"a {name} would take at least {sizes[name]} bytes"
            raise DefinitionError(msg)
        if widths[name] > _WIDEST:
            msg = f"a {name} has {widths[name]} fields, those of its fields counted; {_WIDEST} are read"
            raise DefinitionError(msg)
        waiting.pop()
    return {name: types[name] if name in types else TIMES[name] for name in sizes}


def _width(fields: list[tuple[str, FieldDesc]], known: dict[str, int]) -> int:
    """Count fields; those of an array's elements count once."""
    ones = [_element(desc) for _, desc in fields]
    return sum(1 + (known[str(one[1])] if one[0] == Nodetype.NAME else 0) for one in ones)


def _element(desc: FieldDesc) -> Any:
    return desc[1][0] if desc[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) else desc


class MissingTypeError(DefinitionError):
    """A definition uses a type that it does not define."""


def _named_in(name: str, types: Typesdict) -> list[str]:
    if name not in types:
        if name in TIMES:
            return []
        msg = f"it uses {name} and does not define it"
        raise MissingTypeError(msg)
    found = []
    for _, desc in types[name][1]:
        inner = _element(desc)
        if inner[0] == Nodetype.NAME:
            found.append(str(inner[1]))
    return found


def _least(desc: FieldDesc, sizes: dict[str, int]) -> int:
    """Return how many bytes a field takes at least."""
    if desc[0] == Nodetype.SEQUENCE:
        return 4
    if desc[0] == Nodetype.ARRAY:
        return int(desc[1][1]) * _least(desc[1][0], sizes)
    return sizes[str(desc[1])] if desc[0] == Nodetype.NAME else _SIZES.get(desc[1][0], 1)


# ---- IDL

_TEXT = r'"(?:\\.|[^"\\])*"'
_KEPT = r'("(?:\\.|[^"\\])*(?:"|\\?\Z))'  # a text, up to the end where it has none: what stands in it is not looked at
_ARGUMENTS = rf"\s*\((?:{_TEXT}|[^()\"])*\)"
_COMMENT = re.compile(rf"{_KEPT}|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_PREPROCESSOR = re.compile(r"^[ \t]*#[^\n]*$", re.MULTILINE)
_ANNOTATION = re.compile(rf"{_KEPT}|@(?:verbatim|unit|hashid|default|range|min|max){_ARGUMENTS}", re.DOTALL)
_OTHER_ANNOTATION = re.compile(rf"{_KEPT}|@[A-Za-z_:][\w:]*(?:{_ARGUMENTS})?", re.DOTALL)
_CONSTANT = re.compile(rf'{_KEPT}|\bconst [\w:<>, ]{{1,99}}? (\w+) ?= ?(?:{_TEXT}|[^;"]){{0,99}};')
_EMPTY_MODULE = re.compile(r"\bmodule \w+ *\{ *\} *;? *")  # what constants leave, which the grammar does not know
_NESTED = re.compile(r"(?:sequence ?< ?){4}")
_STRING = re.compile(_KEPT, re.DOTALL)
_ENUM = re.compile(r"\benum\s+(\w+)\s*\{[^{}]*\}")
_REFUSED = re.compile(
    r"@(?:optional|mutable|bit_bound|extensibility\s*\(\s*MUTABLE)\b|\b(?:union|bitmask|bitset|map)\b"
)


def parse_idl(text: str) -> Typesdict:
    """Parse IDL; comments, includes and annotations that change no byte are left out, an enum is a uint32.

    Raises:
        DefinitionError: it does not parse, or has something whose bytes are not read here.

    """
    plain = _PREPROCESSOR.sub("", _COMMENT.sub(lambda match: match[1] or " ", text))
    plain = _ANNOTATION.sub(lambda match: match[1] or "", plain)
    if odd := _REFUSED.search(plain):
        msg = f"it has {odd[0]!r}, which is not supported"
        raise DefinitionError(msg)
    plain = " ".join(_OTHER_ANNOTATION.sub(lambda match: match[1] or "", plain).split())
    used = Counter(re.findall(r"\w+", plain))
    plain = _CONSTANT.sub(lambda match: "" if used[match[2]] == 1 else match[0], plain)
    plain = _EMPTY_MODULE.sub("", plain)
    _refuse_slow(plain)
    try:
        return get_types_from_idl(_ENUM.sub(r"typedef uint32 \1", plain))
    except RecursionError as error:
        msg = "it is nested too deep"
        raise DefinitionError(msg) from error
    except (TypesysError, ArithmeticError, LookupError, AttributeError, TypeError, ValueError, AssertionError) as error:
        msg = f"its IDL is not understood: {brief(error)}"
        raise DefinitionError(msg) from error


def _refuse_slow(plain: str) -> None:
    """Refuse what no ROS package has and what rosbags' grammar, which tries again for each level, takes hours for."""
    bare = _STRING.sub('""', plain)
    if "(" in bare or _NESTED.search(bare):
        msg = "it has values in parentheses, or lists in lists in lists, which are not supported"
        raise DefinitionError(msg)
    if (count := bare.count(";")) > _WIDEST:
        msg = f"it has {count} statements; {_WIDEST} are read"
        raise DefinitionError(msg)


def brief(error: Exception) -> str:
    """Say what a parser complained of in one short line; rosbags repeats the whole text."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if len(lines) > 2 and lines[0].startswith("Could not parse"):
        return f"at {' '.join(lines[-2 if lines[-1].startswith('{') else -1].split())[:60]!r}"
    return " ".join(str(error).split())[:120] or type(error).__name__
