"""``streamer init RECORDING``: what a recording holds → a commented configuration that runs as it is."""

from __future__ import annotations

import glob
import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from streamer.cli.options import Recordings, Salvage, Types
from streamer.cli.talk import is_quiet
from streamer.errors import RecordingError, UsageError
from streamer.inspect.conventions import lerobot_features
from streamer.inspect.conversion import NEEDED
from streamer.inspect.datasets import LAYOUTS, keys_of
from streamer.inspect.fields import heading_of
from streamer.pipelines.recordings import is_demo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.inspect.contents import TopicFacts
    from streamer.inspect.suggestion import Suggestion

_SCHEMA = Path(".streamer") / "schema.json"
_THIN = 10.5  # Hz; for a camera that is faster, thinning to 10 Hz is offered
_ACTIVE = {
    "preview": ("{options: {out: out}}", "a contact sheet: look at it first"),
    "stats": ("{options: {out: out}}", "mean, deviation, smallest and largest of every stream"),
}
_OFFERED = {
    "checksum": ("{options: {out: 'out/{recording}.checksum.json'}}", "a digest of every stream"),
    "parquet": ("{options: {out: out/parquet}}", "vectors as a table"),
    "csv": ("{options: {out: out/csv}}", "the same as text"),
    "zarr": ("{options: {out: out/zarr}}", "everything as chunked arrays"),
    "mcap": ("{options: {out: out/mcap}}", "all streams as messages of ROS 2, for Foxglove"),
    "rerun": ("{options: {out: out/rerun}}", "all streams for Rerun's viewer"),
    "images": ("{options: {out: out/images}}", "a picture file a frame, with a table"),
    "points": ("{options: {out: out/points}}", "a file a cloud, with a table"),
    "video": ("{options: {out: out/video}}", "an MP4 of every camera"),
    "null": ("{}", "counts only: how fast can it be read?"),
}
_LARGE = ("rerun",)  # extras that nobody has by chance, or in [all]: offered where they are there


def init(  # long, as its arguments are the command's options
    recordings: Recordings,
    out: Annotated[Path, typer.Option("-o", "--out", help="the file to write; - for the screen")] = Path("config.yaml"),
    force: Annotated[bool, typer.Option("--force", help="replace the file if it exists")] = False,
    salvage: Salvage = False,
    types: Types = None,
) -> None:
    """Write a configuration for RECORDINGs, with comments, that runs as it is.

    Several are compared: the configuration is for the first, and for those of the others that it fits.

    Example: streamer init recording.bag -o config.yaml
    """
    from streamer.cli.recordings import find
    from streamer.inspect import open_contents
    from streamer.inspect.proof import prove
    from streamer.inspect.suggestion import no_stream, suggestion

    to_screen = str(out) == "-"
    folder = Path.cwd() if to_screen else out.absolute().parent
    if not to_screen and out.exists() and not force:
        msg = f"{out} exists already: give another name with -o, or replace it with --force"
        raise UsageError(msg)
    paths = find(recordings, salvage=salvage, folder=folder)
    others, told = _compared(paths, salvage=salvage, types=types or ()) if len(paths) > 1 else ([], [])
    path = paths[0]
    with open_contents(path, salvage=salvage, types=types or ()) as inside:
        topics = inside.topics
        found = prove(inside, suggestion(inside))
        about = (
            f"{path.name}: {inside.source.kind}, {len([t for t in topics if t.count])} topics, {inside.seconds:.1f} s"
        )
    if not found.values["streams"]:
        raise no_stream(found.left_out, path)
    if len(paths) == 1 and is_demo(recordings[0]):
        address: str | list[str] = recordings[0]
    else:
        addresses = [_address(one, folder) for one in (path, *others)]
        address = addresses if others else addresses[0]
    text = "\n".join(_write(found, about, address, {t.name: t for t in topics})) + "\n"
    if to_screen:
        print(text, end="")
        return
    _save(out, text)
    name = out.name if folder == Path.cwd() else out
    if not is_quiet():
        count = len(found.values["streams"])
        fits = f" for {1 + len(others)} of {len(paths)} recordings" if len(paths) > 1 else ""
        print("\n".join([f"wrote {out}: {count} stream{'s' * (count > 1)}{fits}", *told]))
        print(f"Next:\n  streamer check {name}\n  streamer run {name}")


def _compared(paths: list[Path], *, salvage: bool, types: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the recordings behind the first that are as it is, and of each other group what differs.

    Raises:
        RecordingError: the first cannot be read.

    """
    from streamer.inspect.groups import differences, grouped

    found = grouped(paths, salvage=salvage, types=types)
    if why := found.unreadable.get(str(paths[0])):
        raise RecordingError(why, path=paths[0])
    (mine,) = [group for group in found.groups if str(paths[0]) in {member.path for member in group.members}]
    told = [f"  cannot be read: {os.path.relpath(path)}: {why}" for path, why in found.unreadable.items()]
    for group in found.groups:
        if group is not mine:
            more = f" and {len(group.members) - 1} more" if len(group.members) > 1 else ""
            which = f"{os.path.relpath(group.first.path)}{more}"
            told.append(f"  left out: {which}: {'; '.join(differences(mine.first, group.first))}")
    told += [f"  unusual: {text}" for text in mine.unusual()]
    return [Path(member.path) for member in mine.members if member.path != str(paths[0])], told


def _address(path: Path, folder: Path) -> str:
    """Write a path relative to the configuration's folder where it lies below it; a name is not a pattern."""
    text = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    return glob.escape(text) if glob.has_magic(text) else text


def _save(out: Path, text: str) -> None:
    from streamer.cli.pictures import written
    from streamer.config.schema import schema_text

    with written(out):
        schema = out.absolute().parent / _SCHEMA
        schema.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        schema.write_text(schema_text(), encoding="utf-8")
        draft = out.with_name(f".{out.name}.tmp")
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, out)


