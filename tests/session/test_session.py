"""Open a pair, stream tokens, close: the same text whatever drafts, and a state that survives interruptions."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.decode.token import DraftSource
from edgespec.errors import ContextOverflowError, EngineError, ModelFileError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.session import DraftType, EngineSettings, Session, open_pair
from tests.session.eager import draft_eagerly
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

COPYING = "the cat sat on the mat. the cat sat on the mat. the cat sat on"
PROMPTS = ("the cat and the hat", COPYING, "1 2 3 4 5 6 7 8")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    draft_eagerly(monkeypatch)


def ids(session: Session, prompt: str = COPYING, count: int = 60, **options: object) -> list[int]:
    return [token.id for token in session.stream(prompt, max_tokens=count, **options)]


def plain_greedy(path: Path, prompt: Sequence[int], count: int) -> list[int]:
    """The loop that everybody writes first."""
    with Model(path) as model, Context(model, ContextSettings(512, 1)) as context:
        context.prefill(prompt)
        tokens = [int(context.logits(1)[0].argmax())]
        while len(tokens) < count:
            context.decode(tokens[-1:])
            tokens.append(int(context.logits(1)[0].argmax()))
        return tokens


def test_three_lines_answer_a_prompt(tiny_model: Path, tiny_draft: Path):
    with open_pair(tiny_model, tiny_draft) as session:
        text = "".join(token.text for token in session.stream("the cat", max_tokens=20))
    assert text
    assert session.stats.predicted_n == 20


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("draft", ["none", "ngram", "auto", "tiny-draft", "the target itself", "tiny-bpe"])
def test_the_text_is_that_of_plain_decoding_whatever_drafts(
    eager: None, tiny_model: Path, tiny_draft: Path, tiny_bpe: Path, draft: str, prompt: str
):
    files = {"tiny-draft": tiny_draft, "the target itself": tiny_model, "tiny-bpe": tiny_bpe}
    with open_pair(tiny_model, files.get(draft, draft)) as session:
        tokens = session.tokenize(prompt)
        assert ids(session, prompt) == plain_greedy(tiny_model, tokens, 60)
        assert (session.stats.draft_n > 10) == (draft in files)


@pytest.mark.parametrize("draft", ["ngram", "tiny-draft"])
def test_a_seed_gives_the_same_sample_with_and_without_drafting(
    eager: None, tiny_model: Path, tiny_draft: Path, draft: str
):
    sampling = Sampling(temperature=0.7, seed=11)
    with open_pair(tiny_model, "none") as session:
        plain = ids(session, sampling=sampling)
    with open_pair(tiny_model, tiny_draft if draft == "tiny-draft" else draft) as session:
        assert ids(session, sampling=sampling) == plain
        assert draft == "ngram" or session.stats.draft_n > 10
        assert ids(session, sampling=Sampling(temperature=0.7, seed=12)) != plain


def test_the_figures_of_an_answer_add_up(eager: None, tiny_model: Path, tiny_draft: Path):
    with open_pair(tiny_model, tiny_draft) as session:
        tokens = list(session.stream(COPYING, max_tokens=60))
        stats = session.stats
        assert stats.prompt_n == stats.prompt_evaluated_n == len(session.tokenize(COPYING))
    assert stats.predicted_n == len(tokens) == 60
    assert stats.stopped == "length"
    assert stats.draft_n > stats.draft_n_accepted > 0
    assert stats.predicted_n - 1 == stats.target_passes + stats.draft_n_accepted
    assert sum(token.from_draft for token in tokens) == stats.draft_n_accepted
    assert stats.draft_n == sum(stats.tested_at)
    assert stats.draft_n_accepted == sum(stats.accepted_at)
    assert stats.ttft_s == stats.prefill_s > 0
    assert stats.decode_s >= stats.verify_s > 0
    tested, accepted = stats.by_source[DraftSource.MODEL]
    assert stats.why.startswith(f"speculation on: {accepted} of {tested} tokens from tiny-draft accepted")


def test_a_draft_that_is_the_target_is_always_right(eager: None, tiny_model: Path):
    settings = EngineSettings(draft_type=DraftType.AS_IS)
    with open_pair(tiny_model, tiny_model, settings=settings) as session:
        # A prompt so short that the draft reads all of it.
        assert len(ids(session, "the cat", raw=True)) == 60
        tested, accepted = session.stats.by_source[DraftSource.MODEL]
    assert tested == accepted > 40


def test_without_drafting_nothing_is_drafted_and_it_says_so(tiny_model: Path):
    with open_pair(tiny_model, "none") as session:
        ids(session)
    assert session.stats.draft_n == 0
    assert session.stats.target_passes == 59
    assert session.stats.why == "speculation off: as asked"


def test_auto_without_a_draft_on_disk_drafts_from_the_text_alone(eager: None, tiny_model: Path):
    with open_pair(tiny_model) as session:
        assert session.engine.drafts == {}
        ids(session, count=300)
        assert set(session.stats.by_source) == {DraftSource.NGRAM}
        assert session.stats.why.endswith("tokens from the text itself accepted")


def test_auto_that_drafted_nothing_says_that_no_draft_is_on_disk(tiny_model: Path):
    with open_pair(tiny_model) as session:
        ids(session, "t", 3)
    assert session.stats.why == (
        "speculation off: no draft model on disk, and the text did not repeat itself enough to pay"
    )


def test_the_same_prompt_again_reads_one_token(tiny_model: Path):
    with open_pair(tiny_model, "none") as session:
        first = ids(session)
        assert ids(session) == first
        assert session.stats.prompt_evaluated_n == 1
        assert session.stats.prompt_n > 1


def test_a_conversation_that_goes_on_reads_only_what_is_new(tiny_model: Path, tiny_draft: Path):
    turns = [ChatMessage("user", "the cat")]
    with open_pair(tiny_model, tiny_draft) as session:
        first = list(session.stream(turns, max_tokens=10))
        answer = "".join(token.text for token in first)
        turns += [ChatMessage("assistant", answer), ChatMessage("user", "and the hat")]
        list(session.stream(turns, max_tokens=10))
        shared = len(session.tokenize(turns[:1]))
        assert session.stats.prompt_evaluated_n <= session.stats.prompt_n - shared


@pytest.mark.parametrize("stop_after", [1, 2, 7])
def test_an_answer_that_is_left_half_way_spoils_nothing(
    eager: None, tiny_model: Path, tiny_draft: Path, stop_after: int
):
    with open_pair(tiny_model, tiny_draft) as session:
        whole = ids(session)
        stream = session.stream(COPYING, max_tokens=60)
        part = [token.id for token in itertools.islice(stream, stop_after)]
        stream.close()
        assert session.stats.stopped == "interrupted"
        assert part == whole[:stop_after]
        assert ids(session) == whole
        assert ids(session, "another text") == plain_greedy(tiny_model, session.tokenize("another text"), 60)


def test_ctrl_c_inside_an_evaluation_spoils_nothing(
    eager: None, tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    from edgespec.llama.library import load_library

    lib = load_library()
    decode = lib.llama_decode
    with open_pair(tiny_model, tiny_draft) as session:
        whole = ids(session)
        countdown = itertools.count(5, -1)

        def interrupted(*arguments: object) -> int:
            code = int(decode(*arguments))
            if next(countdown) == 0:
                raise KeyboardInterrupt
            return code

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(lib, "llama_decode", interrupted)
            ids(session)
        assert session.stats.stopped == "interrupted"
        assert ids(session) == whole


def test_a_full_context_ends_the_answer(tiny_model: Path):
    with open_pair(tiny_model, "none") as session:
        n_ctx = session.engine.target.context.n_ctx
        prompt_n = len(session.tokenize("the cat"))
        assert len(ids(session, "the cat", 100_000)) == n_ctx - prompt_n
        assert session.stats.stopped == "context"


def test_a_prompt_longer_than_the_context_is_refused(tiny_model: Path):
    with open_pair(tiny_model, "none") as session:
        with pytest.raises(ContextOverflowError) as caught:
            ids(session, "x" * 600)
        tokens = session.engine.target.model.tokenize("<user>" + "x" * 600 + "\n<assistant>")
    assert caught.value.message == f"the prompt has {len(tokens)} tokens and the context 512"
    assert caught.value.hint == "use a larger `ctx_size` or a shorter prompt"


def test_a_raw_prompt_goes_without_the_template(tiny_model: Path):
    with open_pair(tiny_model, "none") as session:
        model = session.engine.target.model
        assert session.tokenize("the cat", raw=True) == model.tokenize("the cat")
        assert session.tokenize("the cat") == model.tokenize("<user>the cat\n<assistant>")
        turns = [ChatMessage("system", "be brief"), ChatMessage("user", "hi")]
        assert session.tokenize(turns) == model.tokenize("<system>be brief\n<user>hi\n<assistant>")


def test_a_model_without_a_template_continues_the_text(tiny_draft: Path):
    with open_pair(tiny_draft, "none") as session:
        assert session.tokenize("the cat") == session.engine.target.model.tokenize("the cat")


def test_a_template_that_writes_the_begin_token_gets_no_second_one(tmp_path: Path):
    path = make_tiny_model(tmp_path / "m.gguf", chat_template="{{ bos_token }}" + CHAT_TEMPLATE)
    with open_pair(path, "none") as session:
        model = session.engine.target.model
        (bos,) = model.tokenize("")
        assert session.tokenize("the").count(bos) == 1
        assert session.tokenize("the")[0] == bos


def test_a_broken_template_is_named_and_can_be_left_out(tmp_path: Path):
    path = make_tiny_model(tmp_path / "m.gguf", chat_template="{% for %}")
    with open_pair(path, "none") as session:
        with pytest.raises(ModelFileError, match="the model's chat template fails") as caught:
            ids(session)
        assert "`raw`" in caught.value.hint
        assert len(ids(session, "the", 5, raw=True)) == 5


def test_an_empty_prompt_without_a_begin_token_is_refused(tiny_bpe: Path):
    with open_pair(tiny_bpe, "none") as session, pytest.raises(UsageError, match="the prompt is empty"):
        ids(session, "", raw=True)


def test_closing_frees_both_models_and_can_be_repeated(tiny_model: Path, tiny_draft: Path):
    session = open_pair(tiny_model, tiny_draft)
    session.close()
    session.close()
    for loaded in (session.engine.target, *session.engine.drafts.values()):
        assert loaded.model.handle is None
        assert loaded.context.handle is None


def test_a_closed_session_is_an_error_and_not_a_crash(eager: None, tiny_model: Path, tiny_draft: Path):
    with open_pair(tiny_model, tiny_draft) as session:
        begun = session.stream(COPYING, max_tokens=60)
        for _ in range(5):
            next(begun)
        waiting = session.stream(COPYING)
    with pytest.raises(EngineError, match=r"tiny.*\.gguf is closed"):
        list(begun)
    with pytest.raises(EngineError, match=r"tiny\.gguf is closed"):
        list(waiting)


def test_models_are_freed_even_if_what_was_learnt_cannot_be_kept(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    session = open_pair(tiny_model, "none")

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(session._store, "save", fail)
    with pytest.raises(MemoryError):
        session.close()
    assert session.engine.target.model.handle is None


@pytest.fixture(scope="module")
def listing() -> str:
    return "\n".join(f"{number:02d}. chapter {number} of the book" for number in range(1, 13))


@pytest.mark.model
def test_a_real_model_copies_faster_in_passes_and_to_the_same_text(
    eager: None, home_with_smollm2: Path, listing: str
):
    """On a list that it continues, the n-gram draft saves target passes; on no text does it change a token."""
    with open_pair("smollm2-135m", "none") as session:
        plain = ids(session, listing, 48, raw=True, sampling=Sampling())
        assert session.stats.target_passes == 47
    with open_pair("smollm2-135m", "ngram") as session:
        drafted = ids(session, listing, 48, raw=True, sampling=Sampling())
    assert drafted == plain
    assert session.stats.draft_n_accepted > 10
    assert session.stats.target_passes < 40
    assert session.stats.mean_accepted_len > 1.2


@pytest.mark.model
def test_a_real_model_answers_in_its_own_template(home_with_smollm2: Path):
    with open_pair(draft="none") as session:
        model = session.engine.target.model
        text = b"".join(model.token_bytes(token, special=True) for token in session.tokenize("Say hello."))
        assert text.decode().endswith("<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n")
        answer = "".join(token.text for token in session.stream("Say hello.", max_tokens=64))
    assert "ello" in answer
    assert "<|im_end|>" not in answer
    assert session.stats.stopped == "eog"
