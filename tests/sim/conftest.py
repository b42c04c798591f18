"""The option that replays one world, or some: `--seed N`, `--seed FIRST-LAST`."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seed N`: of the seeded worlds, run only this one; `--seed FIRST-LAST`: only these."""
    parser.addoption(
        "--seed",
        type=_seeds,
        metavar="N or FIRST-LAST",
        help="of the simulated worlds, run only this one, or these",
    )


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a seed, leave out what has none, and what has it a second time."""
    if config.getoption("--seed", default=None) is None:
        return
    seedless = [
        item
        for item in items
        if _HERE in item.path.parents
        if item.get_closest_marker("slow") or "seeds" not in getattr(item, "fixturenames", ())
    ]
    config.hook.pytest_deselected(items=seedless)
    items[:] = [item for item in items if item not in seedless]
