"""What a pane of the chat is made of, and what it does by itself: it shows a conversation, and says what is going on."""

from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from edgespec.chat.tools import ToolCall
from tui.chat.asking import Asking
from tui.chat.attachments import MessageWithFiles
from tui.chat.beginning import Beginning
from tui.chat.confirm_call import Permission
from tui.chat.context_limit import ContextLimit, LimitListener
from tui.chat.context_meter import ContextMeter, ContextUsed
from tui.chat.conversation import Conversation
from tui.chat.copy_bar import CopyBar
from tui.chat.editing import Editing
from tui.chat.keeper import ChatKeeper
from tui.chat.newest import NewestMark
from tui.chat.own_model import OwnModel
from tui.chat.prompt_input import PromptInput
from tui.chat.sampling import ChatSampling, SamplingChange, describe_sampling
from tui.chat.saving import Saving
from tui.chat.sending import Sending, SendingListener
from tui.chat.slash_menu import SlashMenu
from tui.chat.status_words import pair_words
from tui.chat.store import ChatStore
from tui.chat.tool_use import ToolUse
from tui.chat.transcript import Transcript
from tui.chat.unanswered import Unanswered
from tui.chat.waiting import WaitingMessage
from tui.common.status_line import StatusLine
from tui.services.app_services import AppServices


