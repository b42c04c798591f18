from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
import pytest
from cmap import Catalog

from hpczmq.errors import ParameterError
from hpczmq.palettes import MAPPINGS, PALETTES, Look, colours


def triples(palette: str) -> list[tuple[int, ...]]:
    data = colours(palette)
    assert len(data) == 3 * 256
    return [tuple(data[place : place + 3]) for place in range(0, len(data), 3)]


@pytest.mark.parametrize("palette", PALETTES[1:])
def test_every_palette_of_the_help_is_the_librarys(palette: str) -> None:
    assert palette in Catalog().short_keys()
    assert len(set(triples(palette))) > 200


def test_the_default_is_ours_and_goes_from_its_first_anchor_to_its_last() -> None:
    assert Look() == Look("ocean", "balanced")
    ocean = triples("ocean")
    assert (ocean[1], ocean[-1]) == ((0x03, 0x07, 0x1E), (0xF6, 0xB2, 0x4F))
    assert ocean != triples("gnuplot:ocean")


@pytest.mark.parametrize("palette", PALETTES)
def test_the_interior_is_black_and_neighbours_differ_little(palette: str) -> None:
    black, *rest = triples(palette)
    assert black == (0, 0, 0)
    steps = (abs(a - b) for left, right in pairwise(rest) for a, b in zip(left, right, strict=True))
    assert max(steps) <= 12


def test_names_are_those_of_the_library_whatever_their_case_and_direction() -> None:
    viridis = triples("viridis")
    assert (viridis[1], viridis[-1]) == ((68, 1, 84), (253, 231, 37))
    assert triples("Viridis") == triples("bids:viridis") == viridis
    turned = triples("viridis_r")[:0:-1]
    steps = np.abs(np.array(turned) - np.array(viridis[1:]))
    assert steps.max() <= 3, "where a colour lies between two of the library's"
    assert len(set(triples("crameri:hawaii"))) > 200


def test_a_name_that_several_colour_maps_have_is_no_matter_for_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        for name in ("copper", "thermal", "rainbow"):
            Look(name).check()
    assert not caplog.records


def test_an_unknown_palette_is_refused_with_those_that_there_are_and_the_nearest_one() -> None:
    with pytest.raises(ParameterError) as caught:
        Look("viridiss").check()
    text = str(caught.value)
    assert text.startswith("palette = viridiss: must be one of ocean, viridis, magma")
    assert text.endswith("or another colour map of cmap (did you mean viridis?)")
    with pytest.raises(ParameterError, match=r"palette = oscean: .*did you mean ocean\?"):
        Look("oscean").check()
    with pytest.raises(ParameterError, match=r"another colour map of cmap$"):
        Look("no such colours at all").check()


def test_an_unknown_mapping_is_refused_with_those_that_there_are() -> None:
    assert len(set(MAPPINGS)) == 3
    with pytest.raises(ParameterError) as caught:
        Look(mapping="logarithmic").check()
    words = "mapping = logarithmic: must be balanced, equalised or linear"
    assert str(caught.value) == words
