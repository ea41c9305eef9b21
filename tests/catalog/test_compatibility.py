"""Which drafts fit which targets, in words."""

import re
from pathlib import Path

import pytest

from edgespec.catalog.compatibility import check_draft, check_writes_text, text_obstacle, token_map
from edgespec.catalog.metadata import GgufMetadata, read_metadata
from edgespec.catalog.token_text import token_keys
from edgespec.errors import ModelFileError
from tests.catalog.gguf_files import (
    BYTE,
    CONTROL,
    KINDS_WITHOUT_TEXT,
    NORMAL,
    UNKNOWN,
    UNUSED,
    vocabulary,
    write_gguf,
)


@pytest.fixture
def model(tmp_path: Path):
    count = iter(range(100))

    def make(**options) -> GgufMetadata:
        return read_metadata(write_gguf(tmp_path / f"model{next(count)}.gguf", **options))

    return make


def test_one_vocabulary_is_accepted(model) -> None:
    verdict = check_draft(model(rows=8), model())
    assert (verdict.kind, verdict.ok, verdict.shared) == ("same-vocabulary", True, 1.0)
    assert verdict.reason == "same vocabulary (40 tokens)"


def test_a_draft_that_is_not_smaller_earns_a_warning(model) -> None:
    verdict = check_draft(model(rows=1000), model(rows=2000))
    assert verdict.kind == "same-vocabulary"
    assert verdict.reason == (
        "same vocabulary (40 tokens); but the draft is not smaller than the target "
        "(1 MiB against 0 MiB of weights), so expect no gain"
    )


def test_a_mixture_of_experts_as_target_earns_a_warning(model) -> None:
    verdict = check_draft(model(rows=8, experts=16), model())
    assert verdict.reason == (
        "same vocabulary (40 tokens); the target mixes 16 experts, where drafting gains less"
    )


def test_the_first_five_tokens_may_differ(model) -> None:
    other = ["other"] * 5 + vocabulary(40)[5:]
    assert check_draft(model(rows=8), model(tokens=other)).kind == "same-vocabulary"


@pytest.mark.parametrize(("extra", "kind"), [(128, "same-vocabulary"), (129, "token-map")])
def test_sizes_may_differ_by_up_to_128(model, extra: int, kind: str) -> None:
    target = model(rows=8, tokens=vocabulary(200 + extra))
    assert check_draft(target, model(tokens=vocabulary(200))).kind == kind


def test_a_large_difference_in_size_is_named(model) -> None:
    verdict = check_draft(model(rows=8, tokens=vocabulary(400)), model(tokens=vocabulary(200)))
    assert verdict.reason == (
        "vocabulary sizes differ by 200 (target 400, draft 200; up to 128 is one vocabulary); "
        "100% of the draft's 200 tokens have a target token of the same text, so drafts are mapped by text"
    )


def test_one_different_token_is_named_and_the_rest_is_mapped(model) -> None:
    tokens = vocabulary(40)
    tokens[7] = "seven"
    verdict = check_draft(model(rows=8), model(tokens=tokens))
    assert (verdict.kind, verdict.shared) == ("token-map", 39 / 40)
    assert verdict.reason.startswith("token 7 is 't7' in the target and 'seven' in the draft; 98% of")


def test_too_few_shared_tokens_are_refused_with_the_share(model) -> None:
    tokens = vocabulary(10) + vocabulary(30, "other")
    verdict = check_draft(model(rows=8), model(tokens=tokens))
    assert (verdict.kind, verdict.ok) == ("refused", False)
    assert verdict.reason == (
        "token 10 is 't10' in the target and 'other0' in the draft, and only 25% of the draft's 40 tokens "
        "have a target token of the same text (50% are needed)"
    )


@pytest.mark.parametrize(
    ("target", "draft", "said"),
    [
        ({"add_bos": True}, {"add_bos": False}, "the target adds BOS to a text and the draft does not"),
        ({"add_bos": True, "bos": 1}, {"add_bos": True, "bos": 3}, "BOS tokens differ (target 1, draft 3)"),
        ({"add_eos": False}, {"add_eos": True}, "the draft adds EOS to a text and the target does not"),
        ({"add_eos": True, "eos": 2}, {"add_eos": True, "eos": 4}, "EOS tokens differ (target 2, draft 4)"),
    ],
)
def test_different_special_tokens_are_named_and_mapped(model, target: dict, draft: dict, said: str) -> None:
    verdict = check_draft(model(rows=8, **target), model(**draft))
    assert verdict.kind == "token-map"
    assert verdict.reason.startswith(said)


