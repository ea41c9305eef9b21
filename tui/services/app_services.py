"""What screens and widgets may ask of the app that shows them."""

from typing import Protocol

from edgespec.decode.policy import Mode
from edgespec.errors import EdgespecError
from edgespec.session.settings import EngineSettings
from tui.services.engine_client import EngineClient
from tui.services.job_runner import JobRunner
from tui.services.launch import Launch, ScreenName
from tui.services.settings import AppSettings
from tui.services.tools import ToolServers


class AppServices(Protocol):
    """The app as its screens see it: one for all of them, given to each when it is made."""

    engine: EngineClient
    """The one that chats."""
    jobs: JobRunner
    """Work of the other screens, a process each."""
    tools: ToolServers
    """What a model may call in the chat."""
    launch: Launch
    settings: AppSettings

    def engine_settings(self) -> EngineSettings:
        """Of the command line, or of the app."""

    def open_engine(self, target: str | None = None, mode: Mode | None = None) -> None:
        """Loads a pair in a new process: another target, or what was asked for before; drafted for in some way."""

    def change_settings(self, settings: AppSettings) -> None:
        """Takes and keeps other settings; those of the engine hold from its next start on."""

    def go(self, screen: ScreenName, with_: object = None) -> None:
        """Shows another screen, and gives it what it shall work on: its `receive` says what that may be."""

    def tell_error(self, error: EdgespecError) -> None:
        """In a corner: what is wrong, and the way out."""

    def models_changed(self) -> None:
        """Tells every screen that lists models."""

    def runs_changed(self) -> None:
        """Tells every screen that lists runs."""
