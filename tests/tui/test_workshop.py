"""The workshop's form and plan, key by key, and its pictures, on scripted processes."""

from pathlib import Path

import pytest
from textual.widgets import Checkbox, Input, Select

from edgespec.llama.quantizer import QuantizeSettings
from edgespec.worker.jobs.prune import PruneJob
from edgespec.worker.jobs.request import AmountUnit, WorkshopRequest
from edgespec.worker.protocol import (
    Progressed,
    RequestFailed,
)
from quant.prune.choices import Criterion, Method
from quant.text.calibration_source import OWN_ANSWERS
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.workshop_script import (
    MADE,
    STAGES,
    Script,
    make,
    planned,
    quick_script,
    running,
    screen_of,
    text_of,
    until,
    workshop,
)
from tui.common.ask import ChooseScreen
from tui.workshop.screen import Phase


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    return quick_script(monkeypatch)


async def test_without_a_model_the_screen_names_the_next_key(bench: AppBench, script: Script) -> None:
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        assert "Ctrl+O" in text_of(app, "plan")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert script.jobs == []


async def test_a_model_that_another_screen_sends_is_planned_at_once_and_taken_only_once(
    bench: AppBench, script: Script
) -> None:
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        assert script.asked.model == "dense"
        assert screen.query_one("#output", Input).value == str(MADE)
        screen.form.take_model("another")
        await until(pilot, lambda: script.asked.model == "another")
        await pilot.press("f5", "f6")
        await settle(pilot)
        assert screen.query_one("#model", Input).value == "another"
        assert script.count(PruneJob) == 0


async def test_every_field_reaches_the_plan(bench: AppBench, script: Script) -> None:
    app = make(bench, script)
    async with workshop(app, size=LARGE) as pilot:
        screen = await planned(pilot, app)
        screen.query_one("#unit", Select).value = AmountUnit.BLOCKS
        await settle(pilot)
        screen.query_one("#amount", Input).value = "7"
        screen.query_one("#criterion", Select).value = Criterion.KL
        screen.query_one("#protect-first", Input).value = "2"
        screen.query_one("#protect-last", Input).value = "1"
        screen.query_one("#repair", Checkbox).value = False
        screen.query_one("#type", Select).value = "Q8_0"
        screen.query_one("#calibration", Select).value = "text"
        screen.query_one("#text", Input).value = "notes.txt"
        screen.query_one("#tokens", Input).value = "2048"
        screen.query_one("#output", Input).value = "small.gguf"
        await until(pilot, lambda: script.asked.output == "small.gguf")
        assert script.asked == WorkshopRequest(
            "dense",
            Method.DEPTH,
            AmountUnit.BLOCKS,
            "7",
            criterion=Criterion.KL,
            importance=script.asked.importance,
            protect_first="2",
            protect_last="1",
            repairs=False,
            file_type="Q8_0",
            calibration="notes.txt",
            n_tokens="2048",
            output="small.gguf",
        )


async def test_a_name_that_was_written_is_not_replaced_by_the_plans_own(
    bench: AppBench, script: Script
) -> None:
    app = make(bench, script)
    async with workshop(app, size=LARGE) as pilot:
        screen = await planned(pilot, app)
        output = screen.query_one("#output", Input)
        output.value = "mine.gguf"
        await until(pilot, lambda: script.asked.output == "mine.gguf" and screen.plan.planned is not None)
        assert output.value == "mine.gguf"
        output.value = ""
        await until(pilot, lambda: script.asked.output == "" and screen.plan.planned is not None)
        assert output.value == str(MADE)


