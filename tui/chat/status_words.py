"""What the chat's status line says of the pair that is loaded, and of how an answer has ended."""

from typing import Final

from edgespec.decode.policy import Mode
from edgespec.decode.token import GenerationStats
from edgespec.worker.protocol import PairOpened, RequestFailed
from tui.common.setting_labels import with_labels
from tui.common.wording import drafting_of, joined
from tui.services.engine_client import EngineState

_ENDS: Final = {
    "context": "the context is full: the answer was cut short; /new begins another conversation",
    "interrupted": "stopped; /continue goes on",
    "length": "the answer reached the longest length allowed; /continue goes on, /settings changes that",
}
"""Why an answer ended -> what is said of it, where that is worth a word."""


def pair_words(pair: PairOpened, *, tools_n: int, has_schema: bool) -> str:
    """What is loaded, and how it drafts.

    Args:
        pair: That answers.
        tools_n: Tools that it may call.
        has_schema: Answers are held to one.
    """
    # In another mode than auto none was looked for.
    nothing = ", no draft model on disk" if pair.mode is Mode.AUTO else ", no draft model"
    nothing = "" if pair.server else nothing
    draft = f" with {pair.draft}" if pair.draft else nothing
    note = f" · {with_labels(pair.note)}" if pair.note else ""
    size = f"{pair.n_ctx} tokens of context" if pair.n_ctx else "context unknown"
    tools = f" · {tools_n} tools" if tools_n else ""
    schema = " · answers by a schema" if has_schema else ""
    return f"{pair.target}{draft} · {drafting_of(pair)} · {size}{tools}{schema}{note}"


def waiting_words(state: EngineState, *, is_before: bool) -> str:
    """Why a message is not answered yet.

    Args:
        state: Of the engine.
        is_before: It answers in another tab.
    """
    if is_before:
        return "another tab is being answered, then this is: Esc takes it back"
    if state is EngineState.BUSY:
        return "the answer starts when the race is over"
    return "the answer starts when the model is loaded"


def end_words(stats: GenerationStats, left_out_n: int) -> str:
    """Why an answer is over, and what it was written without; empty where it is whole.

    Args:
        stats: Of the answer.
        left_out_n: Messages that the model is shown no more.
    """
    left_out = f"the {left_out_n} oldest messages were left out" if stats.dropped_n else ""
    return " · ".join(part for part in (_ENDS.get(stats.stopped, ""), left_out) if part)


def failure_words(failed: RequestFailed, *, goes_back: bool) -> str:
    """Why nothing came of a request.

    Args:
        failed: What the engine says.
        goes_back: It loads the pair from before again.
    """
    text = "stopped" if failed.interrupted else joined(failed.message, failed.hint)
    return f"{text} (the model from before is loaded again)" if goes_back else text
