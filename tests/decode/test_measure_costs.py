"""The costs of a pair: what is measured, in what order, and that it keeps to its budget. Real contexts on made-up time."""

from collections.abc import Iterator, Mapping, Sequence

import pytest

from edgespec.decode.costs import CostCurve
from edgespec.decode.measure_costs import (
    BUDGET_S,
    TIMED_DRAFT_ROWS,
    TIMED_TARGET_ROWS,
    measure_pair_costs,
    plausible,
)
from edgespec.decode.timed_text import timed_tokens
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from tests.decode.real import open_context
from tests.decode.scripted import FakeClock
from tests.recorded_progress import RecordedProgress

TARGET_S = {1: 0.020, 2: 0.034, 4: 0.030, 8: 0.064, 16: 0.110}
DRAFT_S = {1: 0.004, 2: 0.006, 8: 0.018, 32: 0.060}


class TimedContext(Context):
    """A context whose decodes cost what a curve says, times a factor for each decode in turn."""

    clock: FakeClock
    seconds: Mapping[int, float]
    hiccups: dict[int, float]
    decodes: list[int]
    read: list[list[int]]

    def decode(self, tokens: Sequence[int], *, outputs: int = 1, pad_to: int = 0) -> None:
        super().decode(tokens, outputs=outputs, pad_to=pad_to)
        self.decodes.append(len(tokens))
        self.read.append(list(tokens))
        factor = self.hiccups.get(len(self.decodes), 1.0)
        self.clock.spend(CostCurve(self.seconds).cost(len(tokens)) * factor)


def timed(
    model: Model,
    clock: FakeClock,
    seconds: Mapping[int, float],
    *,
    n_outputs_max: int = 16,
    hiccups: dict[int, float] | None = None,
) -> TimedContext:
    with open_context(model) as plain:
        settings = plain.settings
    context = TimedContext(
        model, type(settings)(n_ctx=256, n_threads=1, n_outputs_max=n_outputs_max, type_k=settings.type_k)
    )
    context.clock, context.seconds, context.hiccups, context.decodes = clock, seconds, hiccups or {}, []
    context.read = []
    return context


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def target(target_model: Model, clock: FakeClock) -> Iterator[TimedContext]:
    with timed(target_model, clock, TARGET_S) as context:
        yield context


@pytest.fixture
def draft(draft_model: Model, clock: FakeClock) -> Iterator[TimedContext]:
    with timed(draft_model, clock, DRAFT_S, n_outputs_max=1) as context:
        yield context


def test_it_measures_what_decodes_cost(target: TimedContext, draft: TimedContext, clock: FakeClock):
    costs = measure_pair_costs(target, draft, clock=clock)
    assert costs.draft is not None
    assert sorted(costs.verify.points) == sorted(TIMED_TARGET_ROWS)
    assert sorted(costs.draft.points) == sorted(TIMED_DRAFT_ROWS)
    for rows, seconds in TARGET_S.items():
        assert costs.verify.cost(rows) == pytest.approx(seconds)
    for rows, seconds in DRAFT_S.items():
        assert costs.draft.cost(rows) == pytest.approx(seconds)
    assert costs.batch_for[2] == 4


