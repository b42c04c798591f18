"""Memory, slots and labels, as people write them."""

from __future__ import annotations

import pytest

from hpczmq import needs
from hpczmq.errors import ParameterError
from hpczmq.model import ANY_SLAVE, Job, Requires


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ANY_SLAVE),
        ("", ANY_SLAVE),
        ({"memory": "2 GiB"}, Requires(2 << 30)),
        ({"memory": 12}, Requires(12)),
        ({"slots": 3}, Requires(slots=3)),
        ({"labels": {"room": 3, "gpu": "a100"}}, Requires(labels=("gpu=a100", "room=3"))),
        ({"labels": ["b=2", "a=1", "a=1"]}, Requires(labels=("a=1", "b=2"))),
        (
            "memory=1.5GiB; slots=2; label=gpu=a100;label=room=3",
            Requires(3 << 29, 2, ("gpu=a100", "room=3")),
        ),
    ],
)
def test_a_table_and_a_line_say_the_same(given: object, expected: Requires) -> None:
    assert Requires.of(given) == expected


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("0", 0),
        ("7", 7),
        ("1k", 1000),
        ("512MiB", 512 << 20),
        ("2 gb", 2 * 10**9),
        ("1Ti", 1 << 40),
    ],
)
def test_sizes_have_the_usual_units(given: str, size: int) -> None:
    assert needs.memory_bytes(given, "memory") == size


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "requires = 7: must be a table of memory, slots, labels"),
        ({"cpu": 1}, "requires = cpu: must be one of memory, slots, labels"),
        ({"memory": -1}, "requires.memory = -1: must be bytes, or like 512MiB or 2GiB"),
        ({"memory": "lots"}, "requires.memory = lots: must be bytes, or like 512MiB or 2GiB"),
        ({"memory": "9" * 30}, "must be bytes, or like 512MiB or 2GiB"),
        ({"memory": True}, "requires.memory = True: must be bytes"),
        ({"slots": 0}, "requires.slots = 0: must be 1..1024"),
        ({"slots": 1.5}, "requires.slots = 1.5: must be 1..1024"),
        ({"labels": "gpu"}, "requires.labels = gpu: must be a table, or a list of key=value"),
        ({"labels": ["gpu"]}, "requires.labels = gpu: must be key=value"),
        ({"labels": {"a": "b c"}}, "requires.labels = a=b c: must be key=value"),
        ({"labels": ["k=" + "v" * 200]}, "must have at most 128 characters"),
        ({"labels": [f"k{n}=1" for n in range(65)]}, "requires.labels = 65: must be at most 64"),
        ("gpu=a100", "requires = gpu=a100: must be memory=SIZE, slots=N or label=KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_the_remedy(given: object, message: str) -> None:
    with pytest.raises(ParameterError) as raised:
        Job("echo", requires=given)  # type: ignore[arg-type]  # what a user might write
    assert message in str(raised.value)


def test_the_labels_of_a_slave_stand_on_one_line() -> None:
    assert needs.labels("room=3, gpu=a100,", "labels") == ("gpu=a100", "room=3")
    assert needs.labels("", "labels") == ()
