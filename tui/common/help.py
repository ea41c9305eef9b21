"""Keys and commands by what somebody wants to do, as they are now: remapped keys show as remapped."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from edgespec.paths import app_settings_file
from tui.common.dialog import Dialog
from tui.common.mode_screen import ModeScreen
from tui.common.narrow import NARROW_COLUMNS
from tui.common.wrapped_table import WrappedTable

_FOOT = """\
Keys can be changed: under [keys] in {path}, an id of this list takes other keys, such as
"chat.regenerate" = "ctrl+y". The command palette (Ctrl+P) does everything listed here."""


Row = tuple[str, str, str]
"""Keys, what they do, id."""
TASKS: Final[Mapping[str, tuple[str, ...]]] = {
    "Write": (
        *("prompt.send", "prompt.newline", "prompt.complete", "prompt.redo", "chat.editor"),
        *(
            "chat.stop",
            "chat.regenerate",
            "chat.continue",
            "chat.edit",
            "chat.version_before",
            "chat.version_next",
        ),
        *("chat.versions_above", "chat.versions_below"),
    ),
    "Read": (
        *("chat.newest", "chat.up", "chat.down", "chat.copy", "chat.pick", "chat.wrap"),
        *("chat.tint", "chat.rail", "chat.export"),
    ),
    "Conversations": (
        *("chat.new", "chat.open", "chat.clear", "chat.system"),
        *("chat.new_tab", "chat.next_tab", "chat.tab_before", "chat.close_tab"),
    ),
    "The model, and how it answers": ("chat.mode", "chat.draft", "chat.sampling", "chat.restart"),
    "Measure": (),
    "Everywhere": (),
}
"""What somebody wants to do, and the ids of the keys for it, in the order in which they are needed. What stands under no task
is under the name of its screen; keys of the whole app come last."""
_SCREENS: Final = {"chat": "Chat", "race": "Measure", "bench": "Measure", "app": "Everywhere"}
"""Of an id's first part, the task for what the tasks do not name."""


def by_task(rows: Sequence[Row], screen: str) -> list[tuple[str, list[Row]]]:
    """The rows under what somebody wants to do; what can be done on the screen comes first.

    Args:
        rows: Of all keys.
        screen: The first part of the ids of the screen's own keys.
    """
    tasks = {name: task for task, names in TASKS.items() for name in names}
    places = {name: place for place, name in enumerate(tasks)}
    found: dict[str, list[Row]] = {task: [] for task in TASKS}
    for row in sorted(rows, key=lambda row: places.get(row[2], len(places))):
        first = row[2].split(".")[0]
        task = tasks.get(row[2]) or _SCREENS.get(first) or first.capitalize()
        found.setdefault(task, []).append(row)
    tasks_here = [task for task, listed in found.items() if any(_is_of(row, screen) for row in listed)]
    others = [task for task in found if task not in tasks_here and task != "Everywhere"]
    return [(task, found[task]) for task in (*tasks_here, *others, "Everywhere") if found[task]]


def _is_of(row: Row, screen: str) -> bool:
    return row[2].split(".")[0] == screen


class HelpScreen(Dialog[None]):
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
            yield WrappedTable(*self._heads, wrapped=1, name="keys")
            yield Static("Commands in the chat", classes="dialog-title")
            yield WrappedTable("command", "what it does", wrapped=1, name="commands")
            yield Static(_FOOT.format(path=app_settings_file()), markup=False, classes="dialog-text")

    def on_mount(self) -> None:
        """Fills the tables."""
        rows: list[tuple[str | Text, ...]] = []
        for task, listed in by_task(self._keys(), self._own_name):
            rows += [("", Text(task, style="bold"), ""), *listed]
        self.query_one("#keys", WrappedTable).fill([row[: len(self._heads)] for row in rows])
        self.query_one("#commands", WrappedTable).fill(self._commands)
        self.query_one(VerticalScroll).focus()

    @property
    def _heads(self) -> tuple[str, ...]:
        """Of the keys' table, in which ids of keys are for those who have such keys."""
        heads = ("key", "what it does", "id")
        return heads[:2] if self.app.size.width < NARROW_COLUMNS else heads

    @property
    def _own_name(self) -> str:
        return self._explained.NAME if isinstance(self._explained, ModeScreen) else ""

    def _keys(self) -> list[Row]:
        rows: dict[str, Row] = {}
        bindings = [active.binding for active in self._explained.active_bindings.values()]
        bindings += [binding for binding in self._prompt_keys if isinstance(binding, Binding)]
        for binding in bindings:
            if binding.id and binding.id not in rows:
                shown = ", ".join(
                    self.app.get_key_display(binding.with_key(key)) for key in binding.key.split(",")
                )
                rows[binding.id] = (shown, binding.tooltip or binding.description, binding.id)
        return list(rows.values())
