"""A draft's shortlist: only its tokens have logits, and those are the ones they would have anyway."""

from collections.abc import Iterator

import numpy as np
import pytest

import edgespec.llama.shortlist
from edgespec.llama.build import Kernels, native_kernels
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.quantizer import QuantizeSettings, quantize_file
from edgespec.llama.shortlist import FREQUENT_TOKENS, Shortlist, shortlist_for
from tests.llama.engines import TEXT, settings
from tests.tiny import TinyShape, make_tiny_model

SHAPE = TinyShape(embedding=256, heads=4, kv_heads=2, feed_forward=256)
VOCABULARY = 512


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("shortlist")
    dense = make_tiny_model(folder / "dense.gguf", shape=SHAPE, vocab_size=VOCABULARY)
    file = folder / "q4_0.gguf"
    quantize_file(dense, file, QuantizeSettings("Q4_0", "Q4_0", "Q4_0", pure=True), n_threads=1)
    with Model(file) as model:
        yield model


@pytest.fixture
def all_logits(model: Model) -> np.ndarray:
    """Of every token after the text."""
    with Context(model, settings()) as context:
        context.decode(model.tokenize(TEXT))
        return context.logits(1)[0].copy()


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("extra", [[], [511], [264, 300, 301, 488]])
def test_listed_tokens_keep_their_logits_and_others_have_none(
    model: Model, all_logits: np.ndarray, extra: list[int], n_threads: int
):
    shortlist = Shortlist(VOCABULARY, 128)
    shortlist.add(extra)
    with Context(model, settings(n_threads=n_threads), shortlist=shortlist) as context:
        context.decode(model.tokenize(TEXT))
        row = context.logits(1)[0]
        np.testing.assert_array_equal(row[shortlist.ids], all_logits[shortlist.ids])
        others = np.delete(row, shortlist.ids)
        if native_kernels().isa:
            assert np.isneginf(others).all()
        assert len(others) + len(shortlist.ids) == VOCABULARY


def test_the_guess_is_the_best_listed_token_with_its_lead_among_the_listed(
    model: Model, all_logits: np.ndarray
):
    best = int(all_logits.argmax())
    shortlist = Shortlist(VOCABULARY, 8)
    shortlist.add(token for token in (40, 120, 300, 500) if token // 8 != best // 8)
    with Context(model, settings(), shortlist=shortlist) as context:
        context.decode(model.tokenize(TEXT))
        token, lead = context.best_guess()
        first, second = np.sort(all_logits[shortlist.ids])[:-3:-1]
        assert (all_logits[token], lead) == (first, pytest.approx(first - second))
        shortlist.add([best])
        context.rollback(len(context.tokens) - 1)
        context.decode(model.tokenize(TEXT)[-1:])
        assert context.best_guess()[0] == best


def test_other_contexts_have_all_their_logits_in_between(model: Model, all_logits: np.ndarray):
    with (
        Context(model, settings(), shortlist=Shortlist(VOCABULARY, 64)) as short,
        Context(model, settings()) as long,
    ):
        for context in (short, long):
            context.decode(model.tokenize(TEXT))
        np.testing.assert_array_equal(long.logits(1)[0], all_logits)


def test_neighbours_are_listed_together_and_forgotten_together():
    shortlist = Shortlist(64, 12)
    assert shortlist.ids.tolist() == list(range(16)), "the frequent tokens, rounded up to a group of eight"
    shortlist.add([3, 33])
    assert shortlist.ids.tolist() == [*range(16), *range(32, 40)]
    shortlist.reset()
    assert shortlist.ids.tolist() == list(range(16))


def test_small_vocabularies_and_other_kernels_have_no_list(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(edgespec.llama.shortlist, "native_kernels", lambda: Kernels("test", "avx2"))
    assert isinstance(shortlist_for(4 * FREQUENT_TOKENS), Shortlist)
    assert shortlist_for(2 * FREQUENT_TOKENS - 8) is None
    assert shortlist_for(4 * FREQUENT_TOKENS + 1) is None
    monkeypatch.setattr(edgespec.llama.shortlist, "native_kernels", lambda: Kernels("test", ""))
    assert shortlist_for(4 * FREQUENT_TOKENS) is None
