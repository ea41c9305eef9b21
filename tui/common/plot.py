"""Plots that can be drawn without colour, too."""

from textual.app import ComposeResult
from textual.containers import Grid
from textual.events import Mount
from textual.strip import Strip
from textual_hires_canvas import Canvas
from textual_plot import PlotWidget
from textual_plot.plot_widget import Legend


class Plot(PlotWidget):
    """Its canvas gives a style to lines that are not drawn yet: what Textual does for NO_COLOR reads it."""

    def compose(self) -> ComposeResult:
        """The parts of every plot, on canvases of this kind."""
        with Grid():
            for name in ("margin-top", "margin-left", "plot", "margin-bottom"):
                yield _StyledCanvas(1, 1, id=name)
        yield Legend(id="legend")

    def on_mount(self, event: Mount) -> None:  # type: ignore[override]
        """Where there are no parts the app is being left: then nothing is done to them."""
        if not self.query(Grid):
            event.prevent_default()

    def _update_margin_sizes(self) -> None:
        if self.query(Grid):
            super()._update_margin_sizes()

    def _update_legend(self) -> None:
        if self.query(Legend):
            super()._update_legend()


class _StyledCanvas(Canvas):
    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        return strip if strip.cell_length else Strip.blank(0, self.rich_style)
