"""HDF5 files, read as the training code of ACT and robomimic reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from consumers.hdf5 import Hdf5
from streamer.contract import Outlook, Part
from streamer.errors import ConfigError, OutputError
from tests.consumers.test_arrays import ARM, GRIP, HEAD, STREAMS, TICKS, feed, recording

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.contract import StreamInfo

ALOHA: dict[str, str | list[str]] = {
    "action": ["arm", "grip"],
    "observations/qpos": ["arm", "grip"],
    "observations/qvel": "arm",
    "observations/images/top": "head",
}
ROBOMIMIC: dict[str, str | list[str]] = {"actions": "arm", "obs/joints": ["arm", "grip"], "obs/top": "head"}


def aloha(out: Path) -> Hdf5:
    return Hdf5(str(out), ALOHA, layout="aloha")


def robomimic(out: Path) -> Hdf5:
    return Hdf5(str(out), ROBOMIMIC, layout="robomimic", compression="gzip", env_name="bench")


def test_act_finds_its_episodes_by_number_in_the_order_of_the_recordings(tmp_path: Path) -> None:
    feed(aloha(tmp_path), "alone")
    assert (tmp_path / "episode_0.hdf5").readlink().name == "alone.hdf5"
    feed(aloha(tmp_path), "alone")  # once more: it has its number
    for name, frames in (("b", 10), ("none", 0), ("a", 6)):
        feed(aloha(tmp_path), name, frames, part=True)
    for _ in range(2):
        aloha(tmp_path).merge([Part(name, "", {}) for name in ("a", "none", "b")])
    episodes = sorted(path.name for path in tmp_path.glob("episode_*"))
    assert episodes == ["episode_0.hdf5", "episode_1.hdf5", "episode_2.hdf5"]
    assert [(tmp_path / name).readlink().stem for name in episodes] == ["alone", "a", "b"]
    with h5py.File(tmp_path / "episode_1.hdf5", "r") as root:  # as in act/utils.py
        assert not root.attrs["sim"]
        assert root["/action"].shape == (6, 3)
        both = np.concatenate([ARM, GRIP], axis=1)
        assert np.array_equal(root["/observations/qpos"][2], both[2])
        assert np.array_equal(root["/observations/qvel"][2], ARM[2])
        assert np.array_equal(root["/observations/images/top"][2], HEAD[2])
        assert root["/observations/images/top"].chunks == (1, 4, 6, 3)
        assert np.array_equal(root["/action"][3:], both[3:6])
        assert root["/tick"][()].tolist() == TICKS[:6].tolist()
        assert list(root["/observations/qpos"].attrs["names"]) == ["arm.waist", "arm.wrist", "grip.finger"]
        assert json.loads(root["provenance"][()])["fingerprint"] == "a"


def test_robomimic_finds_all_demonstrations_in_one_file(tmp_path: Path) -> None:
    for name, frames in (("b", 10), ("none", 0), ("a", 6)):
        feed(robomimic(tmp_path), name, frames, part=True)
    for _ in range(2):
        robomimic(tmp_path).merge([Part(name, "", {}) for name in ("a", "none", "b")])
    with h5py.File(tmp_path / "demos.hdf5", "r") as file:  # as in robomimic/utils/dataset.py
        demos = sorted(file["data"])
        assert (demos, int(file["data"].attrs["total"])) == (["demo_0", "demo_1"], 16)
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "bench"
        assert [int(file["data"][demo].attrs["num_samples"]) for demo in demos] == [6, 10]
        assert np.array_equal(file["data/demo_1/actions"], ARM)
        assert np.array_equal(file["data/demo_1/obs/joints"], np.concatenate([ARM, GRIP], axis=1))
        assert np.array_equal(file["data/demo_0/obs/top"], HEAD[:6])
        assert file["data/demo_0/dones"][()].tolist() == [0, 0, 0, 0, 0, 1]
        assert not file["data/demo_0/rewards"][()].any()
        assert file["data/demo_0/obs/top"].compression == "gzip"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["action"], "needs 'observations/qpos'"),
        (["action", "observations/qpos", "observations"], "'observations' cannot be an array and hold"),
        (["action", "observations/qpos", "/x"], "'/x' cannot be a key"),
        (["action", "observations/qpos", "a/../b"], r"'a/\.\./b' cannot be a key"),
    ],
)
def test_keys_that_make_no_sense_are_refused(tmp_path: Path, keys: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Hdf5(str(tmp_path), dict.fromkeys(keys, "arm"), layout="aloha")


def test_what_has_no_sample_or_other_elements_is_refused_and_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    features: dict[str, str | list[str]] = {"action": "count", "observations/qpos": "arm"}
    outlook = Outlook(recording("take", 10, STREAMS), TICKS, np.arange(10), {"count": 1})
    with pytest.raises(ConfigError, match="1 of 10 frames have no sample, and 'action' cannot be without"):
        Hdf5(str(tmp_path), features, layout="aloha").check(outlook)
    feed(aloha(tmp_path), "a")
    arm: StreamInfo = STREAMS["arm"]
    values: dict[str, Any] = {key: getattr(arm, key) for key in ("name", "topic", "msgtype", "kind", "shape", "dtype")}
    turned = STREAMS | {"arm": type(arm)(**values, names=("wrist", "waist"))}
    with pytest.raises((ConfigError, OutputError), match="elements"):
        feed(aloha(tmp_path), "z", 10, turned)
    (tmp_path / "episode_1.hdf5").write_text("of somebody else")
    with pytest.raises(OutputError, match="none of this program's links"):
        feed(aloha(tmp_path), "b")
    assert (tmp_path / "episode_1.hdf5").read_text() == "of somebody else"
