"""Many sequences in one cache: each is what it would be alone, whatever stands beside it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgespec.errors import ContextOverflowError, EngineError
from edgespec.llama.context import Context
from edgespec.llama.library import load_library
from edgespec.llama.model import Model
from edgespec.llama.sequences import SequencesContext, cache_tokens
from tests.llama.engines import assert_close, settings

PROMPT = [5, 6, 7, 8, 9]
OTHER_PROMPTS = [[5, 6, 7], [9, 8, 7, 6, 5, 4], [3]]
NEXT = np.array([11, 12, 13], np.int32)


@pytest.fixture(params=[True, False], ids=["unified", "split"])
def three(model: Model, request: pytest.FixtureRequest) -> Iterator[SequencesContext]:
    with SequencesContext(model, many_settings(kv_unified=request.param)) as context:
        yield context


def many_settings(**changes: Any) -> Any:
    return settings(**{"n_sequences": 3, "n_ctx": 768, "n_batch": 16, **changes})


def alone(model: Model, tokens: list[int]) -> Any:
    with Context(model, settings()) as context:
        context.decode(tokens)
        return context.logits(1)[0].copy()


def test_sequences_of_one_prompt_go_their_own_ways(model: Model, three: SequencesContext):
    three.start([PROMPT] * 3)
    assert three.lengths.tolist() == [5, 5, 5]
    assert_close(three.logits(three.n_outputs)[three.rows], np.stack([alone(model, PROMPT)] * 3))
    three.step(NEXT)
    three.step(NEXT[::-1].copy())
    assert three.lengths.tolist() == [7, 7, 7]
    expected = [
        alone(model, [*PROMPT, a, b]) for a, b in zip(NEXT.tolist(), NEXT[::-1].tolist(), strict=True)
    ]
    assert_close(three.logits(3)[three.rows], np.stack(expected))


def test_different_prompts_longer_than_a_batch_are_read_together(model: Model, three: SequencesContext):
    prompts = [[2 + (7 * i + s) % 60 for i in range(11 + s)] for s in range(3)]
    three.start(prompts)
    assert three.lengths.tolist() == [11, 12, 13]
    assert_close(three.logits(3)[three.rows], np.stack([alone(model, prompt) for prompt in prompts]))


def test_rows_of_one_sequence_side_by_side_have_their_places(model: Model, three: SequencesContext):
    three.start(OTHER_PROMPTS)
    rows = np.array([20, 21, 22, 23, 24], np.int32)
    sequences = np.array([0, 0, 0, 2, 2], np.int32)
    three.decode(rows, sequences, np.array([False, True, True, False, True]))
    assert three.lengths.tolist() == [6, 6, 3]
    expected = [
        alone(model, [*OTHER_PROMPTS[0], 20, 21]),
        alone(model, [*OTHER_PROMPTS[0], 20, 21, 22]),
        alone(model, [*OTHER_PROMPTS[2], 23, 24]),
    ]
    assert_close(three.logits(3), np.stack(expected))


def test_a_sequence_takes_tokens_back_and_the_others_keep_theirs(model: Model, three: SequencesContext):
    three.start([PROMPT] * 3)
    three.step(NEXT)
    three.rollback(1, 4)
    assert three.lengths.tolist() == [6, 4, 6]
    three.rollback(1, 9)
    assert three.lengths.tolist() == [6, 4, 6]
    three.step(np.array([30, 31, 32], np.int32))
    expected = [
        alone(model, [*PROMPT, 11, 30]),
        alone(model, [*PROMPT[:4], 31]),
        alone(model, [*PROMPT, 13, 32]),
    ]
    assert_close(three.logits(3), np.stack(expected))


def test_filling_gives_each_sequence_cells_of_its_own(model: Model, three: SequencesContext):
    three.fill(PROMPT)
    three.rollback(0, 2)
    three.step(NEXT)
    assert three.lengths.tolist() == [3, 6, 6]
    expected = [alone(model, [*PROMPT[:2], 11]), alone(model, [*PROMPT, 12]), alone(model, [*PROMPT, 13])]
    # ggml sums values in half precision, in the order of the cells: the freed ones are taken first.
    np.testing.assert_allclose(three.logits(3), np.stack(expected), rtol=0, atol=1e-2)


def test_a_failed_decode_leaves_every_sequence_as_it_was(
    model: Model, three: SequencesContext, monkeypatch: pytest.MonkeyPatch
):
    three.start([PROMPT] * 3)
    with monkeypatch.context() as patch:
        patch.setattr(load_library(), "llama_decode", lambda *_: 1)
        with pytest.raises(ContextOverflowError):
            three.step(NEXT)
    assert three.lengths.tolist() == [5, 5, 5]
    three.step(NEXT)
    assert_close(three.logits(3), np.stack([alone(model, [*PROMPT, token]) for token in NEXT.tolist()]))


def test_more_than_fits_is_an_error(model: Model):
    with SequencesContext(model, many_settings(n_ctx=256, kv_unified=True)) as context:
        context.start([[5] * 90, [6] * 80, [7] * 70])
        with pytest.raises(ContextOverflowError, match=r"no room for .* a context of 256"):
            for _ in range(20):
                context.step(NEXT)


@pytest.mark.parametrize("rows", [0, 17])
def test_a_batch_that_llama_cpp_would_not_survive_is_refused(three: SequencesContext, rows: int):
    tokens = np.full(rows, 5, np.int32)
    with pytest.raises(EngineError, match="are not a batch"):
        three.decode(tokens, np.zeros(rows, np.int32), np.zeros(rows, np.bool_))


@pytest.mark.parametrize(
    ("unified", "shared", "expected"),
    [(True, True, 12 + 4 * 128), (True, False, 4 * 140), (False, True, 4 * 256), (False, False, 4 * 256)],
)
def test_the_size_of_a_cache(unified: bool, shared: bool, expected: int):
    assert cache_tokens(4, 12, 128, unified=unified, shared=shared) == expected
