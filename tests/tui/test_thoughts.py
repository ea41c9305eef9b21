"""Thoughts are folded into a line, and nothing that a model wrote is missing from the screen."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from random import Random

import pytest
from textual.pilot import Pilot
from textual.widgets import Markdown

from edgespec.chat.thinking import Thinking
from edgespec.decode.token import DraftSource
from edgespec.worker.protocol import Answer, Answered, AnyEvent, Piece, TokensArrived
from tests.tui.chat_script import chat_of, send, status_of
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.scripted import MIB, finished_stats, tokens
from tui.app import EdgespecApp
from tui.chat.conversation import Conversation, Message
from tui.chat.markdown_text import shows_all
from tui.chat.thought import ThoughtFold
from tui.chat.turn import AnswerTurn
from tui.services.launch import Launch

THOUGHT = "Hm, <b>so</b> it\nis."


def thinks(text: str, thought_n: int, seconds: float) -> TokensArrived:
    return replace(tokens((), thought_n), thought=text, thought_n=thought_n, thought_s=seconds)


def says(text: str) -> TokensArrived:
    return replace(tokens((Piece(text, DraftSource.TARGET),), 12), thought_n=7, thought_s=1.5)


def ended(stopped: str = "eog") -> Answered:
    return Answered(replace(finished_stats(stopped), thought_n=7, thought_s=1.5), 960 * MIB)


WHOLE: Sequence[AnyEvent] = (thinks(THOUGHT[:9], 4, 0.5), thinks(THOUGHT[9:], 7, 1.5), says("Yes."), ended())


def screen_text(app: EdgespecApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def folds(app: EdgespecApp) -> list[ThoughtFold]:
    return [fold for fold in chat_of(app).query(ThoughtFold) if fold.display]


async def ask(bench: AppBench, pilot: Pilot[int]) -> None:
    await settle(pilot)
    await send(pilot, "Is it?")


async def painted(app: EdgespecApp, pilot: Pilot[int], *, thought: str = "", content: str = "") -> None:
    """Until the turn that is coming shows this; what comes fast is painted together."""
    turn = chat_of(app).query_one(AnswerTurn)
    while (turn.thought, turn.content) != (thought, content):
        await pilot.pause(0.01)
    await settle(pilot)


async def test_a_thought_is_a_line_that_opens(bench: AppBench) -> None:
    app = bench.make(says=WHOLE)
    async with app.run_test(size=LARGE) as pilot:
        await ask(bench, pilot)
        shown = screen_text(app)
        assert "▶ thought · 7 tokens · 1.5 s" in shown
        assert "Yes." in shown
        assert "Hm, " not in shown
        await pilot.click("CollapsibleTitle")
        await settle(pilot)
        assert "Hm, <b>so</b> it" in screen_text(app)
        await send(pilot, "/thoughts")
        assert "Hm, " not in screen_text(app)
        await send(pilot, "/thoughts")
        assert "▼ thought" in screen_text(app)


async def test_while_the_model_thinks_the_line_says_so(bench: AppBench) -> None:
    app = bench.make(says=WHOLE[:2])
    async with app.run_test(size=LARGE) as pilot:
        await ask(bench, pilot)
        await painted(app, pilot, thought=THOUGHT)
        assert "▶ thinking · 7 tokens · 1.5 s" in screen_text(app)
        assert status_of(app).startswith("thinking · ")


async def test_a_thought_is_kept_with_its_answer_and_handed_to_the_template(bench: AppBench) -> None:
    app = bench.make(says=WHOLE)
    async with app.run_test(size=LARGE) as pilot:
        await ask(bench, pilot)
        await send(pilot, "Sure?")
        asked = [request for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert [(turn.role, turn.content, turn.thought) for turn in asked[1].messages] == [
            ("user", "Is it?", ""),
            ("assistant", "Yes.", THOUGHT),
            ("user", "Sure?", ""),
        ]
    again = bench.make(Launch(resume_last=True))
    async with again.run_test(size=LARGE) as pilot:
        await settle(pilot)
        kept = chat_of(again).transcript.conversation.messages[1]
        assert (kept.content, kept.thought, kept.thought_n, kept.thought_s) == ("Yes.", THOUGHT, 7, 1.5)
        assert len(folds(again)) == 2


async def test_an_answer_without_a_thought_has_no_line(bench: AppBench) -> None:
    app = bench.make()
    async with app.run_test(size=LARGE) as pilot:
        await ask(bench, pilot)
        assert folds(app) == []


async def test_a_thought_that_was_stopped_is_kept(bench: AppBench) -> None:
    app = bench.make(says=[*WHOLE[:2], ended("interrupted")])
    async with app.run_test(size=LARGE) as pilot:
        await ask(bench, pilot)
        (_, message) = chat_of(app).transcript.conversation.messages
        assert (message.content, message.thought, message.stopped) == ("", THOUGHT, True)


async def test_how_the_model_thinks_is_said_at_the_start_and_changed_by_command(bench: AppBench) -> None:
    app = bench.make(Launch(thinking=Thinking("on", 99)))
    async with app.run_test(size=LARGE) as pilot:
        await ask(bench, pilot)
        for line in ("/think off", "b", "/think", "c", "/think perhaps"):
            await send(pilot, line)
        asked = [request.thinking for request in bench.workers[0].requests if isinstance(request, Answer)]
        assert asked == [Thinking("on", 99), Thinking("off", 99), Thinking("auto", 99)]
        assert "unknown choice perhaps for /think" in status_of(app)


async def test_what_the_template_cannot_do_is_said(bench: AppBench) -> None:
    app = bench.make(says=[*WHOLE[:3], replace(ended(), notes=("there is no switch [b]",))])
    async with app.run_test(size=LARGE) as pilot:
        await ask(bench, pilot)
        assert [note.message for note in app._notifications] == ["there is no switch [b]"]


# Nothing is hidden

SNIPPETS = (
    "<{}>{}</{}>",
    "<{}>\n{}\n</{}>\n{}",
    "Map<{}, List<{}>> {} = new Map<>();",
    "a < {} and {} > b, {}<br/>{}",
    "<!-- {} -->\n{}",
    "<!-- {}\n\n{}",
    "<details><summary>{}</summary>\n\n{}\n\n</details>",
    "<script>\n{}\n</script>",
    "| {} | {} |\n|---|---|\n| {} | <{}> |",
    "| {} | {} |\n|---|---|\n| {} | {} | {} |",
    "| {} | {}\n|---",
    '[{}](http://{}.com/{} "{}")',
    "![{}]({}.png)",
    "[{}]: http://{}.com\n\n{}",
    "<http://{}.com/{}>",
    "&lt;{}&gt; &{}; &amp;{}",
    r"\({}\) and \[{}\]",
    "1986. {}\n1987. {}",
    "- [ ] {}\n- [x] {}\n  - {}",
    "# {} #\n\n{}\n===\n\n> {}\n>> {}",
    "    {} <{}>",
    "***{}*** ~~{}~~ `{} <{}>`",
    "```python\n{} <{}>\n```",
    "```python {} {}\n{}\n```",
    "```text\n{}\n\n{}",
)
OPEN_ENDS = (
    "```\n{} <{}>",
    "~~~\n{}\n~~",
    "``` {}",
    "<{}",
    "`{}",
    "**{} <{}",
    "| {} |\n|--",
    "<!-- {}",
    "[{}](",
)


def document(rng: Random, words: "count[int]") -> str:
    """Markdown of several kinds, the last perhaps half-finished; every word is another one."""
    chosen = [*rng.sample(SNIPPETS, rng.randint(1, 3)), *rng.sample(OPEN_ENDS, rng.randint(0, 1))]
    filled = [snippet.format(*(f"w{next(words)}" for _ in range(snippet.count("{}")))) for snippet in chosen]
    return "\n\n".join(filled)


@pytest.mark.parametrize("seed", range(12))
async def test_every_word_and_bracket_that_a_model_wrote_is_on_the_screen(bench: AppBench, seed: int) -> None:
    rng, words = Random(seed), count(100)
    texts = [document(rng, words) for _ in range(8)]
    app = bench.make()
    async with app.run_test(size=(120, 500)) as pilot:
        await settle(pilot)
        conversation = Conversation.begin()
        for text in texts:
            conversation = conversation.add(Message("assistant", text, (Piece(text, DraftSource.TARGET),)))
        chat_of(app).transcript.show(conversation)
        await settle(pilot)
        await settle(pilot)
        shown = screen_text(app)
        whole = "\n".join(texts)
        assert [word for word in (f"w{n}" for n in range(100, next(words))) if word not in shown] == []
        tags = [line for line in whole.split("\n") if line.startswith(("<", "Map<", "a <"))]
        assert [tag for tag in tags if tag not in shown] == []


async def test_an_answer_in_tags_is_shown_while_it_comes_and_when_it_is_there(bench: AppBench) -> None:
    text = "<answer>\n\nA `List<String>` of\n\n<b>words</b>\n\n</answer>\n"
    app = bench.make(says=[says(text[:20]), says(text[20:])])
    async with app.run_test(size=LARGE) as pilot:
        await ask(bench, pilot)
        await painted(app, pilot, content=text)
        for event in (None, ended()):
            if event is not None:
                bench.workers[0].say(event)
                await settle(pilot)
            shown = screen_text(app)
            assert all(part in shown for part in ("<answer>", "List<String>", "<b>words</b>", "</answer>"))
        assert chat_of(app).query_one(".answer-markdown", Markdown).display


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("# Head\n\n- **a** `b` <c>\n\n1. d\n2. e\n\n| f | g |\n|---|---|\n| h | i |\n", True),
        ("```python\nx = 1\n```", True),
        ("| f | g |\n|---|---|\n| h | i | lost |", False),
        ("``` all of it is lost", False),
        ("```python title=lost\nx\n```", False),
    ],
)
def test_what_rendering_would_hide_is_known(text: str, whole: bool) -> None:
    assert shows_all(text) == whole
