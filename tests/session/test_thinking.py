"""Models that think first, through the Python API: thoughts apart, switched, and ended in time."""

from pathlib import Path

import pytest

from edgespec.chat.messages import ChatMessage
from edgespec.chat.thinking import AS_IT_LIKES, Thinking
from edgespec.decode.token import Token
from edgespec.errors import UsageError
from edgespec.llama.sampler import Sampling
from edgespec.session import Session, open_pair
from edgespec.session.explain import receipt
from tests.scripted_model import TEMPLATE, make_scripted_model
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

SCRIPT = ("<think>", "\n\n\n", "Hm", ", so", " it", " is", "</think>", "\n\n", "Yes", " indeed", ".")
N_THOUGHT = 7
SWITCHED = TEMPLATE.replace(
    "{% endif %}",
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n</think>\n{% endif %}{% endif %}",
)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("thinker") / "thinker.gguf"
    return make_scripted_model(path, SCRIPT, after={"\n": "Yes"}, chat_template=SWITCHED)


def ask(session: Session, thinking: Thinking = AS_IT_LIKES, **options: int) -> list[Token]:
    return list(session.stream("Is it?", thinking=thinking, **options))


def parts(tokens: list[Token]) -> tuple[str, str]:
    return "".join(token.thought for token in tokens), "".join(token.text for token in tokens)


@pytest.mark.parametrize("draft", ["none", "ngram"])
def test_the_thought_is_apart_from_the_answer_and_counted(thinker: Path, draft: str) -> None:
    with open_pair(thinker, draft) as session:
        assert parts(ask(session)) == ("Hm, so it is", "Yes indeed.")
        stats = session.stats
        assert (stats.thought_n, stats.predicted_n, stats.stopped) == (N_THOUGHT, len(SCRIPT) + 1, "eog")
        assert 0 < stats.thought_s < stats.decode_s + stats.prefill_s
        assert receipt(stats).startswith("12 tokens (7 of thought) · ")


def test_control_tokens_are_marks_too(tmp_path: Path) -> None:
    marks = ("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>")
    script = (marks[0], "Hm", ".", marks[1], marks[2], "Yes", " sir", marks[3])
    path = make_scripted_model(tmp_path / "m.gguf", script, control=marks)
    with open_pair(path, "none") as session:
        assert parts(ask(session)) == ("Hm.", "Yes sir")
        assert session.stats.thought_n == 4


@pytest.mark.parametrize("budget", [1, 3, 6])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_spent_budget_ends_the_thought_and_the_answer_begins(
    thinker: Path, budget: int, temperature: float
) -> None:
    with open_pair(thinker, "none") as session:
        sampling = Sampling(temperature=temperature, seed=1)
        tokens = list(session.stream("Is it?", sampling=sampling, thinking=Thinking(budget=budget)))
        assert parts(tokens) == ("".join(SCRIPT[:budget][1:]).strip(), "Yes indeed.")
        assert session.stats.thought_n == budget
        assert session.stats.predicted_n == len(tokens) == budget + 4
        assert session.stats.stopped == "eog"
        # What was put in is in the cache with the rest, and the next question goes on from it.
        assert parts(ask(session)) == ("Hm, so it is", "Yes indeed.")


def test_a_budget_that_is_not_spent_changes_nothing(thinker: Path) -> None:
    with open_pair(thinker, "none") as session:
        assert parts(ask(session, Thinking(budget=100))) == ("Hm, so it is", "Yes indeed.")


def test_a_budget_of_nothing_ends_a_thought_that_the_prompt_begins(tmp_path: Path) -> None:
    template = TEMPLATE.replace("<assistant>", "<assistant><think>")
    path = make_scripted_model(tmp_path / "m.gguf", SCRIPT, after={"\n": "Yes"}, chat_template=template)
    with open_pair(path, "none") as session:
        assert parts(ask(session)) == ("Hm, so it is", "Yes indeed.")
        assert session.stats.thought_n == N_THOUGHT - 1
        assert parts(ask(session, Thinking(budget=0))) == ("", "Yes indeed.")
        assert session.stats.thought_n == 0


