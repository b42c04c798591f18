"""The diagrams of the documentation are those of the tables in the source."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_states", DOCS / "make_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_diagrams_are_made_from_the_tables(maker: ModuleType) -> None:
    written = (DOCS / "states.md").read_text(encoding="utf-8")
    assert written == maker.document(), "run: python docs/make_states.py"


def test_every_move_of_every_table_is_an_arrow(maker: ModuleType) -> None:
    text = maker.document()
    for _, _, _, moves in maker.DIAGRAMS:
        for (old, new), why in moves.items():
            assert f"    {old.name} --> {new.name} : {why}\n" in text


def test_what_is_written_on_an_arrow_does_not_break_the_diagram(maker: ModuleType) -> None:
    reasons = [why for _, _, _, moves in maker.DIAGRAMS for why in moves.values()]
    assert not [why for why in reasons if set(why) & set(":;#{}\n") or not why]


def test_a_state_that_no_move_names_is_noticed(maker: ModuleType) -> None:
    title, about, states, moves = maker.DIAGRAMS[0]
    with pytest.raises(AssertionError, match="is in one of both only"):
        maker.section(title, about, states, dict(list(moves.items())[:1]))
