"""The `openai` package against `edgespec serve`: answers of a given structure."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel

from tests.serve.served import Server

QUESTION: list[Any] = [{"role": "user", "content": "the cat and the hat"}]


class Animal(BaseModel):
    """What an answer is parsed into; the choices make every answer a short one."""

    kind: Literal["cat", "dog"]
    is_big: bool


@pytest.fixture(scope="module")
def server(tiny_model: Path, tiny_draft: Path) -> Iterator[Server]:
    one = Server(tiny_model, "--draft", tiny_draft, "-t", "1", "-np", "4", "-c", "4096")
    yield one.wait_ready()
    one.close()


def test_an_answer_is_parsed_into_a_pydantic_model(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(
        model="tiny", messages=QUESTION, response_format=Animal, max_tokens=200
    )
    animal = parsed.choices[0].message.parsed
    assert isinstance(animal, Animal)
    assert parsed.choices[0].finish_reason == "stop"
    with client.chat.completions.stream(
        model="tiny", messages=QUESTION, response_format=Animal, max_tokens=200
    ) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == animal


def test_any_json_object_can_be_asked_for(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(
        model="tiny",
        messages=QUESTION,
        response_format={"type": "json_object"},
        max_tokens=300,
        temperature=0,
    )
    if said.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(said.choices[0].message.content or ""), dict)
    else:
        assert (said.choices[0].message.content or "").lstrip().startswith("{")
