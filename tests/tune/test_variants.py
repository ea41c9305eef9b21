"""Variants as values, and a draft variant as a file."""

from pathlib import Path

import numpy as np
import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.llama.build import native_kernels
from edgespec.session.fast_draft import SHORTLIST_EXTRA_KEY, SHORTLIST_KEY
from edgespec.tune.variants import (
    PUBLISHED,
    DraftVariant,
    ShortlistSettings,
    TargetVariant,
    write_draft,
)
from quant.gguf.plan import copy_of
from quant.gguf.recipe import read_recipe
from quant.gguf.tensors import planned_weights


def test_only_the_target_as_it_came_is_the_published_one(tiny_model: Path):
    assert TargetVariant(PUBLISHED, tiny_model).is_published
    assert not TargetVariant("Q4_0", tiny_model).is_published


def test_a_shortlist_lists_the_leading_tokens_and_the_others_by_id():
    mask = ShortlistSettings(3, (7, 5)).mask(10)
    assert np.flatnonzero(mask).tolist() == [0, 1, 2, 5, 7]


@pytest.mark.skipif(
    not native_kernels().isa, reason="the shortlist needs edgespec's kernels, which are for x86"
)
def test_a_shortlist_is_made_where_it_saves_at_least_half_of_the_vocabulary():
    made = ShortlistSettings(8, (100,)).make(128)
    assert made is not None
    assert {*range(8), 100} <= set(made.ids.tolist())
    assert ShortlistSettings(80).make(128) is None


def test_a_draft_is_written_with_its_shortlist_and_how_it_was_made(tiny_draft: Path, tmp_path: Path):
    variant = DraftVariant(
        "small, 64 words", "small", tiny_draft, "shortlist", False, ShortlistSettings(64, (200, 210)), (1,)
    )
    file = tmp_path / "folder" / "draft.gguf"
    write_draft(variant, file)
    meta = read_metadata(file)
    assert (meta.fields[SHORTLIST_KEY], meta.fields[SHORTLIST_EXTRA_KEY]) == (64, [200, 210])
    last = read_recipe(meta)["steps"][-1]
    assert (last["step"], last["form"], last["words"]) == ("tune", "small, 64 words", 64)
    assert last["removed_blocks"] == [1]


def test_the_weights_of_a_written_draft_are_those_of_its_variant(tiny_draft: Path, tmp_path: Path):
    write_draft(DraftVariant("as it is", "small", tiny_draft, "published"), tmp_path / "draft.gguf")
    written, source = (copy_of(read_metadata(path)) for path in (tmp_path / "draft.gguf", tiny_draft))
    name = "blk.1.ffn_up.weight"
    np.testing.assert_array_equal(planned_weights(written, name), planned_weights(source, name))


def test_a_draft_that_may_guess_all_tokens_is_written_without_a_list_in_place_of_an_older_one(
    tiny_draft: Path, tmp_path: Path
):
    file = tmp_path / "draft.gguf"
    listed = DraftVariant("listed", "small", tiny_draft, "shortlist", shortlist=ShortlistSettings(64))
    write_draft(listed, file)
    write_draft(DraftVariant("whole", "small", tiny_draft, "fast copy"), file)
    meta = read_metadata(file)
    assert SHORTLIST_KEY not in meta.fields
    assert read_recipe(meta)["steps"][-1]["form"] == "whole"
