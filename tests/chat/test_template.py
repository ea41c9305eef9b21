"""Chat templates: real ones as they are meant, hostile ones harmless, failing ones reported."""

import contextlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import psutil
import pytest

from edgespec.chat import renderer
from edgespec.chat.messages import ChatMessage
from edgespec.chat.prompt_tokens import tokenize_chat
from edgespec.chat.template import Think, render_chat
from edgespec.errors import ContextOverflowError, ModelFileError, UsageError
from edgespec.llama.context import Context
from edgespec.llama.model import Model
from tests.chat.small_templates import CHATML, CONVERSATION, MISTRAL, QUESTION, render
from tests.decode.real import open_context
from tests.tiny import make_tiny_model

ROOT = Path(__file__).resolve().parents[2]
LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
WITH_TOOLS = (
    "{%- if tools is not none %}{{ tools | length }} tools{%- endif %}\n"
    "{%- if strftime_now is defined %}{{ strftime_now('%%') }}{%- endif %}\n"
    "    {%- for message in messages %}\n"
    "    {%- set role = message.role %}\n"
    "{{ role }}: {{ message.content }}\n"
    "    {%- endfor %}"
)


def test_chatml():
    assert render(CHATML, QUESTION) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n Why? <|im_end|>\n<|im_start|>assistant\n"
    )
    assert render(CHATML, CONVERSATION) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\nBecause.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_llama_3_with_its_begin_token():
    assert render(LLAMA_3, QUESTION, bos_text="<|begin_of_text|>") == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_a_template_of_the_mistral_kind_with_its_end_token():
    turns = CONVERSATION[1:]
    assert render(MISTRAL, turns, bos_text="<s>", eos_text="</s>") == (
        "<s>[INST] Why? [/INST]Because.</s>[INST] And? [/INST]"
    )


def test_whitespace_control_and_tests_of_what_is_not_there_work_as_templates_expect():
    assert render(WITH_TOOLS, QUESTION) == "%user:  Why? "


def test_without_a_template_the_texts_are_joined_by_blank_lines():
    assert render_chat(None, CONVERSATION) == "Be brief.\n\nWhy?\n\nBecause.\n\nAnd?"


def test_a_template_that_refuses_is_reported_in_its_own_words():
    with pytest.raises(ModelFileError, match="must alternate") as caught:
        render(MISTRAL, [*QUESTION, *QUESTION])
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
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{% for i in [1] %}" * 30 + "{% endfor %}" * 30,
        "{% if 1 %}" * 150 + "{% endif %}" * 150,
    ],
)
def test_a_template_that_reaches_out_or_fails_is_an_error_of_the_file(template: str):
    with pytest.raises(ModelFileError, match=r"the model's chat template fails: .") as caught:
        render(template, QUESTION)
    assert "\n" not in caught.value.message


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
    assert render(f"<{template}>{{{{ messages[0].content }}}}", QUESTION) == "<> Why? "


def test_what_the_user_writes_is_never_a_template():
    message = ChatMessage("user", "{{ ''.__class__ }}{% for %}")
    assert message.content in render(CHATML, [message])


# As llama-cpp-python and Transformers have it


def body(template: str) -> str:
    """What a template makes of it, apart from the question, which it must show."""
    return render(template + "{{ messages[0].content }}", [ChatMessage("user", "?")]).removesuffix("?")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "02"),
        ("{% generation %}said{% endgeneration %}", "said"),
        ("{{ {'b': '<é>', 'a': [1, none, true]} | tojson }}", '{"b": "<é>", "a": [1, null, true]}'),
        ("{{ {'é': 1} | tojson(ensure_ascii=true) }}", '{"\\u00e9": 1}'),
        ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}", '{"a":2,"b":1}'),
        ("{{ [1] | tojson(indent=2) }}", "[\n  1\n]"),
        ("{{ strftime_now('%%') }}{{ strftime_now('%Y') | length }}", "%4"),
        ("{{ ('<a>' | safe) + '<b>' + '&' }}", "<a><b>&"),
        ("{% if tools is none and tool_choice is none and functions is none %}none{% endif %}", "none"),
    ],
)  # fmt: skip
def test_what_templates_use_beside_plain_jinja(template: str, text: str):
    assert body(template) == text


def test_a_template_does_not_leave_its_sandbox_through_a_filter():
    """As it could before jinja2 3.1.6: `attr` gave what the sandbox guards behind a dot."""
    with pytest.raises(ModelFileError, match="unsafe"):
        body("{% set form = '{0.__class__.__mro__}' | attr('format') %}{{ form(messages) }}")


@cache
def render_theirs(source: str) -> str:
    """What llama-cpp-python makes of `CONVERSATION`, in a process of its own: its package takes llama.cpp's log to itself."""
    turns = [{"role": turn.role, "content": turn.content} for turn in CONVERSATION]
    code = (
        "import json, sys; from llama_cpp.llama_chat_format import Jinja2ChatFormatter; source, turns = json.load(sys.stdin);"
        'print(json.dumps(Jinja2ChatFormatter(source, eos_token="</s>", bos_token="<s>")(messages=turns).prompt))'
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([source, turns]),
        capture_output=True,
        text=True,
        check=True,
    )
    return str(json.loads(done.stdout))


@pytest.mark.parametrize("think", ["auto", "on", "off"])
@pytest.mark.parametrize("source", [CHATML, LLAMA_3, WITH_TOOLS])
def test_the_text_is_the_one_of_llama_cpp_python(source: str, think: Think):
    assert render(source, CONVERSATION, think, bos_text="<s>", eos_text="</s>") == render_theirs(source)


# Limits


def test_a_template_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(renderer, "LIMIT_S", 0.2)
    loops = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
    with pytest.raises(ModelFileError, match=r"takes longer than 0\.2 seconds"):
        render(loops, QUESTION)
    assert render(CHATML, QUESTION)


def test_a_template_that_fills_the_memory_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(renderer, "LIMIT_BYTES", 200 << 20)
    doubles = (
        "{% set ns = namespace(x='a') %}{% for i in range(29) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
    )
    with pytest.raises(ModelFileError, match=r"takes more than 200\.0 MiB of memory"):
        render(
            doubles + "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            QUESTION,
        )
    assert render(CHATML, QUESTION)


def test_a_renderer_that_was_killed_is_replaced():
    render(CHATML, QUESTION)
    children = [p for p in psutil.Process().children() if "jinja_process.py" in " ".join(p.cmdline())]
    assert len(children) == 1
    children[0].kill()
    children[0].wait()
    with pytest.raises(ModelFileError, match="it ended the process"):
        render(CHATML, QUESTION)
    assert render(CHATML, QUESTION)


def test_a_renderer_ends_with_its_program_even_in_the_middle_of_a_template():
    code = (
        "import os, threading, time\n"
        "from edgespec.chat.renderer import render_all\n"
        "loops = '{% for i in range(99999) %}' * 3 + '{% endfor %}' * 3\n"
        "render_all('ready', [{}])\n"
        "threading.Thread(target=render_all, args=(loops, [{}]), daemon=True).start()\n"
        "import psutil\n"
        "child = psutil.Process().children()[0]\n"
        "while child.cpu_times().user < 0.2: time.sleep(0.01)\n"
        "print(child.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(ran.stdout)).wait(60)


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