def test_every_decode_reads_another_part_of_a_text(target: TimedContext, clock: FakeClock):
    """One token would wake the same experts of a mixture each time, and arbitrary ones more than neighbours in a text."""
    measure_pair_costs(target, None, clock=clock)
    text = timed_tokens(target.model)
    read = [token for part in target.read for token in part]
    assert len(target.read) > 2 * len(TIMED_TARGET_ROWS)
    assert read == (text * (1 + len(read) // len(text)))[: len(read)]


def test_both_contexts_are_empty_afterwards(target: TimedContext, draft: TimedContext, clock: FakeClock):
    target.decode([5, 6, 7])
    measure_pair_costs(target, draft, clock=clock)
    assert target.tokens == draft.tokens == []
    target.decode([5, 6, 7])
    assert target.tokens == [5, 6, 7]


@pytest.mark.parametrize("slowness", [0.1, 1.0, 5.0])
def test_it_keeps_to_its_budget(target: TimedContext, draft: TimedContext, clock: FakeClock, slowness: float):
    target.seconds = {rows: seconds * slowness for rows, seconds in TARGET_S.items()}
    measure_pair_costs(target, draft, clock=clock)
    assert clock.now_s < BUDGET_S * 1.1


@pytest.mark.parametrize("slowness", [50, 1000])
def test_the_slowest_target_is_measured_at_a_verification_too(
    target: TimedContext, draft: TimedContext, clock: FakeClock, slowness: int
):
    """Models of 70B on a processor are those that gain most; they are measured at two points."""
    target.seconds = {rows: seconds * slowness for rows, seconds in TARGET_S.items()}
    costs = measure_pair_costs(target, draft, clock=clock)
    assert set(costs.verify.points) == {1, 4}
    assert costs.verify.cost(4) == pytest.approx(TARGET_S[4] * slowness)


def test_a_slow_target_is_measured_at_fewer_points_in_the_order_of_their_use(
    target: TimedContext, clock: FakeClock
):
    target.seconds = {rows: seconds * 20 for rows, seconds in TARGET_S.items()}
    points = measure_pair_costs(target, None, clock=clock).verify.points
    assert 1 < len(points) < len(TIMED_TARGET_ROWS)
    assert {1, 4} <= set(points)
    assert points[1] == pytest.approx(0.4)


def test_a_fast_pair_does_not_use_up_its_budget(target: TimedContext, clock: FakeClock):
    target.seconds = {rows: seconds / 1000 for rows, seconds in TARGET_S.items()}
    measure_pair_costs(target, None, clock=clock)
    assert clock.now_s < 0.2 * BUDGET_S


def test_one_decode_that_hangs_does_not_count(target_model: Model, clock: FakeClock):
    """The primer and the first decode are not measured; every eighth of the others hangs."""
    hiccups = dict.fromkeys(range(4, 100, 8), 30.0)
    with timed(target_model, clock, TARGET_S, hiccups=hiccups) as context:
        costs = measure_pair_costs(context, None, clock=clock, budget_s=30.0)
    for rows, seconds in TARGET_S.items():
        assert costs.verify.cost(rows) == pytest.approx(seconds)


def test_a_step_that_hangs_once_is_timed_again_whatever_is_left_of_the_budget(
    target_model: Model, clock: FakeClock
):
    with timed(target_model, clock, TARGET_S, hiccups={3: 100.0}) as context:
        costs = measure_pair_costs(context, None, clock=clock)
    assert costs.step_s == pytest.approx(TARGET_S[1])
    assert costs.verify.cost(4) == pytest.approx(TARGET_S[4])


def test_what_costs_many_times_what_more_rows_do_was_something_else():
    assert plausible({1: 9.0, 2: 4.0, 4: 2.0}) == {1: 2.0, 2: 4.0, 4: 2.0}
    staircase = {1: 1.0, 2: 1.7, 3: 2.2, 4: 1.5}
    assert plausible(staircase) == staircase


def test_the_first_decode_is_not_counted(target_model: Model, clock: FakeClock):
    with timed(target_model, clock, TARGET_S, hiccups={2: 100.0}) as context:
        costs = measure_pair_costs(context, None, clock=clock, budget_s=3.0)
    assert costs.step_s == pytest.approx(TARGET_S[1])


def test_a_target_that_keeps_few_logits_is_measured_only_as_far(target_model: Model, clock: FakeClock):
    with timed(target_model, clock, TARGET_S, n_outputs_max=4) as context:
        costs = measure_pair_costs(context, None, clock=clock)
    assert max(costs.verify.points) == 4


def test_without_a_draft_there_is_no_draft_curve(target: TimedContext, clock: FakeClock):
    assert measure_pair_costs(target, None, clock=clock).draft is None


def test_progress_grows_to_the_end(target: TimedContext, draft: TimedContext, clock: FakeClock):
    progress = RecordedProgress()
    progress.stage("measuring", BUDGET_S, unit="seconds")
    measure_pair_costs(target, draft, clock=clock, progress=progress)
    seen = [done for done, _, _ in progress.steps]
    assert seen == sorted(seen)
    assert 0.0 < seen[1] < seen[-1] <= BUDGET_S


def test_real_time_is_measured_by_default(target_model: Model):
    """Says only that it ends and that costs are positive: how long it takes is the machine's business."""
    with open_context(target_model) as context:
        costs = measure_pair_costs(context, None, budget_s=0.2)
        assert context.tokens == []
    assert min(costs.verify.points.values()) > 0.0


def test_a_row_that_goes_faster_as_two_is_run_as_two(
    target_model: Model, draft_model: Model, clock: FakeClock
):
    slow_alone = {1: 0.030, 2: 0.020, 4: 0.025, 8: 0.040, 16: 0.080}
    with timed(target_model, clock, slow_alone) as target, timed(draft_model, clock, DRAFT_S) as draft:
        costs = measure_pair_costs(target, draft, clock=clock)
    assert (costs.step_batch, costs.draft_batch) == (2, 1)
    assert costs.step_s == pytest.approx(0.020)
    with timed(target_model, clock, TARGET_S) as target, timed(draft_model, clock, slow_alone) as draft:
        costs = measure_pair_costs(target, draft, clock=clock)
    assert (costs.step_batch, costs.draft_batch) == (1, 2)
    assert costs.draft_step_s == pytest.approx(0.020)
