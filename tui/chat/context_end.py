"""The end of the context: what the model is shown of a conversation that has outgrown it, as the user has chosen once."""

from dataclasses import dataclass
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from edgespec.chat.messages import ChatMessage
from edgespec.chat.thinking import Thinking
from edgespec.worker.protocol import Answer
from tui.chat.conversation import Conversation, Message, Seen
from tui.common.dialog import Dialog
from tui.services.settings import ContextEnd

CHOICES: Final[tuple[tuple[ContextEnd, str, str], ...]] = (
    ("drop", "Leave out the oldest turns", "The model forgets them."),
    ("summarize", "Summarize the oldest turns", "The model writes the summary itself, and is shown that."),
    ("stop", "Stop", "Nothing is left out; a new conversation has to be begun."),
)
"""What can be chosen, with what comes of it."""
_SUMMARIZE: Final = (
    "Summarize our conversation so far in a few sentences, so that it can go on without its text: who I am, what I want, "
    "names, numbers, decisions. Write only the summary."
)
_CHARS_PER_TOKEN: Final = 3
"""Of a question that nobody has taken apart yet: fewer than texts have, so that there is room in any case."""
_ROOM: Final = 4
"""A quarter of the context is room enough for an answer, as in `edgespec.session`."""
_SUMMARY_ROOM: Final = 8
"""An eighth of it for the summary."""


class ContextEndScreen(Dialog[ContextEnd | None]):
    """Asked once: what is to be done, now and from now on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Not now", id="context.cancel", tooltip="Leave things as they are"),
    ]

    def __init__(self, n_ctx: int) -> None:
        super().__init__()
        self._n_ctx = n_ctx

    def compose(self) -> ComposeResult:
        """What is the matter, and what can be done."""
        size = f" of {self._n_ctx:,} tokens" if self._n_ctx else ""
        with Vertical(classes="dialog"):
            yield Static(
                f"The context{size} is full. How should this go on, now and from now on?", markup=False
            )
            yield OptionList(*(Option(title, id=value) for value, title, _ in CHOICES), markup=False)
            yield Static("", markup=False, classes="dialog-text", id="context-end-detail")
            yield Static(
                "All turns stay on the screen and are kept. F7 changes the choice; Esc: not now.",
                markup=False,
                classes="dialog-text",
            )

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        detail = next(text for value, _, text in CHOICES if value == event.option.id)
        self.query_one("#context-end-detail", Static).update(detail)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(next(value for value, _, _ in CHOICES if value == event.option.id))


@dataclass(frozen=True, slots=True)
class Shortening:
    """A summary that is to be written."""

    request: Answer
    n_messages: int
    """That it stands for, with those that were left out before."""


def plan_summary(conversation: Conversation, seen: Seen, n_ctx: int) -> Shortening | None:
    """What to ask so that about half of what the model is shown becomes a summary; None where only one question is left.

    Args:
        conversation: With the question that is to be answered.
        seen: What the model was shown until now.
        n_ctx: Tokens of the context.
    """
    spoken = conversation.spoken()[seen.left_out_n :]
    starts = [place for place, message in enumerate(spoken) if place and message.role == "user"]
    if not starts:
        return None
    half = sum(map(_length, spoken)) / 2
    n_older = min(starts, key=lambda place: abs(sum(map(_length, spoken[:place])) - half))
    older = Conversation("", "", conversation.system, (*conversation.spoken()[: seen.left_out_n + n_older],))
    request = Answer(
        (*older.prompt(seen), ChatMessage("user", _SUMMARIZE)),
        max(64, n_ctx // _SUMMARY_ROOM),
        drop_oldest=True,
        thinking=Thinking(think="off"),
    )
    return Shortening(request, seen.left_out_n + n_older)


def needs_room(conversation: Conversation, n_ctx: int, limit: int) -> bool:
    """Whether the next answer may find the context full: reckoned from the last answer, and the length of what is new.

    Args:
        conversation: With the question that is to be answered.
        n_ctx: Tokens; 0 where nobody knows.
        limit: Tokens of the answer.
    """
    used = conversation.context_n()
    new = 0
    for message in reversed(conversation.messages):
        if message.role == "assistant":
            break
        new += len(message.content)
    return bool(n_ctx and used) and used + new // _CHARS_PER_TOKEN + min(limit, n_ctx // _ROOM) > n_ctx


def summarized(shortening: Shortening, text: str) -> Seen:
    """What the model is shown from now on."""
    return Seen(shortening.n_messages, text.strip())


def _length(message: Message | ChatMessage) -> int:
    return len(message.content)
