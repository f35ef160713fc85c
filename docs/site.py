"""The code and the README → pages of the documentation site that nobody writes by hand; a hook of mkdocs.

`index.md` is the README, `reference.md` every setting, option, exit code and Python name as the code has it.
"""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import typer
from mkdocs.structure.files import File

import streamer
from streamer import errors
from streamer.cli import _GROUPS, _TOLD, _VERBS
from streamer.cli.talk import Verb, as_paragraphs, talking
from streamer.config.schema import schema_text
from streamer.contract import Consumer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_ROOT = Path(__file__).parent.parent
_SOURCE = "https://github.com/rosbag-streamer/rosbag-streamer/blob/main/"
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)]+)\)")
_HOOKS = ("check", "open", "on_frame", "on_chunk", "close", "merge")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=_LINK.sub(_from_top, readme)))
    files.append(File.generated(config, "reference.md", content="\n".join(reference())))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links to files outside ``docs`` lead to the repository."""
    return re.sub(r"\]\(\.\./", f"]({_SOURCE}", markdown)


def _from_top(match: re.Match[str]) -> str:
    target = match[2]
    return f"{match[1]}{target.removeprefix('docs/') if target.startswith('docs/') else _SOURCE + target})"


def reference() -> Iterator[str]:
    """Yield the lines of the reference."""
    yield "# Reference\n\nMade from the code of this version.\n"
    yield from _commands()
    yield from _settings()
    yield from _consumers()
    yield "\n## Exit codes\n\n| code | error | when |\n| --- | --- | --- |\n| 0 | | done |"
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.StreamerError)]
    for kind in sorted(kinds, key=lambda kind: kind.exit_code):
        yield f"| {kind.exit_code} | `{kind.__name__}` | {_cell(_first(kind))} |"
    yield f"\n## The contract of a consumer\n\n{_prose(Consumer)}\n"
    for name in _HOOKS:
        method = getattr(Consumer, name)
        yield f"\n### `{name}{inspect.signature(method)}`\n\n{_prose(method)}\n"
    yield "\n## Python\n"
    for name in sorted(streamer.__all__):
        found = getattr(streamer, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            yield f"\n### `streamer.{name}`\n\n{_prose(found)}\n"


def _commands() -> Iterator[str]:
    yield "## Commands\n\n| verb | what it does |\n| --- | --- |"
    yield from (f"| `{verb}` | {_cell(told)} |" for verb, (_, told) in _TOLD.items())
    for verb, module in _VERBS.items():
        found = getattr(import_module(f"streamer.cli.{module}"), _GROUPS.get(verb, verb))
        if not isinstance(found, typer.Typer):
            yield from _command(verb, found)
            continue
        for one in found.registered_commands:
            if one.callback is not None:
                yield from _command(f"{verb} {one.name or one.callback.__name__}", one.callback)


def _command(name: str, verb: Any) -> Iterator[str]:
    """Describe a verb: its line of usage, what its docstring says, a row for each argument and option."""
    app = typer.Typer(add_completion=False)
    app.command(cls=Verb)(talking(verb))
    command = typer.main.get_command(app)
    hints = get_type_hints(verb)
    with command.make_context(f"streamer {name}", [], resilient_parsing=True) as context:
        usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n### streamer {name}\n\n`streamer {name} {usage}`\n\n{as_paragraphs(verb.__doc__ or '')}\n"
    yield "| option | type | default | meaning |\n| --- | --- | --- | --- |"
    for one in command.params:
        is_argument = one.param_type_name == "argument"
        names = (one.metavar or one.name.upper()) if is_argument else ", ".join([*one.opts, *one.secondary_opts])
        kind = "" if is_argument or one.is_flag else _kind_of(hints.get(one.name, ""))
        default = "needed" if one.required else "" if one.default in (None, False) else f"`{one.default}`"
        yield f"| `{_cell(names)}` | {_cell(kind)} | {_cell(default)} | {_cell(one.help or '')} |"


def _kind_of(hint: Any) -> str:
    """Write an option's type in words."""
    text = inspect.formatannotation(hint) if hint else ""
    return text.replace(" | None", "").replace("pathlib._local.", "").replace("pathlib.", "")


def _settings() -> Iterator[str]:
    schema = json.loads(schema_text())
    yield "\n## Settings\n\nA value carries its unit: `50 ms`, `10 Hz`, `512 MB`.\n"
    for title, part in [("Top level", schema), *sorted(schema["$defs"].items())]:
        if "properties" not in part:
            continue
        yield f"\n### {title.removesuffix('Config')}\n\n{part.get('description', '')}\n"
        yield "| setting | type | default | meaning |\n| --- | --- | --- | --- |"
        for key, about in part["properties"].items():
            default = f"`{json.dumps(about['default'])}`" if "default" in about else "needed"
            cells = (f"`{key}`", _cell(_kind(about)), _cell(default), _cell(about.get("description", "")))
            yield f"| {' | '.join(cells)} |"


def _kind(about: dict[str, Any]) -> str:
    """Write a type of the schema in words."""
    if "$ref" in about:
        return about["$ref"].rpartition("/")[2].removesuffix("Config")
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    if options := about.get("anyOf") or about.get("oneOf"):
        own = (_kind(option) for option in options if not str(option.get("pattern", "")).startswith(r"\$\{"))
        return " or ".join(dict.fromkeys(own))
    if about.get("type") == "array":
        return f"list of {_kind(about.get('items', {}))}"
    examples = f", such as `{about['examples'][0]}`" if about.get("examples") else ""
    return f"{about.get('format') or about.get('type') or 'any'}{examples}"


def _consumers() -> Iterator[str]:
    yield "\n## Consumers' options\n"
    for entry in sorted(entry_points(group="streamer.consumers"), key=lambda entry: entry.name):
        if not entry.value.startswith("consumers."):
            continue
        found = entry.load()
        yield f"\n### {entry.name}\n\n{_prose(found)}\n\n{_prose(found.__init__)}\n"
        parameters = inspect.signature(found).parameters.values()
        if parameters:
            yield "| option | type | default |\n| --- | --- | --- |"
        for one in parameters:
            default = "needed" if one.default is one.empty else f"`{one.default!r}`"
            kind = "any" if one.annotation is one.empty else inspect.formatannotation(one.annotation).strip("'")
            yield f"| `{one.name}` | {_cell(f'`{kind}`')} | {_cell(default)} |"


def _prose(found: Any) -> str:
    """Return a docstring as Markdown: its code is shown as that, its list of errors too."""
    text = inspect.getdoc(found) or ""
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    return re.sub(r"^(Raises|Returns|Yields|Args):\n((?:[ ]{4}.*\n?|\n)+)", r"\1:\n\n\2", text, flags=re.MULTILINE)


def _first(found: Any) -> str:
    return _prose(found).partition("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
