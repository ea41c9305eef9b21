"""The model of a tab: where another tab has had another one loaded meanwhile, it comes back when the tab is used."""

from tui.chat.conversation import Conversation
from tui.services.engine_client import EngineClient


class OwnModel:
    """Of a tab. What is loaded while the tab is shown is what is wanted there.

    Args:
        engine: Of all tabs.
    """

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine
        self._own: str | None = None
        self._is_known = False
        """Whether `_own` says anything."""
        self._came_to: str | None = None
        """What was loaded when the tab came to be shown."""
        self._is_shown = False

    def show(self) -> None:
        """The tab is shown from now on."""
        self._is_shown, self._came_to = True, self._loaded

    def hide(self) -> None:
        """Another tab is."""
        if self._has_changed:
            self.adopt()
        self._is_shown = False

    def adopt(self) -> None:
        """What is loaded, or will be, is what is wanted here."""
        self._own = self._came_to = self._loaded
        self._is_known = True

    def forget(self) -> None:
        """The conversation was opened without its model."""
        self._is_known = False

    def is_elsewhere(self, conversation: Conversation) -> bool:
        """Whether another model than that of this conversation is loaded, which nobody has chosen here."""
        if self._has_changed:
            self.adopt()
        return bool(conversation.target) and not (self._is_known and self._own == self._loaded)

    @property
    def _has_changed(self) -> bool:
        return self._is_shown and self._came_to != self._loaded

    @property
    def _loaded(self) -> str | None:
        wanted = self._engine.wanted
        return wanted.target if wanted else None
