"""Draws the pictures of docs/app.md from the app itself: real models, real answers, at the two sizes that are tested.

    python scripts/app_pictures.py docs --target qwen2.5-coder --screen chat --screen race

What the screens of models, runs and files show is what this machine has.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import DataTable

from tui.app import EdgespecApp
from tui.services.engine_client import EngineState
from tui.services.launch import Launch
from tui.services.settings import AppSettings

SIZES = {"": (120, 40), "-80x24": (80, 24)}
WORKSHOP_MODEL = "qwen2.5-coder-1.5b"
PROMPT = "Write a Python function that checks whether a number is prime, and explain it briefly."
LIMIT_S = 300.0
Step = Callable[[Pilot[int], EdgespecApp], Awaitable[None]]


async def wait_for(pilot: Pilot[int], is_there: Callable[[], bool]) -> None:
    """Until it is so, five minutes at most."""
    for _ in range(int(LIMIT_S / 0.2)):
        if is_there():
            return
        await pilot.pause(0.2)
    raise TimeoutError("the app did not get there")


async def show_chat(pilot: Pilot[int], app: EdgespecApp) -> None:
    """A short answer."""
    await wait_for(pilot, lambda: app.engine.is_ready)
    pilot.app.screen.query_one("#prompt").load_text(PROMPT)  # type: ignore[attr-defined]
    await pilot.press("enter")
    await wait_for(pilot, lambda: app.engine.state is EngineState.BUSY)
    await wait_for(pilot, lambda: app.engine.is_ready)
    await pilot.pause(1.5)


async def show_race(pilot: Pilot[int], app: EdgespecApp) -> None:
    """Two rounds, for a spread."""
    await wait_for(pilot, lambda: app.engine.is_ready)
    for key in ("enter", "ctrl+r"):
        await pilot.press(key)
        await wait_for(pilot, lambda: app.engine.state is EngineState.BUSY)
        await wait_for(pilot, lambda: app.engine.is_ready)
        await pilot.pause(0.5)


async def show_list(pilot: Pilot[int], _app: EdgespecApp) -> None:
    """The screen as it opens, its first row shown in full."""
    await pilot.pause(3.0)
    await pilot.press("enter")
    await pilot.pause(3.0)


async def show_models(pilot: Pilot[int], _app: EdgespecApp) -> None:
    """The table with its predicted speeds and the details of its first row."""
    table = pilot.app.screen.query_one(DataTable)
    await wait_for(pilot, lambda: table.row_count > 0 and "~" in "".join(map(str, table.get_row_at(0))))
    await pilot.pause(3.0)


async def show_plan(pilot: Pilot[int], app: EdgespecApp) -> None:
    """The form with its plan."""
    app.go("workshop", with_=WORKSHOP_MODEL)
    await pilot.pause(6.0)


STEPS: dict[str, Step] = {
    "chat": show_chat,
    "race": show_race,
    "bench": show_list,
    "models": show_models,
    "workshop": show_plan,
}


async def draw(screen: str, target: str, folder: Path) -> None:
    """One screen at both sizes."""
    for ending, size in SIZES.items():
        app = EdgespecApp(Launch(target=target, screen=screen), AppSettings())  # type: ignore[arg-type]
        async with app.run_test(size=size) as pilot:
            await STEPS[screen](pilot, app)
            path = folder / f"app-{screen}{ending}.svg"
            path.write_text(app.export_screenshot(title="edgespec"), encoding="utf-8")


def main() -> None:
    """Draws what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="qwen2.5-coder")
    parser.add_argument("--screen", action="append", choices=list(STEPS))
    options = parser.parse_args()
    for screen in options.screen or STEPS:
        asyncio.run(draw(screen, options.target, options.folder))


if __name__ == "__main__":
    main()
