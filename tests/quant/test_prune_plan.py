"""A plan is made once, from the header: what it says is what is then carried out."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.errors import UsageError
from quant.gguf.recipe import read_recipe
from quant.prune.amount import Amount, BlockAmount, WidthAmount
from quant.prune.choices import (
    NO_PROTECTION,
    PUBLISHED_PROTECTION,
    Criterion,
    Importance,
    Method,
    Protection,
)
from quant.prune.outcome import describe_outcome, describe_plan, describe_removed, planned_model
from quant.prune.plan import plan_pruning
from quant.prune.prune import check_prune, prune
from quant.prune.repair_report import RepairReport
from quant.prune.settings import PruneSettings
from tests.quant.architectures import recast
from tests.recorded_progress import RecordedProgress
from tests.tiny import make_tiny_model


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> GgufMetadata:
    return read_metadata(make_tiny_model(tmp_path_factory.mktemp("plan") / "dense.gguf", blocks=10))


@pytest.fixture(scope="module")
def gemma(dense: GgufMetadata) -> GgufMetadata:
    return read_metadata(recast(dense.path, "gemma3", dense.path.with_name("gemma.gguf")))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "heron.txt"
    path.write_text("The heron stood in the reeds and waited for the tide to turn in the north. " * 60)
    return path


THREE = PruneSettings(Amount(n_blocks=3))
NAMED = PruneSettings(Amount(n_blocks=2), blocks=(4, 2))


def test_a_depth_plan_knows_how_many_blocks_leave_and_which_may(dense: GgufMetadata):
    plan = plan_pruning(dense, THREE)
    assert (plan.block_amount, plan.width_amount) == (BlockAmount(3, range(1, 10)), None)
    assert planned_model(plan).n_blocks == 7
    by_weights = plan_pruning(dense, replace(THREE, criterion=Criterion.MAGNITUDE))
    assert by_weights.block_amount == BlockAmount(3, range(4, 8))


def test_named_blocks_leave_in_order_and_need_no_amount(dense: GgufMetadata):
    plan = plan_pruning(dense, NAMED)
    assert (plan.block_amount, plan.named_blocks) == (None, (2, 4))
    assert planned_model(plan).n_blocks == 8


def test_a_share_of_all_blocks_is_a_larger_one_of_those_that_are_left(dense: GgufMetadata):
    plan = plan_pruning(dense, replace(THREE, narrow=0.14))
    assert plan.width_amount is not None
    assert plan.width_amount.n_groups == 0
    # The weights of the norms stay, which are in the blocks but not in their matrices.
    assert plan.width_amount.ratio == pytest.approx(0.14 * 10 / 7, rel=0.01)


@pytest.mark.parametrize(
    ("method", "protection"),
    [(Method.FLAP, NO_PROTECTION), (Method.LLM_PRUNER, PUBLISHED_PROTECTION)],
)
def test_the_methods_protect_what_they_published(dense: GgufMetadata, method: Method, protection: Protection):
    plan = plan_pruning(dense, PruneSettings(Amount(ratio=0.15), method))
    assert plan.width_amount == WidthAmount(0.15, protection)
    one_more = PruneSettings(Amount(ratio=0.15), method, protect_first=2)
    assert plan_pruning(dense, one_more).width_amount == WidthAmount(0.15, replace(protection, n_first=2))


@pytest.mark.parametrize(
    ("settings", "repairs", "reads_text", "only_copies"),
    [
        (THREE, True, True, False),
        (replace(THREE, repairs=False), False, True, False),
        (replace(THREE, repairs=False, criterion=Criterion.MAGNITUDE), False, False, False),
        (NAMED, True, True, False),
        (replace(NAMED, repairs=False), False, False, True),
        (replace(NAMED, repairs=False, narrow=0.1), False, True, False),
    ],
)
def test_a_plan_knows_whether_a_text_is_read_and_whether_all_is_copied(
    dense: GgufMetadata, settings: PruneSettings, repairs: bool, reads_text: bool, only_copies: bool
):
    plan = plan_pruning(dense, settings)
    assert (plan.repairs, plan.reads_text, plan.only_copies) == (repairs, reads_text, only_copies)


def test_what_cannot_be_computed_block_by_block_is_not_repaired(gemma: GgufMetadata):
    plan = plan_pruning(gemma, NAMED)
    assert (plan.repairs, plan.only_copies) == (False, True)


def test_the_name_says_the_method_and_what_is_left(dense: GgufMetadata):
    plan = plan_pruning(dense, THREE)
    left = round(100 * plan.gguf.parameter_count / dense.parameter_count)
    assert plan.file_name == f"dense-depth-{left}.gguf"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (replace(THREE, importance=Importance.MIXED), "`importance` does not apply to `method` depth"),
        (replace(THREE, drop_attention=7), "`drop_attention` 7 is more than the 7 blocks"),
        (replace(THREE, file_type="Q4_9"), "`type` 'Q4_9' is not a type"),
        (replace(THREE, protect_last=8), "that leaves 1"),
        (PruneSettings(Amount(ratio=0.9), Method.FLAP), "cannot be taken from 10 of 10 blocks"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(
    dense: GgufMetadata, settings: PruneSettings, words: str
):
    with pytest.raises(UsageError, match=words):
        plan_pruning(dense, settings)


def test_a_plan_is_checked_against_the_place(dense: GgufMetadata, tmp_path: Path):
    plan = plan_pruning(dense, replace(NAMED, repairs=False))
    (tmp_path / "mine.gguf").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        check_prune(plan, tmp_path / "mine.gguf", force=False)
    check_prune(plan, tmp_path / "mine.gguf", force=True)


def test_what_is_planned_is_what_is_written(dense: GgufMetadata, tmp_path: Path):
    plan, told = plan_pruning(dense, replace(NAMED, repairs=False)), RecordedProgress()
    done = prune(plan, tmp_path / "out.gguf", progress=told)
    meta = read_metadata(tmp_path / "out.gguf")
    recipe = read_recipe(meta)
    assert recipe is not None
    assert recipe["steps"] == [
        {
            "step": "prune",
            "method": "depth",
            "criterion": "chosen by hand",
            "removed_blocks": [2, 4],
            "repair": "none",
        }
    ]
    assert (done.removed_blocks, done.widths, done.report) == ((2, 4), (), None)
    assert done.model.n_blocks == planned_model(plan).n_blocks == meta.block_count == 8
    assert done.model.size_bytes == meta.file_bytes
    assert told.labels == ["writing"]


def test_every_step_of_a_run_is_told(dense: GgufMetadata, text: Path, tmp_path: Path):
    settings = replace(THREE, calibration=(text,), n_tokens=2048)
    told = RecordedProgress()
    done = prune(plan_pruning(dense, settings), tmp_path / "out.gguf", progress=told)
    assert told.labels[0] == "reading the calibration text"
    assert told.labels[-2:] == ["repairing blocks", "writing"]
    assert set(told.labels[1:-2]) == {"comparing windows of blocks"}
    assert all(stage.done == stage.total for stage in told.stages)
    assert done.report is not None


def test_words_for_what_leaves(dense: GgufMetadata):
    blocks = planned_model(plan_pruning(dense, THREE))
    assert describe_removed(blocks) == "3 of 10 blocks, 30.0% of the weights in the blocks"
    assert describe_removed(blocks, (1, 2, 5)).startswith("3 of 10 blocks (1, 2, 5), 30.0%")
    silent = planned_model(plan_pruning(dense, PruneSettings(Amount(n_blocks=0), drop_attention=1)))
    assert describe_removed(silent).startswith("the attention of 1 block, ")
    both = planned_model(plan_pruning(dense, replace(THREE, drop_attention=2)))
    assert describe_removed(both).startswith("3 of 10 blocks and the attention of 2 others, ")
    widths = planned_model(plan_pruning(dense, PruneSettings(Amount(ratio=0.2), Method.FLAP)))
    assert describe_removed(widths).startswith("heads and neurons, ")


def test_a_plan_and_its_outcome_are_told_alike(dense: GgufMetadata, tmp_path: Path):
    plan = plan_pruning(dense, replace(NAMED, repairs=False))
    planned = dict(describe_plan(plan))
    done = dict(describe_outcome(prune(plan, tmp_path / "out.gguf")))
    assert planned["parameters"] == done["parameters"]
    assert planned["speed"] == done["speed"]
    assert done["removed"].startswith("2 of 10 blocks (2, 4), ")
    assert done["written"] == str(tmp_path / "out.gguf")


def test_the_speed_is_predicted_from_the_bytes_that_a_token_reads(dense: GgufMetadata):
    model = planned_model(plan_pruning(dense, THREE))
    read = sum(t.n_bytes for t in dense.tensors if t.name != "token_embd.weight")
    left = sum(t.n_bytes for t in model.gguf.tensors if t.name != "token_embd.weight")
    assert model.predicted_speedup == pytest.approx(read / left)


@pytest.mark.parametrize(
    ("repaired_kl", "harmed", "objection"),
    [
        (0.1, (), ""),
        (0.2, (), "it did not help"),
        (0.1, (1,), "it made the model worse on one of the texts"),
    ],
)
def test_a_repair_helps_where_it_brings_the_model_closer_on_every_text(
    repaired_kl: float, harmed: tuple[int, ...], objection: str
):
    report = RepairReport(1.0, 2.0, 1.5, 0.2, repaired_kl, harmed)
    assert (report.objection, report.helped) == (objection, not objection)
