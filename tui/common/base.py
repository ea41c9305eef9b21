"""What all screens of a mode share: the line at the top, the footer, and the engine's reports."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.screen import Screen
from textual.widgets import Footer, Static

from edgespec.text import one_line
from tui.common.top_bar import TopBar
from tui.services.engine_client import EngineRoom

if TYPE_CHECKING:
    from tui.app import EdgespecApp


class ModeScreen(Screen[None]):
    """One of the screens that the function keys lead to."""

    NAME: ClassVar[str]
    STATUS: ClassVar[str]
    """Id of the line that says what is going on."""
    AUTO_FOCUS: ClassVar[str | None] = None

    @property
    def edgespec(self) -> "EdgespecApp":
        """The app, as what it is."""
        return cast("EdgespecApp", self.app)

    @property
    def room(self) -> EngineRoom:
        """The chat's engine."""
        return self.edgespec.room

    @property
    def top_bar(self) -> TopBar:
        """The line at the top."""
        return self.query_one(TopBar)

    def make_top_bar(self) -> TopBar:
        """For `compose`, first."""
        return TopBar(self.NAME)

    def make_footer(self) -> Footer:
        """For `compose`, last."""
        return Footer(compact=True, show_command_palette=True)

    def tell(self, text: str, *, error: bool = False) -> None:
        """Says it in that line."""
        status = self.query_one(f"#{self.STATUS}", Static)
        status.set_class(error, "error")
        height = status.styles.height
        # Where the line cannot grow, nothing around it has to be laid out anew.
        status.update(one_line(text), layout=height is not None and height.is_auto)

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Shows what is loaded now."""
        self.show_engine()

    def show_engine(self) -> None:
        """What is loaded, in the line at the top."""
        self.top_bar.show_engine(self.room.state, self.room.pair)
