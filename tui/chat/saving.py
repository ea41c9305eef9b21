"""The conversation that is shown, as it is kept: with when it changed, how it is sampled, and what answered."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from tui.chat.conversation import Conversation
from tui.chat.keeper import ChatKeeper, Listener
from tui.chat.model_of_chat import opened_by
from tui.chat.sampling import ChatSampling
from tui.chat.store import ChatStore
from tui.chat.transcript import Transcript
from tui.services.engine_client import EngineClient


class Saving:
    """Of a pane.

    Args:
        store: Where conversations are kept.
        transcript: Has the one that is shown.
        sampling: How its answers are sampled.
        engine: What answers.
        told: Is told what the user should read of the store, and whether it is an error.
    """

    def __init__(
        self,
        store: ChatStore,
        transcript: Transcript,
        sampling: ChatSampling,
        engine: EngineClient,
        told: Callable[[str, bool], None],
    ) -> None:
        self.keeper = ChatKeeper(store, Listener(self._saved, told))
        """Of all conversations."""
        self._transcript, self._sampling, self._engine = transcript, sampling, engine

    def save(self) -> None:
        """Saves the conversation as it stands now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        conversation = self._transcript.conversation
        wish = self._sampling.of_chat(conversation)
        self._transcript.conversation = replace(
            conversation,
            updated_at=now,
            sampling=wish if wish.given else None,
            opened=opened_by(self._engine) or conversation.opened,
        )
        self.keeper.save(self._transcript.conversation)

    def _saved(self, asked: Conversation, saved: Conversation) -> None:
        """Goes on from what was saved; where that waited, the conversation may have gone further."""
        if self._transcript.conversation is asked:
            self._transcript.conversation = saved
        elif self._transcript.conversation.id == saved.id:
            self._transcript.conversation = replace(self._transcript.conversation, head=saved.head)
