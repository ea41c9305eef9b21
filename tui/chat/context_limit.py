"""How much of the context a conversation takes, and what is done where it does not fit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tui.chat.context_end import ContextEndScreen
from tui.chat.context_meter import ContextUsed
from tui.chat.transcript import Transcript
from tui.services.app_services import AppServices
from tui.services.settings import ContextEnd

_STOPS: Final = "the context is full; /new begins another conversation, F7 (Full context) lets the oldest turns be left out"


@dataclass(frozen=True, slots=True)
class LimitListener:
    """Who is told of it."""

    used: Callable[[ContextUsed], object]
    """What the conversation takes has changed."""
    stopped: Callable[[str], None]
    """Nothing is to be left out, and why nothing more is answered."""


class ContextLimit:
    """Of a pane.

    Args:
        services: Of the app.
        transcript: Has the conversation.
        listener: Who is told.
    """

    def __init__(self, services: AppServices, transcript: Transcript, listener: LimitListener) -> None:
        self._services, self._transcript, self._listener = services, transcript, listener
        self.used = ContextUsed(0, 0)
        """As it was told last."""

    def tell(self, used: int | None = None) -> None:
        """Tells what the conversation takes.

        Args:
            used: Tokens; None for those that its last answer was told to take.
        """
        used = self._transcript.conversation.context_n() if used is None else used
        self.used = ContextUsed(used, self._n_ctx)
        self._listener.used(self.used)

    def meet(self, make_room: Callable[[], None]) -> None:
        """Asks what is to be done where the conversation does not fit, unless that has been said.

        Args:
            make_room: Leaves out or summarizes the oldest turns, and has the question asked again.
        """
        if not self._transcript.conversation.messages or not self._transcript.screen.is_current:
            return
        wanted = self._services.settings.context_end
        if wanted == "stop":
            self._listener.stopped(_STOPS)
        if wanted != "ask":
            return

        def take(choice: ContextEnd | None) -> None:
            if choice is not None:
                self._services.change_settings(replace(self._services.settings, context_end=choice))
            if choice in ("drop", "summarize"):
                make_room()

        self._transcript.app.push_screen(ContextEndScreen(self._n_ctx), take)

    @property
    def _n_ctx(self) -> int:
        pair = self._services.engine.pair
        return pair.n_ctx if pair else 0
