"""Thoughts are told from answers, whatever marks a model puts around them and however the text is cut."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgespec.chat.marks import HARMONY, KNOWN_MARKS, ThoughtMarks, marks_around, marks_in_text
from edgespec.chat.thoughts import Parts, make_reader

THINK = KNOWN_MARKS[0]
COHERE = next(marks for marks in KNOWN_MARKS if "START_THINKING" in marks.opening)
GEMMA = next(marks for marks in KNOWN_MARKS if "channel" in marks.opening)
FINAL = "<|channel|>final<|message|>"
ANALYSIS = "<|channel|>analysis<|message|>"
WORDS = st.text("ab <>/|[]T\n", max_size=12)


def read(marks: ThoughtMarks | None, pieces: Iterable[str], prompt: str = "") -> Parts:
    """All of an answer; a piece that begins with a NUL is the text of a control token."""
    reader = make_reader(marks, prompt)
    parts = Parts()
    for piece in pieces:
        is_control = piece.startswith("\0")
        parts += reader.add(piece.removeprefix("\0"), is_control=is_control)
    return parts + reader.finish()


def cut(text: str, places: Sequence[int]) -> list[str]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


@pytest.mark.parametrize("marks", [*KNOWN_MARKS, HARMONY], ids=lambda marks: marks.opening)
@pytest.mark.parametrize("own", [True, False], ids=["told by the template", "not told"])
@given(places=st.lists(st.integers(0, 200), max_size=8))
def test_a_thought_is_parted_from_its_answer_wherever_the_text_is_cut(
    marks: ThoughtMarks, own: bool, places: list[int]
) -> None:
    if marks is HARMONY and not own:
        return
    text = f"{marks.opening}Hm, a < b\nif </ so.{marks.ending}The answer\n\n- **is** <b>."
    expected = Parts("The answer\n\n- **is** <b>.", "Hm, a < b\nif </ so.")
    assert read(marks if own else None, cut(text, places)) == expected


@given(WORDS, WORDS, st.lists(st.integers(0, 60), max_size=6))
def test_no_character_of_either_part_is_lost(thought: str, answer: str, places: list[int]) -> None:
    parts = read(THINK, cut(f"<think>{thought}</think>{answer}", places))
    assert parts.thought == thought.strip()
    assert parts.answer == answer.lstrip()


@given(WORDS, st.lists(st.integers(0, 60), max_size=6))
def test_an_answer_without_a_thought_stays_as_it_is(text: str, places: list[int]) -> None:
    for marks in (None, THINK, COHERE, HARMONY):
        assert read(marks, cut(text, places)) == Parts(text)


def test_an_answer_that_speaks_of_the_marks_keeps_them() -> None:
    text = "Models write <think>so</think> first.\n<answer>`</think>`</answer>"
    assert read(THINK, [text]) == read(None, list(text)) == Parts(text)


def test_a_thought_that_the_prompt_began_is_one_from_the_first_token() -> None:
    prompt = "<|im_start|>assistant\n<think>\n"
    assert read(THINK, ["Hm.\n", "</thi", "nk>\n\nYes."], prompt) == Parts("Yes.", "Hm.")
    assert read(None, ["Hm.</think>Yes."], prompt) == Parts("Yes.", "Hm.")
    ended = prompt + "\n</think>\n\n"
    assert read(THINK, ["Yes.", " No."], ended) == Parts("Yes. No.")


def test_a_thought_that_never_ends_is_all_thought() -> None:
    assert read(THINK, ["<think>\nHm", ", so", " </thi"]) == Parts("", "Hm, so </thi")


def test_a_second_thought_before_the_answer_joins_the_first() -> None:
    assert read(THINK, ["<think>a</think>\n<think>b</think>\nc"]) == Parts("c", "a\n\nb")


@given(st.lists(st.integers(0, 40), max_size=6), st.sampled_from(["", "\n", "\n\n"]))
def test_a_thought_that_is_ended_twice_leaves_no_mark_in_the_answer(places: list[int], gap: str) -> None:
    for prompt, thought in (("<think>\n", "Hm.\n</think>\n\n"), ("<think>\n\n</think>\n\n", "")):
        pieces = cut(f"{thought}{gap}</think>{gap}Yes </think>.", places)
        assert read(THINK, pieces, prompt).answer == read(None, pieces, prompt).answer == "Yes </think>."
    assert read(COHERE, ["\0<|END_THINKING|>", "\0<|START_RESPONSE|>", "Yes"], COHERE.ending).answer == "Yes"


def test_a_closing_mark_that_ends_no_thought_is_text() -> None:
    assert read(THINK, ["</think> is a mark."]) == Parts("</think> is a mark.")


def test_marks_that_are_control_tokens_count_in_the_middle_too() -> None:
    pieces = ["One. ", "\0[THINK]", "hm", "\0[/THINK]", "Two. [THINK] three"]
    marks = next(marks for marks in KNOWN_MARKS if marks.opening == "[THINK]")
    assert read(marks, pieces) == Parts("One. Two. [THINK] three", "hm")


def test_control_tokens_that_are_no_marks_are_left_out() -> None:
    pieces = ["\0<|START_RESPONSE|>", "Yes", "\0<|END_RESPONSE|>", "."]
    assert read(COHERE, pieces) == read(None, pieces) == Parts("Yes.")
    pieces = ["\0<|START_THINKING|>", "Hm.", "\0<|END_THINKING|>", *pieces]
    assert read(COHERE, pieces) == read(None, pieces) == Parts("Yes.", "Hm.")


def test_a_mark_may_be_a_control_token_and_a_word() -> None:
    pieces = ["\0<|channel>", "thought", "\n", "Hm.", "\0<channel|>", "Yes."]
    assert read(GEMMA, pieces) == read(None, pieces) == Parts("Yes.", "Hm.")


@pytest.mark.parametrize("split", [True, False], ids=["control tokens", "plain text"])
def test_the_channels_of_gpt_oss_are_told_apart(split: bool) -> None:
    text = (
        f"{ANALYSIS}Think.<|end|><|start|>assistant{ANALYSIS}More.<|end|>"
        f"<|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant{FINAL}Yes.<|return|>"
    )
    marks = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>")
    for mark in marks if split else ():
        text = text.replace(mark, f"\1\0{mark}\1")
    assert read(HARMONY, text.split("\1")) == Parts("I look.\n\nYes.", "Think.\n\nMore.")


def test_a_message_of_gpt_oss_without_a_header_is_an_answer() -> None:
    assert read(HARMONY, ["Yes", "."]) == Parts("Yes.")
    long = "no header " * 40
    assert read(HARMONY, ["\0<|channel|>", long, long]).answer == long + long


def test_a_reader_says_whether_the_model_thinks() -> None:
    for marks in (THINK, HARMONY):
        reader = make_reader(marks, "")
        states = [reader.in_thought]
        for piece in (marks.opening, "Hm.", marks.ending, "Yes."):
            reader.add(piece)
            states.append(reader.in_thought)
        assert states == [False, True, True, False, False]


# What a template tells


def test_a_templates_own_marks_are_what_it_puts_around_a_thought() -> None:
    rendered = "<|user|>Q<|assistant|><hm:1>T\n</hm:1>\n\nA<|end|>"
    assert marks_around(rendered, "<|user|>Q<|assistant|>", "T", "A") == ThoughtMarks(
        "<hm:1>", "</hm:1>", "\n</hm:1>\n\n"
    )


def test_marks_may_have_words_between_them() -> None:
    rendered = "<|open|>think<|sep|>T<|close|>think<|sep|><|open|>response<|sep|>A<|close|>"
    marks = marks_around(rendered, "<|user|>Q", "T", "A")
    assert marks is not None
    assert (marks.opening, marks.closing) == ("<|open|>think<|sep|>", "<|close|>")
    text = "<|open|>think<|sep|>Hm.<|close|>think<|sep|><|open|>response<|sep|>Yes."
    assert read(marks, list(text)) == Parts("Yes.", "Hm.")


@pytest.mark.parametrize("rendered", ["Q: T A", "<b>T<b>A", "<b>A</b>", "<b>T</b>"])
def test_what_does_not_look_like_marks_is_none(rendered: str) -> None:
    assert marks_around(rendered, "", "T", "A") is None


def test_a_template_that_only_mentions_a_known_mark_tells_it() -> None:
    assert marks_in_text("{% set content = content.split('</think>')[-1] %}") == THINK
    assert marks_in_text("{{ messages }}") is None
