"""Every built-in consumer, held to the contract as a plug-in author would hold theirs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader

from consumers.null import Null
from streamer.testing import ConsumerContract

if TYPE_CHECKING:
    from pathlib import Path


def without_provenance(path: Path) -> object:
    values = json.loads(path.read_text())
    del values["provenance"]
    return values


def every_file(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def pixels(out: Path) -> bytes:
    (path,) = out.glob("*.png")
    return np.asarray(cv2.imread(str(path))).tobytes()


class BuiltIn(ConsumerContract):
    """Killed at the points of one seed in the quick tests; variants and more seeds are slow or the soak's."""

    seeds: ClassVar[tuple[int, ...]] = (1,)


class Brief(BuiltIn):
    """Of consumers whose outputs are made like those of others: what takes longest is slow."""

    @pytest.mark.slow
    def test_its_memory_does_not_grow_over_300_chunks(self, tmp_path: Path) -> None:
        super().test_its_memory_does_not_grow_over_300_chunks(tmp_path)

    @pytest.mark.slow
    def test_killed_at_random_points_it_loses_and_doubles_nothing(self, tmp_path: Path, clean: Any) -> None:
        super().test_killed_at_random_points_it_loses_and_doubles_nothing(tmp_path, clean)


@pytest.mark.soak
class TestNull(BuiltIn):
    """Has no options and no output."""

    use = Null

    def options(self, out: Path) -> dict[str, Any]:
        return {}


class TestChecksum(BuiltIn):
    """Chains digests over the lives of its processes."""

    use = "checksum"

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out / "sums.json")}

    def digest(self, out: Path) -> object:
        return without_provenance(out / "sums.json")


@pytest.mark.slow
class TestStats(Brief):
    """Adds up over the lives of its processes."""

    use = "stats"

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out)}

    def digest(self, out: Path) -> object:
        (path,) = out.glob("*.stats.json")
        return without_provenance(path)


@pytest.mark.soak
class TestStatsPlot(TestStats):
    """Keeps what it draws in its state, too."""

    seeds = (1, 2, 3, 4)

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out), "plot": True}

    def digest(self, out: Path) -> object:
        return super().digest(out), pixels(out)


@pytest.mark.slow
class TestPreview(Brief):
    """Puts one picture together from the shares of its chunks."""

    use = "preview"
    bad_options = ({"frames": 0}, {"width": 3})

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out), "frames": 4, "width": 64}

    def digest(self, out: Path) -> object:
        return pixels(out)


class TestLeRobot(BuiltIn):
    """Joins the segments of its chunks; every file of the dataset is compared, but where the episode came from."""

    use = "lerobot"
    none_samples = "refused"
    bad_options = (
        {"features": {}},
        {"task": None},
        {"images": "jpeg"},
        {"on_skip": "ignore"},
        {"codec": "mjpeg"},
        {"quality": 99},
        {"gop": 0},
    )

    def options(self, out: Path) -> dict[str, Any]:
        features = {"observation.images.head": "camera", "observation.state": ["joints"]}
        return {"out": str(out), "task": "Stack the blocks", "features": features, "codec": "h264"}

    def options_for_none(self, out: Path) -> dict[str, Any]:
        return self.options(out) | {"features": {"observation.state": ["joints", "sparse"]}}

    def digest(self, out: Path) -> object:
        return {k: v for k, v in every_file(out).items() if k != "meta/provenance.jsonl"}


@pytest.mark.soak
class TestLeRobotPng(TestLeRobot):
    """Images inside the data files."""

    seeds = (1, 2, 3, 4)

    def options(self, out: Path) -> dict[str, Any]:
        return super().options(out) | {"images": "png"}


class TestParquet(BuiltIn):
    """Puts the files of its chunks together."""

    use = "parquet"
    bad_options = ({"compression": "zip"}, {"layout": "tall"})

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out)}

    def digest(self, out: Path) -> object:
        (path,) = out.glob("*.parquet")
        return pq.read_table(path).to_pylist(), pq.read_metadata(path).num_row_groups


@pytest.mark.slow
class TestCsv(Brief):
    """Puts the lines of its chunks below a heading."""

    use = "csv"

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out)}

    def digest(self, out: Path) -> object:
        return {name: content for name, content in every_file(out).items() if name.endswith(".csv")}


