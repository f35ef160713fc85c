"""``streamer push DATASET REPO_ID``: a LeRobot dataset on the disk → one on the Hugging Face Hub."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.errors import BusyError, ConfigError, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNDER_WAY = (".shares", ".merge", ".merged", ".replaced")  # in a dataset that a run has not finished
_HIDDEN = [".*", "**/.*", ".*/**"]  # patterns of what is not part of the dataset
_RIGHTS = {401, 403}
_LATER = {429, 500, 502, 503, 504}
_MB = 10**6


def push(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="the dataset's folder", show_default=False)],
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="who/what on the Hub", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="create it so that only you see it")] = False,
    tag: Annotated[
        str | None, typer.Option("--tag", help="a name for this state, beside its format's version", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="tell what would be sent, and send nothing")] = False,
) -> None:
    """Upload DATASET to the Hugging Face Hub as REPO_ID, tagged the way LeRobot expects.

    All files come in one commit: readers see the old state or the new one. After an interruption the same command
    sends only what is missing. Log in once with 'hf auth login', or set HF_TOKEN; HF_ENDPOINT names another server.

    Example: streamer push out/dataset me/stack-blocks --private
    """
    info = _info(dataset)
    found = [path for path in sorted(dataset.rglob("*")) if path.is_file() and not _is_hidden(path, dataset)]
    size = sum(path.stat().st_size for path in found) / _MB
    version = str(info["codebase_version"])
    what = f"{info['total_episodes']} episodes, {len(found)} files, {size:.1f} MB"
    tags = [version, *([tag] if tag else [])]
    if dry_run:
        print(f"{dataset} → {repo_id}: {what}; tags {', '.join(tags)}; nothing was sent")
        for path in found:
            print(f"  {path.relative_to(dataset)} ({path.stat().st_size / _MB:.1f} MB)")
        return
    with _told(repo_id):
        url = _send(dataset, repo_id, private=private, tags=tags, episodes=info["total_episodes"])
    print(f"✓ {what} → {url} ({', '.join(tags)})")


def _info(dataset: Path) -> dict[str, Any]:
    """Read a dataset's ``info.json``; make sure that the dataset is whole."""
    path = dataset / "meta" / "info.json"
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        episodes = info["total_episodes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{dataset} is no LeRobot dataset: meta/info.json cannot be read ({type(error).__name__})"
        raise UsageError(msg) from error
    under_way = [name for name in _UNDER_WAY if (dataset / name).exists()]
    if under_way or not episodes:
        why = f"a run has left {under_way[0]} in it" if under_way else "it has no episodes"
        msg = f"{dataset} is not finished: {why}; end the run first ('streamer run --resume', 'streamer merge')"
        raise OutputError(msg)
    return info


def _is_hidden(path: Path, dataset: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(dataset).parts)


def _send(dataset: Path, repo_id: str, *, private: bool, tags: list[str], episodes: int) -> str:
    """Create the repository where it is not there, send what it lacks, move the tags."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RevisionNotFoundError
    except ImportError as error:
        msg = f"huggingface_hub is needed and cannot be imported ({error}): pip install 'rosbag-streamer[hub]'"
        raise ConfigError(msg) from error
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    url = api.create_repo(repo_id, repo_type="dataset", private=True if private else None, exist_ok=True)
    api.upload_folder(
        repo_id=repo_id,
        repo_type="dataset",
        folder_path=dataset,
        commit_message=f"Add a dataset of {episodes} episodes",
        ignore_patterns=_HIDDEN,
    )
    for tag in tags:
        with suppress(RevisionNotFoundError):
            api.delete_tag(repo_id, tag=tag, repo_type="dataset")
        api.create_tag(repo_id, tag=tag, repo_type="dataset")
    return str(url)


@contextmanager
def _told(repo_id: str) -> Iterator[None]:
    """Say in words what the Hub answers.

    Raises:
        ConfigError: one may not write there. BusyError: it may work later. UsageError: the name is none.

    """
    try:
        yield
    except ValueError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is None:
            msg = f"REPO_ID {repo_id!r}: {error}"
            raise UsageError(msg) from error
        raise _refused(repo_id, status, error) from error
    except OSError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise _refused(repo_id, status, error) from error
    except Exception as error:  # the client's library has errors of its own, of another one in each version
        if not type(error).__module__.startswith("http"):
            raise
        raise _refused(repo_id, None, error) from error


def _refused(repo_id: str, status: int | None, error: Exception) -> ConfigError | BusyError | OutputError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    if status in _RIGHTS:
        return ConfigError(
            f"the Hub lets you not write to {repo_id} ({status}): log in with 'hf auth login', or set HF_TOKEN"
        )
    if status is None or status in _LATER:
        return BusyError(f"the Hub cannot be reached ({said}): the same command again sends only what is missing")
    return OutputError(f"the Hub refuses {repo_id} ({status}): {said}")
