"""Placeholder of the workshop screen."""

from textual.app import ComposeResult

from tui.screens.base import ModeScreen


class WorkshopScreen(ModeScreen):
    """To come."""

    NAME = "workshop"

    def compose(self) -> ComposeResult:
        """Nothing yet."""
        yield self.make_top_bar()
        yield self.make_footer()
