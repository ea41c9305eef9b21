import json
from pathlib import Path

import pytest

from edgespec.bench.prompts import Prompt, builtin_prompts, load_prompts, select
from edgespec.chat.messages import ChatMessage
from edgespec.errors import ConfigError, UsageError

CATEGORIES = [
    "chat",
    "code",
    "explain",
    "write",
    "translate",
    "reason",
    "extract",
    "edit",
    "multi-turn",
    "long-context",
]


def written(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8"
    )
    return path


def test_the_package_brings_five_prompts_of_each_of_ten_categories_in_order() -> None:
    assert [(p.id, p.category) for p in builtin_prompts()] == [
        (f"{category}-{number}", category) for category in CATEGORIES for number in range(1, 6)
    ]


def test_only_multi_turn_prompts_of_the_package_are_conversations_and_their_turns_alternate() -> None:
    for prompt in builtin_prompts():
        count = len(prompt.messages)
        assert [message.role for message in prompt.messages] == [
            "user",
            *["assistant", "user"] * (count // 2),
        ]
        assert count in ((3, 5, 7) if prompt.category == "multi-turn" else (1,)), prompt.id


def test_only_long_context_prompts_of_the_package_are_long() -> None:
    for prompt in builtin_prompts():
        text = "".join(message.content for message in prompt.messages)
        if prompt.category == "long-context":
            assert 500 <= len(text.split()) <= 900, prompt.id
            assert len(text) <= 5500, prompt.id
        else:
            assert len(text) < 1500, prompt.id


def test_edit_prompts_hold_the_text_to_copy() -> None:
    for prompt in select(builtin_prompts(), ["edit"]):
        assert len(prompt.messages[0].content) >= 400, prompt.id


def test_spec_bench_lines_give_their_first_turn(tmp_path: Path) -> None:
    path = written(tmp_path, {"question_id": 81, "category": "writing", "turns": ["First.", "Second."]})
    assert load_prompts(path) == (Prompt("81", "writing", (ChatMessage("user", "First."),)),)


def test_plain_lines_and_conversations_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"id": "a", "category": "chat", "prompt": "Hello."},
        "",
        {"prompt": "No name."},
        {
            "id": "c",
            "category": "chat",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        },
    )
    assert load_prompts(path) == (
        Prompt("a", "chat", (ChatMessage("user", "Hello."),)),
        Prompt("line-3", "prompts", (ChatMessage("user", "No name."),)),
        Prompt("c", "chat", (ChatMessage("system", "Be brief."), ChatMessage("user", "Why?"))),
    )


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": "a", "prompt": "x"}\r\n{"id": "b", "prompt": "y"}\r\n')
    assert [p.id for p in load_prompts(path)] == ["a", "b"]


def test_a_line_separator_inside_a_text_is_part_of_the_text(tmp_path: Path) -> None:
    path = written(tmp_path, '{"id": "a", "prompt": "one\u2028two"}')
    assert load_prompts(path)[0].messages[0].content == "one\u2028two"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "b", "prompt": ', "line 2: not JSON"),
        ("[1, 2]", "line 2 is [1, 2], not a table"),
        ('{"id": "b"}', "line 2: no text to answer"),
        ('{"id": "b", "turns": []}', "line 2: no text to answer"),
        ('{"id": "b", "prompt": " "}', "line 2: no text to answer"),
        ('{"id": "a", "prompt": "again"}', "line 2: the id 'a' was used before"),
        ('{"id": true, "prompt": "x"}', "line 2: id is True, not a string or a whole number"),
        (
            '{"id": "b", "category": [], "prompt": "x"}',
            "line 2: category is [], not a string or a whole number",
        ),
        (
            '{"id": "b", "messages": [{"role": "robot", "content": "x"}]}',
            "line 2: messages[0].role is 'robot', not one of system, user, assistant",
        ),
        ('{"id": "b", "messages": [{"role": "user"}]}', "line 2: messages[0] lacks content"),
        ('{"id": " ", "prompt": "x"}', "line 2: ' ' is not a name"),
        ('{"id": "b", "messages": [{"role": "assistant", "content": "x"}]}', "line 2: 'messages' must end"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_the_form_it_should_have(
    tmp_path: Path, line: str, complaint: str
) -> None:
    path = written(tmp_path, {"id": "a", "prompt": "x"}, line)
    with pytest.raises(ConfigError) as caught:
        load_prompts(path)
    assert f"{path}, {complaint}" in caught.value.message
    assert caught.value.hint


def test_an_empty_file_and_one_that_is_not_text_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no prompts"):
        load_prompts(written(tmp_path, "", " "))
    path = tmp_path / "binary.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_prompts(path)


def test_a_missing_file_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.jsonl"):
        load_prompts(tmp_path / "none.jsonl")


def made(*names: str) -> list[Prompt]:
    return [Prompt(name, name[0], (ChatMessage("user", name),)) for name in names]


def test_a_limit_counts_within_each_category_and_keeps_the_order() -> None:
    chosen = select(made("a1", "b1", "a2", "a3", "b2"), limit=2)
    assert [p.id for p in chosen] == ["a1", "b1", "a2", "b2"]


def test_categories_are_chosen_by_name() -> None:
    assert [p.id for p in select(made("a1", "b1", "c1"), ["c", "a"])] == ["a1", "c1"]


def test_an_unknown_category_names_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match="'translation'") as caught:
        select(builtin_prompts(), ["translation"])
    assert caught.value.hint == f"did you mean 'translate'? There are: {', '.join(CATEGORIES)}"


def test_a_limit_of_nothing_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="0 prompts"):
        select(made("a1"), limit=0)
