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
from tui.chat.conversation import Conversation, Message, Receipt, merge_pieces
from tui.chat.thought import ThoughtFold
from tui.chat.tool_turn import ToolTurn
from tui.chat.turn import AnswerTurn, UserTurn
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
        self._turn: AnswerTurn | None = None
        self._pace = Pace()
        self._arrived: list[TokensArrived] = []
        """What the screen does not show yet."""
        self._painting = asyncio.Lock()
        """A paint waits for Markdown: text of the next one must not come before its own."""
        self._told_s = 0.0

    def compose(self) -> ComposeResult:
        """Advice, until there is a turn."""
        yield self._empty

    @property
    def is_answering(self) -> bool:
        """Whether an answer is under way, or the tools that it goes on from."""
        return self._turn is not None or self.is_calling

    @property
    def is_following(self) -> bool:
        """Whether it stays at its end while text comes: until it is scrolled up."""
        return self.is_anchored and not self._anchor_released

    def show_newest(self) -> None:
        """Scrolls to its end and stays there."""
        self.anchor()

    # Whole conversations.

    def show(self, conversation: Conversation) -> None:
        """Puts another conversation on the screen."""
        self.conversation = conversation
        self._show_turns(conversation)

    @work(exclusive=True, group="conversation")
    async def _show_turns(self, conversation: Conversation) -> None:
        await self.query(".turn").remove()
        self._empty.display = not conversation.messages
        for message in conversation.messages:
            if not self.is_attached:  # the app is being left
                return
            await self.mount(self._turn_of(conversation, message))
        self.anchor()

    def _turn_of(self, conversation: Conversation, message: Message) -> UserTurn | ToolTurn | AnswerTurn:
        match message.role:
            case "user":
                return UserTurn(message.content)
            case "tool":
                return ToolTurn(conversation.call_of(message), message.content)
            case _:
                return AnswerTurn(message, tinted=self.tinted)

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

    def add_question(self, text: str) -> None:
        """One more message of the user's."""
        self.conversation = self.conversation.add(Message("user", text))
        self._add_turn(UserTurn(text))

    def take_back_question(self) -> str:
        """Removes the last question and its answer; returns the question, empty where there is none."""
        before, question = self.conversation.without_last_question()
        if question:
            self.show(before)
        return question

    def drop_answer(self) -> None:
        """Removes what answers the last question, if anything does."""
        before = self.conversation.without_last_answer()
        if before != self.conversation:
            for turn in reversed(self.query(".turn")):
                if isinstance(turn, UserTurn):
                    break
                turn.remove()
            self.conversation = before

    def add_call(self, call: ToolCall) -> ToolTurn:
        """A tool that the last answer called."""
        turn = ToolTurn(call)
        self._add_turn(turn)
        return turn

    def add_result(self, call: ToolCall, text: str) -> None:
        """What came of a call."""
        result = Message("tool", text, call_id=call.id, tool_name=call.name)
        self.conversation = self.conversation.add(result)

    def begin_answer(self) -> None:
        """An empty turn, for the tokens that will come."""
        self._told_s = 0.0
        self._turn = AnswerTurn(tinted=self.tinted)
        self._add_turn(self._turn)

    async def add(self, tokens: TokensArrived) -> None:
        """Paints them now, or with those that come until the next paint is due."""
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
            calls,
        )
        self.conversation = replace(self.conversation.add(message), target=target or self.conversation.target)
        await turn.finish(message)
        return True

    def _add_turn(self, turn: UserTurn | ToolTurn | AnswerTurn) -> None:
        if not self.is_attached:  # the app is being left
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
