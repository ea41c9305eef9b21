"""What can be done with the tabs of the chat."""

from typing import Final

from textual import work

from edgespec.errors import UsageError
from tui.chat.version_actions import VersionActions
from tui.common.ask import AskScreen

_ONLY_ONE: Final = "this is the only tab: Alt+T opens another, Ctrl+Q leaves the app"


class TabActions(VersionActions):
    """A screen with conversations side by side."""

    @work
    async def action_new_tab(self) -> None:
        """Opens another one, with an empty conversation."""
        await self.tabs.open()

    def action_step_tab(self, step: int) -> None:
        """Goes to the next one, or the one before."""
        if len(self.tabs.panes) == 1:
            self.tell(_ONLY_ONE)
        else:
            self.tabs.step(step)

    def action_tab(self, number: int) -> None:
        """Goes to one of them, counted from 1."""
        n = len(self.tabs.panes)
        if 1 <= number <= n:
            self.tabs.show(self.tabs.panes[number - 1])
        else:
            self.tell(_ONLY_ONE if n == 1 else f"there is no tab {number}: there are {n}")

    @work
    async def action_close_tab(self) -> None:
        """Closes the one that is shown; its conversation stays in the list. Where an answer is under way, after a question."""
        pane = self.pane
        if len(self.tabs.panes) == 1:
            self.tell(_ONLY_ONE)
            return
        question = "An answer is under way in this tab. Stop it and close the tab? What came is kept."
        if not pane.is_at_work or await self.app.push_screen_wait(
            AskScreen(question, "Stop and close", "Stay")
        ):
            self.tabs.close(pane)

    def change_tab(self, word: str) -> None:
        """What is typed after /tab.

        Raises:
            UsageError: it is none of the words, and no number.
        """
        if word == "new":
            self.action_new_tab()
        elif word == "close":
            self.action_close_tab()
        elif word in ("next", "previous"):
            self.action_step_tab(1 if word == "next" else -1)
        elif word.isdecimal():
            self.action_tab(int(word))
        else:
            raise UsageError(f"/tab {word} is no tab", "it takes new, next, previous, close or a number")
