"""A conversation as values: messages, with what each answer cost."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from edgespec.chat.messages import ChatMessage, Role
from edgespec.chat.tools import ToolCall
from edgespec.llama.sampler import Sampling
from edgespec.worker.protocol import Piece

_TITLE_LENGTH = 48


@dataclass(frozen=True, slots=True)
class Receipt:
    """What stands below an answer."""

    text: str
    """The figures in one line."""
    why: str
    """Whether speculation was on, and the reason, in a sentence."""


def _new_message_id() -> str:
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. An answer also knows who thought of its tokens."""

    role: Role
    content: str
    pieces: tuple[Piece, ...] = ()
    """Of an answer: the same text by source."""
    receipt: Receipt | None = None
    stopped: bool = False
    """It was ended before the model ended it."""
    thought: str = ""
    """What the model thought before it answered."""
    thought_n: int = 0
    """Tokens of that."""
    thought_s: float = 0.0
    calls: tuple[ToolCall, ...] = ()
    """Of an answer: the tools that it calls."""
    call_id: str = ""
    """Of a tool's result: the call that it belongs to."""
    tool_name: str = ""
    """Of a tool's result."""
    id: str = field(default_factory=_new_message_id, compare=False)
    """By which it is known to be saved: a message that says something else has another one."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order, the system prompt apart."""

    id: str
    created_at: str
    system: str = ""
    messages: tuple[Message, ...] = ()
    target: str = ""
    """The model that answered last."""
    updated_at: str = ""
    sampling: Sampling | None = None
    """How its tokens were chosen last; None where nobody wrote that down."""
    head: str = field(default="", compare=False)
    """Id of the newest message as it was saved last: where another stands there now, another app went on with it."""

    @classmethod
    def begin(cls, system: str = "", now: datetime | None = None) -> "Conversation":
        """An empty one; its id sorts by time."""
        moment = (now or datetime.now(UTC)).astimezone(UTC)
        stamp = moment.isoformat(timespec="seconds")
        return cls(_id_at(moment), stamp, system, updated_at=stamp)

    def copied(self) -> "Conversation":
        """The same under another id, to be saved beside this one."""
        messages = tuple(replace(message, id=_new_message_id()) for message in self.messages)
        return replace(self, id=_id_at(datetime.now(UTC)), messages=messages, head="")

    @property
    def title(self) -> str:
        """The first words that were asked."""
        first = next((message.content for message in self.messages if message.role == "user"), "")
        line = " ".join(first.split())
        return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1].rstrip() + "…"

    def add(self, message: Message) -> "Conversation":
        """With one more message."""
        return replace(self, messages=(*self.messages, message))

    def prompt(self, left_out: int = 0) -> tuple[ChatMessage, ...]:
        """What the model is asked: the system prompt, and all messages that say something.

        Args:
            left_out: So many of the oldest messages are not asked, the newest always.
        """
        system = [ChatMessage("system", self.system)] if self.system else []
        turns = [
            ChatMessage(
                message.role,
                message.content,
                message.thought,
                message.calls,
                message.call_id,
                message.tool_name,
            )
            for message in self.messages
            if message.content or message.thought or message.calls or message.call_id
        ]
        return (*system, *(turns[left_out:] or turns[-1:]))

    def without_last_answer(self) -> "Conversation":
        """Up to and with the last question; the same when it is not answered yet."""
        messages = self.messages
        while messages and messages[-1].role in ("assistant", "tool"):
            messages = messages[:-1]
        return replace(self, messages=messages)

    def without_last_question(self) -> tuple["Conversation", str]:
        """What was there before the last question, and that question."""
        before = self.without_last_answer()
        if not before.messages:
            return before, ""
        return replace(before, messages=before.messages[:-1]), before.messages[-1].content

    def call_of(self, result: Message) -> ToolCall:
        """The call that a tool's result belongs to."""
        calls = (call for message in reversed(self.messages) for call in message.calls)
        found = (call for call in calls if call.id == result.call_id)
        return next(found, ToolCall(result.call_id, result.tool_name, ""))

    def last_answer(self) -> Message | None:
        """The newest answer."""
        return next((m for m in reversed(self.messages) if m.role == "assistant"), None)


def _id_at(moment: datetime) -> str:
    return f"{moment:%Y%m%d-%H%M%S-%f}"


def to_markdown(conversation: Conversation) -> str:
    """The conversation as a document."""
    parts = [f"# {conversation.title or 'Conversation'}"]
    if conversation.system:
        parts.append(f"> {conversation.system.replace(chr(10), chr(10) + '> ')}")
    for message in conversation.messages:
        if message.role == "tool":
            call = conversation.call_of(message)
            parts += [f"## Tool {call.name}", _fenced(call.arguments), _fenced(message.content)]
            continue
        parts.append("## You" if message.role == "user" else f"## {conversation.target or 'Answer'}")
        parts.append(message.content.strip() + ("\n\n*(stopped)*" if message.stopped else ""))
        if message.receipt is not None:
            parts.append(f"*{message.receipt.text}*")
    return "\n\n".join(parts) + "\n"


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def merge_pieces(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Neighbours of one source as one piece."""
    merged: list[Piece] = []
    for piece in pieces:
        if merged and merged[-1].source == piece.source:
            merged[-1] = Piece(merged[-1].text + piece.text, piece.source)
        else:
            merged.append(piece)
    return tuple(merged)
