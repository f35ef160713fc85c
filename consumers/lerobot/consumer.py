"""Frames → shares, one a chunk → episodes of a LeRobot dataset (v3.0 or v2.1), without the ``lerobot`` package."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumers.copied import encoder_of, wished
from consumers.files import check_parts, make_folder, provenance, remove_folder
from consumers.lerobot.card import without_folders
from consumers.lerobot.dataset import AnyDataset, dataset_at
from consumers.lerobot.episode import Told
from consumers.lerobot.features import no_sample
from consumers.lerobot.layout import INFO, V21, VERSIONS, locked
from consumers.lerobot.merge import Wanted, leave_part, merge
from consumers.lerobot.modality import write_modality
from consumers.lerobot.outcome import FEATURES as OUTCOME
from consumers.lerobot.outcome import take_outcome
from consumers.lerobot.settings import Settings, is_dataset
from consumers.lerobot.share import Share
from consumers.lerobot.wishes import FeatureWish, TaskWish, choose
from consumers.mp4 import Coding
from streamer.contract import Consumer
from streamer.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.contract import Chunk, Frame, Outlook, Part, Recording
    from streamer.records import Copying

_SECOND = 10**9
_LATE = 0.85  # of a period: a frame that comes later than this, frames are missing before it
_CATCH_UP = 16  # frames in which the clock that is expected follows the one that is seen
_WHOLE = 0.005  # how far a timeline's rate may be off a whole number, as a fraction
_UNDER_WAY = "part"  # the folder of the chunk that is under way


@dataclass(slots=True)
class _Progress:
    """Where the recording stands: what a successor needs to go on."""

    episode: int = 0  # counted within the recording
    length: int = 0  # frames of it so far
    tick_number: int = 0  # of the last frame
    expected: float = 0.0  # when the next frame is due, in nanoseconds since the recording's first tick


class LeRobot(Consumer):
    """Adds one episode for each recording to the LeRobot dataset in the folder ``out``.

    Every chunk becomes a share of its own (rows, video segments, histograms) under ``<out>/.shares``; at the end of the
    recording the shares are joined, without encoding again, into the files of the dataset, of which the episodes table
    comes last. So whatever is killed when, a chunk or the joining is repeated and replaces itself. Of many recordings
    in one run, the shares stay until all are done, and are joined in the order of the configuration.

    A picture goes from shared memory through the colour conversion to the encoder, which holds the stream up where it
    is slower: no frame is dropped. In memory are the frames that are being encoded and one chunk's numbers.

    Args:
        out: The dataset's folder; it may hold episodes already, ours or LeRobot's, with the same features and rate.
        features: LeRobot's keys, each with its stream, or a list of vector streams that are put together.
        task: What the robot does, in words; or such a text for each recording by its name.
        task_file: A YAML or JSON file with a text for each recording by its name, instead.
        task_stream: A stream of kind text that says it in each frame, instead.
        names: Names of a vector's elements by the feature's key; else they are the stream's with a number.
        dtype: Type of a vector's numbers by the feature's key, such as ``float64``; ``float32`` where left out.
        images: ``video``, or ``png`` for images inside the data files.
        depth: 16-bit depth: ``lossless``, PNG inside the data files; or ``video`` of 12 bits, from 0.01 to 10 m in
            steps of 1.2 mm (near) to 4.4 mm (far), as LeRobot 0.6 writes it and no older one reads it.
        codec: ``libsvtav1``, ``h264``, or an encoder in hardware that PyAV and the machine have; codec, quality and gop
            are LeRobot's own where they are left out. ``copy`` takes the packets of video topics as they are, and
            refuses what cannot be copied; ``auto`` encodes that.
        quality: The codec's constant rate factor; 0 is best.
        gop: Frames from one key frame to the next; few make reading single frames fast.
        speed: ``balanced``: AV1, CRF 30, a key frame every 2 frames; ``fast``: one every 30; ``fastest``: H.264,
            CRF 23, one every 30. What is given beside it stays.
        encoder_threads: Threads of each encoder; as many as it likes where left out.
        on_skip: What to do where frames are missing in between: LeRobot takes frame n to lie at n / fps, so they
            would be lost time. ``error``, or ``split-episode`` to begin a new episode behind the gap.
        on_duplicate: What to do with a recording that is in the dataset already: ``error``, ``skip`` or ``append``.
        robot_type: Stands in ``info.json``.
        license: What the data may be used for, on the dataset's card, such as ``apache-2.0``.
        format: The dataset's version: ``v3.0``, which LeRobot 0.4 and later read, or ``v2.1``, which GR00T and LeRobot
            0.3 read, and which has a data file and videos for each episode.
        modality: Write ``meta/modality.json``, which GR00T wants: the parts of state and action are their streams, and
            where an element's name has left, right, gripper, finger, jaw or hand in it, those are parts of their own.
        outcome: The label, or labels, of an episode that is a success, such as ``success``: each frame then has
            ``next.done``, true in an episode's last frame, and ``next.success``, true there where it is one.
        data_file_mb: A data file that is larger than this takes no further episode.
        video_file_mb: No video file becomes larger than this by a further episode.

    """

    many_recordings = True

    def __init__(  # noqa: PLR0913 - its options, as a configuration has them
        self,
        out: str,
        features: dict[str, str | list[str]],
        *,
        task: str | dict[str, str] | None = None,
        task_file: str | None = None,
        task_stream: str | None = None,
        names: dict[str, list[str]] | None = None,
        dtype: dict[str, str] | None = None,
        images: str = "video",
        depth: str = "lossless",
        codec: str | None = None,
        quality: int | None = None,
        gop: int | None = None,
        speed: str = "balanced",
        encoder_threads: int | None = None,
        on_skip: str = "error",
        on_duplicate: str = "error",
        robot_type: str | None = None,
        license: str | None = None,  # noqa: A002 - the card's own word
        format: str = "v3.0",  # noqa: A002 - the word that users of LeRobot have for it
        modality: bool = False,
        outcome: str | list[str] | None = None,
        data_file_mb: float = 100,
        video_file_mb: float = 200,
    ) -> None:
        """Check the options, which the class describes.

        Raises:
            ValueError: a value makes no sense.

        """
        if data_file_mb <= 0 or video_file_mb <= 0:
            msg = f"data_file_mb and video_file_mb are above 0, not {data_file_mb} and {video_file_mb}"
            raise ValueError(msg)
        self._out = Path(out)
        self._task = TaskWish.take(task, task_file, task_stream)
        self._coding = Coding.choose(Coding(), speed, encoder_of(codec), quality, gop, encoder_threads)
        self._features = FeatureWish.take(features, names, dtype, images, depth, self._coding)
        self._splits = choose("on_skip", on_skip, ("error", "split-episode")) == "split-episode"
        self._on_duplicate = choose("on_duplicate", on_duplicate, ("error", "skip", "append"))
        self._license = license
        self._outcome = take_outcome(outcome, features)
        version = VERSIONS[choose("format", format, tuple(VERSIONS))]
        if modality and images == "png":
            msg = "modality is for GR00T, which reads videos: leave out 'images: png'"
            raise ValueError(msg)
        if depth == "video" and version == V21:
            msg = "depth: video is what LeRobot 0.6 reads; with 'format: v2.1' depth is lossless"
            raise ValueError(msg)
        self._modality = modality
        self._common = (robot_type, data_file_mb, video_file_mb, version)
        self._at = _Progress()
        self._share: Share | None = None
        self._ignored = False  # there is nothing to be done with this recording

    @staticmethod
    def takes_packets(options: Mapping[str, Any], streams: Sequence[str]) -> Mapping[str, Copying]:
        """Take the packets of the videos among the features, where an episode cannot begin within one."""
        against = ""
        if options.get("images", "video") != "video":
            against = "'images: png' keeps pictures, not a video"
        elif options.get("on_skip") == "split-episode":
            against = "'on_skip: split-episode' may begin an episode between key pictures"
        features = options.get("features")
        wanted = [stream for stream in features.values() if stream in streams] if isinstance(features, dict) else []
        return wished(options, wanted, against)

    def check(self, outlook: Outlook) -> None:
        """Hold features, task, rate and dataset against the recording, and look for frames that LeRobot cannot take."""
        recording = outlook.recording
        if recording.frames == 0:
            return
        self._settings = self._settings_for(recording)
        self._task.of(recording)
        if is_dataset(self._out, self._settings):
            self._choose_key(recording, dataset_at(self._out, self._settings))
        needed = [(stream, feature.key) for feature in self._settings.features for stream in feature.streams]
        for stream, key in [*needed, *([(self._task.stream, "the task")] if self._task.stream else [])]:
            if count := outlook.without.get(stream):
                raise no_sample(stream, key, f"{count} of {recording.frames} frames have no sample")
        self._start = recording.start
        for number, (tick, tick_number) in enumerate(
            zip(outlook.ticks.tolist(), outlook.tick_numbers.tolist(), strict=True)
        ):
            self._begins_anew(number, tick, tick_number)
            self._advance(tick, tick_number)

    def _settings_for(self, recording: Recording) -> Settings:
        features = self._features.of(recording) + (() if self._outcome is None else OUTCOME)
        return Settings(_whole_rate(recording.rate), features, *self._common)

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Check that the dataset takes what the recording has, and begin or go on with its shares."""
        self._ignored = recording.frames == 0  # of which not even the shapes are known
        if self._ignored:
            return
        make_folder(self._out)
        success = None if self._outcome is None else recording.label in self._outcome
        self._told = Told(self._task.of(recording), recording.label, success)
        self._settings = self._settings_for(recording)
        self._start = recording.start
        with locked(self._out):
            dataset = dataset_at(self._out, self._settings)
            if state is None:
                self._key = self._choose_key(recording, dataset)
            if self._modality:
                write_modality(self._out, self._features.of(recording), recording.streams)
        if state is not None:
            self._key, self._ignored = state["key"], state["ignored"]
            self._at = _Progress(**state["at"])
        self._shares = _shares(self._out, recording.name, self._key)
        self._chunks: int = state["chunk"] + 1 if state is not None else 0
        if state is not None and not self._ignored:
            self._check(recording)
        shutil.rmtree(self._shares if state is None else self._shares / _UNDER_WAY, ignore_errors=True)

    def _check(self, recording: Recording) -> None:
        """Make sure that the shares are there which were committed, or the episodes that were made of them."""
        if self._shares.exists() or recording.part:
            check_parts(self._shares, map(_share_of, range(self._chunks)), self._shares)
            return
        dataset = dataset_at(self._out, self._settings)
        for number in range(self._at.episode + 1):
            if dataset.episode_of(f"{self._key}/{number}") is None:
                msg = "the committed shares of this recording have been removed"
                raise OutputError(msg, path=self._shares, hint="begin anew with --restart")

    def _choose_key(self, recording: Recording, dataset: AnyDataset) -> str:
        """Name this pass over the recording, and decide what becomes of a recording that is there already."""
        key = _key(recording)
        episode = dataset.episode_of(f"{key}/0")
        if episode is None:
            return key
        if self._on_duplicate == "error":
            msg = (
                f"{recording.name} is episode {episode} of {self._out} already: remove the folder to begin anew, or "
                "say 'on_duplicate: skip' or 'append'"
            )
            raise OutputError(msg)
        self._ignored = self._on_duplicate == "skip"
        return f"{key}-{dataset.episodes}"

    def on_frame(self, frame: Frame) -> None:
        """Hand the frame to its share; begin another episode where frames are missing before it."""
        if self._ignored:
            return
        if self._begins_anew(frame.number, frame.tick, frame.tick_number):
            self._finish_share()
        if self._share is None:
            folder = self._shares / _UNDER_WAY / f"{self._at.episode:06d}"
            rate, first = Fraction(self._settings.fps), self._shares / _share_of(0) / folder.name
            before = first if self._chunks and first.exists() else None
            shown = [feature for feature in self._settings.features if feature.streams]
            self._share = Share(folder, shown, rate, self._coding, self._task.stream, before)
        self._share.add(frame)
        self._advance(frame.tick, frame.tick_number)

    def _begins_anew(self, number: int, tick: int, tick_number: int) -> bool:
        """Begin another episode where frames are missing before this one."""
        if not self._at.length or not self._falls_behind(tick, tick_number):
            return False
        if not self._splits:
            raise ConfigError(self._about_gap(number, tick))
        self._at = _Progress(self._at.episode + 1)
        return True

    def _falls_behind(self, tick: int, tick_number: int) -> bool:
        """Tell whether ticks were skipped before this one, or the stream that the timeline follows had a gap."""
        skipped = tick_number != self._at.tick_number + 1
        return skipped or self._lateness(tick) > _LATE * _SECOND / self._settings.fps

    def _lateness(self, tick: int) -> float:
        return tick - self._start - self._at.expected

    def _advance(self, tick: int, tick_number: int) -> None:
        """Expect the next tick; follow the clock that is seen, so that a rate a little off does not add up."""
        at = self._at
        if at.length == 0:
            at.expected = float(tick - self._start)
        at.expected += self._lateness(tick) / _CATCH_UP + _SECOND / self._settings.fps
        at.length += 1
        at.tick_number = tick_number

    def _about_gap(self, number: int, tick: int) -> str:
        return (
            f"frames are missing before frame {number}: it comes {self._lateness(tick) / 1e6:.0f} ms later "
            f"than at {self._settings.fps} Hz, and LeRobot would show it without that time. Say 'on_skip: "
            "split-episode', fill the gap ('timeline: {from: grid}', 'missing: hold'), or thin with timeline.rate "
            "where you use 'every'"
        )

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Close the chunk's shares and give them their name."""
        if self._ignored:
            return {"key": self._key, "ignored": True, "at": asdict(self._at), "chunk": chunk.number}
        self._finish_share()
        target = self._shares / _share_of(chunk.number)
        shutil.rmtree(target, ignore_errors=True)
        (self._shares / _UNDER_WAY).rename(target)
        self._chunks = chunk.number + 1
        return {"key": self._key, "ignored": False, "at": asdict(self._at), "chunk": chunk.number}

    def _finish_share(self) -> None:
        if self._share is not None:
            self._share.finish()
            self._share = None

    def close(self, recording: Recording) -> None:
        """Join the shares into episodes."""
        if self._ignored:
            return
        origin = without_folders(provenance(recording, "pyarrow", "av"))
        if self._chunks:
            self._check(recording)
        if recording.part:
            leave_part(self._shares, self._at.episode + 1, self._told, origin)
            return
        if self._shares.exists():  # else an earlier process came as far as to tidy up
            self._add_episodes(origin)
        remove_folder(self._shares)
        _remove_if_empty(self._shares.parent)

    def _add_episodes(self, origin: dict[str, Any]) -> None:
        with locked(self._out):
            dataset, count = dataset_at(self._out, self._settings), self._at.episode + 1
            dataset.extend(
                self._told.shared(self._key, number, count, origin, sorted(self._shares.glob(f"chunk-*/{number:06d}")))
                for number in range(count)
                if dataset.episode_of(f"{self._key}/{number}") is None
            )
            dataset.write_totals()
            dataset.write_card(self._license)

    def merge(self, parts: Sequence[Part]) -> None:
        """Join the shares of many recordings into episodes, numbered in this order."""
        found = [(part.name, part.state["key"]) for part in parts if part.state and not part.state["ignored"]]
        if found or (self._out / INFO).exists():  # from which something may have been rejected
            wanted = [Wanted(name, key, _shares(self._out, name, key)) for name, key in found]
            merge(self._out, wanted, self._license, frozenset(part.name for part in self.left_out))
            _remove_if_empty(self._out / ".shares")


def _key(recording: Recording) -> str:
    """Name what a recording shows: the same file and timeline give the same."""
    what = (recording.provenance.get("fingerprint"), recording.path, recording.start, recording.end, recording.frames)
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def _whole_rate(rate: float | None) -> int:
    if rate is None or round(rate) < 1 or abs(rate - round(rate)) > _WHOLE * rate:
        seen = "no rate of its own" if rate is None else f"{rate:.4g} Hz"
        msg = f"a LeRobot dataset has a whole number of frames a second, the timeline {seen}: set timeline.rate"
        raise ConfigError(msg)
    return round(rate)


def _shares(out: Path, name: str, key: str) -> Path:
    """Return where the shares of a recording lie."""
    return out / ".shares" / f"{name}-{key}"


def _share_of(chunk: int) -> str:
    return f"chunk-{chunk:08d}"


def _remove_if_empty(folder: Path) -> None:
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()
