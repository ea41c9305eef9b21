"""What many callers ask of one pair, and what they are told: plain values that pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from edgespec.chat.infill import Infill
from edgespec.chat.messages import ChatMessage
from edgespec.chat.structure import Structure
from edgespec.chat.thinking import AS_IT_LIKES, Thinking
from edgespec.chat.tools import NO_TOOLS, CallDelta, Toolbox
from edgespec.decode.token import GenerationStats
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import AnySampling

# What is asked for.


@dataclass(frozen=True, slots=True)
class Ask:
    """An answer, or several to the same prompt. `Began` comes, `Wrote` as often as there is something, and `Ended` for every
    choice; or `Refused` at any time, and nothing after it.
    """

    id: int
    """The caller's own, unlike all others under way."""
    prompt: tuple[ChatMessage, ...] | str | tuple[int, ...] | Infill
    """A conversation for the chat template, a text that goes to the model as it is, its tokens, or two texts to fill in between."""
    max_tokens: int | None = None
    """Of every choice; None for as many as the context has room for."""
    n_choices: int = 1
    sampling: AnySampling = field(default_factory=Sampling)
    """Choice c draws with the seed `sampling.seed` + c. What a wish does not say is the model's own."""
    stops: tuple[str, ...] = ()
    """An answer ends where one of these texts begins, and is told without it."""
    logprobs_n: int | None = None
    """How many of the likeliest tokens are told with each token; 0 for the token's own log probability, None for nothing."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Added to the logits of tokens; minus infinity forbids one."""
    structure: Structure | None = None
    """What every answer must look like."""
    toolbox: Toolbox = NO_TOOLS
    thinking: Thinking = AS_IT_LIKES
    template_variables: Mapping[str, object] = field(default_factory=dict)
    """More of what the chat template is given."""
    continues: bool = False
    """Whether the last message is an answer that is to go on."""
    ignore_end: bool = False
    """Goes on after an end token."""
    most_decode_s: float | None = None
    """An answer of several lines ends at a token after so long; None for any time."""
    in_pieces: bool = True
    """Whether what is written is told as it comes, and not only with the end of each choice."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for that answer any more: it ends with the round that is under way, and nothing more is told of it."""

    id: int


@dataclass(frozen=True, slots=True)
class Tokenize:
    """The tokens of a prompt. Answered by `Tokenized` or `Refused`."""

    id: int
    prompt: tuple[ChatMessage, ...] | str
    add_special: bool = False
    """Of a text: put the tokens before it that the model expects."""
    parse_special: bool = True
    """Of a text: read the names of control tokens as these tokens."""
    toolbox: Toolbox = NO_TOOLS
    thinking: Thinking = AS_IT_LIKES
    template_variables: Mapping[str, object] = field(default_factory=dict)
    continues: bool = False
    """The last four as of an `Ask`."""


@dataclass(frozen=True, slots=True)
class Detokenize:
    """The text of tokens. Answered by `Tokenized` or `Refused`."""

    id: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Embed:
    """The vectors of texts, by an embedding model. Answered by `Embedded` or `Refused`."""

    id: int
    texts: tuple[str | tuple[int, ...], ...]
    """Texts, or their tokens."""
    norm: int = 2
    """Vectors are scaled to a length of 1 by this p-norm; 0 to 16 bits by the largest number, -1 not at all."""
    dimensions: int | None = None
    """Numbers of a vector that are told, the first ones; None for all."""
    query: str | None = None
    """For a reranker: the question that the texts, none of them tokens, are compared with."""


@dataclass(frozen=True, slots=True)
class Look:
    """How things stand. Answered by `Figures`."""

    id: int


@dataclass(frozen=True, slots=True)
class LookAtAnswers:
    """What is being written. Answered by `Places`."""

    id: int
    with_texts: bool = False
    """Whether prompts and answers are told, too."""


# What is told.


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its natural log probability under the target, before any sampling setting, and the likeliest ones beside it."""

    token: int
    text: str
    data: bytes
    """The token's own bytes, perhaps a part of a character."""
    logprob: float
    top: tuple["TokenLogprob", ...] = ()
    """The likeliest first; empty in those of the list itself."""


@dataclass(frozen=True, slots=True)
class Began:
    """A prompt is read, and the first token is next."""

    id: int
    prompt_n: int
    cached_n: int
    """Tokens of the prompt that were held already."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """What an answer has more, since the last time."""

    id: int
    choice: int
    text: str = ""
    thought: str = ""
    calls: tuple[CallDelta, ...] = ()
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()

    def __reduce__(self) -> tuple[type["Wrote"], tuple[object, ...]]:
        """For pickle, which reads a frozen dataclass field by field, in Python."""
        fields = self.id, self.choice, self.text, self.thought, self.calls, self.tokens, self.logprobs
        return Wrote, fields


class EndReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """The model ended it, or one of the stop texts."""
    LENGTH = "length"
    """`max_tokens`."""
    CONTEXT = "context"
    """The context is full."""
    TOOL_CALLS = "tool_calls"
    """The model calls tools."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A choice is whole."""

    id: int
    choice: int
    reason: EndReason
    stop: str
    """The stop text that ended it, if one did."""
    stats: GenerationStats
    notes: tuple[str, ...] = ()
    """What the chat template could not do as it was asked."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of texts, in their order."""

    id: int
    vectors: tuple[bytes, ...]
    """Numbers of 32 bits, the least byte first."""
    prompt_n: int
    """Tokens of all texts."""


RefusalKind = Literal["context", "request", "engine", "memory", "model", "silent"]
"""The prompt does not fit, something else in the request is wrong, llama.cpp failed, memory ran out, the model's template fails, or
the engine does not answer."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request cannot be answered, or not to its end."""

    id: int
    kind: RefusalKind
    message: str
    hint: str = ""
    prompt_n: int = 0
    """Of `context`: tokens of the prompt."""
    n_ctx: int = 0
    """Of `context`: tokens that a conversation may have."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Tokens with their bytes, and their text."""

    id: int
    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Figures:
    """How things stand, and what was done since the pair was opened."""

    id: int
    answering_n: int
    """Answers under way, prompts that are being read included."""
    waiting_n: int
    """Asked for and not begun."""
    cells_n: int
    """Tokens that the cache has room for."""
    cells_used_n: int
    held_n: int
    """Conversations that are held for their next turn."""
    held_bytes: int
    """Of those that lie outside the cache."""
    prompt_n: int
    """Tokens of all prompts, and below, those of them that were held already."""
    cached_n: int
    prefill_s: float
    predicted_n: int
    decode_s: float
    """Of passes in which at least one answer got tokens."""
    target_passes: int
    by_source: Mapping[str, tuple[int, int]]
    """Drafted tokens by who drafted them: (tested, accepted)."""
    plain_step_s: float
    """What a plain step of one answer is reckoned to cost."""
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """An answer under way."""

    ask: Ask
    """Without its prompt."""
    prompt_n: int
    cached_n: int
    """Of the prompt's tokens, those that were held when it began."""
    read_n: int
    """Of the prompt's tokens, those that have been read since."""
    predicted_n: int
    has_new_line: bool
    prompt: str = ""
    text: str = ""
    """Both only where they were asked for."""


@dataclass(frozen=True, slots=True)
class Places:
    """The answers under way, the oldest first; those that wait for a place are not among them."""

    id: int
    places: tuple[Place, ...]
    drafts: bool
    """Whether something may draft for them."""


Asked = Ask | Cancel | Tokenize | Detokenize | Embed | Look | LookAtAnswers
Told = Began | Wrote | Ended | Refused | Tokenized | Embedded | Figures | Places
