"""The shared memory: places are aligned, one process writes, others only look."""

from __future__ import annotations

import mmap
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import memfd
from streamer.errors import StorageError
from streamer.layout import ALIGNMENT, Layout, make_layout, put_last
from streamer.pool import Pool, PoolView
from streamer.records import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECS = {
    "image": Spec((5, 7, 3), "|u1"),
    "joints": Spec((3,), "<f8"),
    "points": Spec(
        (10,), {"names": ["x", "ring"], "formats": ["<f4", "<u2"], "offsets": [0, 4], "itemsize": 7}, variable=True
    ),
    "flag": Spec((1,), "|b1"),
}


@contextmanager
def shared() -> Iterator[tuple[int, int]]:
    writable, readable = memfd.create()
    try:
        yield writable, readable
    finally:
        os.close(writable)
        os.close(readable)


def test_every_array_is_aligned_to_a_cache_line() -> None:
    layout = make_layout(SPECS)
    with shared() as (writable, readable):
        filled, view = Pool(writable, layout, 3), PoolView(readable, layout, 3)
        for slot in range(3):
            for place in layout.places:
                assert filled.array(slot, place).ctypes.data % ALIGNMENT == 0
                assert view.array(slot, place, 1).ctypes.data % ALIGNMENT == 0


def test_what_one_side_writes_the_other_sees() -> None:
    layout = make_layout(SPECS)
    with shared() as (writable, readable):
        filled, view = Pool(writable, layout, 2), PoolView(readable, layout, 2)
        image, joints = layout.places[0], layout.places[1]
        pixels = view.array(1, image, 5)
        for value in (3, 200):
            filled.array(1, image)[...] = value
            filled.array(1, joints)[...] = [0.5, -value, np.pi]
            assert np.all(pixels == value)
            assert view.array(1, joints, 3).tolist() == [0.5, -value, np.pi]
        assert not filled.array(0, image).any()


def test_another_process_sees_it_too() -> None:
    layout = make_layout({"a": Spec((4,), "<i4")})
    with shared() as (writable, readable):
        filled = Pool(writable, layout, 1)
        filled.array(0, layout.places[0])[...] = [7, 8, 9, 10]
        code = f"import mmap; print(list(memoryview(mmap.mmap({readable}, 16, prot=mmap.PROT_READ)).cast('i')))"
        told = subprocess.run([sys.executable, "-c", code], pass_fds=[readable], capture_output=True, check=True)
    assert told.stdout.split() == [b"[7,", b"8,", b"9,", b"10]"]


def test_a_consumers_array_refuses_to_be_written() -> None:
    layout = make_layout(SPECS)
    with shared() as (writable, readable):
        Pool(writable, layout, 1)
        array = PoolView(readable, layout, 1).array(0, layout.places[0], 5)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


@pytest.mark.skipif(sys.platform != "linux", reason="a memfd is needed")
def test_a_consumers_descriptor_cannot_be_mapped_for_writing() -> None:
    with shared() as (writable, readable):
        os.ftruncate(writable, 4096)
        with pytest.raises(PermissionError):
            mmap.mmap(readable, 4096)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(readable, b"x")


def test_a_sample_shorter_than_its_place_is_shown_as_long_as_it_is() -> None:
    layout = make_layout(SPECS)
    place = layout.places[2]
    with shared() as (writable, readable):
        Pool(writable, layout, 1).array(0, place)["ring"][:4] = [1, 2, 3, 4]
        view = PoolView(readable, layout, 1)
        assert view.array(0, place, 3)["ring"].tolist() == [1, 2, 3]
        assert len(view.array(0, place, 0)) == 0


def test_slots_do_not_overlap() -> None:
    layout = make_layout(SPECS)
    with shared() as (writable, _):
        filled = Pool(writable, layout, 3)
        for slot in range(3):
            for place in layout.places:
                raw = filled.array(slot, place)
                raw.view(np.uint8)[...] = slot + 1
        for slot in range(3):
            for place in layout.places:
                assert np.all(filled.array(slot, place).view(np.uint8) == slot + 1)


