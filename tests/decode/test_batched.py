"""Batches write what each sequence would have written alone, with a draft and without."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgespec.decode.batched import generate_batch
from edgespec.decode.batched_speculative import (
    MOST_DRAFTED,
    BatchCosts,
    SpeculativeBatch,
    measure_batch_costs,
)
from edgespec.decode.costs import CostCurve
from edgespec.decode.timed_text import timed_tokens
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.model import Model
from edgespec.llama.row_batch import Ints
from edgespec.llama.sampler import Sampler, Sampling
from edgespec.llama.sequences import SequencesContext
from tests.tiny_memories import MemoryKind, make_tiny_memory

PROMPTS = [[5, 6, 7, 8], [9, 8, 7], [20, 21, 22, 23, 24], [5, 6, 7, 8]]
N = 24
GREEDY, WARM = Sampling(), Sampling(temperature=1.0, top_k=50, top_p=0.95, min_p=0.0, seed=7)
FREE_ROWS = BatchCosts(CostCurve({1: 1.0, 20: 1.01}), CostCurve({1: 0.01, 20: 0.02}))
DEAR_ROWS = BatchCosts(CostCurve({1: 1.0, 20: 20.0}), CostCurve({1: 0.5, 20: 0.5}))


def context_of(model: Model, rows_each: int = 1, *, unified: bool = True) -> SequencesContext:
    return SequencesContext(model, settings_of(rows_each, unified=unified))


def settings_of(rows_each: int, *, unified: bool = True) -> ContextSettings:
    count = len(PROMPTS)
    return ContextSettings(
        n_ctx=256 * count,
        n_threads=1,
        n_outputs_max=count * rows_each,
        n_batch=64,
        n_sequences=count,
        kv_unified=unified,
    )


def one_by_one(model: Model, prompt: Sequence[int], sampling: Sampling, number: int) -> list[int]:
    """The loop that everybody writes first, with the sampler of one sequence."""
    with (
        Context(model, ContextSettings(256, 1)) as context,
        Sampler(Sampling(**{**_fields(sampling), "seed": sampling.seed + number}), model.n_vocab) as sampler,
    ):
        sampler.start(prompt)
        context.prefill(prompt)
        tokens = [sampler.sample(context, 0)]
        while len(tokens) < N:
            context.decode(tokens[-1:])
            tokens.append(sampler.sample(context, 0))
        return tokens


def _fields(sampling: Sampling) -> dict[str, float]:
    return {name: getattr(sampling, name) for name in Sampling.__dataclass_fields__}


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "sampled"])
@pytest.mark.parametrize("unified", [True, False], ids=["unified", "split"])
def test_a_batch_writes_what_each_sequence_writes_alone(
    target_model: Model, sampling: Sampling, unified: bool
):
    with context_of(target_model, unified=unified) as context:
        steps: list[None] = []
        answer = generate_batch(context, PROMPTS, N, sampling, stepped=lambda: steps.append(None))
    expected = [one_by_one(target_model, prompt, sampling, n) for n, prompt in enumerate(PROMPTS)]
    assert answer.tokens.tolist() == expected
    assert len(steps) == N - 1
    assert 0 < answer.ttft_s < answer.latency_s
    assert 0 < answer.engine_s < answer.latency_s


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "sampled"])
def test_drafts_change_no_token(target_model: Model, draft_model: Model, sampling: Sampling):
    with (
        context_of(target_model, MOST_DRAFTED + 1) as context,
        context_of(draft_model, MOST_DRAFTED + 1) as draft,
    ):
        pair = SpeculativeBatch(context, draft, FREE_ROWS)
        answers = [pair.generate(PROMPTS, N, sampling) for _ in range(2)]
    expected = [one_by_one(target_model, prompt, sampling, n) for n, prompt in enumerate(PROMPTS)]
    for answer in answers:
        assert answer.tokens.tolist() == expected
        assert 0 < answer.draft_n_accepted < answer.draft_n


def test_a_draft_that_is_the_target_is_always_right(target_model: Model):
    with (
        context_of(target_model, MOST_DRAFTED + 1) as context,
        context_of(target_model, MOST_DRAFTED + 1) as draft,
    ):
        answer = SpeculativeBatch(context, draft, FREE_ROWS).generate(PROMPTS, N, GREEDY)
    assert answer.draft_n_accepted == answer.draft_n
    # Of five tokens that a pass brings, four are drafted.
    assert answer.draft_n >= 0.75 * len(PROMPTS) * (N - 1)


def test_nothing_is_drafted_where_every_row_costs_a_step(target_model: Model, draft_model: Model):
    with (
        context_of(target_model, MOST_DRAFTED + 1) as context,
        context_of(draft_model, MOST_DRAFTED + 1) as draft,
    ):
        answer = SpeculativeBatch(context, draft, DEAR_ROWS).generate(PROMPTS, N, GREEDY)
        assert draft.lengths.tolist() == [0] * len(PROMPTS)
    assert answer.draft_n == 0
    assert answer.tokens.tolist() == [one_by_one(target_model, prompt, GREEDY, 0) for prompt in PROMPTS]


def test_a_draft_that_keeps_missing_is_left(target_model: Model, draft_model: Model):
    costs = BatchCosts(CostCurve({4: 1.0, 8: 1.3, 12: 1.6, 16: 1.9, 20: 2.2}), CostCurve({4: 0.2, 8: 0.3}))
    with (
        context_of(target_model, MOST_DRAFTED + 1) as context,
        context_of(draft_model, MOST_DRAFTED + 1) as draft,
    ):
        pair = SpeculativeBatch(context, draft, costs)
        assert pair.draft_length() > 0
        pair.tested += 400
        assert pair.draft_length() == 0


class ReadingContext(SequencesContext):
    """Keeps what it reads."""

    def decode(self, tokens: Ints, sequences: Ints, outputs: NDArray[np.bool_]) -> None:
        super().decode(tokens, sequences, outputs)
        self.read = [*getattr(self, "read", []), tokens.reshape(len(PROMPTS), -1)]


def test_costs_are_measured_on_a_text_of_which_every_sequence_reads_another_part(target_model: Model):
    rows = MOST_DRAFTED + 1
    context = ReadingContext(target_model, settings_of(rows))
    with context, context_of(target_model) as draft:
        measure_batch_costs(context, draft)
    text = "".join(chr(0x100 + token) for token in timed_tokens(target_model)) * 2
    longest = [tokens for tokens in context.read if tokens.shape[1] == rows]
    parts = ["".join(chr(0x100 + token) for token in row) for tokens in longest for row in tokens]
    assert len(set(parts)) == len(parts) > len(PROMPTS)
    assert all(part in text for part in parts)


def test_costs_are_measured_for_every_draft_length_and_leave_nothing_behind(
    target_model: Model, draft_model: Model
):
    with ExitStack() as opened:
        context = opened.enter_context(context_of(target_model, MOST_DRAFTED + 1))
        draft = opened.enter_context(context_of(draft_model))
        costs = measure_batch_costs(context, draft)
        assert context.lengths.tolist() == draft.lengths.tolist() == [0] * 4
    assert sorted(costs.target.points) == [4, 8, 12, 16, 20]
    assert sorted(costs.draft.points) == [4, 8]
    assert all(np.isfinite(seconds) and seconds > 0 for seconds in costs.target.points.values())


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "sampled"])
@pytest.mark.parametrize("kind", ["window", "snapshots", "convolution", "recurrent", "hybrid"])
def test_on_every_kind_of_memory_a_draft_changes_no_text(
    kind: MemoryKind, tmp_path: Path, sampling: Sampling
):
    with (
        Model(make_tiny_memory(tmp_path / "target.gguf", kind)) as model,
        Model(make_tiny_memory(tmp_path / "draft.gguf", kind, noise=0.03)) as little,
        exact_context(model, MOST_DRAFTED + 1) as context,
        exact_context(little) as draft,
    ):
        plain = generate_batch(context, PROMPTS, N, sampling)
        found = SpeculativeBatch(context, draft, FREE_ROWS).generate(PROMPTS, N, sampling)
    assert found.tokens.tolist() == plain.tokens.tolist()
    assert found.draft_n > found.draft_n_accepted > 0


def exact_context(model: Model, rows_each: int = 1) -> SequencesContext:
    """Without flash attention, which rounds to 16 bits: then how rows are put together cannot change a text."""
    count = len(PROMPTS)
    settings = ContextSettings(
        n_ctx=256 * count,
        n_threads=1,
        n_outputs_max=count * rows_each,
        n_batch=64,
        type_k=KvType.F32,
        type_v=KvType.F32,
        flash_attention="off",
        n_sequences=count,
        kv_unified=True,
        n_snapshots=rows_each - 1,
    )
    return SequencesContext(model, settings)
