"""The conversation that is shown, as it is kept: with when it changed, how it is sampled, and what answered."""

from dataclasses import replace
from datetime import UTC, datetime

from tui.chat.conversation import Conversation
from tui.chat.keeper import ChatKeeper
from tui.chat.model_of_chat import opened_by
from tui.chat.sampling import ChatSampling
from tui.chat.transcript import Transcript
from tui.services.engine_client import EngineClient


class Saving:
    """Of a pane.

    Args:
        keeper: Of all conversations.
        transcript: Has the one that is shown.
        sampling: How its answers are sampled.
        engine: What answers.
    """

    def __init__(
        self,
        keeper: ChatKeeper,
        transcript: Transcript,
        sampling: ChatSampling,
        engine: EngineClient,
    ) -> None:
        self._keeper = keeper
        self._transcript, self._sampling, self._engine = transcript, sampling, engine
        self._has_ended = False

    def begins(self) -> None:
        """Another conversation is kept from now on."""
        self._has_ended = False

    def ends(self) -> None:
        """The conversation was deleted: nothing of it is saved any more."""
        self._has_ended = True

    def save(self) -> None:
        """Saves the conversation as it stands now."""
        if self._has_ended:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        conversation = self._transcript.conversation
        wish = self._sampling.of_chat(conversation)
        self._transcript.conversation = replace(
            conversation,
            updated_at=now,
            sampling=wish if wish.given else None,
            opened=opened_by(self._engine) or conversation.opened,
        )
        self._keeper.save(self._transcript.conversation)

    def take_saved(self, asked: Conversation, saved: Conversation) -> None:
        """Goes on from what was saved; where that waited, the conversation may have gone further."""
        if self._transcript.conversation is asked:
            self._transcript.conversation = saved
        elif self._transcript.conversation.id == saved.id:
            self._transcript.conversation = replace(self._transcript.conversation, head=saved.head)
