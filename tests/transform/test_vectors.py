"""Steps on vectors with random numbers → what numpy and scipy make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation as Scipy

from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec
from streamer.transform import Chain, make_steps
from tests.transform.test_images import apply

NUMBERS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=12)
NAMES = ("waist", "shoulder", "elbow", "wrist")
POSE = ("position.x", "position.y", "position.z", *(f"orientation.{axis}" for axis in "xyzw"))


def bind(spec: Spec, *entries: object) -> Chain:
    return Chain.bind(make_steps(entries), spec)


@settings(deadline=None)
@given(numbers=NUMBERS, factor=st.floats(-100, 100, width=32))
def test_scale_and_offset_compute_with_fractions(numbers: list[float], factor: float) -> None:
    array = np.array(numbers, np.float64)
    assert np.allclose(apply(array, {"scale": factor}), array * factor)
    assert np.allclose(apply(array, {"offset": factor}), array + factor)
    assert np.allclose(apply(array, {"scale": "deg2rad"}), np.deg2rad(array))
    assert np.allclose(apply(array, {"scale": "rad2deg"}), np.rad2deg(array))
    each = [float(n) for n in range(len(array))]
    assert np.allclose(apply(array, {"scale": each}, {"offset": each}), array * each + each)


def test_whole_numbers_become_fractions_and_units_are_known() -> None:
    spec = Spec((3,), "<i2", names=("a", "b", "c"), unit="deg")
    scaled = bind(spec, {"scale": "deg2rad"}).spec
    assert (np.dtype(scaled.dtype), scaled.unit, scaled.names) == (np.float32, "rad", ("a", "b", "c"))
    assert bind(spec, {"scale": 2}).spec.unit == ""
    assert bind(spec, {"offset": 2}).spec.unit == "deg"


@settings(deadline=None)
@given(data=st.data())
def test_elements_are_chosen_by_name_number_and_slice(data: st.DataObject) -> None:
    array = np.arange(4.0)
    chosen = data.draw(st.lists(st.sampled_from(range(4)), min_size=1, max_size=6))
    by_name = bind(Spec((4,), "<f8", names=NAMES), {"elements": [NAMES[n] for n in chosen]})
    assert by_name(array).tolist() == chosen
    assert by_name.spec.names == tuple(NAMES[n] for n in chosen)
    assert apply(array, {"elements": chosen}).tolist() == chosen
    start, stop = data.draw(st.integers(-4, 3)), data.draw(st.integers(-4, 4))
    assume(len(array[start:stop]))
    found = bind(Spec((4,), "<f8", names=NAMES), {"elements": f"{start}:{stop}"})
    assert np.array_equal(found(array), array[start:stop])
    assert found.spec.names == NAMES[start:stop]


@settings(deadline=None)
@given(numbers=NUMBERS)
def test_norm_is_numpys(numbers: list[float]) -> None:
    array = np.array(numbers, np.float64)
    assert np.allclose(apply(array, "norm"), [np.linalg.norm(array)])
    assert np.allclose(apply(array, {"norm": {"start": 0, "count": 1}}), [abs(array[0])])


QUATERNIONS = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(n * n for n in q) > 0.01)
FORMS: dict[str, Any] = {
    "matrix": lambda r: r.as_matrix().ravel(),
    "rot6d": lambda r: np.concatenate([r.as_matrix()[:, 0], r.as_matrix()[:, 1]]),
    "euler xyz": lambda r: r.as_euler("xyz"),
    "yaw": lambda r: r.as_euler("xyz")[2:],
    "rotvec": lambda r: r.as_rotvec(),
    "quaternion": lambda r: r.as_quat(),
    "quaternion wxyz": lambda r: np.roll(r.as_quat(), 1),
}
BACK: dict[str, Any] = {
    "matrix": lambda n: Scipy.from_matrix(n.reshape(3, 3)),
    "rot6d": lambda n: Scipy.from_matrix(np.stack([n[:3], n[3:], np.cross(n[:3], n[3:])], axis=1)),
    "euler xyz": lambda n: Scipy.from_euler("xyz", n),
    "rotvec": Scipy.from_rotvec,
    "quaternion": Scipy.from_quat,
    "quaternion wxyz": lambda n: Scipy.from_quat(np.roll(n, -1)),
}


@pytest.mark.parametrize("to", FORMS)
@settings(deadline=None, max_examples=60)
@given(quaternion=QUATERNIONS)
def test_a_rotation_is_scipys_in_every_form(to: str, quaternion: tuple[float, ...]) -> None:
    array = np.array(quaternion)
    rotation = Scipy.from_quat(array)
    if to in ("euler xyz", "yaw"):
        assume(abs(rotation.as_matrix()[2, 0]) < 0.9999)
    found, wanted = apply(array, {"rotation": {"to": to}}), FORMS[to](rotation)
    if to in ("euler xyz", "yaw", "rotvec"):  # the same angle, on whichever side of half a turn
        found = np.exp(1j * found) if to != "rotvec" else Scipy.from_rotvec(found).as_matrix()
        wanted = np.exp(1j * wanted) if to != "rotvec" else rotation.as_matrix()
    assert np.allclose(found, wanted, atol=1e-9)
    wxyz = apply(np.roll(array, 1), {"rotation": {"from": "quaternion wxyz", "to": "matrix"}})
    assert np.allclose(wxyz, rotation.as_matrix().ravel(), atol=1e-9)


ODD = [
    Scipy.from_rotvec(v) for v in ([0, 0, 0], [np.pi, 0, 0], [0, -np.pi, 0], [1e-10, 0, -1e-9], [0, 0, np.pi - 1e-9])
]


@pytest.mark.parametrize("source", BACK)
@pytest.mark.parametrize("to", BACK)
def test_every_form_becomes_every_other(source: str, to: str) -> None:
    rng = np.random.default_rng(len(source) + 7 * len(to))
    for rotation in [*ODD, *Scipy.random(40, rng=rng)]:
        found = apply(FORMS[source](rotation), {"rotation": {"from": source, "to": to}})
        np.testing.assert_allclose(BACK[to](found).as_matrix(), rotation.as_matrix(), atol=1e-12)


def test_columns_of_a_network_are_made_a_rotation_and_what_is_none_is_told() -> None:
    a, b = np.array([2.0, 0.1, 0]), np.array([1.0, 3.0, -1.0])  # neither of length 1 nor at right angles
    found = apply(np.concatenate([a, b]), {"rotation": {"from": "rot6d", "to": "matrix"}}).reshape(3, 3)
    first = a / np.linalg.norm(a)
    second = np.linalg.qr(np.stack([a, b], axis=1))[0][:, 1]
    assert np.allclose(found, np.stack([first, second, np.cross(first, second)], axis=1)) or np.allclose(
        found, np.stack([first, -second, np.cross(first, -second)], axis=1)
    )
    for source, bad, said in (
        ("rot6d", [1.0, 0, 0, 2, 0, 0], "span no plane"),
        ("rot6d", [0.0] * 6, "span no plane"),
        ("matrix", np.diag([1.0, 1, -1]).ravel(), "not orthonormal"),  # a mirror
        ("matrix", [0.0] * 9, "not orthonormal"),
        ("matrix", [np.nan] * 9, "not finite: it is no rotation"),
        ("euler xyz", [0.0, np.nan, 0], "not finite"),
        ("rotvec", [np.inf, 0, 0], "not finite"),
        ("quaternion wxyz", [np.inf, 0, 0, 0], "has no length"),
    ):
        with pytest.raises(DecodeError, match=said):
            bind(Spec((len(bad),), "<f8"), {"rotation": {"from": source, "to": "quaternion"}})(np.array(bad))


def test_a_form_is_found_by_its_names_and_angles_have_a_unit() -> None:
    spec = Spec((4,), "<f4", names=("x", "rpy.roll", "rpy.pitch", "rpy.yaw"), unit="m")
    chain = bind(spec, {"rotation": {"from": "euler xyz", "to": "quaternion"}})
    assert chain.spec.names == ("x", "rpy.x", "rpy.y", "rpy.z", "rpy.w")
    assert (np.dtype(chain.spec.dtype), chain.spec.unit) == (np.float32, "m")
    angles = bind(Spec((4,), "<f8"), {"rotation": {"to": "euler xyz"}}, {"scale": "rad2deg"})
    assert [step.unit for step in angles.shapes] == ["", "rad", "deg"]


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_a_pitch_of_a_quarter_turn_gives_angles_of_the_same_rotation(pitch: float) -> None:
    rotation = Scipy.from_euler("xyz", [0.3, pitch, 1.1])
    angles = apply(rotation.as_quat(), {"rotation": {"to": "euler xyz"}})
    assert np.allclose(Scipy.from_euler("xyz", angles).as_matrix(), rotation.as_matrix(), atol=1e-6)
    assert angles[2] == 0


def test_a_quaternion_inside_a_pose_is_found_by_its_names_or_its_place() -> None:
    rotation = Scipy.from_euler("xyz", [0.1, 0.2, 0.3])
    pose = np.array([1.0, 2.0, 3.0, *rotation.as_quat()])
    named = bind(Spec((7,), "<f8", names=POSE), {"rotation": {"to": "rot6d"}})
    assert named.spec.names == (*POSE[:3], *(f"orientation.m{n}" for n in ("00", "10", "20", "01", "11", "21")))
    assert np.allclose(named(pose), [1, 2, 3, *rotation.as_matrix()[:, :2].T.ravel()])
    assert np.allclose(apply(pose, {"rotation": {"to": "euler xyz", "at": 3}}), [1, 2, 3, 0.1, 0.2, 0.3])


@settings(deadline=None)
@given(yaw=st.floats(-3.1, 3.1), around=st.floats(-20, 20))
def test_angles_come_within_half_a_turn_of_what_they_are_around(yaw: float, around: float) -> None:
    quaternion = Scipy.from_euler("z", yaw).as_quat()
    (found,) = apply(quaternion, {"rotation": {"to": "yaw", "around": around}})
    assert abs(found - around) <= np.pi + 1e-9
    assert np.isclose(np.cos(found), np.cos(yaw), atol=1e-9)
    assert np.isclose(np.sin(found), np.sin(yaw), atol=1e-9)


def test_a_quaternion_without_length_is_no_rotation() -> None:
    chain = bind(Spec((4,), "<f8"), {"rotation": {"to": "matrix"}})
    for bad in (np.zeros(4), np.full(4, np.nan)):
        with pytest.raises(DecodeError, match="has no length: it is no rotation"):
            chain(bad)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"elements": ["wrist", "gripper"]}, "there is no element 'gripper'. It has waist, shoulder, elbow, wrist"),
        ({"elements": ["elbw"]}, "there is no element 'elbw'; did you mean 'elbow'?"),
        ({"elements": [4]}, "there is no element 4, there are 4"),
        ({"elements": "3:1"}, "leaves nothing of 4 elements"),
        ({"elements": "1:x"}, "is no slice"),
        ({"elements": "::0"}, "is no slice"),
        ({"elements": [True]}, "should be names, numbers or a slice"),
        ("elements", "elements: it needs its arguments: chosen"),
        ({"elements": []}, "should be names, numbers or a slice"),
        ({"scale": [1, 2]}, "the factor has 2 numbers for 4"),
        ({"scale": "deg2grad"}, "should be a number, 'deg2rad' or 'rad2deg'"),
        ({"scale": True}, "the factor should be a number, not True"),
        ({"offset": float("nan")}, "the amount should be a number, not nan"),
        ({"rotation": {"to": "axis"}}, "to should be 'matrix' or 'rot6d'"),
        ({"rotation": {"from": "yaw", "to": "matrix"}}, "from should be 'quaternion' or 'quaternion wxyz' or 'matrix'"),
        ({"rotation": {"from": "matrix", "to": "rotvec"}}, "where the matrix lies in 4 elements is not known"),
        ({"rotation": {"to": "matrix", "at": 1}}, "say it with 'at'"),
        ({"rotation": {"to": "matrix", "around": 0}}, "'around' is for angles"),
        ({"rotation": {"to": "euler xyz", "around": [0, 0]}}, "around has 2 numbers for the 3 of 'euler xyz'"),
        ({"rotation": {"to": "rotvec", "unwrap": True}}, "'unwrap' is for angles"),
        ({"rotation": {"to": "yaw", "unwrap": 1}}, "unwrap should be true or false, not 1"),
        ({"rotation": {"to": "yaw", "unwrap": True, "around": 0}}, "'around' and 'unwrap' both say where"),
        ({"rotation": {}}, "does not fit: it takes to, source, at, around, unwrap"),
        ({"norm": {"start": 4}}, "do not lie in a vector of 4"),
        ({"crop": [0, 0, 1, 1]}, "it is for images, and is given 4"),
        ({"voxel": "5 cm"}, "it is for points, and is given 4"),
    ],
)
def test_arguments_that_do_not_fit_are_told(entry: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        bind(Spec((4,), "<f8", names=NAMES), entry)


def test_vectors_of_other_lengths_give_the_elements_that_they_have() -> None:
    spec = Spec((6,), "<f8", variable=True)
    sliced, chosen = bind(spec, {"elements": "1:-1"}), bind(spec, {"elements": [2, 0]})
    assert (sliced.spec.shape, sliced.spec.variable) == ((4,), True)
    assert (chosen.spec.shape, chosen.spec.variable) == ((2,), False)
    for length in (0, 1, 3, 6):
        array = np.arange(float(length))
        out = np.zeros(4)
        assert out[: sliced.into(array, out)].tolist() == array[1:-1].tolist()
        if length > 2:
            assert chosen(array).tolist() == [2, 0]
        else:
            with pytest.raises(DecodeError, match=f"there is no element 2 in a vector of {length}"):
                chosen(array)
    with pytest.raises(ConfigError, match="element -1 would be another one in every message"):
        bind(spec, {"elements": [-1]})
