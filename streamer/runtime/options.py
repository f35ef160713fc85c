"""Options from a configuration, and the signature that takes them → a mistake in words, or None."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from streamer.errors import nearest_name

_TAKES: dict[object, tuple[type, ...]] = {  # of what YAML has; True is no number, though Python says so
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
    list: (list,),
    dict: (dict,),
    type(None): (type(None),),
}
_WORDS: dict[object, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}


def mistake_in(target: Callable[..., object], options: Mapping[str, Any], given: int = 0) -> tuple[str, str] | None:
    """Return the option that is wrong (or "") and what is wrong with it.

    ``given`` is the number of arguments that are not options. Types are held against annotations of text, numbers,
    truth values, lists, mappings, `Literal` and unions of these; a parameter without annotation, or with another
    one, takes anything.
    """
    signature = inspect.signature(target)
    parameters = list(signature.parameters.values())[given:]
    named = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    takes = f"It takes: {', '.join(named) or 'no options'}"
    if not any(p.kind == p.VAR_KEYWORD for p in parameters):
        for option in options:
            if option not in named:
                return option, f"takes no option {option!r}{nearest_name(option, named) or '.'} {takes}"
    try:
        signature.bind(*[None] * given, **options)
    except TypeError as error:
        return "", f"cannot be made of these options: {error}. {takes}"
    annotations = _annotations(target)
    for option, value in options.items():
        wanted = annotations.get(option, Any)
        if not _fits(value, wanted):
            return option, f"wants {option} to be {_words(wanted)}, and it is {value!r}"
    return None


def _annotations(target: Callable[..., object]) -> dict[str, Any]:
    function: Any = target if not inspect.isclass(target) else target.__init__
    try:
        return inspect.get_annotations(function, eval_str=True)
    except Exception:  # noqa: BLE001 - foreign code: a name that only type checkers know, for one
        return {}


def _fits(value: Any, wanted: Any) -> bool:
    """Tell whether a value of a YAML file is what an annotation asks for."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin in (list, Sequence):
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    kinds: tuple[type, ...] = _TAKES.get(wanted, (object,))
    return isinstance(value, kinds) and (bool in kinds or object in kinds or not isinstance(value, bool))


def _words(wanted: Any) -> str:
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(one) for one in inner if one is not type(None))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (list, Sequence):
        return f"a list (of {_words(inner[0])})"
    if origin in (dict, Mapping):
        return f"a mapping (of {_words(inner[1])})"
    return _WORDS.get(wanted, str(getattr(wanted, "__name__", wanted)))
