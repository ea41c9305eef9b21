"""What is missing between two texts, as a prompt for models that can fill it in."""

from dataclasses import dataclass, replace
from typing import Final

from edgespec.chat.prompt_tokens import count_beyond
from edgespec.errors import ContextOverflowError, UsageError
from edgespec.llama.fim_tokens import FimTokens
from edgespec.llama.model import Model

_REPOSITORY, _FILE = "myproject\n", "filename\n"
"""Stand for names that nobody tells; llama-server's (tools/server/server-common.cpp, `format_prompt_infill`)."""
NAMELESS: Final = "tmp"
_BETWEEN: Final = "\n\n--- snippet ---\n\n"
"""Between texts of models that have no token for files; likewise."""
_NEAR_CHARACTERS: Final = 16
"""Of each text, for a token of the context; code has three or four."""
_SUFFIX_SHARE: Final = 4
"""Of the room, where not both texts fit, a quarter is the suffix's; likewise."""


@dataclass(frozen=True, slots=True)
class InfillFile:
    """Another file, from which something may be taken over."""

    text: str
    name: str = NAMELESS


@dataclass(frozen=True, slots=True)
class Infill:
    """Two texts, between which something is missing."""

    prefix: str
    suffix: str
    extra: tuple[InfillFile, ...] = ()
    """The one that counts most stands last."""
    begun: str = ""
    """What follows the prefix and stays whole where that has to be cut."""
    answer_n: int | None = None
    """Tokens that the answer may have, for which room is left; None where nobody says."""


def tokenize_infill(model: Model, infill: Infill, n_ctx: int) -> list[int]:
    """The prompt, in the order of llama-server's: other files, prefix, suffix.

    Texts are cut to fit: the prefix at its beginning, the suffix at its end, and of the other files goes first what stands first.

    Args:
        model: The target.
        infill: What it is to fill in.
        n_ctx: Tokens of its context.

    Raises:
        UsageError: it has no tokens for that.
    """
    tokens = model.fim_tokens
    if tokens is None:
        raise UsageError(
            "the model has no tokens for filling in between two texts",
            "ask one that has, such as those of Qwen2.5-Coder",
        )

    def plain(text: str) -> list[int]:
        return model.tokenize(text, add_special=False, parse_special=False)

    # What lies further away is not tokenized: all of it may take seconds, in which nobody else is answered.
    near = _NEAR_CHARACTERS * n_ctx
    begun = model.tokenize(_whole(model, infill.begun, n_ctx), add_special=False)
    prefix, suffix = plain(infill.prefix[-near:]), plain(infill.suffix[:near])
    bos = [model.added_bos] if model.added_bos is not None else []
    answer_n = min(infill.answer_n or n_ctx // _SUFFIX_SHARE, n_ctx // 2)
    room = max(0, n_ctx - answer_n - len(begun) - len(bos) - 4)
    suffix_n = min(len(suffix), max(room // _SUFFIX_SHARE, room - len(prefix)))
    prefix_n = min(len(prefix), room - suffix_n)
    extra = _extra_tokens(model, replace(infill, extra=_last(infill.extra, near)), tokens)
    extra_n = min(len(extra), room - suffix_n - prefix_n)
    return [
        *extra[len(extra) - extra_n :],
        *bos,
        tokens.prefix,
        *prefix[len(prefix) - prefix_n :],
        *begun,
        tokens.suffix,
        *suffix[:suffix_n],
        tokens.middle,
    ]


def _whole(model: Model, text: str, n_ctx: int) -> str:
    if least_n := count_beyond(model, text, n_ctx):
        said = f"the answer that is begun has {least_n} tokens or more and the context {n_ctx}"
        raise ContextOverflowError(said, "use a larger `ctx_size`", n_tokens=least_n)
    return text


def _last(files: tuple[InfillFile, ...], most: int) -> tuple[InfillFile, ...]:
    """The last files, with as many characters as that."""
    kept: list[InfillFile] = []
    for file in reversed(files):
        if most <= 0:
            break
        kept.append(InfillFile(file.text[-most:], file.name[:most]))
        most -= len(file.text) + len(file.name) + 1
    return tuple(reversed(kept))


def _extra_tokens(model: Model, infill: Infill, tokens: FimTokens) -> list[int]:
    def plain(text: str) -> list[int]:
        return model.tokenize(text, add_special=False, parse_special=False)

    found = [] if tokens.repository is None else [tokens.repository, *plain(_REPOSITORY)]
    for file in infill.extra:
        found += plain(_BETWEEN) if tokens.file is None else [tokens.file, *plain(f"{file.name}\n")]
        found += plain(file.text)
    return found if tokens.file is None else [*found, tokens.file, *plain(_FILE)]
