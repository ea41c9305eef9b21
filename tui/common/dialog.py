"""What all dialogs share: Ctrl+C leaves them as Esc does, unless something is selected, which it copies."""

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """Something asked or shown above a screen. It binds Esc to what leaves all as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Two for one key: the first passes it on where there is nothing to copy.
        Binding("ctrl+c", "screen.copy_text", "Copy", show=False),
        Binding("ctrl+c", "leave", "Leave", show=False),
    ]

    async def action_leave(self) -> None:
        """Does what Esc does."""
        [leaves] = self._bindings.get_bindings_for_key("escape")
        await self.run_action(leaves.action)