@settings(deadline=None, max_examples=40)
@given(
    shapes=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), min_size=1, max_size=6),
    dtype=st.sampled_from(["|u1", "<u2", "<f8"]),
)
def test_a_layout_has_room_for_everything(shapes: list[tuple[int, int]], dtype: str) -> None:
    layout = make_layout({f"s{n}": Spec(shape, dtype) for n, shape in enumerate(shapes)})
    end = 0
    for place in layout.places:
        assert place.offset % ALIGNMENT == 0
        assert place.offset >= end
        end = place.offset + place.nbytes
        assert place.nbytes == np.dtype(dtype).itemsize * np.prod(place.spec.shape)
    assert end <= layout.slot_size
    assert layout.slot_size % mmap.PAGESIZE == 0


@contextmanager
def smallest_files(most: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_pool_larger_than_the_machine_gives_is_refused_with_the_arithmetic() -> None:
    layout = make_layout({"image": Spec((480, 640, 3), "|u1")})
    with (
        shared() as (writable, _),
        smallest_files(1 << 20),
        pytest.raises(StorageError, match=r"no 9\.22 MB of memory free \(10 slots of 922 kB\): .*set a smaller 'pool'"),
    ):
        Pool(writable, layout, 10)


def test_an_absurd_pool_is_refused() -> None:
    with shared() as (writable, _), smallest_files(1 << 20), pytest.raises(StorageError, match="set a smaller 'pool'"):
        Pool(writable, Layout((), 4096), 1 << 50)


def test_a_pool_takes_memory_only_for_the_slots_that_it_was_asked_for() -> None:
    layout = make_layout({"image": Spec((512, 1024), "|u1")})
    with shared() as (writable, _):
        pool = Pool(writable, layout, 6, ready=2)
        assert os.fstat(writable).st_blocks * 512 == 2 * layout.slot_size
        assert pool.grow(3) == 3
        assert pool.grow(3) == 1, "it grew beyond the slots that it may have"
        assert pool.ready == pool.slots == 6
        assert os.fstat(writable).st_blocks * 512 == 6 * layout.slot_size
        assert not pool.array(5, layout.places[0]).any()


def test_a_pool_that_the_machine_cannot_let_grow_stays_as_it_is() -> None:
    layout = make_layout({"image": Spec((512, 1024), "|u1")})
    with shared() as (writable, readable):
        pool = Pool(writable, layout, 6, ready=2)
        os.dup2(readable, writable)  # a descriptor that cannot be written to refuses as a full machine does
        assert pool.grow(3) == 0
        assert pool.ready == 2
        pool.array(1, layout.places[0])[...] = 7


@pytest.mark.skipif(sys.platform != "linux", reason="a memfd is needed")
def test_what_is_put_last_has_memory_once_it_is_written_to() -> None:
    layout = put_last(make_layout({"image": Spec((512, 1024), "|u1"), "arm": Spec((3,), "<f8")}), [0])
    image, arm = layout.places
    with shared() as (writable, readable):
        filled, view = Pool(writable, layout, 4), PoolView(readable, layout, 4)
        assert filled.allocated == os.fstat(writable).st_blocks * 512 == 4 * 4096
        filled.array(2, arm)[...] = 7
        assert filled.allocated == 4 * 4096
        filled.array(2, image)[...] = 9
        filled.array(2, image)[0] = 8
        assert filled.allocated == os.fstat(writable).st_blocks * 512 == 4 * 4096 + 512 * 1024
        assert view.array(2, arm, 3).tolist() == [7, 7, 7]
        assert view.array(2, image, 0)[:2, 0].tolist() == [8, 9]


@pytest.mark.skipif(sys.platform != "linux", reason="a memfd is needed")
def test_a_machine_without_memory_for_what_is_put_last_is_an_error_and_no_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = put_last(make_layout({"image": Spec((512, 1024), "|u1")}), [0])
    with shared() as (writable, _):
        filled = Pool(writable, layout, 2)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(StorageError, match="no 524 kB of memory free for a frame"):
            filled.array(1, layout.places[0])
