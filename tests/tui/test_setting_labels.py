"""What the app calls a setting that a message names: as the form in front of the user does."""

from pathlib import Path

import pytest
from textual.app import App
from textual.containers import Grid
from textual.widgets import Input, Label, Select, Static

from edgespec.errors import UsageError
from edgespec.worker.jobs.request import AmountUnit
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import OpenPair, RequestFailed
from tests.test_messages import named_settings
from tests.tui.conftest import LARGE, AppBench, settle
from tests.tui.workshop_script import screen_of, text_of, until
from tui.app import EdgespecApp
from tui.bench.form import BenchFormScreen
from tui.chat.keys import CHAT_KEYS
from tui.common.setting_labels import LABELS, with_labels
from tui.common.settings_screen import SettingsScreen
from tui.services.launch import Launch
from tui.workshop.form import Field


def test_every_setting_that_a_message_names_has_a_label() -> None:
    assert named_settings() == set(LABELS)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("use a smaller `ctx_size`", "use a smaller Context"),
        ("edgespec rpc-serve `host` ADDRESS `port` 50052", "edgespec rpc-serve --host ADDRESS --port 50052"),
        ("`edgespec models` lists them", "`edgespec models` lists them"),
    ],
)
def test_settings_alone_are_put_in(said: str, shown: str) -> None:
    assert with_labels(said) == shown


async def test_the_forms_show_the_labels_that_messages_use(bench: AppBench) -> None:
    async with bench.run(Launch(screen="workshop")) as (app, pilot):
        shown = {label for field in app.screen.query(Field) for label in labels_of(field)}
        for dialog in (SettingsScreen(app), BenchFormScreen(app.launch, app.engine_settings())):
            app.push_screen(dialog)
            await settle(pilot)
            shown |= grid_labels(app)
            app.pop_screen()
        shown |= {str(binding.description) for binding in CHAT_KEYS}  # type: ignore[union-attr]
    with_a_field = {label for label in LABELS.values() if label[0].isupper()}
    assert len(with_a_field) > 15
    assert with_a_field <= shown


def labels_of(field: Field) -> list[str]:
    """The field's title, alone and with each choice or hint beside it."""
    title = str(field.query_one(Label).content)
    options = [str(name) for select in field.query(Select) for name, _ in select._options]
    hints = [box.placeholder for box in field.query(Input)]
    return [title, *(f"{title} ({part})" for part in (*options, *hints))]


def grid_labels(app: App[int]) -> set[str]:
    return {str(label.content) for label in app.screen.query_one(Grid).query(Label)}


async def test_the_workshop_answers_in_the_words_of_its_form(tiny_model: Path) -> None:
    app = EdgespecApp(Launch(screen="workshop"), make_worker=WorkerProcess)
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        form = screen_of(app).form
        form.query_one("#unit", Select).value = AmountUnit.NAMED
        await settle(pilot)
        form.query_one("#amount", Input).value = "4;"
        app.go("workshop", with_=str(tiny_model))
        await until(pilot, lambda: "4;" in text_of(app, "plan"))
        assert "Remove (by number) '4;'" in text_of(app, "plan")
        assert "--remove" not in text_of(app, "plan")


async def test_the_chat_and_the_corner_do_so_too(bench: AppBench) -> None:
    async with bench.run(pair=None) as (app, pilot):
        worker = bench.workers[0]
        assert isinstance(worker.requests[0], OpenPair)
        worker.say(RequestFailed("the prompt has 9000 tokens", "use a larger `ctx_size`"))
        await settle(pilot)
        said = str(app.screen.query_one("#status", Static).content)
        assert said == "the prompt has 9000 tokens; use a larger Context"
        app.tell_error(UsageError("too long", "raise `max_tokens`"))
        await settle(pilot)
        assert [one.message for one in app._notifications] == ["too long\nraise Longest answer"]
