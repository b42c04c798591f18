from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hpczmq import assembler
from hpczmq.assembler import Assembler, Tally, digest, tally
from hpczmq.errors import OutputError, ParameterError


class Rows:
    """A kernel whose job is an array and whose tasks are its rows; the parameter is its shape."""

    def split(self, params: tuple[int, ...]) -> Sequence[int]:
        return range(params[0])

    def allocate(self, params: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
        return params, "<u2"

    def place(self, params: Any, result: NDArray[Any], task: int, array: NDArray[Any]) -> None:
        if result.shape != array.shape[1:]:
            raise ParameterError("result", result.shape, "must be a row")
        array[task] = result


def filled(whole: Assembler) -> NDArray[Any]:
    for row in (2, 0, 1):
        whole.add(row, row, np.full(4, row, np.uint16))
    return whole.finish()


EXPECTED = np.repeat(np.arange(3, dtype=np.uint16), 4).reshape(3, 4)


def test_results_in_any_order_make_the_array() -> None:
    with Assembler(Rows(), (3, 4)) as whole:
        assert whole.missing == 3
        array = filled(whole)
        assert whole.missing == 0
    assert array.dtype == np.uint16
    assert np.array_equal(array, EXPECTED)


def test_a_second_copy_of_a_result_is_ignored() -> None:
    whole = Assembler(Rows(), (3, 4))
    assert whole.add(0, 0, np.zeros(4, np.uint16))
    assert not whole.add(0, 0, np.ones(4, np.uint16))
    assert whole.missing == 2
    assert not filled(whole)[0].any()


def test_a_result_that_does_not_fit_is_still_missing() -> None:
    whole = Assembler(Rows(), (3, 4))
    with pytest.raises(ParameterError, match=r"result = \(5,\): must be a row"):
        whole.add(0, 0, np.ones(5, np.uint16))
    assert whole.missing == 3
    assert np.array_equal(filled(whole), EXPECTED)


def test_an_unfinished_array_is_not_handed_out() -> None:
    with pytest.raises(AssertionError, match="3 results are missing"):
        Assembler(Rows(), (3, 4)).finish()


def test_the_file_stands_under_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "counts.npy"
    with Assembler(Rows(), (3, 4), path) as whole:
        assert not path.exists()
        array = filled(whole)
    assert list(tmp_path.iterdir()) == [path]
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    assert np.array_equal(array, EXPECTED)
    assert np.array_equal(np.load(path), EXPECTED)


def test_what_is_not_finished_leaves_no_file_and_keeps_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "counts.npy"
    path.write_bytes(b"old")
    with Assembler(Rows(), (3, 4), path) as whole:
        whole.add(0, 0, np.zeros(4, np.uint16))
        assert len(list(tmp_path.iterdir())) == 2
    whole.discard()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_a_file_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "counts.npy"
    with pytest.raises(OutputError, match="a file stands where a folder is needed") as caught:
        Assembler(Rows(), (3, 4), path)
    assert str(caught.value).startswith(str(path))


def test_a_full_disk_is_noticed_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="No space left on device: free some space there"):
        Assembler(Rows(), (3, 4), tmp_path / "counts.npy")
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_can_not_reserve_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unable)
    assert np.array_equal(filled(Assembler(Rows(), (3, 4), tmp_path / "counts.npy")), EXPECTED)


@pytest.mark.parametrize("in_file", [False, True])
def test_an_array_beyond_all_memory_is_refused(tmp_path: Path, in_file: bool) -> None:
    path = tmp_path / "counts.npy" if in_file else None
    with pytest.raises(OutputError, match="bytes"):
        Assembler(Rows(), (3, 1 << 31, 1 << 31), path)
    assert not list(tmp_path.iterdir())


def test_a_rename_that_fails_leaves_no_file_behind(tmp_path: Path) -> None:
    path = tmp_path / "counts.npy"
    with Assembler(Rows(), (3, 4), path) as whole:
        (path / "in the way").mkdir(parents=True)
        with pytest.raises(OutputError, match="a folder stands where a file is needed"):
            filled(whole)
    assert list(tmp_path.iterdir()) == [path]


ARRAY = np.arange(60, dtype=np.uint32).reshape(3, 4, 5)


@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        ARRAY.T,
        ARRAY[::-1, ::2, 1:4],
        ARRAY.astype(">u2"),
        ARRAY.astype("datetime64[s]"),
        np.zeros((0, 3)),
        np.array(1.5),
        np.array(["a", "bc"]),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_the_digest_is_of_the_bytes_in_c_order(
    array: NDArray[Any], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembler, "_PIECE_BYTES", piece)
    assert digest(array) == hashlib.sha256(array.tobytes()).hexdigest()


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_the_total_is_of_all_counts_and_comes_with_the_digest(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembler, "_PIECE_BYTES", piece)
    counts = np.full((30, 40), (1 << 32) - 1, np.uint32)
    for array in (counts, counts[::2, 1:].T):
        assert tally(array) == Tally(digest(array), array.size * ((1 << 32) - 1))
