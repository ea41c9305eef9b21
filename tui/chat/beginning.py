"""What a chat begins with: an empty conversation or the newest one, what was asked before, and on a first start a better model."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from edgespec.errors import EdgespecError
from edgespec.worker.protocol import PairOpened
from tui.chat.conversation import Conversation
from tui.chat.keeper import ChatKeeper
from tui.chat.model_of_chat import bring_model
from tui.chat.prompt_input import PromptInput
from tui.chat.suggestion import find_suggestion
from tui.chat.transcript import Transcript
from tui.services.app_services import AppServices


@dataclass(frozen=True, slots=True)
class BeginningListener:
    """The pane that begins."""

    resumed: Callable[[], None]
    """An earlier conversation is shown."""
    tell: Callable[[str], None]
    run: Callable[[Coroutine[Any, Any, None]], object]
    """Runs what waits for the disk."""


class Beginning:
    """Of one pane.

    Args:
        services: Of the app.
        transcript: Shows the conversation.
        prompt: Remembers what was asked.
        keeper: Has what was said before.
        listener: Is told.
    """

    def __init__(
        self,
        services: AppServices,
        transcript: Transcript,
        prompt: PromptInput,
        keeper: ChatKeeper,
        listener: BeginningListener,
    ) -> None:
        self._services, self._keeper, self._listener = services, keeper, listener
        self._transcript, self._prompt = transcript, prompt
        self._has_suggested = False
        """A better model has been looked for."""

    def empty(self) -> Conversation:
        """A conversation with the system prompt of the command line or of the app."""
        asked = self._services.launch.system
        return Conversation.begin(self._services.settings.system_prompt if asked is None else asked)

    def recall(self) -> None:
        """What was asked in earlier conversations, and the newest of them, where that was asked for."""
        launch, store = self._services.launch, self._keeper.store
        try:
            for question in store.recent_questions():
                self._prompt.remember(question)
            resumes = launch.resume_last and not self._transcript.conversation.messages
            newest = store.newest() if resumes else None
        except EdgespecError as error:
            self._keeper.tell_error(error)
            return
        self._keeper.tell_notes()
        if newest is not None:
            self._transcript.show(newest)
            self._listener.resumed()
            if launch.target is None:
                self._listener.run(self._bring_model(newest))

    async def _bring_model(self, conversation: Conversation) -> None:
        if said := await bring_model(self._services, conversation):
            self._listener.tell(said)

    def suggest(self, pair: PairOpened) -> None:
        """Names a better model, once, where this is a first start."""
        if not self._has_suggested:
            self._has_suggested = True
            if not self._services.launch.offline:
                self._listener.run(self._suggest(pair))

    async def _suggest(self, pair: PairOpened) -> None:
        found = await asyncio.to_thread(find_suggestion, pair, self._keeper.store)
        if found is not None:
            self._transcript.suggest(found.text)
