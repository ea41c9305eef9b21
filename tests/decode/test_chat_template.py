"""Chat templates: real ones as they are meant, hostile ones harmless, failing ones reported."""

import pytest

from edgespec.decode.chat_template import ChatMessage, render_chat, tokenize_chat
from edgespec.errors import ContextOverflowError, ModelFileError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from tests.decode.real import open_context
from tests.tiny import make_tiny_model

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
WITH_TOOLS = (
    "{%- if tools is not none %}{{ tools | length }} tools{%- endif %}\n"
    "{%- if strftime_now is defined %}{{ strftime_now('%d') }}{%- endif %}\n"
    "    {%- for message in messages %}\n"
    "    {%- set role = message.role %}\n"
    "{{ role }}: {{ message.content }}\n"
    "    {%- endfor %}"
)
QUESTION = [ChatMessage("user", " Why? ")]
CONVERSATION = [
    ChatMessage("system", "Be brief."),
    ChatMessage("user", "Why?"),
    ChatMessage("assistant", "Because."),
    ChatMessage("user", "And?"),
]


def test_chatml():
    assert render_chat(CHATML, QUESTION) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n Why? <|im_end|>\n<|im_start|>assistant\n"
    )
    assert render_chat(CHATML, CONVERSATION) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\nBecause.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_llama_3_with_its_begin_token():
    assert render_chat(LLAMA_3, QUESTION, bos_text="<|begin_of_text|>") == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_a_template_of_the_mistral_kind_with_its_end_token():
    turns = CONVERSATION[1:]
    assert render_chat(MISTRAL, turns, bos_text="<s>", eos_text="</s>") == (
        "<s>[INST] Why? [/INST]Because.</s>[INST] And? [/INST]"
    )


def test_whitespace_control_and_tests_of_what_is_not_there_work_as_templates_expect():
    assert render_chat(WITH_TOOLS, QUESTION) == "user:  Why? "


def test_without_a_template_the_texts_are_joined_by_blank_lines():
    assert render_chat(None, CONVERSATION) == "Be brief.\n\nWhy?\n\nBecause.\n\nAnd?"
    assert render_chat("", QUESTION) == " Why? "


def test_a_template_that_refuses_is_reported_in_its_own_words():
    with pytest.raises(ModelFileError, match=r"Only user and assistant roles|must alternate") as caught:
        render_chat(MISTRAL, CONVERSATION)
    assert "`raw`" in caught.value.hint


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__.__init__.__globals__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'system'}) }}",
        "{% include 'other' %}",
        "{% for %}",
        "{{ messages[0].nothing.here }}",
        "{{ 1 + 'a' }}",
        "{{ 1 // 0 }}",
        "{{ range(10**9) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ [].pop() }}",
        "{{ messages[0]['content'].encode('ascii').decode('utf-8').index('z') }}",
        "{{ 2.0 ** 5000 }}",
    ],
)
def test_a_template_that_reaches_out_or_fails_is_an_error_of_the_file(template: str):
    with pytest.raises(ModelFileError, match="the model's chat template fails"):
        render_chat(template, QUESTION)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception.__globals__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ ''|attr('__class__') }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}",
        "{{ messages[0]['content'].__class__ }}",
    ],
)
def test_what_is_out_of_a_templates_reach_is_as_if_it_were_not_there(template: str):
    assert render_chat(f"<{template}>", QUESTION) == "<>"


def test_what_the_user_writes_is_never_a_template():
    message = ChatMessage("user", "{{ ''.__class__ }}{% for %}")
    assert message.content in render_chat(CHATML, [message])


# Tokens


def test_a_template_that_writes_the_begin_token_gets_no_second_one(tmp_path_factory: pytest.TempPathFactory):
    """The tiny tokenizer adds `<s>` by itself."""
    path = make_tiny_model(tmp_path_factory.mktemp("chat") / "m.gguf", chat_template=MISTRAL)
    with Model(path) as model, open_context(model) as context:
        tokens = tokenize_chat(context, [ChatMessage("user", "Why?")])
        raw = tokenize_chat(context, [ChatMessage("user", "Why?")], raw=True)
        begin = model.tokenize("<s>", add_special=False)
        assert len(begin) == 1
        assert (tokens[0], tokens.count(begin[0])) == (begin[0], 1)
        assert (raw[0], raw.count(begin[0])) == (begin[0], 1)
        assert b"".join(model.token_bytes(token) for token in tokens) == b"[INST] Why? [/INST]"


def test_the_models_own_template_is_used_unless_the_text_is_raw(target: Context):
    def text(raw: bool) -> bytes:
        tokens = tokenize_chat(target, [ChatMessage("user", "Why?")], raw=raw)
        return b"".join(target.model.token_bytes(token) for token in tokens)

    assert text(raw=False) == b"<user>Why?\n<assistant>"
    assert text(raw=True) == b"Why?"


def test_a_conversation_longer_than_the_context_is_refused_with_its_length(target: Context):
    with pytest.raises(ContextOverflowError, match=r"the prompt has \d{3,} tokens and the context 256"):
        tokenize_chat(target, [ChatMessage("user", "the " * 400)])


def test_nothing_to_say_is_refused(bpe_model: Model):
    """A tokenizer without a begin token makes nothing of an empty text."""
    with (
        open_context(bpe_model) as context,
        pytest.raises(UsageError, match="the prompt is empty"),
    ):
        tokenize_chat(context, [ChatMessage("user", "")], raw=True)