def _write(found: Suggestion, about: str, address: str | list[str], topics: dict[str, TopicFacts]) -> Iterator[str]:
    timeline, streams = found.values["timeline"], found.values["streams"]
    yield f"# yaml-language-server: $schema={_SCHEMA}"
    yield f"# {about}"
    yield "#"
    yield "#   streamer check FILE         is everything there, how much memory and disk, how many frames"
    yield "#   streamer plan FILE          how well the streams fit together in time"
    yield "#   streamer run FILE           key.path=value overrides a setting: chunk_size=50"
    yield ""
    yield f"source: {_flow({**found.values['source'], 'path': address})}"
    yield ""
    yield f"timeline: {_flow(timeline)}"
    if timeline["from"] == "grid":
        yield "  # no camera: a fixed grid of instants; a stream's name follows that stream instead"
    else:
        pace = topics[streams[timeline["from"]]["topic"]].rate_hz or 0.0
        yield f"  # every picture of the busiest camera ({pace:.3g} Hz) becomes a frame"
        if pace > _THIN:
            yield f"# timeline: {_flow({**timeline, 'rate': '10 Hz', 'skip': 10})}  # thinned; ends left out"
    yield "chunk_size: 100    # frames that are committed together"
    pool = f"pool: {found.values.get('pool', '512 MB')}"
    yield f"{pool:<18} # shared memory for decoded frames"
    yield ""
    if "types" in found.values:
        yield f"types: {_flow(found.values['types'])}"
        yield ""
    yield "streams:"
    yield from _streams(found, topics)
    yield ""
    yield "consumers:                # paths begin at this file's folder"
    installed = {entry.name for entry in entry_points(group="streamer.consumers")}
    for name, (text, what) in _ACTIVE.items():
        yield f"  {name + ':':<10}{text}  # {what}"
    for name, (text, what) in _OFFERED.items():
        fits = NEEDED.get(name, {*found.kinds.values()}) & {*found.kinds.values()}
        if name in installed and fits and not (name in _LARGE and _lacking(name)):
            yield f"  # {name + ':':<10}{text}  # {what}{_lacking(name)}"
    if "lerobot" in installed and "image" in found.kinds.values():
        yield from _dataset(found, {name: facts.type for name, facts in topics.items()})
    for name in sorted(installed - {*_ACTIVE, *_OFFERED, *LAYOUTS, "lerobot"}):
        yield f"  # {name}: {{}}  # installed; its options are in its own documentation"


def _streams(found: Suggestion, topics: dict[str, TopicFacts]) -> Iterator[str]:
    streams = found.values["streams"]
    width = max(len(name) for name in streams)
    for name, settings in streams.items():
        yield f"  # {found.notes[name]}"
        yield f"  {_scalar(name)}: {' ' * (width - len(name))}{_flow(settings)}"
        facts = topics[settings["topic"]]
        if field := heading_of(facts.type):
            angle = {"topic": facts.name, "field": field, "map": [{"rotation": {"to": "yaw"}}]}
            yield f"  # {_scalar(name)}_yaw: {_flow({**settings, **angle})}  # its heading, in rad"
    if found.left_out:
        yield "  # not read (name a field to read one of them):"
        for topic, why in found.left_out.items():
            yield f"  #   {topic}: {' '.join(why.split())}"


def _dataset(found: Suggestion, types: dict[str, str]) -> Iterator[str]:
    features = lerobot_features(found, types)
    yield f"  # a LeRobot dataset{_lacking('lerobot')}:"
    for name, settings in features.added.items():
        yield f"  # put this below 'streams:', for the action: {name}: {_flow(settings)}"
    options = {"out": "out/lerobot", "task": "say what the robot does", "features": features.keys}
    yield f"  # {'lerobot:':<10}{_flow({'options': options})}"
    yield "  # the same for other training code (docs/outputs.md):"
    for name, layouts in LAYOUTS.items():
        for layout in layouts:
            options = {"out": f"out/{layout}", "layout": layout, "features": keys_of(features.keys, name, layout)}
            yield f"  # {layout + ':':<10} {_flow({'use': name, 'options': options})}{_lacking(name)}"


def _lacking(name: str) -> str:
    """Say how to install what a consumer needs and this machine lacks."""
    from importlib.util import find_spec

    modules = {
        "parquet": "pyarrow",
        "zarr": "zarr",
        "hdf5": "h5py",
        "mcap": "mcap",
        "rerun": "rerun",
        "video": "av",
        "lerobot": "av pyarrow",
    }
    if all(find_spec(module) for module in modules.get(name, "").split()):
        return ""
    return f" (pip install 'rosbag-streamer[{name}]')"


def _flow(values: Any) -> str:
    return yaml.safe_dump(values, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True).strip()


def _scalar(name: str) -> str:
    return yaml.safe_dump({name: 0}, allow_unicode=True).split(": 0")[0].strip()
