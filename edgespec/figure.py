"""Pictures in this program's style: written whole, and equal drawings give equal bytes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgespec.errors import EdgespecError, UsageError
from edgespec.files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
"""The suffixes that `save_figure` writes."""

INK = "#22262b"
"""Of text and axes."""
PALETTE = ("#0072b2", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
"""Of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), told apart with any colour vision."""
GREY = "#8a8f98"
"""Of what others are compared with."""
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e4e6ea",
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "edgespec",
}
_DPI = 150
# Neither a date nor a version of matplotlib, so that equal runs give equal bytes.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": "edgespec"},
}


def check_plot_path(path: Path) -> None:
    """Whether a picture can be written there; asked before a long run.

    Raises:
        UsageError: the suffix is not one of `FORMATS`, the name is a folder's, or it has no folder that can be written to.
    """
    if path.suffix.lower() not in FORMATS:
        ending = repr(path.suffix) if path.suffix else "no suffix"
        raise UsageError(
            f"cannot draw {path.name!r}: a plot is a .png or a .svg file, this has {ending}",
            f"name it {path.stem or 'plot'}.png or {path.stem or 'plot'}.svg",
        )
    folder = path.resolve().parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} for the plot {path.name}", "make it first")
    if path.is_dir():
        raise UsageError(f"the plot {path} is a folder", "give it another name")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} cannot be written to", "choose another one for the plot")


def save_figure(draw: Callable[[], "Figure"], path: Path) -> None:
    """Writes a picture in this program's style; equal drawings give equal bytes.

    Args:
        draw: Makes the figure; called with the style set.
        path: The file; its suffix says the format.

    Raises:
        UsageError: any of `check_plot_path`.
        EdgespecError: the file cannot be written; none is left behind.
    """
    check_plot_path(path)
    suffix = path.suffix.lower()
    import matplotlib

    # The user's own matplotlib settings must not change the picture; the backend stays out of it, as no window opens.
    defaults: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if "backend" not in k}
    try:
        with matplotlib.rc_context(defaults | _STYLE):
            figure = draw()
            with written_whole(path, make_folder=False) as unfinished, unfinished.open("wb") as file:
                figure.savefig(file, format=suffix[1:], dpi=_DPI, metadata=_METADATA[suffix])
    except OSError as error:
        raise EdgespecError(
            f"cannot write the plot {path}: {error.strerror or error}",
            "choose a folder that can be written to",
        ) from error