class PaneParts(Vertical):
    """Transcript, status line and prompt, of one conversation.

    Args:
        services: Of the app.
        keeper: Of all conversations.
    """

    def __init__(self, services: AppServices, keeper: ChatKeeper) -> None:
        super().__init__(classes="conversation")
        self._services = services
        self._engine = services.engine
        self.keeper = keeper
        # Kept, not looked for: with every turn Textual would remember one more answer to the same question.
        self.transcript = Transcript()
        """The conversation."""
        self.sampling = ChatSampling(services)
        """How answers are sampled."""
        self.saving = Saving(keeper, self.transcript, self.sampling, self._engine)
        """How the conversation is kept."""
        self._menu = SlashMenu(lambda: self._engine.pair)
        self.prompt = PromptInput(self._menu, lambda: self.sending.drafts.take_back())
        """Where messages are written."""
        self.editing = Editing(self.transcript, self.prompt, self._tell_or_idle, self._keep_version)
        """Messages that are written anew, and versions."""
        self.copy_bar = CopyBar(self.transcript)
        """Where something to copy is picked."""
        self._newest = NewestMark(self.transcript)
        self.sending = Sending(
            services,
            self.transcript,
            self.prompt,
            self.keeper,
            SendingListener(
                self._ask,
                lambda: self.is_busy or self._waiting,
                self._enter,
                self._leave,
                self.tell,
                partial(self.tell, error=True),
                self.run_worker,
            ),
        )
        """Messages on their way to the model."""
        self._status = StatusLine("status")
        self._tool_use = ToolUse(services.tools, self._ask_to_call, services.tell_error)
        self.asking = Asking(services, self.transcript, self.sampling, self._tool_use)
        """What answers are to be like."""
        self._room = self.asking.room
        self._unanswered = Unanswered(self.keeper, self.transcript, self.prompt, self.editing)
        self._waiting = False
        """A message is there to be answered as soon as the engine is ready, and its turn has come."""
        self.own_model = OwnModel(self._engine)
        """The model that is wanted here."""
        self.meter = ContextMeter("context")
        """What the conversation takes of the context."""
        self.context = ContextLimit(
            services, self.transcript, LimitListener(self._post_used, partial(self.tell, error=True))
        )
        """How full the context is."""
        self.beginning = Beginning(services, self.transcript, self.prompt, self.keeper, self.run_worker)
        """What a chat begins with."""

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield from (self.transcript, self._newest)
        with Horizontal(id="status-row"):
            yield from (self._status, self.meter)
        yield from (self.sending.waiting, self._menu, self.copy_bar, self.prompt)

    def on_mount(self) -> None:
        """Begins as the settings have it."""
        self.transcript.tinted = self._services.settings.tint_drafted
        self.transcript.wrap_code(self._services.settings.wrap_code)
        self.transcript.conversation = self.beginning.empty()

    def on_unmount(self) -> None:
        """What is written and not sent is kept with the conversation."""
        self.keep_draft()

    @property
    def store(self) -> ChatStore:
        """Of all conversations."""
        return self.keeper.store

    @property
    def is_waiting(self) -> bool:
        """Whether a message is there to be answered as soon as a model is."""
        return self._waiting

    @property
    def is_busy(self) -> bool:
        """Whether an answer is under way, or what it needs first."""
        return self.transcript.is_answering or self._room.is_being_made

    def _post_used(self, used: ContextUsed) -> None:
        # Told while the tabs hand on what the engine says, who would pass for the sender and end its way.
        self.post_message(used.set_sender(self))

    def keep_draft(self) -> None:
        """Keeps what is written and not sent."""
        self.sending.keep(self.prompt.message.strip())

    def show(self, conversation: Conversation) -> None:
        """Another conversation, with what was written there and not sent; what went wrong in the one before is not said of it."""
        self.editing.leave()
        self._waiting = False
        self._unanswered.forget()
        self.own_model.adopt()
        self.transcript.show(conversation)
        self.sending.drafts.bring()
        self.context.tell()
        self.tell_pair()
        self.prompt.focus()

    @on(SlashMenu.Taken)
    def _completion_taken(self, message: SlashMenu.Taken) -> None:
        self.prompt.take(message.completion)

    @on(CopyBar.Left)
    def _copy_bar_left(self, message: CopyBar.Left) -> None:
        self.prompt.focus()
        if message.text:
            self.app.copy_to_clipboard(message.text)

    @on(NewestMark.Clicked)
    def _newest_wanted(self) -> None:
        self.transcript.show_newest()

    @on(WaitingMessage.Clicked)
    def _waiting_clicked(self, message: WaitingMessage.Clicked) -> None:
        self.sending.click(message)

    # What is said.

    def tell_pair(self) -> None:
        """What is loaded, in the status line."""
        pair = self._engine.pair
        if pair is None:
            self.tell("")
            return
        has_schema = self.asking.structure is not None
        words = pair_words(pair, tools_n=len(self._services.tools.tools), has_schema=has_schema)
        self.tell(words)

    def tell(self, text: str, *, error: bool = False, whole: bool = True) -> None:
        """Says it in the status line.

        Args:
            text: In a sentence.
            error: It went wrong.
            whole: It is said in full, in several rows where one is too short; what is said often should not be.
        """
        self._status.tell(text, error=error, whole=whole)

    def _tell_or_idle(self, text: str) -> None:
        if text:
            self.tell(text)
        else:
            self.tell_pair()

    def _keep_version(self, conversation: Conversation) -> None:
        self.keeper.save(conversation)
        self.context.tell()

    def set_sampling(self, change: SamplingChange) -> None:
        """Samples otherwise from the next answer on: in this conversation, or wherever its model answers."""
        self.transcript.conversation = self.sampling.take(change, self.transcript.conversation)
        self.keeper.save(self.transcript.conversation)
        settled = describe_sampling(self.sampling.settled(self.transcript.conversation))
        self.tell(f"sampling from the next answer: {settled}")

    # What a pane that asks does.

    def _ask(self, message: MessageWithFiles) -> None:
        """Has a message answered, whose files are read."""
        raise NotImplementedError

    def _enter(self) -> bool:
        """Whether the engine may be asked now; else this pane's turn comes."""
        raise NotImplementedError

    def _leave(self) -> None:
        """The engine is not asked any more."""
        raise NotImplementedError

    async def _ask_to_call(self, call: ToolCall, server: str) -> Permission:
        """Whether a tool may be run."""
        raise NotImplementedError
