"""Can this draft serve this target? Answered from the two headers, with a reason in words.

The rules for one vocabulary are those of llama.cpp (`common_speculative_are_compatible`, common/speculative.cpp).
Where they fail, drafts can still be mapped token by token through identical text: the target decides
every token, so the output stays the target's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from edgespec.catalog.block_kinds import DIFFUSION, ENCODERS
from edgespec.catalog.metadata import GgufMetadata
from edgespec.catalog.token_text import TEXT_MODELS, token_keys
from edgespec.errors import ModelFileError

MAX_SIZE_DIFFERENCE: Final = 128
"""llama.cpp's SPEC_VOCAB_MAX_SIZE_DIFFERENCE."""
FIRST_CHECKED_TOKEN: Final = 5
"""llama.cpp's SPEC_VOCAB_CHECK_START_TOKEN_ID."""
MIN_SHARED: Final = 0.5
"""Least share of the draft's vocabulary that must have a twin in the target: a draft ends at the first token without one.
Chosen, not measured."""

_ENCODERS: Final = (*ENCODERS, "llama-embed")
"""Architectures that give vectors and nothing else."""
_WITHOUT_TEXT: Final[Mapping[str, str]] = {
    **dict.fromkeys(DIFFUSION, "a diffusion model"),
    **dict.fromkeys((*_ENCODERS, "t5encoder"), "an encoder"),
    **dict.fromkeys(("eagle3", "dflash", "gemma4-assistant"), "the draft head of another model"),
    **dict.fromkeys(("wavtokenizer-dec", "pockettts", "qwen3tts"), "a model of speech"),
    "t5": "an encoder with a decoder",
    # Its graph (src/models/cogvlm.cpp) gives the logits of a batch's first rows, whichever were asked for.
    "cogvlm": "a vision model that llama.cpp reads wrong",
    "clip": "the eyes or ears of another model",
    "controlvector": "a control vector for another model",
}
"""What an architecture is that gives no text token by token: its name in llama.cpp (src/llama-arch.cpp) to a noun."""
_NO_VOCABULARY: Final = (None, "no_vocab", "none")
"""`tokenizer.ggml.model` of a file that llama.cpp loads without tokens (`llama_vocab::impl::load`)."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """How an embedding model makes one vector of those of all tokens."""

    number: int
    """`llama_pooling_type` of llama.h."""
    name: str
    noun: str
    """What such a model is."""

    @property
    def ranks(self) -> bool:
        """Whether it makes one number of each text, how well it answers a question, and no vector."""
        return self.number == _RANK.number


_RANK: Final = Pooling(4, "rank", "a reranker")
_MEAN: Final = Pooling(1, "mean", "an embedding model (mean pooling)")
_POOLINGS: Final = {
    1: _MEAN,
    2: Pooling(2, "cls", "an embedding model (CLS pooling)"),
    3: Pooling(3, "last", "an embedding model (last-token pooling)"),
    4: _RANK,
}
_HEADS: Final = ("cls.weight", "cls.output.weight")
"""What makes a number of a text; without either llama.cpp takes some of the numbers that the last block gives."""

CompatibilityKind = Literal["same-vocabulary", "token-map", "refused"]


@dataclass(frozen=True, slots=True)
class Compatibility:
    """The verdict on a pair."""

    kind: CompatibilityKind
    reason: str
    """One clause in words, naming the values that decided."""
    shared: float = 1.0
    """Share of the draft's vocabulary with a twin in the target, 0 to 1."""

    @property
    def ok(self) -> bool:
        """Whether the pair can run."""
        return self.kind != "refused"


