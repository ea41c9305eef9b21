"""The conversation on the screen: its turns, and the answer that is coming, painted as often as the machine allows."""

import asyncio
from dataclasses import dataclass, replace

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message as TextualMessage
from textual.widgets import Static

from edgespec.chat.tools import ToolCall
from edgespec.decode.token import GenerationStats
from edgespec.worker.protocol import TokensArrived
from tui.chat.answer_markdown import CodeBlock
from tui.chat.attachments import Attachment
from tui.chat.conversation import ALL_SEEN, Conversation, Message, Receipt, Seen, merge_pieces
from tui.chat.cut_mark import CutMark
from tui.chat.thought import ThoughtFold
from tui.chat.tool_turn import ToolTurn
from tui.chat.turn import AnswerTurn, UserTurn
from tui.chat.version_mark import VersionMark
from tui.common.pace import Pace

_LIVE_S = 1.0
"""Of an answer, between two reports of its figures."""
_EMPTY = """\
Ask something below. Under each answer you see its speed and what speculation gained.

F1 shows all keys, / all commands, F5 the models that are here or can be fetched."""


class Transcript(VerticalScroll, can_focus=False):
    """Owns the conversation, and whatever stands of it on the screen."""

    @dataclass
    class Advanced(TextualMessage):
        """Another second of the answer has been painted."""

        tokens: TokensArrived

    def __init__(self) -> None:
        super().__init__(id="transcript")
        # Kept, not looked for: with every turn Textual would remember one more answer to the same question.
        self._empty = Static(_EMPTY, id="empty", markup=False)
        self.conversation = Conversation.begin()
        self.is_calling = False
        """Whether tools that the last answer called are being run."""
        self.tinted = False
        """Whether answers show who thought of each token."""
        self.pointed: int | None = None
        """Where the message stands that keys step through the versions of; None for the newest that has several."""
        self._replaced_since: int | None = None
        self._turn: AnswerTurn | None = None
        self._pace = Pace()
        self._arrived: list[TokensArrived] = []
        """What the screen does not show yet."""
        self._painting = asyncio.Lock()
        """A paint waits for Markdown: text of the next one must not come before its own."""
        self._told_s = 0.0
        self._grows: Message | None = None
        """The cut answer that goes on."""
        self._seen = ALL_SEEN
        """What the model is shown of what came before the answer that is under way."""

    def compose(self) -> ComposeResult:
        """Advice, until there is a turn."""
        yield self._empty

    def suggest(self, text: str) -> None:
        """Adds a line to the advice that stands where there is no turn yet."""
        self._empty.update(f"{_EMPTY}\n\n{text}")

    @property
    def is_answering(self) -> bool:
        """Whether an answer is under way, or the tools that it goes on from."""
        return self._turn is not None or self.is_calling

    @property
    def is_live(self) -> bool:
        """Whether it belongs to an app that goes on: in one that is being left no turn ever comes to its first text."""
        return self.is_attached and self.app.is_running

    @property
    def is_following(self) -> bool:
        """Whether it stays at its end while text comes: until it is scrolled up."""
        return self.is_anchored and not self._anchor_released

    def show_newest(self) -> None:
        """Scrolls to its end and stays there."""
        self.anchor()

    # Whole conversations.

    def show(self, conversation: Conversation, since: int = 0) -> None:
        """Puts another conversation on the screen.

        Args:
            conversation: To be shown.
            since: So many of its messages are there already.
        """
        self.conversation, self.pointed = conversation, None
        self._show_turns(conversation, since)

    @work(exclusive=True, group="conversation")
    async def _show_turns(self, conversation: Conversation, since: int) -> None:
        for turn in self.turns[since:]:
            await turn.remove()
        self._empty.display = not conversation.messages
        for index, message in enumerate(conversation.messages[since:], since):
            if not self.is_live:  # the app is being left
                return
            await self.mount(self._turn_of(conversation, index, message))
        await self._mark_cut()
        self.mark_replaced(self._replaced_since)
        self.anchor()

    @property
    def turns(self) -> list[UserTurn | ToolTurn | AnswerTurn]:
        """What stands of each message, in their order."""
        return [turn for turn in self.children if isinstance(turn, UserTurn | ToolTurn | AnswerTurn)]

    def _turn_of(
        self, conversation: Conversation, index: int, message: Message
    ) -> UserTurn | ToolTurn | AnswerTurn:
        match message.role:
            case "user":
                return UserTurn(message, conversation.place(index))
            case "tool":
                return ToolTurn(conversation.call_of(message), message.content)
            case _:
                return AnswerTurn(message, conversation.place(index), tinted=self.tinted)

    def mark_replaced(self, since: int | None) -> None:
        """Dims the turns from a message on, which is being written anew; with None, none."""
        self._replaced_since = since
        for index, turn in enumerate(self.turns):
            turn.set_class(since is not None and index >= since, "replaced")

    def point(self, step: int = 0) -> int | None:
        """Goes to the turn before or after that has several versions, and marks it; the newest first.

        Returns:
            Where it stands in the conversation; None where no turn has more than one.
        """
        marks = [mark for mark in self.query(VersionMark) if mark.place.count > 1]
        if not marks:
            return None
        indices = [mark.place.index for mark in marks]
        at = indices.index(self.pointed) if self.pointed in indices else len(marks) - 1
        at = min(max(at + step, 0), len(marks) - 1)
        self.pointed = indices[at]
        for mark in marks:
            mark.set_class(mark is marks[at], "pointed")
        marks[at].scroll_visible(animate=False)
        return self.pointed

    async def _mark_cut(self) -> None:
        """Says from where on the model sees the conversation, where that is not its beginning."""
        await self.query(CutMark).remove()
        seen, turns = self.conversation.seen(), self.turns
        place = self.conversation.place_of(seen.left_out_n)
        if seen.left_out_n and place < len(turns):
            await self.mount(CutMark(seen), before=turns[place])

    async def tint(self, on: bool) -> None:
        """Shows or hides who thought of each token."""
        self.tinted = on
        async with self._painting:
            for turn in self.query(AnswerTurn):
                await turn.tint(on)

    def wrap_code(self, on: bool) -> None:
        """Wraps long lines of code, or lets them run on."""
        self.set_class(on, "-wrap-code")
        for block in self.query(CodeBlock):
            block.scroll_to(x=0, animate=False)

    def toggle_thoughts(self) -> None:
        """Opens all thoughts, or folds them where the last one is open."""
        folds = [fold for fold in self.query(ThoughtFold) if fold.thought]
        is_open = bool(folds) and not folds[-1].collapsed
        for fold in folds:
            fold.collapsed = is_open

    # Its end.

    def add_question(self, text: str, attachments: tuple[Attachment, ...] = ()) -> None:
        """One more message of the user's.

        Args:
            text: As the model sees it.
            attachments: The files in it.
        """
        message = Message("user", text, attachments=attachments)
        self.conversation = self.conversation.add(message)
        place = self.conversation.place(len(self.conversation.messages) - 1)
        self._add_turn(UserTurn(message, place))

    def leave(self, before: Conversation) -> None:
        """Goes back to an earlier place of the conversation, from where it goes another way; what was said after it is kept."""
        for turn in self.turns[len(before.messages) :]:
            turn.remove()
        self.conversation, self.pointed = before, None

    def drop_answer(self) -> None:
        """Makes room for another answer to the last question; one that is there is kept as a version."""
        self.leave(self.conversation.without_last_answer())

    def add_call(self, call: ToolCall) -> ToolTurn:
        """A tool that the last answer called."""
        turn = ToolTurn(call)
        self._add_turn(turn)
        return turn

    def add_result(self, call: ToolCall, text: str) -> None:
        """What came of a call."""
        result = Message("tool", text, call_id=call.id, tool_name=call.name)
        self.conversation = self.conversation.add(result)

    def begin_answer(self, seen: Seen = ALL_SEEN) -> None:
        """An empty turn, for the tokens that will come.

        Args:
            seen: What the model is shown of what came before.
        """
        self._told_s, self._seen = 0.0, seen
        place = self.conversation.place(len(self.conversation.messages))
        self._turn = AnswerTurn(place=place, tinted=self.tinted)
        self._add_turn(self._turn)

    def reopen_answer(self) -> None:
        """The last answer, which was cut, goes on in its turn."""
        before = self._grows = self.conversation.messages[-1]
        self.leave(self.conversation.without_last())
        self.begin_answer(before.seen)
        self._arrived = [_as_arrived(before.without_half_character())]
        self.call_later(self._paint)

    async def add(self, tokens: TokensArrived) -> None:
        """Paints them now, or with those that come until the next paint is due."""
        if (before := self._grows) is not None:
            tokens = replace(
                tokens,
                thought_n=tokens.thought_n + before.thought_n,
                thought_s=tokens.thought_s + before.thought_s,
            )
        self._arrived.append(tokens)
        wait_s = self._pace.wait_s()
        if not wait_s:
            await self._paint()
        elif len(self._arrived) == 1:
            self.set_timer(wait_s, self._paint)

    async def end_answer(
        self,
        target: str,
        *,
        stopped: bool,
        receipt: Receipt | None = None,
        stats: GenerationStats | None = None,
        calls: tuple[ToolCall, ...] = (),
    ) -> bool:
        """The answer is whole, or was stopped; one of which nothing came goes. Returns whether something is left."""
        await self._paint()
        turn, self._turn = self._turn, None
        before, self._grows = self._grows, None
        if turn is None:
            return False
        if not (turn.content or turn.thought or calls):
            await turn.remove()
            return False
        message = Message(
            "assistant",
            turn.content,
            merge_pieces(turn.pieces),
            receipt,
            stopped,
            turn.thought,
            stats.thought_n if stats else 0,
            stats.thought_s if stats else 0.0,
            calls=calls,
            context_n=stats.prompt_n + stats.predicted_n if stats else 0,
            seen=self._seen.dropping(stats.dropped_n if stats else 0),
            reached_limit=stats is not None and stats.stopped == "length",
        )
        if before is not None:
            message = _grown(before, message)
        was_seen = self.conversation.seen()
        self.conversation = replace(self.conversation.add(message), target=target or self.conversation.target)
        await turn.finish(message)
        if message.seen != was_seen and self.is_live:
            await self._mark_cut()
        return True

    def _add_turn(self, turn: UserTurn | ToolTurn | AnswerTurn) -> None:
        if not self.is_live:  # the app is being left
            return
        self._empty.display = False
        self.mount(turn)
        self.anchor()

    async def _paint(self) -> None:
        """Puts on the screen what came since the last time."""
        async with self._painting:
            arrived, self._arrived = self._arrived, []
            if self._turn is None or not arrived:
                return
            self._pace.painted()
            await self._turn.add(arrived)
        newest = arrived[-1]
        if newest.decode_s - self._told_s >= _LIVE_S:
            self._told_s = newest.decode_s
            self.post_message(self.Advanced(newest))


def _as_arrived(message: Message) -> TokensArrived:
    """A message as if all of it had just come."""
    return TokensArrived(
        message.pieces,
        0,
        0.0,
        0,
        0,
        0,
        0.0,
        0,
        thought=message.thought,
        thought_n=message.thought_n,
        thought_s=message.thought_s,
    )


def _grown(before: Message, after: Message) -> Message:
    """An answer that has gone on, as what it was before has it; that one where nothing came."""
    kept = before.without_half_character()
    is_longer = (after.content, after.thought) != (kept.content, kept.thought)
    if after.is_cut and not is_longer:
        return before
    return replace(
        after,
        thought_n=before.thought_n + after.thought_n,
        thought_s=before.thought_s + after.thought_s,
        receipt=_of_the_rest(after.receipt) if is_longer else before.receipt,
        grown_from=before.id,
    )


def _of_the_rest(receipt: Receipt | None) -> Receipt | None:
    """The receipt of what an answer has gone on with, which says that it is not of all of it."""
    return replace(receipt, text=f"+{receipt.text}") if receipt and receipt.text[:1].isdigit() else receipt
