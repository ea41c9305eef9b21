"""A real GGUF that writes what a test wants: each token is followed by one other, whatever stands before it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np

from tests.tiny import TinyShape, _weights, _write_shape, write_tensors
from tests.tiny_vocabulary import tokens_of, write_vocabulary

ASSISTANT = "<assistant>"
"""Where answers begin."""
TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_scripted_model(
    path: Path,
    script: Sequence[str],
    *,
    control: Sequence[str] = (),
    after: Mapping[str, str] | None = None,
    then: Sequence[str] = (),
    chat_template: str = TEMPLATE,
) -> Path:
    """Writes a model that answers with a script and ends; returns its path.

    Args:
        path: Where the file goes.
        script: A token each, no two the same.
        control: Of these, the control tokens, which stand for no text.
        after: Token -> the one that follows it, of tokens outside the script, such as `"\\n"`.
        then: Another script, of other tokens, which begins after `"\\n"`.
        chat_template: Ends with `ASSISTANT`, or with a token of `after`.
    """
    vocabulary = tokens_of("spm")
    ids = {"\n": 3 + ord("\n"), "": vocabulary.specials["eos"]}
    for piece in (ASSISTANT, *script, *then):
        kind = gguf.TokenType.CONTROL if piece in control else gguf.TokenType.USER_DEFINED
        ids[piece] = vocabulary.add(piece, kind)
    shape = TinyShape(blocks=1, embedding=128)
    weights = dict(_weights(shape, vocabulary, "llama", np.random.default_rng(0)))
    for name in ("blk.0.attn_output.weight", "blk.0.ffn_down.weight", "output.weight"):
        weights[name] = np.zeros_like(weights[name])
    chains = [*pairwise([ASSISTANT, *script, ""]), *pairwise(["\n", *then, ""] if then else [])]
    for one, other in [*chains, *(after or {}).items()]:
        weights["output.weight"][ids[other]] += weights["token_embd.weight"][ids[one]]
    writer = gguf.GGUFWriter(path, "llama")
    _write_shape(writer, shape, len(vocabulary.tokens))
    write_vocabulary(writer, vocabulary)
    writer.add_chat_template(chat_template)
    write_tensors(writer, weights.items())
    return path
