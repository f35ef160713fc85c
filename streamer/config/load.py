"""A YAML file and overrides → a `Config`, or one error that says what is wrong in which line."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from streamer.config.limits import LimitError, check_expansion, check_text, too_large
from streamer.config.model import Config
from streamer.errors import ConfigError, nearest_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streamer.errors import StreamerError

    Where = tuple[str | int, ...]

_OFFER = "'streamer init RECORDING' writes a configuration to begin with"
_RECORDINGS = (".bag", ".mcap", ".db3")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_WANTED = {  # in words, by pydantic's type of error and its context
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge}",
    "too_short": "at least {min_length} entry",
    "too_long": "at most {max_length} entries",
    "string_type": "a text",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type"), "a group of settings (key: value)"),
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration: ``values`` is the text's content after substitution and overrides.

    ``lines`` has the line of each setting by its path, None where it comes from the command line.
    """

    path: Path
    config: Config
    values: dict[str, Any]
    lines: dict[Where, int | None] = field(default_factory=dict, repr=False)

    @property
    def base(self) -> Path:
        """The folder from which all relative paths of the configuration start."""
        return self.path.parent

    @property
    def workdir(self) -> Path:
        """The folder in which a run keeps what is its own."""
        return self.base / Path(self.config.workdir).expanduser()

    def locate(self, error: StreamerError) -> StreamerError:
        """Return an error about a setting or a stream with the line at which that stands."""
        key = error.where.key or (f"streams.{error.where.stream}" if error.where.stream else "")
        where: Where = tuple(key.split("."))
        return error.within(line=_place(self.path, self.lines, where)) if where[:1] in self.lines else error


def load(path: Path, overrides: Iterable[str] = (), *, consumers_needed: bool = True) -> Loaded:
    """Read, substitute, override and check; without need of consumers, their absence stands for ``null``.

    Raises:
        ConfigError: the file cannot be read or holds a mistake; all mistakes are listed.

    """
    path = path.absolute()
    values, lines = read(path, overrides)
    if not consumers_needed:
        values.setdefault("consumers", {"null": {}})
    return checked(path, values, lines)


