"""The mark at a turn that there are several versions of: which one it is, and a way to the others."""

from textual.content import Content
from textual.widgets import Static

from tui.chat.conversation import Place


def version_words(place: Place) -> str:
    """`‹ 2/3 ›`; nothing where there is one version alone."""
    return f"‹ {place.number}/{place.count} ›" if place.count > 1 else ""


class VersionMark(Static):
    """One line below a turn, hidden where there is one version alone. A click on an arrow steps.

    Args:
        place: Of the turn.
    """

    def __init__(self, place: Place) -> None:
        super().__init__("", markup=False, classes="version-mark")
        self.place = place
        self.display = place.count > 1

    def render(self) -> Content:
        """The words, their arrows as links."""
        at = self.place.index
        words = Content(f" {self.place.number}/{self.place.count} ")
        before = Content.from_markup(f"[@click=screen.version_before({at})]‹[/]")
        after = Content.from_markup(f"[@click=screen.version_after({at})]›[/]")
        return Content.assemble(before, words, after)
