"""Answers that are held to a JSON schema."""

import json
from pathlib import Path

import pytest
from textual.widgets import Markdown

from edgespec.chat.structure import StructureKind
from edgespec.decode.token import DraftSource
from edgespec.worker.protocol import Answer, Answered, Piece
from tests.tui.chat_script import chat_of, send, status_of, until
from tests.tui.conftest import AppBench, settle
from tests.tui.scripted import finished_stats, tokens
from tui.app import EdgespecApp
from tui.services.launch import Launch
from tui.services.settings import AppSettings

SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}


@pytest.fixture
def schema_file(tmp_path: Path) -> Path:
    path = tmp_path / "city.json"
    path.write_text(json.dumps(SCHEMA))
    return path


async def test_a_schema_holds_the_answers_from_then_on_until_it_is_off(
    bench: AppBench, schema_file: Path
) -> None:
    async with bench.run() as (app, pilot):
        await send(pilot, "/schema city.json")
        await until(pilot, lambda: "answers are held to city.json" in status_of(app))
        await send(pilot, "Where?")
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, Answer)
        assert asked.structure is not None
        assert asked.structure.kind is StructureKind.SCHEMA
        assert json.loads(asked.structure.text) == SCHEMA
        await send(pilot, "/schema off")
        await until(pilot, lambda: "any form" in status_of(app))
        await send(pilot, "And now?")
        asked = bench.workers[0].requests[-1]
        assert isinstance(asked, Answer)
        assert asked.structure is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.json", None, "none.json cannot be read"),
        ("odd.json", "{", "odd.json"),
        ("odd.json", '{"type": "colour"}', "colour"),
    ],
)
async def test_a_schema_that_cannot_be_kept_is_refused_at_once(
    name: str, text: str | None, said: str, bench: AppBench
) -> None:
    if text is not None:
        Path(name).write_text(text)
    async with bench.run() as (app, pilot):
        await send(pilot, f"/schema {name}")
        await until(pilot, lambda: said in status_of(app))
        assert chat_of(app).pane.asking.structure is None


async def test_json_keeps_its_lines(bench: AppBench) -> None:
    text = '{\n  "city": "Rome"\n}'
    says = (tokens((Piece(text, DraftSource.TARGET),), 9), Answered(finished_stats(), 1))
    async with bench.run(says=says) as (app, pilot):
        await send(pilot, "Where?")
        await settle(pilot)
        assert not chat_of(app).query_one(Markdown).display


@pytest.mark.model
async def test_a_real_models_answer_fits_its_schema(home_with_smollm2: Path, schema_file: Path) -> None:
    app = EdgespecApp(Launch(draft="none", offline=True), AppSettings(max_tokens=64))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.engine.is_ready)
        await send(pilot, f"/schema {schema_file}")
        await until(pilot, lambda: "answers are held" in status_of(app))
        await send(pilot, "Name a city.")
        messages = chat_of(app).transcript
        await until(pilot, lambda: len(messages.conversation.messages) == 2)
        assert json.loads(messages.conversation.messages[1].content)["city"] in ("Rome", "Oslo")
