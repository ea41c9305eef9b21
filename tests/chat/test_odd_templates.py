"""Chat templates with anything in them, loops and growth included: a text, or an error in one line within the limits."""

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgespec.chat import renderer
from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import ChatTemplate
from edgespec.errors import EdgespecError, ModelFileError
from tests.tiny import CHAT_TEMPLATE

QUESTION = [ChatMessage("user", "Why?")]
WORDS = st.sampled_from(
    [
        *("{%", "%}", "{%-", "-%}", "{{", "}}", "{#", "#}", "(", ")", "[", "]", "{", "}", ".", "|", ",", ":"),
        *("for", "in", "endfor", "if", "elif", "else", "endif", "set", "macro", "endmacro", "call", "filter"),
        *("message", "messages", "loop.index", "namespace", "range", "raise_exception", "strftime_now", "x"),
        *("tojson", "trim", "length", "list", "join", "generation", "endgeneration", "break", "continue"),
        *("=", "==", "+", "-", "*", "**", "~", "%", "//", "not", "and", "is", "defined", "none", "true"),
        *("'role'", "'content'", "'\\ud800'", "0", "-1", "3", "99999", "1e400", "\n", "é", "\x1b[31m"),
    ]
)
ANY_WORDS = st.lists(WORDS, max_size=30).map(" ".join)
GROWING = st.sampled_from(
    [
        "{% set ns = namespace(x='ab') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% for i in range(99999) %}{{ messages }}{% endfor %}",
        "{{ 'ab' * 99999999 }}",
        "{{ 9 ** 99999999 }}",
        "{{ range(99999) | list | tojson(indent=9999) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'x' | center(99999999) }}",
        "{{ '%99999999d' % 1 }}",
    ]
)
"""Programs that take much of something."""


def looped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    head = st.sampled_from(["range(99999)", "range(3)", "messages", "'abc'", "range(99999) | list"])
    return st.one_of(
        st.builds(lambda what, body: f"{{% for i in {what} %}}{body}{{% endfor %}}", head, inner),
        st.builds(lambda one, two: one + two, inner, inner),
        inner.map(lambda body: f"{{% if messages %}}{body}{{% endif %}}"),
    )


TEMPLATES = st.recursive(st.one_of(ANY_WORDS, GROWING, st.just("{{ messages }}")), looped, max_leaves=5)
FAST = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def narrow_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "LIMIT_S", 0.1)
    monkeypatch.setattr(renderer, "LIMIT_BYTES", 200 << 20)


def render(source: str) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(QUESTION)


def check_rendered_or_refused(source: str) -> None:
    try:
        assert isinstance(render(source), str)
    except EdgespecError as error:
        assert isinstance(error, ModelFileError)
        assert "chat template" in error.message
        assert len(error.message.splitlines()) == 1
        assert not re.search(r"[\x00-\x1f]", error.message)


@FAST
@given(TEMPLATES)
@example("{% for i in range(99999) %}" * 4 + "{% endfor %}" * 4)
@example("{{ 9 ** 9 ** 9 }}")
def test_any_template_is_rendered_or_refused_within_its_limits(source: str) -> None:
    check_rendered_or_refused(source)


@settings(FAST, max_examples=150)
@given(st.integers(0, 400), ANY_WORDS, st.integers(0, 9))
def test_a_damaged_template_is_rendered_or_refused(place: int, more: str, cut: int) -> None:
    check_rendered_or_refused(CHAT_TEMPLATE[:place] + more + CHAT_TEMPLATE[place + cut :])


def test_after_all_that_a_sound_one_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    check_rendered_or_refused("{% for i in range(99999) %}" * 4 + "{% endfor %}" * 4)
    monkeypatch.setattr(renderer, "LIMIT_S", 5.0)  # the next process has to start
    assert "Why?" in render(CHAT_TEMPLATE)
