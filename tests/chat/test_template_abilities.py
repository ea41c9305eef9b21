"""What a template takes: typed content, system prompts, tools, a switch for thinking."""

import pytest

from edgespec.chat.abilities import ThinkingSwitch
from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import ChatTemplate
from edgespec.errors import ModelFileError
from tests.chat.small_templates import CHATML, CONVERSATION, MISTRAL, QUESTION, TYPED, render


def test_a_template_for_typed_content_gets_parts():
    assert render(TYPED, QUESTION) == "<user> Why? <assistant>"
    assert ChatTemplate(TYPED).abilities.typed_content
    assert not ChatTemplate(CHATML).abilities.typed_content


def test_a_template_that_loses_the_question_is_refused():
    with pytest.raises(ModelFileError, match="leaves out what the user says"):
        render("{% for m in messages %}<{{ m.role }}>{{ m.text }}{% endfor %}", QUESTION)


def test_a_system_prompt_begins_the_first_question_where_there_is_no_such_role(
    caplog: pytest.LogCaptureFixture,
):
    template = ChatTemplate(MISTRAL, "<s>", "</s>")
    assert not template.abilities.system_role
    said = "<s>[INST] Be brief.\n\nWhy? [/INST]Because.</s>[INST] And? [/INST]"
    assert [template.render(CONVERSATION), template.render(CONVERSATION)] == [said, said]
    assert [record.message for record in caplog.records] == [
        "the model's chat template has no system role: the system prompt begins the first question"
    ]
    caplog.clear()
    template.render(CONVERSATION[1:])
    assert not caplog.records


def test_a_template_that_drops_the_system_prompt_in_silence_gets_it_in_the_question():
    dropping = CHATML.replace("{{'<|im_start|>'", "{% if message['role'] != 'system' %}{{'<|im_start|>'")
    dropping = dropping.replace("'\n'}}{% endfor %}", "'\n'}}{% endif %}{% endfor %}")
    assert "<|im_start|>user\nBe brief.\n\nWhy?<|im_end|>" in render(dropping, CONVERSATION)


def test_tools_are_known_of():
    assert ChatTemplate(CHATML + "{% if tools %}{{ tools | tojson }}{% endif %}").abilities.tools
    assert not ChatTemplate(CHATML).abilities.tools


@pytest.mark.parametrize(
    ("name", "off"), [("enable_thinking", "false"), ("thinking", "false"), ("thinking_budget", "0")]
)
def test_the_switch_for_thinking_is_found_by_what_it_does(name: str, off: str):
    source = CHATML + f"{{% if {name} is defined and {name} == {off} %}}<think></think>{{% endif %}}"
    template = ChatTemplate(source)
    assert template.abilities.switch is not None
    assert template.abilities.switch.name == name
    assert template.render(QUESTION, "off").endswith("<think></think>")
    assert template.render(QUESTION, "on") == template.render(QUESTION) == render(CHATML, QUESTION)


@pytest.mark.parametrize(
    ("words", "off"),
    [
        ("{% if reasoning_effort == 'none' %}OFF{% endif %}", "none"),
        (
            "{% set effort = reasoning_effort | default('high') %}"
            "{% if effort not in ['high', 'low', 'no_think'] %}{{ raise_exception('unknown') }}{% endif %}"
            "{{ effort }}{% if effort == 'no_think' %}OFF{% endif %}",
            "no_think",
        ),
        ("{% if reasoning_effort in ['low', 'minimal'] %}OFF{% endif %}", "minimal"),
    ],
)
def test_an_effort_is_a_switch_where_one_of_its_words_stops_the_model(words: str, off: str):
    template = ChatTemplate(CHATML + words)
    assert template.abilities.switch == ThinkingSwitch("reasoning_effort", "high", off)
    assert template.render(QUESTION, "off").endswith("OFF")
    assert "OFF" not in template.render(QUESTION, "on")
    assert template.notes == []


def test_a_model_that_is_only_told_its_effort_thinks_less_and_a_line_says_so():
    effort = "Reasoning: {{ reasoning_effort | default('medium') }}\n"
    template = ChatTemplate(effort + CHATML)
    as_it_likes = "Reasoning: medium\n" + render(CHATML, QUESTION)
    assert template.render(QUESTION) == template.render(QUESTION, "on") == as_it_likes
    assert template.notes == []
    for _ in range(2):
        assert template.render(QUESTION, "off").startswith("Reasoning: low\n")
    assert template.notes == [
        "thinking is only lessened: the model's chat template cannot switch it off; "
        "`edgespec run` with `think_budget` 0 begins the answer at once"
    ]


def test_a_template_that_mentions_a_switch_without_using_it_has_none(caplog: pytest.LogCaptureFixture):
    template = ChatTemplate(CHATML + "{# enable_thinking #}")
    assert template.abilities.switch is None
    assert template.render(QUESTION, "off") == template.render(QUESTION, "on") == render(CHATML, QUESTION)
    assert [record.message for record in caplog.records] == [
        "thinking stays as it is: the model's chat template has no switch for it"
    ]


KEEPS_THOUGHTS = CHATML.replace(
    "message['content'] +",
    "('<think>' + message.reasoning_content + '</think>' if message.reasoning_content else '')"
    " + message['content'] +",
)


@pytest.mark.parametrize("source", [CHATML, KEEPS_THOUGHTS])
def test_an_earlier_thought_is_shown_where_the_template_wants_it(source: str):
    turns = [*QUESTION, ChatMessage("assistant", "So.", thought="Hm."), *QUESTION]
    assert ("<think>Hm.</think>So." in render(source, turns)) == (source is KEEPS_THOUGHTS)
    assert "So." in render(source, turns)