def check_draft(target: GgufMetadata, draft: GgufMetadata) -> Compatibility:
    """Whether `draft` can propose tokens for `target`, and how; a draft that is not smaller only earns a warning.

    Args:
        target: Its header.
        draft: Its header.

    Raises:
        OSError: a file cannot be read again for its tokens.
    """
    obstacle = _obstacle("target", target) or _obstacle("draft", draft)
    if obstacle:
        return Compatibility("refused", obstacle, 0.0)
    difference = _difference(target, draft)
    warning = _size_warning(target, draft) + _expert_warning(target)
    if difference is None:
        return Compatibility("same-vocabulary", _same_vocabulary(target, draft) + warning)
    for role, model in (("target", target), ("draft", draft)):
        if model.tokenizer_model not in TEXT_MODELS:
            return Compatibility(
                "refused",
                f"{difference}, and the text of the {role}'s {model.tokenizer_model!r} tokens cannot be compared",
                0.0,
            )
    shared = _shared(target, draft)
    share = f"{shared:.0%} of the draft's {draft.vocab_size} tokens have a target token of the same text"
    if shared < MIN_SHARED:
        return Compatibility(
            "refused", f"{difference}, and only {share} ({MIN_SHARED:.0%} are needed)", shared
        )
    return Compatibility("token-map", f"{difference}; {share}, so drafts are mapped by text{warning}", shared)


def text_obstacle(model: GgufMetadata) -> str | None:
    """What a model is that writes no text token by token, such as `a diffusion model ('dream')`; None for one that does.

    Args:
        model: Its header; of a sketch nothing can be said.
    """
    kind = model.fields.get("general.type")
    if kind == "adapter":
        return "an adapter (LoRA) for another model"
    if kind == "imatrix":
        return "an importance matrix"
    noun = _WITHOUT_TEXT.get(model.architecture)
    if noun is not None:
        return f"{noun} ({model.architecture!r})"
    if not model.weights_bytes:
        return "a file without weights"
    pooling = model.fields.get(f"{model.architecture}.pooling_type")
    if isinstance(pooling, int) and pooling in _POOLINGS:
        return _POOLINGS[pooling].noun
    if model.fields.get(f"{model.architecture}.attention.causal") is False:
        return "an encoder (its attention is not causal)"
    return "a model without a vocabulary" if model.tokenizer_model in _NO_VOCABULARY else None


def pooling_of(model: GgufMetadata) -> Pooling | None:
    """How a model pools that gives vectors of texts, or ranks them; None for one that does neither.

    Encoders that do not say pool by the mean, as most of them were trained to; llama-server would give no vector of these.

    Args:
        model: Its header.
    """
    architecture = model.architecture
    if architecture in _WITHOUT_TEXT and architecture not in _ENCODERS:
        return None
    if not model.weights_bytes or model.tokenizer_model in _NO_VOCABULARY:
        return None
    pooling = model.fields.get(f"{architecture}.pooling_type")
    if isinstance(pooling, int) and pooling in _POOLINGS:
        has_head = any(tensor.name in _HEADS for tensor in model.tensors)
        return _POOLINGS[pooling] if has_head or not _POOLINGS[pooling].ranks else None
    reads_both_ways = model.fields.get(f"{architecture}.attention.causal") is False
    return _MEAN if architecture in _ENCODERS or reads_both_ways else None


def check_writes_text(name: str, model: GgufMetadata) -> None:
    """Refuses a model where one is wanted that writes or reads text.

    Args:
        name: What it is called.
        model: Its header.

    Raises:
        ModelFileError: it writes none; the message says what it is.
    """
    obstacle = text_obstacle(model)
    if obstacle:
        raise ModelFileError(
            f"{name} is {obstacle}, which writes no text token by token",
            "name a model that writes text: `edgespec models` lists some",
        )


def token_map(target: GgufMetadata, draft: GgufMetadata) -> tuple[list[int], list[int]]:
    """Text-identical tokens of two vocabularies.

    A target of `a`, `b`, `ab` and a draft of `b`, `c` give 1, -1 and -1, 0, -1. Of several tokens of one text the first is
    taken.

    Returns:
        Target id or -1 by draft id, `[n_vocab_draft]`, and draft id or -1 by target id, `[n_vocab_target]`.
    """
    target_keys, draft_keys = token_keys(target), token_keys(draft)
    return _lookup(draft_keys, target_keys), _lookup(target_keys, draft_keys)


