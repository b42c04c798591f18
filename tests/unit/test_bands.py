from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hpczmq import bands
from hpczmq.bands import in_order


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "usable_cores", lambda: 2)


@pytest.mark.parametrize(
    ("height", "row_bytes"), [(0, 8), (1, 8), (10, 0), (1000, 9_000), (3, 10**9)]
)
def test_bands_cover_each_row_once(height: int, row_bytes: int) -> None:
    rows = [row for band in bands.bands(height, row_bytes) for row in range(height)[band]]
    assert rows == list(range(height))


def test_a_band_is_a_row_at_least_and_half_a_mebibyte_at_most() -> None:
    assert [band.stop - band.start for band in bands.bands(2, 10**9)] == [1, 1]
    assert next(bands.bands(10_000, 1024)) == slice(0, 512)


def test_results_come_in_the_order_of_the_items_whatever_finishes_first() -> None:
    second = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second.wait(10)
        if item == 1:
            second.set()
        return item * item

    assert list(in_order(work, range(20))) == [item * item for item in range(20)]


def test_items_are_taken_a_few_at_a_time_only() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1_000):
            taken.append(item)
            yield item

    results = in_order(lambda item: item, items())
    assert next(results) == 0
    assert len(taken) < 10
    results.close()
    assert len(taken) < 10


def test_an_error_of_the_work_is_the_iterators() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 // item, [1, 1, 0, 1]))
