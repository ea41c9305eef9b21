"""What shall be measured: a small form."""

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, VerticalScroll
from textual.widgets import Button, Input, Label, Static

from edgespec.bench.fixed_lengths import parse_draft_lengths
from edgespec.bench.prompts import builtin_prompts, load_prompts, select
from edgespec.bench.speculative import BenchSettings
from edgespec.catalog.toml_file import load_catalog
from edgespec.chat.template import THINKS, Think
from edgespec.errors import EdgespecError, UsageError
from edgespec.llama.sampler import Sampling
from edgespec.session.choice import AUTO_DRAFT
from edgespec.session.settings import EngineSettings
from edgespec.text import plain_text
from edgespec.worker.jobs.bench import BenchJob
from tui.common.dialog import Dialog
from tui.common.wording import joined
from tui.services.app_services import AppServices
from tui.services.launch import Launch

_FIELDS = (
    ("target", "Target", "", "the default model"),
    ("drafts", "Drafts", "auto", "names separated by commas; none: n-grams alone"),
    ("prompts", "Prompts", "", "built-in, or a JSONL file"),
    ("categories", "Categories", "", "all, or names such as chat,code (below)"),
    ("limit", "Per category", "1", "all, or a number of prompts"),
    ("max_tokens", "Longest answer", "96", "tokens, 2 or more"),
    ("repeat", "Repeats", "3", "answers per prompt and arm"),
    ("fixed", "Fixed lengths", "", "none, or draft lengths such as 1,2,3,4"),
    ("think", "Thinking", "auto", "auto, on or off, where the model can"),
)


class BenchFormScreen(Dialog[BenchJob | None]):
    """Dismissed with a job, or with None."""

    AUTO_FOCUS = "Input"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="bench-form.cancel", tooltip="Measure nothing"),
        Binding("ctrl+s", "start", "Start", id="bench-form.start", tooltip="Measure", priority=True),
    ]

    def __init__(
        self, launch: Launch, engine: EngineSettings, target: str = "", drafts: str = "auto"
    ) -> None:
        """A form for what shall be measured.

        Args:
            launch: What the app was started with.
            engine: Settings to measure with.
            target: What the form begins with: the loaded model; empty is the default one.
            drafts: Likewise.
        """
        super().__init__()
        self._launch, self._engine = launch, engine
        self._given = {"target": target, "drafts": drafts}

    def compose(self) -> ComposeResult:
        """A row for each choice."""
        with VerticalScroll(classes="dialog dialog-wide"):
            yield Static("New benchmark", classes="dialog-title")
            with Grid(id="settings-grid"):
                for name, title, value, hint in _FIELDS:
                    yield Label(title)
                    yield Input(
                        self._given.get(name, value), id=f"bench-{name}", placeholder=hint, compact=True
                    )
            yield Static("", id="bench-form-note", markup=False, classes="dialog-text")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Start", id="start", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Says what happens, and which categories there are."""
        known = ", ".join(dict.fromkeys(prompt.category for prompt in builtin_prompts()))
        self._note(
            f"Built-in categories: {known}.\nThe chat's models are unloaded meanwhile. Ctrl+S starts, Esc goes back."
        )

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_start()

    @work(exclusive=True, group="bench-form")
    async def action_start(self) -> None:
        """Makes the job, or says what is wrong."""
        try:
            self.dismiss(await self._make_job())
        except EdgespecError as error:
            self._note(joined(error.message, error.hint))

    def action_cancel(self) -> None:
        """By key."""
        self.dismiss(None)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "start":
            self.action_start()
        else:
            self.dismiss(None)

    async def _make_job(self) -> BenchJob:
        file, limit = self._value("prompts"), self._value("limit")
        known = await asyncio.to_thread(load_prompts, Path(file).expanduser()) if file else builtin_prompts()
        chosen = select(known, self._names("categories"), self._number("limit", 1) if limit else None)
        fixed = self._value("fixed")
        settings = BenchSettings(
            self._number("max_tokens", 2),
            self._number("repeat", 1),
            self._launch.sampling.over(Sampling()),
            parse_draft_lengths(fixed) if fixed else (),
            self._think(),
        )
        drafts = self._names("drafts") or (AUTO_DRAFT,)
        return BenchJob(
            self._value("target") or None, drafts, chosen, settings, self._engine, self._launch.offline
        )

    def _value(self, name: str) -> str:
        return self.query_one(f"#bench-{name}", Input).value.strip()

    def _names(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self._value(name).split(",") if part.strip())

    def _number(self, name: str, least: int) -> int:
        text = self._value(name)
        title = next(title for known, title, _, _ in _FIELDS if known == name)
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise UsageError(f"{title} is {text!r}", f"take a whole number from {least} on")
        return int(text)

    def _think(self) -> Think:
        word = self._value("think") or "auto"
        found = next((think for think in THINKS if think == word.lower()), None)
        if found is None:
            raise UsageError(f"Thinking is {word!r}", "take auto, on or off")
        return found

    def _note(self, text: str) -> None:
        self.query_one("#bench-form-note", Static).update(plain_text(text))


def specs_of_pair(services: AppServices) -> tuple[str, str]:
    """Target and drafts that the chat has loaded, as the form takes them; reads the catalogue: call it from a thread.

    A server's models are not on this machine, where it is measured. What the catalogue does not name is named as it was asked for.
    """
    launch, engine = services.launch, services.engine
    if launch.server is not None:
        return "", AUTO_DRAFT
    asked, pair = engine.request, engine.pair
    if pair is None or asked is None:
        return launch.target or "", launch.draft or AUTO_DRAFT
    try:
        known = load_catalog().models
    except EdgespecError:  # told where models are listed
        return asked.target or "", asked.draft or AUTO_DRAFT
    target = pair.target if pair.target in known else asked.target or ""
    draft = pair.draft if pair.draft in known else asked.draft
    return target, draft or AUTO_DRAFT