@pytest.mark.parametrize(
    ("begins", "thinking"),
    [
        ("<think>", Thinking(budget=0)),
        ("<think>", Thinking(budget=2)),
        ("", Thinking(budget=0)),
        ("{{ '<think>\n\n</think>\n\n' if enable_thinking is false }}", Thinking("off")),
    ],
    ids=["prompt begins it", "spent later", "model begins it", "switched off"],
)
def test_a_model_that_ends_an_ended_thought_again_leaves_no_mark_in_the_answer(
    begins: str, thinking: Thinking, tmp_path: Path
) -> None:
    script = ("<think>", "Hm", ", so", " it", "</think>", "Yes", " indeed", ".")
    template = TEMPLATE.replace("<assistant>{%", f"<assistant>{begins}{{%")
    path = make_scripted_model(tmp_path / "m.gguf", script, after={"\n": "</think>"}, chat_template=template)
    with open_pair(path, "none") as session:
        tokens = ask(session, thinking)
        assert "</think>" in [session.engine.target.model.token_bytes(token.id).decode() for token in tokens]
        assert parts(tokens)[1] == "Yes indeed."


def test_an_answer_that_ends_within_its_thought_has_none(thinker: Path) -> None:
    with open_pair(thinker, "none") as session:
        assert parts(ask(session, max_tokens=4)) == ("Hm, so", "")
        assert (session.stats.thought_n, session.stats.stopped) == (4, "length")


def test_thinking_is_switched_off_where_the_template_can(thinker: Path) -> None:
    with open_pair(thinker, "none") as session:
        assert parts(ask(session, Thinking("off"))) == ("", "Yes indeed.")
        assert parts(ask(session, Thinking("on"))) == ("Hm, so it is", "Yes indeed.")


def test_one_line_says_that_a_template_has_no_switch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_tiny_model(tmp_path / "m.gguf", chat_template="{# no switch #}" + CHAT_TEMPLATE)
    with open_pair(path, "none") as session:
        before = parts(ask(session, max_tokens=5))
        assert parts(ask(session, Thinking("off"), max_tokens=5)) == before
        assert parts(ask(session, Thinking("on"), max_tokens=5)) == before
    said = [record.message for record in caplog.records if "switch" in record.message]
    assert said == ["thinking stays as it is: the model's chat template has no switch for it"]


def test_a_raw_answer_comes_as_it_is_written(thinker: Path) -> None:
    with open_pair(thinker, "none") as session:
        tokens = list(session.stream("<assistant>", raw=True))
        assert parts(tokens) == ("", "".join(SCRIPT))
        assert session.stats.thought_n == 0


def test_an_earlier_thought_is_not_shown_to_the_model_again(thinker: Path) -> None:
    turns = [ChatMessage("user", "a"), ChatMessage("assistant", "b", thought="c"), ChatMessage("user", "d")]
    with open_pair(thinker, "none") as session:
        model = session.engine.target.model
        assert session.tokenize(turns) == model.tokenize("<user>a<assistant>b<user>d<assistant>")


def test_a_budget_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="`think_budget` -1 is out of range"):
        Thinking(budget=-1)


def test_one_line_says_that_without_a_template_there_is_no_switch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_pair(make_tiny_model(tmp_path / "m.gguf"), "none") as session:
        for thinking in (AS_IT_LIKES, Thinking("off"), Thinking("on", 5), Thinking(budget=5), Thinking("on")):
            ask(session, thinking, max_tokens=2)
        said = [
            "thinking stays as it is: the model has no chat template",
            "`think_budget` 5 has no effect: the model has no chat template",
        ]
        assert session.notes == said
        assert [record.message for record in caplog.records if "template" in record.message] == said


def test_one_line_says_that_a_raw_text_leaves_the_switch_out(
    thinker: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_pair(thinker, "none") as session:
        for _ in range(2):
            list(session.stream("<assistant>", raw=True, thinking=Thinking("off")))
        said = ["thinking stays as it is: `raw` leaves the model's chat template out"]
        assert session.notes == said
        assert [record.message for record in caplog.records if "template" in record.message] == said
