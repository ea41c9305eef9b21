"""What the engine is asked for the conversation that is shown: its next answer, or first a summary that makes room for it."""

from dataclasses import replace

from edgespec.chat.structure import Structure
from edgespec.worker.protocol import Answer
from tui.chat.room import Room
from tui.chat.sampling import ChatSampling
from tui.chat.tool_use import ToolUse
from tui.chat.transcript import Transcript
from tui.services.app_services import AppServices


class Asking:
    """Of a pane.

    Args:
        services: Of the app.
        transcript: Has the conversation.
        sampling: How answers are sampled.
        tool_use: What they may call.
    """

    def __init__(
        self, services: AppServices, transcript: Transcript, sampling: ChatSampling, tool_use: ToolUse
    ) -> None:
        self._services, self._transcript = services, transcript
        self._sampling, self._tool_use = sampling, tool_use
        self.room = Room()
        """In the context, for the answer."""
        self.thinking = services.launch.thinking
        """How the model is to think, from the next answer on."""
        self.structure: Structure | None = None
        """What answers must look like, from the next one on."""
        self.schema_name = ""
        """The file that this stands in."""

    def ask_summary(self) -> int:
        """Asks for a summary first where there is too little room for an answer, and the user wants one.

        Returns:
            Messages that it will stand for; 0 where none was asked for.
        """
        engine = self._services.engine
        if self._services.settings.context_end != "summarize":
            return 0
        n_ctx = engine.pair.n_ctx if engine.pair else 0
        shortening = self.room.plan(self._transcript.conversation, n_ctx, self._limit)
        if shortening is None:
            return 0
        engine.ask(shortening.request)
        return shortening.n_messages

    def ask(self, *, goes_on: bool) -> None:
        """Asks for the answer, whose turn begins.

        Args:
            goes_on: The last answer, which was cut, goes on in its turn.
        """
        conversation = self._transcript.conversation
        if goes_on:
            last = conversation.messages[-1].without_half_character()
            conversation = replace(conversation, messages=(*conversation.messages[:-1], last))
            seen = last.seen
            self._transcript.reopen_answer()
        else:
            seen = self.room.seen(conversation)
            self._transcript.begin_answer(seen)
        may_drop = self._services.settings.context_end in ("drop", "summarize") and not goes_on
        self._services.engine.ask(
            Answer(
                conversation.prompt(seen),
                self._limit,
                self._sampling.asked(conversation),
                drop_oldest=may_drop,
                thinking=self.thinking,
                continues=goes_on,
                toolbox=self._tool_use.toolbox,
                structure=self.structure,
            )
        )

    @property
    def _limit(self) -> int:
        """Tokens of an answer."""
        return self._services.launch.max_tokens or self._services.settings.max_tokens
