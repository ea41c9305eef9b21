"""The settings: theme, engine, keys. Those of the engine hold from its next start on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Select, Static

from edgespec.errors import EdgespecError, UsageError
from edgespec.llama.kv_types import KvType
from edgespec.paths import app_settings_file
from edgespec.text import plain_text
from tui.common.dialog import Dialog
from tui.common.tick_box import TickBox
from tui.common.wording import joined
from tui.services.app_services import AppServices
from tui.services.settings import AppSettings, ContextEnd

_AUTO = "auto"
"""What a number reads that is 0 in the file: edgespec chooses."""
_NUMBERS = (
    ("threads", "Threads", "auto: the physical cores", True),
    ("ctx_size", "Context", "tokens, or auto: as many as the model and memory allow", True),
    ("max_tokens", "Longest answer", "tokens", False),
)
"""Field, label, hint, and whether it can be left to edgespec."""
_CONTEXT_ENDS: Final[Mapping[ContextEnd, str]] = {
    "ask": "ask what to do",
    "drop": "leave out the oldest turns",
    "summarize": "summarize the oldest turns",
    "stop": "stop",
}
_MOST_DIGITS = 20
"""More take Python long to read, or are refused by it."""


class SettingsScreen(Dialog[None]):
    """A form over the file of settings."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", id="settings.cancel", tooltip="Change nothing"),
        Binding("ctrl+s", "save", "Save", id="settings.save", tooltip="Save and apply", priority=True),
    ]

    def __init__(self, services: AppServices) -> None:
        super().__init__()
        self._services = services

    def compose(self) -> ComposeResult:
        """A row for every setting."""
        with VerticalScroll(classes="dialog dialog-wide dialog-tall"):
            yield Static("Settings", classes="dialog-title")
            with Grid(id="settings-grid"):
                for title, field in self._rows():
                    yield Label(title)
                    yield field
            yield Static("", id="settings-note", markup=False, classes="dialog-text")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Save", id="save", variant="primary", compact=True)

    def _rows(self) -> Iterator[tuple[str, Widget]]:
        """Label and field, from top to bottom."""
        settings = self._services.settings
        yield "Theme", _select("theme", sorted(self.app.available_themes), settings.theme)
        for name, title, hint, has_auto in _NUMBERS:
            value = getattr(settings, name)
            written = _AUTO if has_auto and value == 0 else str(value)
            yield title, Input(written, id=name, placeholder=hint, compact=True)
        layers = "auto, all or a number"
        yield "GPU layers", Input(settings.gpu_layers, id="gpu_layers", placeholder=layers, compact=True)
        kinds = [kv_type.name.lower() for kv_type in KvType]
        yield "KV cache keys", _select("kv_type_k", kinds, settings.kv_type_k)
        yield "KV cache values", _select("kv_type_v", kinds, settings.kv_type_v)
        yield "Full context", _select("context_end", list(_CONTEXT_ENDS), settings.context_end, _CONTEXT_ENDS)
        prompt = settings.system_prompt
        yield "System prompt", Input(prompt, id="system_prompt", placeholder="of new chats", compact=True)
        yield (
            "Workshop's files",
            Input(
                settings.workshop_folder,
                id="workshop_folder",
                placeholder="edgespec's own folder",
                compact=True,
            ),
        )
        yield "Charts beside the chat", TickBox("on", settings.show_rail, name="show_rail")
        yield "Tint drafted tokens", TickBox("on", settings.tint_drafted, name="tint_drafted")
        yield "Wrap lines of code", TickBox("on", settings.wrap_code, name="wrap_code")

    def on_mount(self) -> None:
        """Says where they are kept."""
        self._note(
            f"Kept in {app_settings_file()}; keys are changed there, under [keys] (F1 lists their ids)."
        )

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "save":
            self.action_save()
        else:
            self.dismiss()

    def action_save(self) -> None:
        """Takes them, or says what is wrong with one."""
        try:
            settings = self._read()
            settings.check()
            before = self._services.settings
            engine_changed = settings.engine() != before.engine()
        except EdgespecError as error:
            self._note(joined(error.message, error.hint))
            return
        self._services.change_settings(settings)
        if engine_changed and self._services.engine.request is not None:
            self.notify("The engine uses them after a restart: Ctrl+F5 or /restart in the chat.")
        self.dismiss()

    def _read(self) -> AppSettings:
        numbers = {name: self._number(name, title, has_auto) for name, title, _, has_auto in _NUMBERS}
        text = {
            name: self.query_one(f"#{name}", Input).value.strip()
            for name in ("gpu_layers", "system_prompt", "workshop_folder")
        }
        return replace(
            self._services.settings,
            theme=str(self.query_one("#theme", Select).value),
            context_end=self._context_end(),
            kv_type_k=str(self.query_one("#kv_type_k", Select).value),
            kv_type_v=str(self.query_one("#kv_type_v", Select).value),
            show_rail=self.query_one("#show_rail", TickBox).value,
            tint_drafted=self.query_one("#tint_drafted", TickBox).value,
            wrap_code=self.query_one("#wrap_code", TickBox).value,
            gpu_layers=text["gpu_layers"] or "auto",
            system_prompt=text["system_prompt"],
            workshop_folder=text["workshop_folder"],
            threads=numbers["threads"],
            ctx_size=numbers["ctx_size"],
            max_tokens=numbers["max_tokens"],
        )

    def _context_end(self) -> ContextEnd:
        chosen = self.query_one("#context_end", Select).value
        return next(value for value in _CONTEXT_ENDS if value == chosen)

    def _number(self, name: str, title: str, has_auto: bool) -> int:
        value = self.query_one(f"#{name}", Input).value.strip()
        if has_auto and value.lower() in ("", _AUTO):
            return 0
        if not value.isascii() or not value.isdigit() or len(value) > _MOST_DIGITS:
            raise UsageError(
                f"{title} is {value!r:.40}", f"take a whole number{' or auto' if has_auto else ''}"
            )
        return int(value)

    def _note(self, text: str) -> None:
        self.query_one("#settings-note", Static).update(plain_text(text))


def _select(
    name: str, options: Sequence[str], value: str, titles: Mapping[Any, str] = MappingProxyType({})
) -> Select[str]:
    pairs = [(titles.get(option, option), option) for option in options]
    return Select(pairs, value=value, allow_blank=False, compact=True, id=name)
