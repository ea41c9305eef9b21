"""The line at the top: the screens, and what is loaded."""

from textual.content import Content
from textual.widgets import Static

from edgespec.text import one_line
from edgespec.worker.protocol import PairOpened
from tui.common.wording import MODE_NAMES
from tui.services.engine_client import EngineState

SCREENS = {
    "chat": ("F2", "Chat"),
    "race": ("F3", "Race"),
    "bench": ("F4", "Bench"),
    "models": ("F5", "Models"),
    "workshop": ("F6", "Workshop"),
}
_SHORT_COLUMNS = 100


class TopBar(Static):
    """Screens as links, and the pair at the right."""

    def __init__(self, screen: str) -> None:
        super().__init__(id="top-bar", markup=False)
        self._screen = screen
        self._pair: PairOpened | None = None
        self._state = EngineState.CLOSED

    def show_engine(self, state: EngineState, pair: PairOpened | None) -> None:
        """What is loaded now."""
        self._state, self._pair = state, pair
        self.refresh()

    def render(self) -> Content:
        """One line."""
        parts: list[Content] = [Content.styled(" edgespec ", "bold $text-primary")]
        for name, (key, title) in SCREENS.items():
            style = "bold reverse" if name == self._screen else "$text-muted"
            label = f" {title} " if name == self._screen else f" {key} {title} "
            parts.append(
                Content.from_markup(f"[@click=app.go('{name}')]$label[/]", label=label).stylize(style)
            )
        left = Content.assemble(*parts)
        room = self.size.width - left.cell_length - 1
        right = one_line(self._describe())
        if len(right) > room:
            right = right[: max(room - 1, 0)] + "…" if room > 8 else ""
        return Content.assemble(left, " " * max(room - len(right), 0), Content.styled(right, "$text-muted"))

    def _describe(self) -> str:
        pair = self._pair
        if pair is None:
            return {EngineState.LOADING: "loading", EngineState.DEAD: "engine ended"}.get(
                self._state, "no model loaded"
            )
        draft = f" + {pair.draft}" if pair.draft else ""
        if self.size.width < _SHORT_COLUMNS:
            return MODE_NAMES[pair.mode]
        return f"{pair.target}{draft} · {MODE_NAMES[pair.mode]}"
