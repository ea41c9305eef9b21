"""Room in the context for the next answer: what the model is shown for it, and the summary that it writes for that."""

from tui.chat.context_end import Shortening, needs_room, plan_summary, summarized
from tui.chat.conversation import Conversation, Seen


class Room:
    """What the model is shown for the question that is being answered."""

    def __init__(self) -> None:
        self._seen: Seen | None = None
        """Settled for this question; None: as much as for the one before."""
        self.is_full = False
        """The engine has said that the conversation does not fit."""
        self._shortening: Shortening | None = None
        self._summary: list[str] = []

    @property
    def is_being_made(self) -> bool:
        """Whether a summary is being written."""
        return self._shortening is not None

    def seen(self, conversation: Conversation) -> Seen:
        """What is shown for the question at the end of a conversation."""
        return self._seen or conversation.seen()

    def plan(self, conversation: Conversation, n_ctx: int, limit: int) -> Shortening | None:
        """What is to be summarized first; None where there is room, or nothing that could be.

        Args:
            conversation: With the question.
            n_ctx: Tokens of the context; 0 where nobody knows.
            limit: Tokens of the answer.
        """
        if self._seen is not None or not (self.is_full or needs_room(conversation, n_ctx, limit)):
            return None
        self.is_full = False
        self._shortening, self._summary = plan_summary(conversation, self.seen(conversation), n_ctx), []
        return self._shortening

    def hear(self, text: str) -> None:
        """More of the summary."""
        self._summary.append(text)

    def finish(self) -> bool:
        """The summary is whole; returns whether there is any."""
        shortening, self._shortening = self._shortening, None
        text = "".join(self._summary)
        if shortening is None or not text.strip():
            return False
        self._seen = summarized(shortening, text)
        return True

    def forget(self) -> None:
        """The question is answered, or comes to nothing."""
        self._seen = self._shortening = None
