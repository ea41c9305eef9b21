"""`edgespec run` with a model that thinks first: the answer on stdout, the thought where it was asked for."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.scripted_model import TEMPLATE, make_scripted_model
from tests.session.single_thread import one_thread
from tests.tiny import CHAT_TEMPLATE, make_tiny_model

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def thinker(tiny_folder: Path) -> Path:
    """Thinks before it answers; its template has a switch for it."""
    script = ("<think>", "Hm", ", \x1bso", " it is", "</think>", "\n\n", "Yes", " indeed", ".")
    off = "{% if enable_thinking is false %}<think>\n</think>\n{% endif %}{% endif %}"
    template = TEMPLATE.replace("{% endif %}", off)
    return make_scripted_model(
        tiny_folder / "thinker.gguf", script, after={"\n": "Yes"}, chat_template=template
    )


def test_a_thought_is_no_part_of_the_answer(run_cli: RunCli, thinker: Path):
    result = run_cli("run", thinker, "-p", "Is it?")
    assert (result.code, result.out, result.err) == (0, "Yes indeed.\n", "")


def test_a_thought_is_shown_on_stderr_where_asked_for(run_cli: RunCli, thinker: Path):
    result = run_cli("run", thinker, "-p", "Is it?", "--show-thinking")
    assert (result.code, result.out, result.err) == (0, "Yes indeed.\n", "Hm, \\x1bso it is\n")


def test_json_has_the_thought_apart(run_cli: RunCli, thinker: Path):
    document = json.loads(run_cli("run", thinker, "-p", "Is it?", "--json").out)
    assert (document["text"], document["thought"]) == ("Yes indeed.", "Hm, \x1bso it is")
    assert (document["predicted_n"], document["thought_n"]) == (10, 5)


def test_thinking_can_be_switched_off_and_held_to_a_budget(run_cli: RunCli, thinker: Path):
    for options, thought in ((("--think", "off"), ""), (("--think-budget", "2"), "Hm")):
        document = json.loads(run_cli("run", thinker, "-p", "Is it?", "--json", *options).out)
        assert (document["text"], document["thought"]) == ("Yes indeed.", thought)


def test_one_line_says_that_there_is_no_switch(run_cli: RunCli, tiny_folder: Path):
    path = make_tiny_model(tiny_folder / "plain.gguf", chat_template="{# no switch here #}" + CHAT_TEMPLATE)
    result = run_cli("run", path, "-p", "the cat", "-n", "5", "--think", "off")
    assert result.code == 0
    assert result.err == (
        "edgespec: warning: thinking stays as it is: the model's chat template has no switch for it\n"
    )


def test_an_answer_that_never_began_is_explained(run_cli: RunCli, thinker: Path):
    result = run_cli("run", thinker, "-p", "Is it?", "-n", "3")
    assert (result.code, result.out) == (0, "\n")
    assert "all 3 tokens were thoughts" in result.err
    assert result.err.count("\n") == 1


def test_an_answer_that_ends_within_the_thought_is_explained(run_cli: RunCli, tiny_folder: Path):
    path = make_scripted_model(tiny_folder / "silent.gguf", ("<think>", "Hm", " it is", "</think>"))
    result = run_cli("run", path, "-p", "Is it?")
    assert (result.code, result.out) == (0, "\n")
    assert "ended after 4 tokens of thought without an answer" in result.err
    assert result.err.endswith("with --show-thinking, or ask again with --think-budget 0\n")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "way_out"), [((), "--think off"), (("--think", "off"), "--think-budget 0")]
)
def test_a_switch_is_offered_where_there_is_one_that_was_not_tried(
    run_cli: RunCli, tiny_folder: Path, options: tuple[str, ...], way_out: str
):
    off = "{% if enable_thinking is false %}{{ '\\n' }}{% endif %}{% endif %}"
    path = make_scripted_model(
        tiny_folder / "silent-switch.gguf",
        ("<think>", "Hm", " it is", "</think>"),
        after={"\n": "<think>"},
        chat_template=TEMPLATE.replace("{% endif %}", off),
    )
    result = run_cli("run", path, "-p", "Is it?", *options)
    assert (result.code, result.out) == (0, "\n")
    assert result.err.endswith(f"ask again with {way_out}\n")


def test_thinking_is_not_switched_where_the_template_is_left_out(run_cli: RunCli, thinker: Path):
    for options in (("--think", "off"), ("--think-budget", "0")):
        result = run_cli("run", thinker, "-p", "Is it?", "--raw", *options)
        assert (result.code, result.out) == (2, "")
        assert f"{' '.join(options)} has no effect with --raw" in result.err
        assert result.err.count("\n") == 1


def test_one_line_says_that_a_model_without_a_template_has_no_switch(run_cli: RunCli, tmp_path: Path):
    path = make_tiny_model(tmp_path / "bare.gguf")
    for options, said in (
        (("--think", "off"), "thinking stays as it is"),
        (("--think-budget", "0"), "--think-budget 0 has no effect"),
    ):
        result = run_cli("run", path, "-p", "the cat", "-n", "5", *options)
        assert (result.code, result.err) == (
            0,
            f"edgespec: warning: {said}: the model has no chat template\n",
        )