def read(path: Path, overrides: Iterable[str]) -> tuple[dict[str, Any], dict[Where, int | None]]:
    """Return what a file and overrides hold, unchecked, and the line of each setting."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"the configuration cannot be read: {error.strerror}"
        raise ConfigError(msg, path=path, hint=_offer(path)) from error
    except UnicodeDecodeError as error:
        is_recording = path.name.endswith(_RECORDINGS)
        msg = "it is a recording" if is_recording else f"the configuration is no text in UTF-8 (at byte {error.start})"
        raise ConfigError(msg, path=path, hint=_offer(path)) from error
    reader = _Reader(path)
    values = reader.read(text)
    for override in overrides:
        apply(values, override, reader.lines)
    return values, reader.lines


def _offer(path: Path) -> str:
    """Say how to come by a configuration, or by an output without one."""
    if not path.name.endswith(_RECORDINGS):
        return _OFFER
    return f"'streamer convert {path.name} --to KIND' needs no configuration, 'streamer init {path.name}' writes one"


def with_types(overrides: Iterable[str] | None, types: Iterable[str] | None) -> list[str]:
    """Add what the option ``--types`` names to the overrides of a command line."""
    named = [json.dumps(name) for name in types or ()]
    return [*(overrides or ()), *([f"types=[{', '.join(named)}]"] if named else [])]


def beyond_64_bits(
    path: Path, values: dict[str, Any], lines: dict[Where, int | None]
) -> Iterator[tuple[Where, ConfigError]]:
    """Yield the place and the mistake of every whole number that has more than 64 bits."""
    for where, number in too_large(values):
        msg = f"{hex(number)[:18]}… has more than 64 bits"
        yield where, ConfigError(msg, key=".".join(map(str, where)), line=_place(path, lines, where))


def checked(path: Path, values: dict[str, Any], lines: dict[Where, int | None] | None = None) -> Loaded:
    """Check what a configuration's text holds, after substitution and overrides.

    Raises:
        ConfigError: there are mistakes; all are listed.

    """
    lines = lines or {}
    for _, error in beyond_64_bits(path, values, lines):
        raise error
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        mistakes = [explain(path, lines, e) for e in error.errors()]
        raise (ConfigError(parts=mistakes) if len(mistakes) > 1 else mistakes[0]) from error
    return Loaded(path, config, values, lines)


class _Loader(yaml.SafeLoader):
    """Takes a date for the text as which it is written: no setting is one, and options go to other processes."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {  # type: ignore[misc] # the stubs take it for an instance's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Reader:
    """YAML → plain values, with the line of each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loader = _Loader("")
        self.lines: dict[Where, int | None] = {}

    def read(self, text: str) -> dict[str, Any]:
        try:
            check_text(text, _Loader)
            node = yaml.compose(text, Loader=_Loader)
            if node is not None:
                check_expansion(node)
        except LimitError as error:
            msg = f"no configuration looks like this: {error}"
            raise ConfigError(msg, line=f"{self._path}:{error.line}") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f"{self._path}:{mark.line + 1}" if mark else str(self._path)
            msg = f"not valid YAML: {getattr(error, 'problem', None) or error}"
            raise ConfigError(msg, line=line) from error
        value = {} if node is None else self._value(node, ())
        if not isinstance(value, dict):
            kind = type(value).__name__
            msg = f"the configuration should be a mapping (key: value), it is a {kind}"
            raise ConfigError(msg, path=self._path, hint=_OFFER)
        return value

    def _line(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"

    def _value(self, node: yaml.Node, where: Where) -> Any:
        self.lines.setdefault(where, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode):
            return self._collection(node, where)
        if "${" in node.value:
            node = self._substitute(node)
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            msg = f"{node.value!r} is not valid: {error}"
            raise ConfigError(msg, line=self._line(node)) from error

    def _collection(self, node: yaml.Node, where: Where) -> dict[str, Any] | list[Any]:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        return [self._value(item, (*where, n)) for n, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own = [key.value for key, _ in node.value]
        self._loader.flatten_mapping(node)
        merged = len(node.value) - len([key for key in own if key != "<<"])
        for number, (key_node, value_node) in enumerate(node.value):
            if number < merged and key_node.value in own:
                continue
            key = str(key_node.value)  # as it is written: 'null' and 'on' are names like any other
            line = key_node.start_mark.line + 1
            if key in found:
                what = f"{where[-1]}.{key}" if where else key
                msg = f"{what!r} stands here twice (first in line {self.lines[(*where, key)]})"
                raise ConfigError(msg, line=self._line(key_node))
            self.lines[(*where, key)] = line
            found[key] = self._value(value_node, (*where, key))
        return found

    def _substitute(self, node: yaml.Node) -> yaml.ScalarNode:
        def value(match: re.Match[str]) -> str:
            name, default = match.groups()
            found = os.environ.get(name, default)
            if found is None:
                msg = f"the environment has no {name}"
                raise ConfigError(msg, line=self._line(node), hint=f"'${{{name}:-…}}' gives a default")
            return found

        text = _VARIABLE.sub(value, node.value)
        plain = getattr(node, "style", None) is None
        tag = self._loader.resolve(yaml.ScalarNode, text, (plain, not plain))  # type: ignore[no-untyped-call]
        return yaml.ScalarNode(tag, text, node.start_mark, node.end_mark)


def _load(text: str) -> Any:
    check_text(text, _Loader)
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader


def apply(values: dict[str, Any], override: str, lines: dict[Where, int | None]) -> None:
    """Set one ``key.path=value`` of the command line; the value is read as YAML."""
    keys, equals, text = override.partition("=")
    if not equals or not keys:
        msg = f"{override!r} is not an override: write key.path=value, such as chunk_size=50"
        raise ConfigError(msg)
    try:
        value = text if not text or text.startswith("*") else _load(text)  # a pattern is no alias
    except (yaml.YAMLError, ValueError) as error:
        msg = f"{override!r}: the value is not valid YAML; a text with such signs takes quotes: {keys}='\"{text}\"'"
        raise ConfigError(msg) from error
    *parents, last = keys.split(".")
    place: Any = values
    for depth, key in enumerate(parents, 1):
        if isinstance(place, dict) and key not in place:
            lines[tuple(parents[:depth])] = None
        place = place.setdefault(key, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            msg = f"{override!r}: {key!r} is no group of settings, nothing lies below it"
            raise ConfigError(msg)
    place[last] = value
    lines[tuple(keys.split("."))] = None


def explain(path: Path, lines: dict[Where, int | None], error: Any) -> ConfigError:
    """Put one of pydantic's findings in words."""
    where = tuple(part for part in error["loc"] if not (isinstance(part, str) and part.startswith("function-")))
    name = ".".join(map(str, where))
    if error["type"] == "extra_forbidden":
        known = _keys_at(where[:-1])
        hint = nearest_name(str(where[-1]), known) or f"; known here: {', '.join(known)}"
        text = f"unknown key{hint}"
    elif error["type"] == "missing":
        text = "it is missing"
    elif error["type"] == "value_error":  # ours: it says what was found where that helps
        text = str(error["ctx"]["error"])
    else:
        wanted, context = _WANTED.get(error["type"], "another value"), error.get("ctx", {})
        hint = nearest_name(str(error["input"]), _choices(context)) if "expected" in context else ""
        text = f"should be {wanted.format(**context)}, it is {error['input']!r}{hint}"
    return ConfigError(text, key=name, line=_place(path, lines, where))


def _choices(context: dict[str, str]) -> list[str]:
    """Return the words between the quotes of 'nearest', 'previous' or 'linear'."""
    return context["expected"].split("'")[1::2]


def _keys_at(where: Where) -> list[str]:
    """Return the keys that a group of settings may have, as the models have it."""
    found: list[Any] = [Config]
    for part in where:
        found = [inner for one in found for inner in _below(one, part)] or found  # pydantic names a union's member, too
    models = {model: None for one in found for model in _models(one)}
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _below(annotation: Any, part: int | str) -> Iterator[Any]:
    """Yield the types of what lies below a key, or a number, of a value of a type."""
    arguments = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        yield from (field.annotation for name, field in fields if part == (field.alias or name))
    elif get_origin(annotation) in (dict, list):
        yield arguments[-1]
    else:
        yield from (inner for one in arguments for inner in _below(one, part))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a value of a type may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (dict, list):
        yield from (model for one in get_args(annotation) for model in _models(one))


def _place(path: Path, lines: dict[Where, int | None], where: Where) -> str:
    for length in range(len(where), -1, -1):
        if where[:length] in lines:
            line = lines[where[:length]]
            return "the command line" if line is None else f"{path}:{line}"
    return str(path)