@pytest.mark.slow
class TestZarr(Brief):
    """Writes every chunk to its place."""

    use = "zarr"

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out)}

    def digest(self, out: Path) -> object:
        return {name: content for name, content in every_file(out).items() if not name.endswith(".zarr/zarr.json")}


@pytest.mark.slow
class TestReplayBuffer(Brief):
    """Is a group of format 2, whose metadata begin with a dot."""

    use = "zarr"
    none_samples = "refused"
    bad_options = ({"layout": "tall"}, {"streams": ["camera"]}, {"features": {"a/b": "camera"}})

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out), "layout": "replay_buffer", "features": {"img": "camera", "state": ["joints"]}}

    def options_for_none(self, out: Path) -> dict[str, Any]:
        return self.options(out) | {"features": {"state": ["joints", "sparse"]}}

    def digest(self, out: Path) -> object:
        (group,) = out.glob("*.zarr")
        files = (path for path in group.rglob("*") if path.is_file() and path.name not in (".zattrs", ".zmetadata"))
        return {str(path.relative_to(out)): path.read_bytes() for path in files}

    def compare(self, finished: Any, clean: Any) -> None:
        assert self.digest(finished.out) == self.digest(clean.out), finished
        assert [path.name for path in finished.out.iterdir()] == [path.name for path in clean.out.iterdir()]


@pytest.mark.slow
class TestHdf5(Brief):
    """Puts the files of its chunks together, and numbers them."""

    use = "hdf5"
    none_samples = "refused"
    bad_options = ({"layout": "tall"}, {"compression": "zip"}, {"features": {}}, {"layout": "robomimic"})

    def options(self, out: Path) -> dict[str, Any]:
        features = {"action": "joints", "observations/qpos": ["joints"], "observations/images/top": "camera"}
        return {"out": str(out), "layout": "aloha", "features": features}

    def options_for_none(self, out: Path) -> dict[str, Any]:
        return self.options(out) | {"features": {"action": "joints", "observations/qpos": ["joints", "sparse"]}}

    def digest(self, out: Path) -> object:
        found = {}
        for path in out.glob("*.hdf5"):
            with h5py.File(path) as file:
                arrays = {
                    name: file[name] for name in ("action", "observations/qpos", "observations/images/top", "tick")
                }
                found[path.name] = {name: (a.shape, a[()].tobytes()) for name, a in arrays.items()}
        return found


@pytest.mark.slow
class TestImages(Brief):
    """Writes a file for each picture, and a table of them."""

    use = "images"
    bad_options: ClassVar[tuple[dict[str, Any], ...]] = ({"layout": "tall"}, {"format": "bmp"}, {"quality": 0})

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out)}

    def digest(self, out: Path) -> object:
        return {name: content for name, content in every_file(out).items() if not name.endswith("provenance.json")}


@pytest.mark.slow
class TestTumImages(TestImages):
    """Names pictures by their stamps."""

    bad_options = ()

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out), "layout": "tum"}


@pytest.mark.slow
class TestMcap(Brief):
    """Copies the messages of its chunks into one file."""

    use = "mcap"
    bad_options = ({"pictures": "bmp"}, {"quality": 0}, {"compression": "zip"})

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out)}

    def digest(self, out: Path) -> object:
        (path,) = out.glob("*.mcap")
        with path.open("rb") as file:
            found = make_reader(file).iter_messages(log_time_order=False)
            return [(channel.topic, message) for _, channel, message in found]


@pytest.mark.slow
class TestVideo(Brief):
    """Joins the segments of its chunks."""

    use = "video"
    bad_options = ({"rate": "fast"}, {"codec": "mjpeg"}, {"quality": -1})

    def options(self, out: Path) -> dict[str, Any]:
        return {"out": str(out), "overlay": True, "gop": 5}

    def digest(self, out: Path) -> object:
        return {name: content for name, content in every_file(out).items() if name.endswith(".mp4")}


@pytest.mark.soak
class TestVideoOfVariableRate(TestVideo):
    """Shows every frame at its tick."""

    seeds = (1, 2, 3, 4)

    def options(self, out: Path) -> dict[str, Any]:
        return super().options(out) | {"rate": "variable"}
