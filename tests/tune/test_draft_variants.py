"""The variants of a draft: how they are called, what is in them, and which is `auto`'s."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from edgespec.catalog.model_file import ModelFile, open_file
from edgespec.llama.build import native_kernels
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings
from edgespec.tune.answers import Answers
from edgespec.tune.draft_variants import (
    distilled_variant,
    pruned_variant,
    published_variants,
    removable_counts,
    tokens_beyond,
    with_shortlist,
)
from edgespec.tune.variants import PUBLISHED, DraftVariant, ShortlistSettings, TargetVariant
from quant.convert.quantize import quantize_model
from tests.recorded_progress import RecordedProgress
from tests.tiny import make_tiny_model
from tests.tune.made_up import recording, shorter_answers

needs_kernels = pytest.mark.skipif(
    not native_kernels().isa, reason="the shortlist needs edgespec's kernels, which are for x86"
)
WROTE = [recording([40_000, 20_000, 20_000, 7]), recording([20_000, 40_000, 20_000], prompt=[50_000])]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose vocabulary is large enough for shortlists of 16 and 32 thousand tokens, and not of 64."""
    folder = tmp_path_factory.mktemp("large")
    return make_tiny_model(folder / "large.gguf", vocab_size=65_536, embedding=32)


def _requantized(source: Path, destination: Path, file_type: str) -> ModelFile:
    settings = QuantizeSettings(file_type, file_type, file_type, pure=True)
    quantize_model(read_metadata(source), settings, destination)
    return open_file("small", destination)


def test_a_model_in_floats_is_tried_as_it_is_and_as_the_copy_that_auto_drafts_with(tiny_draft: Path):
    published, copy = published_variants(open_file("small", tiny_draft), WROTE)
    assert (published.label, published.kind, published.is_untuned) == ("small, F32", "published", False)
    assert (copy.label, copy.kind, copy.is_untuned) == ("small, Q4_0", "fast copy", True)
    assert published.path == tiny_draft
    assert read_metadata(copy.path).quantization == "Q4_0"
    assert {published.source, copy.source} == {"small"}


@needs_kernels
def test_a_large_vocabulary_is_tried_with_shortlists_of_every_size_that_saves_enough(large: Path):
    variants = published_variants(open_file("small", large), WROTE)
    assert [one.label for one in variants] == [
        "small, F32",
        "small, Q4_0",
        "small, Q4_0, auto's words",
        "small, Q4_0, 16k words",
        "small, Q4_0, 32k words",
    ]
    assert [one.is_untuned for one in variants] == [False, False, True, False, False]
    assert [one.shortlist for one in variants] == [
        None,
        None,
        ShortlistSettings(32_768),
        ShortlistSettings(16_384, (20_000, 40_000)),
        ShortlistSettings(32_768, (40_000,)),
    ]
    assert len({one.path for one in variants[1:]}) == 1


@needs_kernels
def test_a_model_in_the_fast_type_is_its_own_copy(large: Path, tmp_path: Path):
    file = _requantized(large, tmp_path / "q4.gguf", "Q4_0")
    variants = published_variants(file, WROTE)
    assert [one.label for one in variants] == [
        "small, Q4_0",
        "small, Q4_0, 16k words",
        "small, Q4_0, 32k words",
    ]
    assert [one.is_untuned for one in variants] == [True, False, False]
    assert {one.path for one in variants} == {file.path}


def test_a_model_in_another_type_that_is_small_enough_is_left_as_it_is(tiny_draft: Path, tmp_path: Path):
    (only,) = published_variants(_requantized(tiny_draft, tmp_path / "q4_1.gguf", "Q4_1"), WROTE)
    assert (only.label, only.kind, only.is_untuned) == ("small, Q4_1", "published", True)


def test_what_the_target_wrote_beyond_the_list_comes_by_how_often_it_did():
    assert tokens_beyond(WROTE, 16_384) == (20_000, 40_000)
    assert tokens_beyond(WROTE, 32_768) == (40_000,)
    # Questions are not what the draft has to guess.
    assert tokens_beyond(WROTE, 45_000) == ()


def test_a_shortlist_is_part_of_the_name(tiny_draft: Path):
    bare = DraftVariant("small, Q4_0", "small", tiny_draft, "shortlist")
    listed = with_shortlist(bare, 16_384, WROTE)
    assert listed.label == "small, Q4_0, 16k words"
    assert bare.shortlist is None


@pytest.mark.parametrize(
    ("n_blocks", "drafts_for_itself", "counts"),
    [
        (24, False, [2, 4]),
        (30, True, [10, 15]),
        # A twelfth and a sixth of few blocks are the same one.
        (6, False, [1]),
        (4, True, [1, 2]),
        # Two blocks have to stay.
        (3, True, [1]),
        (2, False, []),
        (0, False, []),
    ],
)
def test_so_many_blocks_are_removed(n_blocks: int, drafts_for_itself: bool, counts: list[int]):
    assert list(removable_counts(n_blocks, drafts_for_itself=drafts_for_itself)) == counts


@pytest.mark.parametrize(("n_removed", "named"), [(1, "block"), (2, "span")])
def test_a_pruned_draft_is_named_by_the_blocks_that_it_lacks(
    tmp_path: Path, answers: Answers, n_removed: int, named: str
):
    small = open_file("small", make_tiny_model(tmp_path / "small.gguf", blocks=4, noise=0.05))
    made = pruned_variant(small, n_removed, answers, 1)
    assert made is not None
    assert (made.kind, made.source, made.is_untuned) == ("pruned", "small", False)
    first, last = made.removed_blocks[0], made.removed_blocks[-1]
    blocks = f"{first}" if named == "block" else f"{first} to {last}"
    assert made.label == f"small without blocks {blocks}, Q4_0"
    assert last - first + 1 == n_removed
    assert made.shortlist is None
    assert read_metadata(made.path).block_count == 4 - n_removed


def test_a_draft_that_cannot_be_pruned_is_passed_over_and_the_reason_is_told(
    tmp_path: Path, answers: Answers
):
    small = open_file("small", make_tiny_model(tmp_path / "small.gguf", blocks=4, noise=0.05))
    # One answer is too little text for a repair.
    little, progress = replace(answers, fit=answers.fit[:1]), RecordedProgress()
    assert pruned_variant(small, 1, little, 1, progress) is None
    assert progress.labels[-1].startswith("small without 1 blocks: the calibration text has ")


def test_a_distilled_draft_takes_over_name_and_shortlist_of_the_one_that_it_was_made_from(
    tiny_model: Path, tiny_draft: Path
):
    small = open_file("small", tiny_draft)
    copy = published_variants(small, WROTE)[1]
    like = DraftVariant(
        "small, Q4_0, few words", "small", copy.path, "shortlist", True, ShortlistSettings(300)
    )
    with shorter_answers():
        made = distilled_variant(small, like, TargetVariant(PUBLISHED, tiny_model), 1, lambda: True)
    assert made is not None
    assert (made.label, made.kind) == ("small, Q4_0, few words, taught", "distilled")
    assert (made.shortlist, made.is_untuned) == (like.shortlist, False)
    assert made.path != like.path
    with Model(made.path) as model:
        assert model.n_layer == 2
