"""Placeholder of the models screen."""

from textual.app import ComposeResult

from tui.screens.base import ModeScreen


class ModelsScreen(ModeScreen):
    """To come."""

    NAME = "models"

    def compose(self) -> ComposeResult:
        """Nothing yet."""
        yield self.make_top_bar()
        yield self.make_footer()
