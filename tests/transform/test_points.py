"""Steps on points → what numpy makes of them point by point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec
from streamer.transform import Chain, make_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIDAR: Any = {
    "names": ["x", "y", "z", "intensity", "ring"],
    "formats": ["<f4", "<f4", "<f4", "<f4", "<u2"],
    "offsets": [0, 4, 8, 16, 20],
    "itemsize": 24,
}


def cloud(count: int, seed: int = 1) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    points = np.zeros(count, np.dtype(LIDAR))
    for axis in "xyz":
        points[axis] = rng.uniform(-2, 2, count)
    points["intensity"], points["ring"] = rng.random(count), np.arange(count)
    return points


def apply(points: NDArray[Any], *entries: object) -> NDArray[Any]:
    chain = Chain.bind(make_steps(entries), Spec((max(len(points), 1) + 5,), LIDAR, variable=True))
    dtype: Any = chain.spec.dtype
    out = np.zeros(chain.spec.shape, np.dtype(dtype))
    points.setflags(write=False)
    rows = chain.into(points, out)
    assert chain.spec.variable or rows == len(out)
    return out[:rows]


@settings(deadline=None)
@given(count=st.integers(0, 200), low=st.floats(-2, 1), width=st.floats(0, 2))
def test_a_box_keeps_the_points_in_it(count: int, low: float, width: float) -> None:
    points = cloud(count)
    found = apply(points, {"crop": {"x": [low, low + width], "z": ["-50 cm", "1.5 m"]}})
    wanted = [p for p in points if low <= p["x"] <= low + width and -0.5 <= p["z"] <= 1.5]
    assert found["ring"].tolist() == [p["ring"] for p in wanted]


def test_a_point_without_a_place_is_in_no_box_and_no_voxel() -> None:
    points = cloud(4)
    points["x"][1] = np.nan
    points["z"][2] = np.inf
    assert apply(points, {"crop": {"x": [-9, 9], "z": [-9, 9]}})["ring"].tolist() == [0, 3]
    assert sorted(apply(points, {"voxel": 0.0001})["ring"].tolist()) == [0, 3]


@settings(deadline=None, max_examples=40)
@given(count=st.integers(0, 150), size=st.sampled_from([0.1, 0.5, 1.0, 10.0]), seed=st.integers(0, 5))
def test_a_voxel_holds_the_mean_of_its_points(count: int, size: float, seed: int) -> None:
    points = cloud(count, seed)
    cubes: dict[tuple[int, ...], list[Any]] = {}
    for point in points:
        cubes.setdefault(tuple(int(np.floor(float(point[axis]) / size)) for axis in "xyz"), []).append(point)
    found = apply(points, {"voxel": f"{size * 100:g} cm"})
    assert len(found) == len(cubes)
    for row, cube in zip(found, sorted(cubes), strict=True):
        for name in ("x", "y", "z", "intensity"):
            assert np.isclose(row[name], np.mean([point[name] for point in cubes[cube]]), atol=1e-6)
        assert row["ring"] == cubes[cube][0]["ring"]


def test_voxels_far_from_each_other_are_told_apart_and_in_order() -> None:
    points = cloud(4)
    for axis in "xyz":
        points[axis] = [3e9, -3e9, 3e9, -3e9]
    assert apply(points, {"voxel": "1 mm"})["ring"].tolist() == [1, 0]


def test_fields_are_chosen_and_packed() -> None:
    points = cloud(7)
    found = apply(points, {"fields": ["z", "ring"]})
    assert found.dtype == np.dtype([("z", "<f4"), ("ring", "<u2")])
    assert np.array_equal(found["z"], points["z"])
    assert np.array_equal(found["ring"], points["ring"])


@settings(deadline=None)
@given(count=st.integers(0, 100), wanted=st.integers(1, 60), fill=st.sampled_from(["repeat", "zero"]))
def test_a_sample_has_just_so_many_points(count: int, wanted: int, fill: str) -> None:
    points = cloud(count)
    found = apply(points, {"sample": {"count": wanted, "fill": fill}})
    assert len(found) == wanted
    assert np.array_equal(found, apply(points, {"sample": {"count": wanted, "fill": fill}}))
    rings = found["ring"].tolist()
    if count >= wanted:
        assert len(set(rings)) == wanted
        assert rings == sorted(rings)
    else:
        assert rings[:count] == list(range(count))
        filled = found[count:]
        assert (filled["ring"] < max(count, 1)).all() if fill == "repeat" else not filled["ring"].any()


def test_another_seed_chooses_other_points() -> None:
    points = cloud(100)
    chosen = [apply(points, {"sample": {"count": 10, "seed": seed}})["ring"].tolist() for seed in range(4)]
    assert len({tuple(rings) for rings in chosen}) == 4


def test_padding_adds_zeros_and_cuts_nothing() -> None:
    found = apply(cloud(3), {"pad": 5})
    assert found["ring"].tolist() == [0, 1, 2, 0, 0]
    with pytest.raises(DecodeError, match="6 points do not fit into 5: pad to more, or use 'sample: 5'"):
        apply(cloud(6), {"pad": 5})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"crop": {"x": [1, 0]}}, "x: the lower bound 1 is above the upper one 0"),
        ({"crop": {"x": [1]}}, r"x should be \[low, high\]"),
        ({"crop": {"x": ["1 mile", 2]}}, r"x\[0\] should be a length such as '5 cm'"),
        ({"crop": {"rings": [0, 1]}}, "no field 'rings' of one number; did you mean 'ring'?"),
        ({"fields": ["x", "w"]}, "no field 'w'. They have x, y, z, intensity, ring"),
        ({"fields": ["x", "x"]}, "each once"),
        ({"voxel": 0}, "the size should be above 0"),
        ({"sample": 0}, "count should be a whole number of at least 1"),
        ({"pad": 2.5}, "count should be a whole number"),
        ({"scale": 2}, "it is for numbers, and is given"),
    ],
)
def test_arguments_that_do_not_fit_are_told(entry: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        apply(cloud(3), entry)
