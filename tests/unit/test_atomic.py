from __future__ import annotations

from pathlib import Path

import pytest

from hpczmq.atomic import output_error, replacing, temporary
from hpczmq.errors import OutputError


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"new" * (1 // 0))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "counts.npy"
    remedy = "a file stands where a folder is needed; move it, or choose another folder"
    with pytest.raises(OutputError) as caught, replacing(path):
        pytest.fail("nothing can be written here")
    assert str(caught.value) == f"{path}: Not a directory: {remedy}"


def test_an_error_without_a_number_is_a_full_disk(tmp_path: Path) -> None:
    error = OSError("8 requested and 0 written")
    message = f"{tmp_path}: 8 requested and 0 written: free some space there"
    assert str(output_error(tmp_path, error)).startswith(message)


def test_temporary_names_differ_are_hidden_and_fit_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / ("ñ" * 127)
    names = {temporary(path).name for _ in range(10)}
    assert len(names) == 10
    for name in names:
        assert name.startswith(".ñ")
        assert name.endswith(".part")
        (tmp_path / name).touch()