def _lookup(keys: list[bytes | None], others: list[bytes | None]) -> list[int]:
    found: dict[bytes, int] = {}
    for token_id, key in enumerate(others):
        if key is not None:
            found.setdefault(key, token_id)
    return [-1 if key is None else found.get(key, -1) for key in keys]


def _obstacle(role: str, model: GgufMetadata) -> str | None:
    architecture = model.architecture
    if not architecture:
        return f"the {role} does not name its architecture"
    obstacle = text_obstacle(model)
    return f"the {role} is {obstacle}, which writes no text token by token" if obstacle else None


def _difference(target: GgufMetadata, draft: GgufMetadata) -> str | None:
    if target.tokenizer_model != draft.tokenizer_model:
        return f"tokenizers differ (target {target.tokenizer_model!r}, draft {draft.tokenizer_model!r})"
    special = _special_difference(target, draft)
    if special:
        return special
    sizes = target.vocab_size, draft.vocab_size
    if abs(sizes[0] - sizes[1]) > MAX_SIZE_DIFFERENCE:
        return (
            f"vocabulary sizes differ by {abs(sizes[0] - sizes[1])} (target {sizes[0]}, draft {sizes[1]}; "
            f"up to {MAX_SIZE_DIFFERENCE} is one vocabulary)"
        )
    return _first_different_token(target.tokens, draft.tokens)


def _special_difference(target: GgufMetadata, draft: GgufMetadata) -> str | None:
    for what, adds, ids in (
        ("BOS", (target.add_bos, draft.add_bos), (target.bos_id, draft.bos_id)),
        ("EOS", (target.add_eos, draft.add_eos), (target.eos_id, draft.eos_id)),
    ):
        if adds[0] != adds[1]:
            yes, no = ("target", "draft") if adds[0] else ("draft", "target")
            return f"the {yes} adds {what} to a text and the {no} does not"
        if adds[0] and ids[0] != ids[1]:
            return f"{what} tokens differ (target {ids[0]}, draft {ids[1]})"
    return None


def _first_different_token(target: list[bytes], draft: list[bytes]) -> str | None:
    end = min(len(target), len(draft))
    if target[FIRST_CHECKED_TOKEN:end] == draft[FIRST_CHECKED_TOKEN:end]:
        return None
    for token_id in range(FIRST_CHECKED_TOKEN, end):
        if target[token_id] != draft[token_id]:
            texts = [repr(tokens[token_id].decode("utf-8", "replace")) for tokens in (target, draft)]
            return f"token {token_id} is {texts[0]} in the target and {texts[1]} in the draft"
    return None


def _shared(target: GgufMetadata, draft: GgufMetadata) -> float:
    known = set(token_keys(target))
    used = [key for key in token_keys(draft) if key is not None]
    return sum(key in known for key in used) / len(used) if used else 0.0


def _same_vocabulary(target: GgufMetadata, draft: GgufMetadata) -> str:
    if target.vocab_size == draft.vocab_size:
        return f"same vocabulary ({target.vocab_size} tokens)"
    return f"same vocabulary (target {target.vocab_size} tokens, draft {draft.vocab_size})"


def _size_warning(target: GgufMetadata, draft: GgufMetadata) -> str:
    if draft.weights_bytes < target.weights_bytes:
        return ""
    return (
        f"; but the draft is not smaller than the target ({draft.weights_bytes / 2**20:.0f} MiB "
        f"against {target.weights_bytes / 2**20:.0f} MiB of weights), so expect no gain"
    )


def _expert_warning(target: GgufMetadata) -> str:
    # Each token of a batch wakes its own experts, so checking several reads more weights than checking one.
    if target.expert_count == 0:
        return ""
    return f"; the target mixes {target.expert_count} experts, where drafting gains less"
