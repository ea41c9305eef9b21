"""What the screens of all modes share: their services, the line at the top, the one that tells, and the footer."""

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer

from tui.common.status_line import StatusLine, Told
from tui.common.top_bar import TopBar
from tui.services.app_services import AppServices
from tui.services.launch import ScreenName


class ModeScreen(Screen[None]):
    """One of the screens that the function keys lead to. Its body holds one `StatusLine`."""

    NAME: ClassVar[ScreenName]
    AUTO_FOCUS: ClassVar[str | None] = None

    def __init__(self, services: AppServices) -> None:
        super().__init__()
        self.services = services

    def compose(self) -> ComposeResult:
        """The body between the line at the top and the keys."""
        yield TopBar(self.NAME, self.services.engine)
        yield from self.compose_body()
        yield Footer(compact=True, show_command_palette=True)

    def compose_body(self) -> ComposeResult:
        """What is the mode's own."""
        raise NotImplementedError

    def receive(self, value: Any) -> None:
        """Takes what another screen sends with `go`; a screen to which something can be sent says what."""
        raise TypeError(f"the {self.NAME} screen takes nothing such as {value!r}")

    def interrupt(self) -> bool:
        """Ends what Ctrl+C ends here, before it leaves the app; returns whether there was anything."""
        return False

    def tell(self, text: str, *, error: bool = False) -> None:
        """Says it in the status line."""
        self.query_one(StatusLine).tell(text, error=error)

    def lacks_engine(self, what: str) -> bool:
        """Whether a server answers, of whose engine nothing can be changed from here; it is then said.

        Args:
            what: Needs one on this machine.
        """
        server = self.services.launch.server
        if server is not None:
            self.tell(
                f"{what} needs the models on this machine, and {server} answers: start without --server"
            )
        return server is not None

    @on(Told)
    def _widget_told(self, told: Told) -> None:
        self.tell(told.text, error=told.error)
