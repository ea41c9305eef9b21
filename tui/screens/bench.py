"""Placeholder of the bench screen."""

from textual.app import ComposeResult

from tui.screens.base import ModeScreen


class BenchScreen(ModeScreen):
    """To come."""

    NAME = "bench"

    def compose(self) -> ComposeResult:
        """Nothing yet."""
        yield self.make_top_bar()
        yield self.make_footer()