def test_a_bos_that_nobody_adds_may_differ(model) -> None:
    verdict = check_draft(model(rows=8, add_bos=False, bos=1), model(add_bos=False, bos=3))
    assert verdict.kind == "same-vocabulary"


@pytest.mark.parametrize("architecture", ["mamba", "rwkv7", "jamba", "qwen35"])
@pytest.mark.parametrize("role", ["target", "draft"])
def test_recurrent_models_serve_in_both_roles(model, architecture: str, role: str) -> None:
    odd, plain = model(architecture=architecture), model(rows=8)
    verdict = check_draft(odd, plain) if role == "target" else check_draft(plain, odd)
    assert verdict.kind == "same-vocabulary"


def test_an_encoder_is_refused(model) -> None:
    verdict = check_draft(model(rows=8), model(architecture="bert"))
    assert verdict.reason == "the draft is an encoder ('bert'), which writes no text token by token"


def test_a_file_without_vocabulary_is_refused(model) -> None:
    verdict = check_draft(model(rows=8), model(tokens=[]))
    assert verdict.reason == "the draft is a model without a vocabulary, which writes no text token by token"


def test_a_file_without_weights_is_refused_in_both_roles(model) -> None:
    empty = model(weights=False)
    for verdict in (check_draft(model(), empty), check_draft(empty, model())):
        assert (verdict.kind, "a file without weights" in verdict.reason) == ("refused", True)


@pytest.mark.parametrize(("options", "what"), KINDS_WITHOUT_TEXT)
def test_what_writes_no_text_is_named_for_what_it_is(model, options: dict, what: str) -> None:
    assert text_obstacle(model(**options)) == what
    with pytest.raises(ModelFileError, match=f"^mine is {re.escape(what)}, which writes no text"):
        check_writes_text("mine", model(**options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": 0},
        {"pooling": 2**32 - 1},  # llama.cpp's own writer stores an unset one so
        {"causal": True},
        {"kind": "model"},
        {"architecture": "mamba"},
        {"architecture": "gpt-oss", "experts": 4},
    ],
)
def test_what_writes_text_has_no_obstacle(model, options: dict) -> None:
    assert text_obstacle(model(**options)) is None


def test_a_tokenizer_whose_text_is_unknown_is_refused(model) -> None:
    verdict = check_draft(model(rows=8), model(tokenizer="rwkv"))
    assert verdict.reason == (
        "tokenizers differ (target 'gpt2', draft 'rwkv'), and the text of the draft's 'rwkv' tokens cannot be compared"
    )


def test_byte_level_and_sentencepiece_tokens_meet_in_their_bytes(model) -> None:
    byte_level = model(
        tokens=["<s>", "\u0120house", "\u010a", "\u00c3\u00a9", "only"], token_types=[CONTROL] + [NORMAL] * 4
    )
    pieces = model(
        tokenizer="llama",
        tokens=["<unk>", "<s>", "<0x0A>", "\u2581house", "\u00e9", "\u2581"],
        token_types=[UNKNOWN, CONTROL, BYTE, NORMAL, NORMAL, NORMAL],
    )
    draft_to_target, target_to_draft = token_map(byte_level, pieces)
    assert draft_to_target == [-1, 0, 2, 1, 3, -1]
    assert target_to_draft == [1, 3, 2, 4, -1]


def test_a_control_token_never_meets_plain_text(model) -> None:
    control = model(tokens=["<s>", *vocabulary(5)], token_types=[CONTROL] + [NORMAL] * 5)
    plain = model(tokens=["<s>", *vocabulary(5)])
    assert token_map(control, plain)[0] == [-1, 1, 2, 3, 4, 5]


def test_unused_tokens_have_no_twin(model) -> None:
    padded = model(tokens=vocabulary(6), token_types=[NORMAL] * 5 + [UNUSED])
    assert token_keys(padded)[5] is None
    assert token_map(padded, padded)[0] == [0, 1, 2, 3, 4, -1]


def test_of_two_target_tokens_with_one_text_the_first_is_taken(model) -> None:
    doubled = model(tokens=["a", "b", "a", "c", "d", "e"])
    plain = model(tokens=["c", "a", "x", "y", "z", "b"])
    assert token_map(doubled, plain) == ([3, 0, -1, -1, -1, 1], [1, 5, 1, 0, -1, -1])
