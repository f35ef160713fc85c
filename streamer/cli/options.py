"""What several verbs take: their arguments and options, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

KINDS = "lerobot, hdf5, zarr, parquet, csv, mcap, rerun, images, points, video, preview, stats, checksum"
ConfigPath: TypeAlias = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="the YAML configuration", show_default=False)
]
Overrides: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="settings that override the file's", show_default=False),
]
Given: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG|RECORDING... [KEY=VALUE]...",
        help="the YAML configuration; or recordings (files, folders, globs, demo://tabletop), for which one is chosen "
        "as 'streamer init' would; and settings that override it",
        show_default=False,
    ),
]
ToConvert: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="RECORDING... [KEY=VALUE]...",
        help="files, folders, globs or demo://tabletop, and settings that override what is chosen",
        show_default=False,
    ),
]
Recordings: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="RECORDING...", help="files, folders, globs or demo://tabletop", show_default=False),
]
Salvage: TypeAlias = Annotated[bool, typer.Option("--salvage", help="read what is intact of a damaged recording")]
Types: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--types", help="a ROS distribution or a folder of .msg files to read it by", show_default=False),
]
TypesSetting: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--types", help="stands for the setting types: a ROS distribution or a folder", show_default=False),
]
