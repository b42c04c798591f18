"""The option that replays one world."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seed N`: of the seeded worlds, run only this one."""
    parser.addoption("--seed", type=int, help="of the simulated worlds, run only this one")
