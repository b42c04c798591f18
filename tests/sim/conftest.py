"""The option that replays one world: `--seed N`."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seed N`: of the seeded worlds, run only this one."""
    parser.addoption("--seed", type=int, help="of the simulated worlds, run only this one")


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
