"""The promise on every kind of memory: the same text as plain decoding, whatever drafts, and drafts that hold."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from edgespec.decode.policy import Mode
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from tests.decode.real import TimedDraft, always, answer, plain_answer, random_tokens, same_vocabulary
from tests.tiny_memories import ARCHITECTURES, MemoryKind, make_tiny_memory

LENGTH = 60
WARM = Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.0, seed=11)
PROMPT = [*random_tokens(1, 12)] * 3


@pytest.fixture(scope="module", params=ARCHITECTURES)
def kind(request: pytest.FixtureRequest) -> MemoryKind:
    found: MemoryKind = request.param
    return found


@pytest.fixture(scope="module")
def models(kind: MemoryKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Model, Model]]:
    """A target, and its weights with noise as a draft."""
    folder = tmp_path_factory.mktemp("pairs")
    with ExitStack() as stack:
        yield (
            stack.enter_context(Model(make_tiny_memory(folder / "target.gguf", kind))),
            stack.enter_context(Model(make_tiny_memory(folder / "draft.gguf", kind, noise=0.03))),
        )


def open_context(model: Model, n_snapshots: int = 0, n_outputs_max: int = 1) -> Context:
    return Context(
        model,
        ContextSettings(
            n_ctx=512,
            n_threads=1,
            n_outputs_max=n_outputs_max,
            n_batch=64,
            type_k=KvType.F32,
            type_v=KvType.F32,
            flash_attention="off",
            n_snapshots=n_snapshots,
            full_window=False,
        ),
    )


@pytest.mark.parametrize("n_snapshots", [0, 7])
@pytest.mark.parametrize("sampling", [Sampling(), WARM], ids=["greedy", "sampled"])
@pytest.mark.parametrize("mode", [Mode.NGRAM, Mode.MODEL, Mode.AUTO])
def test_drafted_text_is_that_of_plain_decoding(
    models: tuple[Model, Model], mode: Mode, sampling: Sampling, n_snapshots: int
):
    target_model, draft_model = models
    with open_context(target_model, n_snapshots, 16) as target, open_context(draft_model) as own:
        plain = plain_answer(target, PROMPT, LENGTH, sampling=sampling)
        target.clear()
        draft = TimedDraft(own, same_vocabulary(target_model, draft_model))
        drafted = answer(target, draft, PROMPT, LENGTH, mode=mode, sampling=sampling)
    assert drafted.ids == plain.ids
    if mode is not Mode.NGRAM:  # random weights hardly ever repeat themselves
        assert drafted.stats.draft_n > drafted.stats.draft_n_accepted > 0


@pytest.mark.parametrize("length", [1, 4, 12])
def test_drafts_of_one_length_and_the_next_turn_after_them(models: tuple[Model, Model], length: int):
    """Longer ones than there are snapshots too; the next turn's prompt goes on from what the last one left."""
    target_model, draft_model = models
    with open_context(target_model, 7, 16) as target, open_context(draft_model) as own:
        first = plain_answer(target, PROMPT, 20)
        prompt = [*PROMPT, *first.ids, *random_tokens(2, 70)]
        second = plain_answer(target, prompt, 20)
        again = plain_answer(target, prompt, 20)
        target.clear()
        draft = TimedDraft(own, same_vocabulary(target_model, draft_model))
        turns = [
            answer(target, draft, tokens, 20, policy=always(length)).ids
            for tokens in (PROMPT, prompt, prompt)
        ]
    assert turns == [first.ids, second.ids, again.ids]


def test_a_target_with_snapshots_reads_nothing_again(kind: MemoryKind, models: tuple[Model, Model]):
    target_model, draft_model = models
    rows = []
    with open_context(target_model, 7, 16) as target, open_context(draft_model) as own:
        draft = TimedDraft(own, same_vocabulary(target_model, draft_model))
        decode = target.decode

        def counted(tokens: list[int], **options: int) -> int:
            rows.append(decode(tokens, **options) - len(tokens))
            return rows[-1] + len(tokens)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, "decode", counted)
            drafted = answer(target, draft, PROMPT, LENGTH, policy=always(5))
    assert drafted.stats.draft_n > drafted.stats.draft_n_accepted
    assert any(rows) == (kind in ("recurrent", "hybrid"))
