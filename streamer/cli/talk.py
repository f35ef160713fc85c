"""``-q`` and ``-v`` of every verb → how much the command says."""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from streamer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


class Talk(Enum):
    """How much is said beside what was asked for."""

    QUIET = "only what was asked for, and errors"
    NORMAL = "how far it is, and what came of it in a few lines"
    VERBOSE = "also tables of processes and streams, and an error's traceback"


_TALK: ContextVar[Talk] = ContextVar("talk", default=Talk.NORMAL)


def is_quiet() -> bool:
    """Tell whether ``-q`` was given."""
    return _TALK.get() is Talk.QUIET


def is_verbose() -> bool:
    """Tell whether ``-v`` was given."""
    return _TALK.get() is Talk.VERBOSE


class Verb(TyperCommand):
    """A command whose help shows its arguments as one types them, and no type beside a flag."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the verb in the line of usage."""
        given = [p for p in super().get_params(ctx) if p.param_type_name == "argument"]
        return ["[OPTIONS]", *(_typed(p.metavar or p.name.upper(), is_needed=p.required) for p in given)]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, ``--help`` among them."""
        return _plain(super().get_params(ctx))


class Verbs(TyperGroup):
    """A verb with verbs of its own, or all of them; its help is as that of a `Verb`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, ``--help`` among them."""
        return _plain(super().get_params(ctx))


def _plain(parameters: list[Any]) -> list[Any]:
    """Leave out types that say nothing: of flags, of arguments, of options that may be given several times."""
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
        elif getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
        elif getattr(parameter, "multiple", False) and parameter.metavar is None:
            parameter.metavar = "<str>"
    return parameters


def _no_type(ctx: Any) -> None:
    """Return what typer shows of an argument's type."""
    del ctx


def as_paragraphs(text: str) -> str:
    """Return a docstring without the line breaks inside its paragraphs: a terminal breaks lines itself."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def _typed(metavar: str, *, is_needed: bool) -> str:
    """Write an argument's name in brackets where it may be left out."""
    return metavar if is_needed or metavar.startswith("[") else f"[{metavar}]"


def talking(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options ``-q`` and ``-v``; what they say holds for the whole command."""

    @wraps(verb)
    def talks(*, quiet: bool, verbose: bool, **values: Any) -> Any:
        if quiet and verbose:
            msg = "-q says less and -v says more: give one of them"
            raise UsageError(msg)
        _TALK.set(Talk.QUIET if quiet else Talk.VERBOSE if verbose else Talk.NORMAL)
        return verb(**values)

    own = {
        "quiet": Annotated[bool, typer.Option("-q", "--quiet", help=Talk.QUIET.value)],
        "verbose": Annotated[bool, typer.Option("-v", "--verbose", help=Talk.VERBOSE.value)],
    }
    signature, hints = inspect.signature(verb), get_type_hints(verb, include_extras=True)
    given = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values()]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=False, annotation=kind) for name, kind in own.items()]
    talks.__signature__ = signature.replace(parameters=[*given, *added])  # type: ignore[attr-defined]  # as inspect reads it
    talks.__annotations__ = hints | own
    return talks
