"""The line at the top: the screens, and what is loaded."""

from textual import on
from textual.content import Content
from textual.widgets import Static

from edgespec.text import one_line
from tui.common.wording import drafting_of
from tui.services.engine_client import EngineClient, EngineState
from tui.services.messages import EngineChanged

SCREENS = {
    "chat": ("F2", "Chat"),
    "race": ("F3", "Race"),
    "bench": ("F4", "Bench"),
    "models": ("F5", "Models"),
    "workshop": ("F6", "Workshop"),
}
_SHORT_COLUMNS = 100


class TopBar(Static):
    """Screens as links, and the engine's pair at the right."""

    def __init__(self, screen: str, engine: EngineClient) -> None:
        super().__init__(id="top-bar", markup=False)
        self._screen = screen
        self._engine = engine

    def on_mount(self) -> None:
        """Follows the engine."""
        self._engine.subscribe(self)

    def on_unmount(self) -> None:
        """The engine may go on without this screen."""
        self._engine.unsubscribe(self)

    @on(EngineChanged)
    def _engine_changed(self) -> None:
        self.refresh()

    def render(self) -> Content:
        """One line; on a phone's screen, which has no such keys, the screens alone."""
        left = self._links(with_keys=True)
        if left.cell_length > self.size.width:
            left = self._links(with_keys=False)
        width = self.size.width - left.cell_length - 1
        right = one_line(self._describe_pair())
        if len(right) > width:
            right = right[: max(width - 1, 0)] + "…" if width > 8 else ""
        return Content.assemble(left, " " * max(width - len(right), 0), Content.styled(right, "$text-muted"))

    def _links(self, *, with_keys: bool) -> Content:
        parts = [Content.styled(" edgespec ", "bold $text-primary")] if with_keys else []
        for name, (key, title) in SCREENS.items():
            is_here = name == self._screen
            label = f" {key} {title} " if with_keys and not is_here else f" {title} "
            link = Content.from_markup(f"[@click=app.go('{name}')]$label[/]", label=label)
            parts.append(link.stylize("bold reverse" if is_here else "$text-muted"))
        return Content.assemble(*parts)

    def _describe_pair(self) -> str:
        pair = self._engine.pair
        if pair is None:
            return {EngineState.LOADING: "loading", EngineState.DEAD: "engine ended"}.get(
                self._engine.state, "no model loaded"
            )
        draft = f" + {pair.draft}" if pair.draft else ""
        if self.size.width < _SHORT_COLUMNS:
            return drafting_of(pair)
        return f"{pair.target}{draft} · {drafting_of(pair)}"