@pytest.mark.parametrize(
    ("method", "hidden", "shown"),
    [
        ("depth", {"importance", "structure", "imatrix", "text"}, {"criterion", "repair", "tokens"}),
        ("flap", {"criterion", "importance", "imatrix"}, {"structure", "amount", "calibration"}),
        ("llm-pruner", {"criterion", "imatrix"}, {"importance", "structure"}),
        ("quantize", {"amount", "criterion", "repair", "calibration", "tokens"}, {"imatrix", "type"}),
    ],
)
async def test_only_the_fields_of_the_method_are_shown(
    bench: AppBench, script: Script, method: str, hidden: set[str], shown: set[str]
) -> None:
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        screen = await planned(pilot, app)
        screen.query_one("#method", Select).value = method
        await settle(pilot)
        displayed = {name: bool(screen.query_one(f"#field-{name}").display) for name in hidden | shown}
        assert displayed == dict.fromkeys(hidden, False) | dict.fromkeys(shown, True)
        await until(pilot, lambda: (script.asked.method or "quantize") == method)
        if method == "quantize":
            assert (script.asked.file_type, script.asked.calibration) == ("Q4_K_M", None)


async def test_the_form_is_filled_by_keys_alone(bench: AppBench, script: Script) -> None:
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press(*"dense", "enter", "tab", "down", "down", "enter")
        await until(pilot, lambda: bool(script.jobs) and script.asked.method is Method.FLAP)
        assert script.asked.model == "dense"


async def test_a_plan_that_cannot_be_says_why_and_starts_nothing(bench: AppBench, script: Script) -> None:
    script.refusal = RequestFailed("a ratio of 0.99 would remove 6 of 6 blocks", "remove 1 to 5 blocks")
    app = make(bench, script)
    async with workshop(app, size=SMALL) as pilot:
        await settle(pilot)
        await until(pilot, lambda: "remove 1 to 5 blocks" in text_of(app, "plan"))
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert script.count(PruneJob) == 0
        script.refusal = None
        screen_of(app).query_one("#amount", Input).value = "0.2"
        await planned(pilot, app)
        assert not screen_of(app).query_one("#workshop-plan").has_class("error")


@pytest.mark.parametrize("by", ["key", "mouse"])
async def test_a_model_is_chosen_among_those_on_disk(
    bench: AppBench, script: Script, tiny_model: Path, tmp_path: Path, by: str
) -> None:
    (tmp_path / "here.gguf").write_bytes(tiny_model.read_bytes())
    app = make(bench, script)
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        if by == "key":
            await pilot.press("ctrl+o")
        else:
            await pilot.click("#choose-model")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press(*"here", "enter")
        await until(pilot, lambda: bool(script.jobs))
        assert script.asked.model == str(tmp_path / "here.gguf")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_plan_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, script: Script, picture: Picture
) -> None:
    app = make(bench, script)
    async with workshop(app, size=size) as pilot:
        await planned(pilot, app)
        await settle(pilot)
        await picture(pilot)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_work_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, script: Script, picture: Picture
) -> None:
    script.stages = STAGES
    script.making = [
        Progressed("making a copy in half precision", 0, 1),
        Progressed("reading the calibration text", 8, 8),
        Progressed("comparing windows of blocks", 9, 23),
    ]
    app = make(bench, script)
    async with workshop(app, size=size) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: any("comparing" in text for text in running(screen)))
        await settle(pilot)
        await picture(pilot)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_comparison_looks_as_it_did(
    size: tuple[int, int], bench: AppBench, script: Script, picture: Picture
) -> None:
    app = make(bench, script)
    async with workshop(app, size=size) as pilot:
        screen = await planned(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: screen.phase is Phase.DONE)
        await settle(pilot)
        await picture(pilot)


def test_markup_and_escapes_of_a_files_name_stay_text() -> None:
    from rich.console import Console

    from tui.workshop.comparison import lines_table

    console = Console(width=60, color_system=None)
    with console.capture() as shown:
        console.print(lines_table([("model", "[red]evil[/] \x1b[2J")]))
    assert shown.get().split() == ["model", "[red]evil[/]", "\\x1b[2J"]


def test_a_quantized_request_asks_for_its_importance() -> None:
    asked = WorkshopRequest("dense", None, file_type="IQ2_XS", calibration=OWN_ANSWERS)
    assert asked.quantize_settings() == QuantizeSettings("IQ2_XS")
