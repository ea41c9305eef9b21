"""Keys and commands, as they are now: remapped keys show as remapped."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Static

from edgespec.paths import app_settings_file

_FOOT = """\
Keys can be changed: under [keys] in {path}, an id of this list takes other keys, such as
"chat.regenerate" = "ctrl+y". The command palette (Ctrl+P) does everything that stands here."""


class HelpScreen(ModalScreen[None]):
    """Over the screen that it explains.

    Args:
        explained: Whose keys are listed.
        prompt_keys: Those that are listed wherever the cursor is, such as the prompt's.
        commands: Usage and meaning of what can be typed there.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,q", "dismiss", "Close", id="help.close", tooltip="Back to the screen")
    ]

    def __init__(
        self,
        explained: Screen[object],
        prompt_keys: Sequence[BindingType],
        commands: Sequence[tuple[str, str]],
    ) -> None:
        super().__init__()
        self._explained, self._prompt_keys, self._commands = explained, prompt_keys, commands

    def compose(self) -> ComposeResult:
        """Keys, commands, and how keys are changed."""
        with VerticalScroll(classes="dialog dialog-wide dialog-tall"):
            yield Static("Keys", classes="dialog-title")
            yield DataTable(id="keys", cursor_type="none", show_cursor=False)
            yield Static("Commands in the chat", classes="dialog-title")
            yield DataTable(id="commands", cursor_type="none", show_cursor=False)
            yield Static(_FOOT.format(path=app_settings_file()), markup=False, classes="dialog-text")

    def on_mount(self) -> None:
        """Fills the tables."""
        keys = self.query_one("#keys", DataTable)
        keys.add_columns("key", "what it does", "id")
        for key, text, name in self._keys():
            keys.add_row(key, text, name)
        commands = self.query_one("#commands", DataTable)
        commands.add_columns("command", "what it does")
        for usage, meaning in self._commands:
            commands.add_row(usage.replace("[", r"\["), meaning)
        self.query_one(VerticalScroll).focus()

    def _keys(self) -> list[tuple[str, str, str]]:
        rows: dict[str, tuple[str, str, str]] = {}
        bindings = [active.binding for active in self._explained.active_bindings.values()]
        bindings += [binding for binding in self._prompt_keys if isinstance(binding, Binding)]
        for binding in bindings:
            if binding.id and binding.id not in rows:
                shown = ", ".join(
                    self.app.get_key_display(binding.with_key(key)) for key in binding.key.split(",")
                )
                rows[binding.id] = (shown, binding.tooltip or binding.description, binding.id)
        return sorted(rows.values(), key=lambda row: (row[2].startswith("app."), row[2]))
