"""Accepted outcomes stay readable until they are forgotten, whatever the disk does."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpczmq import wire
from hpczmq.nodes import store as module
from hpczmq.nodes.store import ResultStore

FIRST: list[wire.Buffer] = [b"HZ1", b"first", memoryview(b"pixels"), b""]
SECOND: list[wire.Buffer] = [b"HZ1", b"second"]
#: What stands in the file before the frames of FIRST: their number and their sizes.
HEAD = 4 * 5


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    made = ResultStore(str(tmp_path))
    yield made
    made.close()


def read(store: ResultStore, job: str, cursor: int) -> list[bytes]:
    return [bytes(frame) for frame in store.frames(job, cursor)]


def plain(frames: Sequence[wire.Buffer]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


class FullDisk:
    """A file that takes some bytes and no more."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: memoryview) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken: int = self.file.write(data[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def with_room_for(monkeypatch: pytest.MonkeyPatch, *rooms: int) -> None:
    """The disk has so many bytes for each file that is opened."""
    left, really = list(rooms), module._unnamed_file

    def limited(folder: str | None) -> Any:
        return FullDisk(really(folder), left.pop(0))

    monkeypatch.setattr(module, "_unnamed_file", limited)


def test_chunks_come_back_as_they_were_in_any_order(store: ResultStore) -> None:
    store.append("j1", 0, FIRST)
    store.append("j2", 0, SECOND)
    store.append("j1", 1, SECOND)
    assert read(store, "j1", 0) == plain(FIRST)
    assert read(store, "j1", 1) == plain(SECOND)
    assert read(store, "j2", 0) == plain(SECOND)


def test_the_chunk_stored_last_is_handed_on_as_it_is(store: ResultStore) -> None:
    store.append("j1", 0, FIRST)
    assert store.frames("j1", 0) is FIRST


def test_chunks_are_stored_one_after_the_other(store: ResultStore) -> None:
    store.append("j1", 0, FIRST)
    for cursor in (0, 2):
        with pytest.raises(AssertionError, match=f"chunk {cursor} of j1, after 1"):
            store.append("j1", cursor, FIRST)


def test_nothing_is_left_on_the_disk_and_no_name_is_ever_seen(
    store: ResultStore, tmp_path: Path
) -> None:
    store.append("j1", 0, FIRST)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_chunk_in_memory_and_says_what_to_do(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_room_for(monkeypatch, HEAD + 14 + 5)
    assert store.append("j1", 0, FIRST) == 0
    assert store.append("j1", 1, SECOND) == 9, "so many bytes stay in memory"
    assert store.append("j1", 2, FIRST) == 14
    assert [read(store, "j1", n) for n in range(3)] == [plain(FIRST), plain(SECOND), plain(FIRST)]
    (said,) = caplog.messages  # once, and not for each chunk
    assert said.startswith("j1: results are kept in memory: [Errno 28]")
    assert said.endswith("make room on the disk")


def test_after_a_full_disk_the_next_chunk_is_written_over_the_half_one(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_room_for(monkeypatch, HEAD + 14 + 5)
    store.append("j1", 0, FIRST)
    store.append("j1", 1, SECOND)
    disk: Any = store._spools["j1"].file
    disk.room = 1_000
    store.append("j1", 2, SECOND)
    store._last = None
    assert [read(store, "j1", n) for n in range(3)] == [plain(FIRST), plain(SECOND), plain(SECOND)]


def test_a_disk_that_can_not_even_open_a_file_keeps_it_all_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(str(tmp_path / "not there"))
    frames: list[wire.Buffer] = [bytearray(b"first"), b""]
    store.append("j1", 0, frames)
    store.append("j1", 1, SECOND)
    assert read(store, "j1", 0) == [b"first", b""]
    assert read(store, "j1", 1) == plain(SECOND)
    assert len(caplog.messages) == 1
    store.close()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room on the disk"),
        (errno.EMFILE, "let the master open more files (ulimit -n)"),
        (errno.EACCES, "set TMPDIR to a folder that can be written"),
        (errno.EIO, "check the disk of temporary files"),
    ],
)
def test_the_remedy_fits_the_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, remedy: str
) -> None:
    def broken(folder: str | None) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "_unnamed_file", broken)
    ResultStore().append("j1", 0, FIRST)
    (line,) = caplog.messages
    assert line.endswith(f": {remedy}")


def test_a_file_that_became_shorter_is_an_error_of_the_disk(store: ResultStore) -> None:
    store.append("j1", 0, FIRST)
    store.append("j1", 1, SECOND)
    os.truncate(store._spools["j1"].file.fileno(), 5)  # type: ignore[union-attr]  # it is open
    with pytest.raises(OSError, match="29 of 34 bytes are missing") as raised:
        store.frames("j1", 0)
    assert raised.value.errno == errno.EIO


def test_what_comes_in_pieces_is_read_whole(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append("j1", 0, FIRST)
    store.append("j1", 1, SECOND)
    really = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: really(fd, [views[0][:4]], offset))
    assert read(store, "j1", 0) == plain(FIRST)


def test_a_forgotten_job_gives_its_space_back_and_can_not_be_read(store: ResultStore) -> None:
    store.append("j1", 0, FIRST)
    file = store._spools["j1"].file
    store.append("j2", 0, SECOND)
    store.forget("j1")
    assert file is not None
    assert file.closed
    with pytest.raises(KeyError):
        store.frames("j1", 0)
    assert read(store, "j2", 0) == plain(SECOND)
    store.forget("j2")
    with pytest.raises(KeyError):
        store.frames("j2", 0)


def test_a_job_without_results_can_be_forgotten_and_its_name_used_again(
    store: ResultStore,
) -> None:
    store.forget("j9")
    store.append("j9", 0, FIRST)
    store.forget("j9")
    store.append("j9", 0, SECOND)
    assert read(store, "j9", 0) == plain(SECOND)


def test_closing_closes_every_file(store: ResultStore) -> None:
    store.append("j1", 0, FIRST)
    store.append("j2", 0, FIRST)
    files = [spool.file for spool in store._spools.values()]
    store.close()
    assert all(file is not None and file.closed for file in files)
