"""A message on its way from the prompt to the model: it waits for its turn, its files are read, and what is not asked yet is kept."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from edgespec.errors import EdgespecError
from tui.chat.attaching import Attaching, AttachingListener
from tui.chat.attachments import MessageWithFiles
from tui.chat.drafts import Drafts
from tui.chat.keeper import ChatKeeper
from tui.chat.prompt_input import PromptInput
from tui.chat.transcript import Transcript
from tui.chat.waiting import BETWEEN, WaitingMessage, WaitingMessages
from tui.common.wording import joined
from tui.services.app_services import AppServices


@dataclass(frozen=True, slots=True)
class SendingListener:
    """The pane that messages are sent in."""

    ask: Callable[[MessageWithFiles], None]
    """A message's turn has come, and its files are read."""
    is_busy: Callable[[], bool]
    """Whether something that was asked before is still to be answered."""
    enter: Callable[[], bool]
    """Whether the engine may be asked now; else the pane's turn comes."""
    leave: Callable[[], None]
    """It is not asked any more."""
    tell: Callable[[str], None]
    tell_error: Callable[[str], None]
    run: Callable[[Coroutine[Any, Any, None]], object]
    """Runs what waits for the disk."""


class Sending:
    """Of one pane.

    Args:
        services: Of the app.
        transcript: Of the conversation that messages belong to.
        prompt: Where they are written.
        keeper: Keeps what is not asked yet.
        listener: Asks.
    """

    def __init__(
        self,
        services: AppServices,
        transcript: Transcript,
        prompt: PromptInput,
        keeper: ChatKeeper,
        listener: SendingListener,
    ) -> None:
        self._transcript, self._prompt, self._listener = transcript, prompt, listener
        self.waiting = WaitingMessages()
        """What is sent when the answer is there."""
        self.drafts = Drafts(keeper, prompt, self.waiting, lambda: transcript.conversation.id)
        """What is not asked yet, as it is kept."""
        self.attaching = Attaching(
            services,
            AttachingListener(self._attached, self._refuse, listener.enter),
            lambda: transcript.is_live,
        )
        """A message whose files are read and counted."""

    @property
    def must_wait(self) -> bool:
        """Whether a message has to wait for what was asked before."""
        return self._listener.is_busy() or self.attaching.is_busy

    def send(self, text: str, files: tuple[str, ...] = ()) -> None:
        """Asks it, now or when the answer is there that is under way.

        Args:
            text: As it was written.
            files: That it mentions.
        """
        if not self.must_wait:
            self.ask(text, files)
        else:
            self.waiting.add(text, files)
        self.keep()

    def ask(self, text: str, files: tuple[str, ...] = ()) -> None:
        """Has a message asked; first come the files that it mentions."""
        if files:
            self._listener.tell("reading what is attached")
            self._listener.run(self.attaching.begin(text, files, self._transcript.conversation.system))
        else:
            self._listener.ask(MessageWithFiles(text))

    def send_next(self) -> None:
        """Asks what waits longest, where nothing is in its way."""
        if not self.must_wait and (line := self.waiting.take_next()):
            self.ask(line.text, line.files)
            self.keep()

    def click(self, message: WaitingMessage.Clicked) -> None:
        """Takes one that waits back into the prompt, or away."""
        if not message.removes and self._prompt.text:
            self._listener.tell("another message is being written: send it, or clear the prompt first")
            return
        text = self.drafts.take_back(message.waiting)
        if text and not message.removes:
            self._prompt.put(text)
            self._prompt.focus()

    def keep(self, written: str = "") -> None:
        """Keeps what waits, what is being attached, and what is being written, for the case that the app ends."""
        self.drafts.keep(BETWEEN.join(filter(None, (self.attaching.written, written))))

    def _attached(self, message: MessageWithFiles) -> None:
        self._listener.ask(message)
        self.keep()

    def _refuse(self, written: str, error: EdgespecError) -> None:
        """What cannot be attached goes back into the prompt, before what is being written there."""
        self._listener.leave()
        self._prompt.put(BETWEEN.join(filter(None, (written, self._prompt.message))))
        self._listener.tell_error(joined(error.message, error.hint))
