"""A conversation as values: messages, with what each answer cost."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import takewhile
from uuid import uuid4

from edgespec.chat.messages import ChatMessage, Role
from edgespec.chat.tools import ToolCall
from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource
from edgespec.llama.sampling_wish import SamplingWish
from edgespec.worker.protocol import Piece
from tui.chat.attachments import Attachment

_TITLE_LENGTH = 48
_HALF = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What stands below an answer."""

    text: str
    """The figures in one line."""
    why: str
    """Whether speculation was on, and the reason, in a sentence."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model was shown of a conversation that has outgrown its context."""

    left_out_n: int = 0
    """Messages at its beginning that it was not; those that say nothing are not counted."""
    summary: str = ""
    """What it was told in their place."""

    def dropping(self, n: int) -> "Seen":
        """With so many more left out, and with them the summary, which comes with the first message that is not."""
        return Seen(self.left_out_n + n) if n else self


ALL_SEEN = Seen()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands: in the conversation as it is shown, and among the versions of itself."""

    index: int
    number: int = 1
    """Of this version, from 1, the oldest first."""
    count: int = 1
    """Of versions."""


FIRST = Place(0)


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
    attachments: tuple[Attachment, ...] = ()
    """Of a question: files in its text."""
    reached_limit: bool = False
    """It ended at the longest length that was allowed."""
    grown_from: str = field(default="", compare=False)
    """Id of the answer that went on as this one, whose place it takes."""
    context_n: int = 0
    """Of an answer: tokens of the context up to its end; 0 where nobody wrote that down."""
    seen: Seen = ALL_SEEN
    """Of an answer: what the model was shown of what came before."""
    id: str = field(default_factory=_new_message_id, compare=False)
    """By which it is known to be saved: a message that says something else has another one."""

    @property
    def says_something(self) -> bool:
        """Whether the model is shown it."""
        return bool(self.content or self.thought or self.calls or self.call_id)

    @property
    def written(self) -> str:
        """What the user wrote of it, without the files that stand below."""
        return self.content[: self.attachments[0].start] if self.attachments else self.content

    @property
    def is_cut(self) -> bool:
        """Whether the model had more to say."""
        return self.role == "assistant" and not self.calls and (self.stopped or self.reached_limit)

    def without_half_character(self) -> "Message":
        """Without what stands at the end where it was cut within a character."""
        pieces = self.pieces or (Piece(self.content, DraftSource.TARGET),)
        last = replace(pieces[-1], text=pieces[-1].text.rstrip(_HALF))
        return replace(
            self,
            content=self.content.rstrip(_HALF),
            thought=self.thought.rstrip(_HALF),
            pieces=(*pieces[:-1], last),
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """What answered a conversation, to be opened again."""

    spec: str
    """Opens the target: a name, or a path."""
    mode: Mode
    """How it was drafted for."""


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
    sampling: SamplingWish | None = None
    """What was set of how its tokens are picked; None where nothing was."""
    opened: Opened | None = None
    """None where nobody wrote that down."""
    head: str = field(default="", compare=False)
    """Id of the newest message as it was saved last: where another stands there now, another app went on with it."""
    branches: Mapping[str, tuple[Message, ...]] = field(default_factory=dict, compare=False, repr=False)
    """All that was ever said, those included that an edit or another answer replaced: by the id of the message before (empty for the
    first), the oldest first. `messages` is one way through it."""

    @classmethod
    def begin(cls, system: str = "", now: datetime | None = None) -> "Conversation":
        """An empty one; its id sorts by time."""
        moment = (now or datetime.now(UTC)).astimezone(UTC)
        stamp = moment.isoformat(timespec="seconds")
        return cls(_id_at(moment), stamp, system, updated_at=stamp)

    def copied(self) -> "Conversation":
        """The same under another id, to be saved beside this one."""
        messages = tuple(replace(message, id=_new_message_id()) for message in self.messages)
        return replace(
            self, id=_id_at(datetime.now(UTC)), messages=messages, head="", branches=in_line(messages)
        )

    @property
    def title(self) -> str:
        """The first words that were asked."""
        first = next((message.written for message in self.messages if message.role == "user"), "")
        line = " ".join(first.split())
        return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1].rstrip() + "…"

    def add(self, message: Message) -> "Conversation":
        """With one more message; where there is one in its place already, it is another version of it."""
        before = self.messages[-1].id if self.messages else ""
        branches = {**self.branches, before: (*self.branches.get(before, ()), message)}
        return replace(self, messages=(*self.messages, message), branches=branches)

    def place(self, index: int) -> Place:
        """Which version the message at `index` is; of one that is still to come there, the next."""
        before = self.messages[index - 1].id if index else ""
        ids = [one.id for one in self.branches.get(before, ())]
        if index == len(self.messages):
            return Place(index, len(ids) + 1, len(ids) + 1)
        own = self.messages[index].id
        return Place(index, ids.index(own) + 1, len(ids)) if own in ids else Place(index)

    def with_version(self, index: int, number: int) -> "Conversation":
        """The way that leads through another version of the message at `index`, and from there to what was said last.

        Args:
            index: In `messages`.
            number: Of the version, from 1; another one is the nearest.
        """
        before = self.messages[index - 1].id if index else ""
        versions = self.branches.get(before, (self.messages[index],))
        messages = [*self.messages[:index], versions[min(max(number, 1), len(versions)) - 1]]
        while following := self.branches.get(messages[-1].id):
            messages.append(following[-1])
        return replace(self, messages=tuple(messages))

    def without_last(self) -> "Conversation":
        """As if its last message had never been: it is no version of what comes in its place."""
        *kept, last = self.messages
        before = kept[-1].id if kept else ""
        others = tuple(one for one in self.branches.get(before, ()) if one.id != last.id)
        return replace(self, messages=tuple(kept), branches={**self.branches, before: others})

    def shared_with(self, other: "Conversation") -> int:
        """How many messages both begin with."""
        pairs = zip(self.messages, other.messages, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0].id == pair[1].id, pairs))

    def before(self, index: int) -> "Conversation":
        """The same up to the message at `index`, from where it may go another way."""
        return replace(self, messages=self.messages[:index])

    def taken_back(self) -> "Conversation":
        """As if the last message had never been said."""
        before = self.messages[-2].id if len(self.messages) > 1 else ""
        others = tuple(one for one in self.branches.get(before, ()) if one.id != self.messages[-1].id)
        branches = {**self.branches, before: others}
        return replace(self, messages=self.messages[:-1], branches=branches)

    def question_before(self, index: int) -> int | None:
        """Where the last question before `index` stands."""
        return next((at for at in reversed(range(index)) if self.messages[at].role == "user"), None)

    def spoken(self) -> tuple[Message, ...]:
        """The messages that say something, which are those that the model is shown."""
        return tuple(message for message in self.messages if message.says_something)

    def place_of(self, n_spoken: int) -> int:
        """Where the message stands that has so many before it that say something."""
        spoken = [place for place, one in enumerate(self.messages) if one.says_something]
        return spoken[n_spoken] if n_spoken < len(spoken) else len(self.messages)

    def seen(self) -> Seen:
        """What the model was shown for the last answer."""
        answer = self.last_answer()
        return answer.seen if answer else ALL_SEEN

    def context_n(self) -> int:
        """Tokens that the conversation took up to its last answer; 0 where that is not known."""
        answer = self.last_answer()
        return answer.context_n if answer else 0

    def prompt(self, seen: Seen = ALL_SEEN) -> tuple[ChatMessage, ...]:
        """What the model is asked: the system prompt, and all messages that say something.

        Args:
            seen: Of the oldest messages so many are not asked, the newest always. A summary of them comes with the first that is:
                not every template knows a system prompt.
        """
        system = [ChatMessage("system", self.system)] if self.system else []
        spoken = self.spoken()
        turns = [
            ChatMessage(
                message.role,
                message.content,
                message.thought,
                message.calls,
                message.call_id,
                message.tool_name,
            )
            for message in (spoken[seen.left_out_n :] or spoken[-1:])
        ]
        if seen.summary and turns and turns[0].role == "user":
            told = f"(What was said before, in short: {seen.summary})\n\n{turns[0].content}"
            turns[0] = ChatMessage("user", told)
        return (*system, *turns)

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
        return replace(before, messages=before.messages[:-1]), before.messages[-1].written

    def call_of(self, result: Message) -> ToolCall:
        """The call that a tool's result belongs to."""
        calls = (call for message in reversed(self.messages) for call in message.calls)
        found = (call for call in calls if call.id == result.call_id)
        return next(found, ToolCall(result.call_id, result.tool_name, ""))

    def last_answer(self) -> Message | None:
        """The newest answer."""
        return next((m for m in reversed(self.messages) if m.role == "assistant"), None)


def in_line(messages: Sequence[Message]) -> dict[str, tuple[Message, ...]]:
    """The branches of a conversation in which nothing was ever replaced."""
    before = ["", *(message.id for message in messages)]
    return {parent: (message,) for parent, message in zip(before, messages, strict=False)}


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
