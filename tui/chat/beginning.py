"""What a chat begins with: an empty conversation, what was asked before, and on a first start a better model."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from edgespec.errors import EdgespecError
from edgespec.worker.protocol import PairOpened
from tui.chat.conversation import Conversation
from tui.chat.keeper import ChatKeeper
from tui.chat.prompt_input import PromptInput
from tui.chat.suggestion import find_suggestion
from tui.chat.transcript import Transcript
from tui.services.app_services import AppServices


class Beginning:
    """Of one pane.

    Args:
        services: Of the app.
        transcript: Shows what is suggested.
        prompt: Remembers what was asked.
        keeper: Has what was said before.
        run: Runs what waits for the disk.
    """

    def __init__(
        self,
        services: AppServices,
        transcript: Transcript,
        prompt: PromptInput,
        keeper: ChatKeeper,
        run: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._services, self._keeper, self._run = services, keeper, run
        self._transcript, self._prompt = transcript, prompt
        self._has_suggested = False
        """A better model has been looked for."""

    def empty(self) -> Conversation:
        """A conversation with the system prompt of the command line or of the app."""
        asked = self._services.launch.system
        return Conversation.begin(self._services.settings.system_prompt if asked is None else asked)

    def recall(self) -> None:
        """What was asked in earlier conversations."""
        try:
            for question in self._keeper.store.recent_questions():
                self._prompt.remember(question)
        except EdgespecError as error:
            self._keeper.tell_error(error)

    def suggest(self, pair: PairOpened) -> None:
        """Names a better model, once, where this is a first start."""
        if not self._has_suggested:
            self._has_suggested = True
            if not self._services.launch.offline:
                self._run(self._suggest(pair))

    async def _suggest(self, pair: PairOpened) -> None:
        found = await asyncio.to_thread(find_suggestion, pair, self._keeper.store)
        if found is not None:
            self._transcript.suggest(found.text)
