"""Tiny models for every kind of memory that llama.cpp has, whose logits feel what it holds.

Random weights as they come barely move a recurrent state, and a test on them would pass with any state: here what enters
it is of the size of what it holds, it fades over dozens of tokens, and a state that is wrong moves the logits by a third of their
spread and more (`test_tiny_memories`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.tiny import write_tensors
from tests.tiny_vocabulary import NEVER_WRITTEN, tokens_of, write_vocabulary

MemoryKind = Literal["plain", "experts", "window", "snapshots", "convolution", "recurrent", "hybrid"]
ARCHITECTURES: dict[MemoryKind, str] = {
    "plain": "llama",
    "experts": "llama",
    "window": "gemma3",
    "snapshots": "qwen35",
    "convolution": "lfm2",
    "recurrent": "mamba",
    "hybrid": "granitehybrid",
}
"""`snapshots` and `convolution` are hybrids that can keep snapshots of their state; `recurrent` and `hybrid` cannot."""
WINDOW = 32
"""Tokens that the window blocks of the `window` model see."""
BLOCKS = 4

_WIDTH, _HEADS, _KV_HEADS, _HEAD, _FEED_FORWARD = 64, 4, 2, 16, 128
_EXPERTS, _EXPERTS_USED = 8, 2
_INNER, _STATE, _STATE_HEADS, _CONVOLUTION = 128, 16, 8, 4
_DELTA_HEADS, _SHORT_CONVOLUTION = 4, 3

Weight = NDArray[np.float32]
Weights = Iterator[tuple[str, Weight]]
Value = int | float | bool | list[int] | list[bool]


def make_tiny_memory(
    path: Path,
    kind: MemoryKind,
    *,
    seed: int = 0,
    chat_template: str | None = None,
    noise: float = 0.0,
    noise_seed: int = 1,
    context: int = 512,
) -> Path:
    """Writes a model of four blocks and returns its path. The tokenizer is the `spm` of `make_tiny_model`.

    Args:
        path: Where the file goes; its folder is made.
        kind: Of memory.
        seed: Of the weights.
        chat_template: Jinja text for the metadata; None writes none.
        noise: As of `make_tiny_model`: makes a draft.
        noise_seed: Of that noise.
        context: Tokens that it says it was trained with.
    """
    vocabulary = tokens_of("spm")
    path.parent.mkdir(parents=True, exist_ok=True)
    architecture = ARCHITECTURES[kind]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"tiny {kind}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for key, value in {**_COMMON_FIELDS, "context_length": context, **_FIELDS[kind]}.items():
        _add(writer, f"{architecture}.{key}", value)
    writer.add_vocab_size(len(vocabulary.tokens))
    write_vocabulary(writer, vocabulary)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    unwritten = [i for i, token_kind in enumerate(vocabulary.types) if token_kind in NEVER_WRITTEN]
    tensors = _Tensors(np.random.default_rng(seed)).of(kind, len(vocabulary.tokens), unwritten)
    write_tensors(writer, tensors, noise, noise_seed)
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_float32(key, value)


_COMMON_FIELDS: dict[str, Value] = {
    "block_count": BLOCKS,
    "embedding_length": _WIDTH,
    "feed_forward_length": _FEED_FORWARD,
    "attention.head_count": _HEADS,
    "attention.head_count_kv": _KV_HEADS,
    "attention.key_length": _HEAD,
    "attention.value_length": _HEAD,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": _HEAD,
    "rope.freq_base": 10000.0,
}
_SCAN: dict[str, Value] = {
    "ssm.conv_kernel": _CONVOLUTION,
    "ssm.inner_size": _INNER,
    "ssm.state_size": _STATE,
}
_EVERY_OTHER: dict[str, Value] = {"attention.head_count_kv": [0, _KV_HEADS] * (BLOCKS // 2)}
"""Blocks without a cache have a state."""
_FIELDS: dict[MemoryKind, dict[str, Value]] = {
    "plain": {},
    "experts": {"expert_count": _EXPERTS, "expert_used_count": _EXPERTS_USED},
    "window": {"attention.sliding_window": WINDOW, "attention.sliding_window_pattern": 2},
    "snapshots": {
        **_SCAN,
        "ssm.inner_size": _DELTA_HEADS * _STATE,
        "ssm.time_step_rank": _DELTA_HEADS,
        "ssm.group_count": 2,
        "full_attention_interval": 2,
        "rope.dimension_sections": [4, 4, 0, 0],
    },
    "convolution": {"shortconv.l_cache": _SHORT_CONVOLUTION, **_EVERY_OTHER},
    "recurrent": {**_SCAN, "ssm.time_step_rank": 4, "attention.head_count": 0, "attention.head_count_kv": 0},
    "hybrid": {**_SCAN, "ssm.time_step_rank": _STATE_HEADS, "ssm.group_count": 1, **_EVERY_OTHER},
}


class _Tensors:
    """Names and weights in GGUF's order of dimensions: rows are outputs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def of(self, kind: MemoryKind, count: int, unwritten: list[int]) -> Weights:
        # Gemma multiplies what it looks up by the root of its width.
        yield "token_embd.weight", self._matrix(count, _WIDTH, 1.0 if kind == "window" else _WIDTH**0.5)
        for number in range(BLOCKS):
            for name, weight in self._block(kind, number):
                yield f"blk.{number}.{name}", weight
        yield ("token_embd_norm.weight" if kind == "convolution" else "output_norm.weight"), _ones(_WIDTH)
        output = self._matrix(count, _WIDTH, 3.0)
        output[unwritten] = 0
        yield "output.weight", output

    def _block(self, kind: MemoryKind, number: int) -> Weights:
        yield "attn_norm.weight", _ones(_WIDTH)
        states: dict[MemoryKind, Callable[[], Weights]] = {
            "snapshots": self._delta,
            "convolution": self._convolution,
            "recurrent": self._scan,
            "hybrid": self._grouped_scan,
        }
        has_state = kind in states and (kind == "recurrent" or number % 2 == 0)
        yield from states[kind]() if has_state else self._attention(kind)
        if kind == "recurrent":
            return
        yield ("post_attention_norm.weight" if kind == "snapshots" else "ffn_norm.weight"), _ones(_WIDTH)
        if kind == "window":
            yield "post_attention_norm.weight", _ones(_WIDTH)
            yield "post_ffw_norm.weight", _ones(_WIDTH)
        yield from self._experts() if kind == "experts" else self._feed_forward()

    def _attention(self, kind: MemoryKind) -> Weights:
        kv_width = _HEAD * _KV_HEADS
        # Qwen3.5's queries come with a gate of the same size.
        q_width = _WIDTH * (2 if kind == "snapshots" else 1)
        for name, rows in (("q", q_width), ("k", kv_width), ("v", kv_width)):
            yield f"attn_{name}.weight", self._matrix(rows, _WIDTH, 1.5)
        yield "attn_output.weight", self._matrix(_WIDTH, _WIDTH, 2.0)
        if kind in ("window", "snapshots", "convolution"):
            yield "attn_q_norm.weight", _ones(_HEAD)
            yield "attn_k_norm.weight", _ones(_HEAD)

    def _feed_forward(self) -> Weights:
        yield "ffn_gate.weight", self._matrix(_FEED_FORWARD, _WIDTH)
        yield "ffn_up.weight", self._matrix(_FEED_FORWARD, _WIDTH)
        yield "ffn_down.weight", self._matrix(_WIDTH, _FEED_FORWARD)

    def _experts(self) -> Weights:
        yield "ffn_gate_inp.weight", self._matrix(_EXPERTS, _WIDTH)
        for name, rows, columns in (
            ("gate", _FEED_FORWARD, _WIDTH),
            ("up", _FEED_FORWARD, _WIDTH),
            ("down", _WIDTH, _FEED_FORWARD),
        ):
            each = [self._matrix(rows, columns) for _ in range(_EXPERTS)]
            yield f"ffn_{name}_exps.weight", np.stack(each)

    def _delta(self) -> Weights:
        """Qwen3.5's gated delta net: two heads of keys, four of values."""
        values = _DELTA_HEADS * _STATE
        mixed = 2 * 2 * _STATE + values
        yield "attn_qkv.weight", self._matrix(mixed, _WIDTH, 2.0)
        yield "attn_gate.weight", self._matrix(values, _WIDTH, 2.0)
        yield "ssm_conv1d.weight", self._matrix(mixed, _CONVOLUTION, 2.0)
        yield "ssm_dt.bias", self._between(-1.0, 1.0, _DELTA_HEADS)
        yield "ssm_a", -self._between(0.02, 0.1, _DELTA_HEADS)
        yield "ssm_beta.weight", self._matrix(_DELTA_HEADS, _WIDTH)
        yield "ssm_alpha.weight", self._matrix(_DELTA_HEADS, _WIDTH)
        yield "ssm_norm.weight", _ones(_STATE)
        yield "ssm_out.weight", self._matrix(_WIDTH, values, 2.0)

    def _convolution(self) -> Weights:
        """LFM2's short convolution."""
        yield "shortconv.conv.weight", self._matrix(_WIDTH, _SHORT_CONVOLUTION, 1.5)
        yield "shortconv.in_proj.weight", self._matrix(3 * _WIDTH, _WIDTH, 1.5)
        yield "shortconv.out_proj.weight", self._matrix(_WIDTH, _WIDTH)

    def _scan(self) -> Weights:
        """Mamba's."""
        rank = 4
        yield "ssm_in.weight", self._matrix(2 * _INNER, _WIDTH, 2.0)
        yield "ssm_conv1d.weight", self._matrix(_INNER, _CONVOLUTION, 2.0)
        yield "ssm_conv1d.bias", np.zeros(_INNER, np.float32)
        yield "ssm_x.weight", self._matrix(rank + 2 * _STATE, _INNER, 2.0)
        yield "ssm_dt.weight", self._matrix(_INNER, rank)
        yield "ssm_dt.bias", self._between(-1.0, 1.0, _INNER)
        yield "ssm_a", -self._between(0.02, 0.1, _INNER, _STATE)
        yield "ssm_d", _ones(_INNER)
        yield "ssm_out.weight", self._matrix(_WIDTH, _INNER)

    def _grouped_scan(self) -> Weights:
        """Granite's, which is that of Mamba 2."""
        mixed = _INNER + 2 * _STATE
        yield "ssm_in.weight", self._matrix(_INNER + mixed + _STATE_HEADS, _WIDTH, 2.0)
        yield "ssm_conv1d.weight", self._matrix(mixed, _CONVOLUTION, 2.0)
        yield "ssm_conv1d.bias", np.zeros(mixed, np.float32)
        yield "ssm_dt.bias", self._between(-1.0, 1.0, _STATE_HEADS)
        yield "ssm_a", -self._between(0.02, 0.1, _STATE_HEADS, 1)
        yield "ssm_d", np.ones((_STATE_HEADS, 1), np.float32)
        yield "ssm_norm.weight", np.ones((1, _INNER), np.float32)
        yield "ssm_out.weight", self._matrix(_WIDTH, _INNER, 2.0)

    def _matrix(self, rows: int, columns: int, gain: float = 1.0) -> Weight:
        return self._rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(gain / columns**0.5)

    def _between(self, low: float, high: float, *sizes: int) -> Weight:
        return self._rng.uniform(low, high, sizes).astype(np.float32)


def _ones(count: int) -> Weight:
    return np.ones(count, np.float32)
