"""All that can be asked of one answer among many: stops, log probabilities, biases, limits, thoughts, and what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.structure import Structure, StructureKind
from edgespec.chat.thinking import Thinking
from edgespec.chat.tools import CallDelta, Tool, Toolbox
from edgespec.decode.token import DraftSource
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling
from edgespec.session import open_pair
from edgespec.session.shared.asked import Ask, Detokenize, EndReason, Tokenize, Tokenized, Wrote
from edgespec.session.shared.stops import StopReader
from tests.scripted_model import make_scripted_model
from tests.session.eager import draft_eagerly
from tests.session.shared import EXACT, Ear, answer, shared, user

CAT = user("the cat sat on the mat. the cat sat on the mat. the cat sat on")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    draft_eagerly(monkeypatch)


def written(ear: Ear, number: int = 1) -> str:
    return ear.written[number, 0].text


@pytest.mark.parametrize("draft", ["none", "tiny-draft"])
def test_a_stop_text_ends_an_answer_where_it_begins_even_across_tokens(
    eager: None, tiny_model: Path, tiny_draft: Path, draft: str
):
    with shared(tiny_model, tiny_draft if draft == "tiny-draft" else draft) as session:
        whole = written(answer(session, Ask(1, CAT, max_tokens=60)))
        assert len(whole) > 30
        for start in (3, 11, 20):
            stop = whole[start : start + 4]
            place = whole.find(stop)
            ear = answer(session, Ask(1, CAT, max_tokens=60, stops=("never written", stop)))
            ended = ear.written[1, 0].ended
            assert written(ear) == whole[:place]
            assert ended
            assert (ended.reason, ended.stop) == (EndReason.STOP, stop)
            assert ended.stats.predicted_n < 60


def test_text_that_only_looks_like_a_stop_comes_out_whole(tiny_model: Path):
    with shared(tiny_model, "none") as session:
        whole = written(answer(session, Ask(1, CAT, max_tokens=40)))
        lookalikes = tuple(char + "\x00" for char in set(whole))
        ear = answer(session, Ask(1, CAT, max_tokens=40, stops=lookalikes))
    assert written(ear) == whole
    assert ear.written[1, 0].ended
    assert ear.written[1, 0].ended.stop == ""


def test_a_stop_reader_finds_the_first_and_the_longest_of_what_begins_there():
    for cut in range(1, 6):
        reader = StopReader(["cd", "cde", "zz"])
        text = "abcdez"
        told = "".join(reader.add(text[start : start + cut]) for start in range(0, len(text), cut))
        assert told == "ab"
        # The longer one where both come with one piece.
        assert reader.found == ("cd" if cut in (1, 2, 4) else "cde")
    reader = StopReader(["END"])
    assert [reader.add(piece) for piece in ("one E", "ach EN", "TER")] == ["one ", "Each ", "ENTER"]
    assert (reader.add("E"), reader.finish(), reader.found) == ("", "E", "")


def test_log_probabilities_are_those_of_the_target_before_any_setting(
    eager: None, tiny_model: Path, tiny_draft: Path
):
    sampling = Sampling(temperature=1.5, seed=3, repeat_penalty=1.3)
    ask = Ask(1, CAT, max_tokens=20, sampling=sampling, logprobs_n=3, logit_bias=((70, 2.0),))
    with shared(tiny_model, tiny_draft) as session:
        one = answer(session, ask, Ask(2, CAT, max_tokens=20)).written[1, 0]
        session.submit(Tokenize(3, CAT))
        (prompt,) = (told for told in session.step() if isinstance(told, Tokenized))
    assert [logprob.token for logprob in one.logprobs] == one.tokens
    settings = ContextSettings(512, 1, type_k=KvType.F32, type_v=KvType.F32)
    with Model(tiny_model) as model, Context(model, settings) as context:
        context.prefill(prompt.tokens)
        for logprob in one.logprobs:
            row = context.logits(1)[0].astype(np.float64)
            expected = row - np.log(np.exp(row).sum())
            assert math.isclose(logprob.logprob, expected[logprob.token], abs_tol=1e-3)
            assert [top.token for top in logprob.top] == np.argsort(-row)[:3].tolist()
            assert [top.logprob for top in logprob.top] == pytest.approx(
                np.sort(expected)[::-1][:3].tolist(), abs=1e-3
            )
            assert logprob.data == model.token_bytes(logprob.token)
            context.decode([logprob.token])


def test_a_bias_forbids_a_token_and_forces_another(tiny_model: Path):
    with shared(tiny_model, "none") as session:
        tokens = answer(session, Ask(1, CAT, max_tokens=20)).written[1, 0].tokens
        forbidden = answer(session, Ask(1, CAT, max_tokens=20, logit_bias=((tokens[0], -math.inf),)))
        assert tokens[0] not in forbidden.written[1, 0].tokens
        forced = answer(session, Ask(1, CAT, max_tokens=5, logit_bias=((100, 1000.0),)))
        assert forced.written[1, 0].tokens == [100] * 5


def test_an_answer_without_a_limit_ends_where_its_context_does(tiny_model: Path):
    with shared(tiny_model, settings=replace(EXACT, n_ctx=256)) as session:
        ear = answer(session, Ask(1, CAT), Ask(2, CAT, max_tokens=9))
        ended = ear.written[1, 0].ended
        assert ended
        assert ended.reason is EndReason.CONTEXT
        assert ended.stats.prompt_n + ended.stats.predicted_n == 256
        assert len(ear.written[2, 0].tokens) == 9


def test_prompts_that_are_too_long_are_refused_with_both_numbers_and_others_go_on(tiny_model: Path):
    with shared(tiny_model, settings=replace(EXACT, n_ctx=256)) as session:
        ear = answer(session, Ask(1, user("the " * 300), max_tokens=5), Ask(2, CAT, max_tokens=5))
    refused = ear.refused[1]
    assert (refused.kind, refused.n_ctx) == ("context", 256)
    assert refused.prompt_n > 300
    assert str(refused.prompt_n) in refused.message
    assert ear.written[2, 0].ended


@pytest.mark.parametrize(
    "ask",
    [
        Ask(1, ()),
        Ask(1, (3, 100_000)),
        Ask(1, CAT, max_tokens=0),
        Ask(1, CAT, n_choices=0),
        Ask(1, CAT, logit_bias=((-1, 1.0),)),
        Ask(1, CAT, logit_bias=((5, math.inf),)),
        Ask(1, CAT, logit_bias=((5, math.nan),)),
        Ask(1, CAT, logprobs_n=-1),
        Ask(1, CAT, logprobs_n=101),
    ],
)
def test_what_makes_no_sense_is_refused(tiny_model: Path, ask: Ask):
    with shared(tiny_model, "none") as session:
        ear = answer(session, ask, Ask(2, CAT, max_tokens=3))
    assert ear.refused[1].kind == "request"
    assert len(ear.written[2, 0].tokens) == 3


def test_a_text_and_tokens_go_to_the_model_as_they_are(tiny_model: Path):
    with shared(tiny_model, "none") as session, Model(tiny_model) as model:
        tokens = tuple(model.tokenize("the cat sat on"))
        ear = answer(session, Ask(1, "the cat sat on", max_tokens=9), Ask(2, tokens, max_tokens=9))
    assert ear.began[1].prompt_n == len(tokens)
    assert ear.written[1, 0].tokens == ear.written[2, 0].tokens


def test_an_answer_goes_on_from_its_beginning(tiny_model: Path):
    begun = (*CAT, ChatMessage("assistant", "once upon"))
    with shared(tiny_model, "none") as session:
        session.submit(Tokenize(5, "<user>" + CAT[0].content + "\n<assistant>once upon", add_special=True))
        (text,) = (told for told in session.step() if isinstance(told, Tokenized))
        ear = answer(session, Ask(1, begun, max_tokens=9, continues=True), Ask(2, text.tokens, max_tokens=9))
    assert ear.began[1].prompt_n == len(text.tokens)
    assert ear.written[1, 0].tokens == ear.written[2, 0].tokens


def test_tokens_become_text_again(tiny_model: Path):
    with shared(tiny_model, "none") as session:
        session.submit(Tokenize(1, "café 日本"))
        (there,) = session.step()
        assert isinstance(there, Tokenized)
        session.submit(Detokenize(2, there.tokens))
        (back,) = session.step()
    assert isinstance(back, Tokenized)
    assert back.text.strip() == "café 日本"
    assert b"".join(back.pieces).decode() == back.text


@pytest.mark.parametrize("budget", [None, 0, 1, 3])
def test_thoughts_are_apart_and_end_where_their_budget_is_spent(
    eager: None, tmp_path: Path, budget: int | None
):
    script = ("<think>", "\n\n\n", "Hm", ", so", " it", " is", "</think>", "\n\n", "Yes", " indeed", ".")
    path = make_scripted_model(tmp_path / "thinker.gguf", script, after={"\n": "Yes"})
    ask = Ask(1, user("Is it?"), thinking=Thinking(budget=budget), stops=("so",))
    with shared(path, "ngram") as session:
        ear = answer(session, ask, replace(ask, id=2, max_tokens=2), replace(ask, id=3, stops=(" ind",)))
    one, short, stopped = (ear.written[number, 0] for number in (1, 2, 3))
    thought = "Hm, so it is" if budget is None else "".join(script[: budget or 0][1:]).strip()
    if budget != 0:
        # The model begins its thought itself, and stop texts do not count in it.
        assert (one.thought, one.text) == (thought, "Yes indeed.")
        assert one.ended
        assert one.ended.reason is EndReason.STOP
        assert one.ended.stats.thought_n == (budget or 7)
        assert (stopped.thought, stopped.text) == (thought, "Yes")
    assert len(short.tokens) == 2


@pytest.mark.parametrize("draft", ["none", "ngram", "tiny-draft"])
def test_structured_answers_match_beside_free_ones_and_are_those_of_one_alone(
    eager: None, tiny_model: Path, tiny_draft: Path, draft: str
):
    schema = '{"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "old": {"type": "boolean"}}, '
    schema += '"required": ["name", "old"], "additionalProperties": false}'
    structure = Structure(StructureKind.SCHEMA, schema)
    texts = set()
    for beside in (0, 3):
        with shared(tiny_model, tiny_draft if draft == "tiny-draft" else draft) as session:
            asks = [Ask(1, CAT, max_tokens=80, structure=structure)]
            asks += [Ask(2 + number, user(f"the cat {number}"), max_tokens=30) for number in range(beside)]
            ear = answer(session, *asks)
        one = ear.written[1, 0]
        assert set(json.loads(one.text)) == {"name", "old"}
        assert one.ended
        assert one.ended.reason is EndReason.STOP
        if draft == "ngram":
            assert one.ended.stats.by_source[DraftSource.GRAMMAR][1] > 5
        texts.add(one.text)
    with open_pair(tiny_model, "none", settings=EXACT) as session:
        texts.add("".join(t.text for t in session.stream(CAT, max_tokens=80, structure=structure)))
    assert len(texts) == 1


def test_a_grammar_that_the_model_has_no_token_for_refuses_its_answer_alone(tiny_model: Path):
    """A control token that is never written, by its number."""
    impossible = Structure(StructureKind.GBNF, 'root ::= "a" <[99999]>')
    with shared(tiny_model, "none") as session:
        ear = answer(session, Ask(1, CAT, structure=impossible), Ask(2, CAT, max_tokens=9))
        assert ear.refused[1].kind == "request"
        assert len(ear.written[2, 0].tokens) == 9
        assert session.is_idle


def test_a_tool_that_has_to_be_called_is_called_piece_by_piece(tiny_model: Path):
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 6}},
        "required": ["city"],
        "additionalProperties": False,
    }
    toolbox = Toolbox((Tool("weather", "Of a city.", parameters),), "required", "weather", parallel=False)
    with shared(tiny_model, settings=replace(EXACT, n_ctx=1024)) as session:
        asks = Ask(1, CAT, max_tokens=150, toolbox=toolbox), Ask(2, CAT, max_tokens=20)
        for ask in asks:
            session.submit(ask)
        ear, deltas = Ear(), list[CallDelta]()
        while not session.is_idle:
            told = session.step()
            deltas += [call for one in told if isinstance(one, Wrote) for call in one.calls]
            ear.hear(told)
        assert session.is_idle
    ended = ear.written[1, 0].ended
    assert ended
    assert ended.reason is EndReason.TOOL_CALLS
    assert (deltas[0].name, deltas[0].index) == ("weather", 0)
    assert set(json.loads("".join(delta.arguments for delta in deltas))) == {"city"}
    assert len(deltas) > 2
    assert ear.written[1, 0].text == ""
    assert len(ear.written[2, 0].tokens) == 20
