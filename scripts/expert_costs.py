"""What rows cost of a model with experts: on one token again and again, on arbitrary tokens, and on a text.

    python scripts/expert_costs.py MODEL.gguf [--make VOCABULARY.gguf] [--chance 0.8]

With --make, MODEL is written first: random weights, 64 experts of which a token wakes 4, in Q4_0, 290 MB, with the
vocabulary of another file. Then decodes of 1 to 16 rows are timed on the three kinds of tokens. Then the model is made
to recite a text, with drafts that are right with a given chance: plain, in drafts of every fixed length, and as `auto`
decides with each of the three curves. The curve that says the best length, and the `auto` that is as fast as it, is
right.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

import gguf
import numpy as np
from numpy.typing import NDArray
from reciting_drafter import RecitingDrafter

from edgespec.decode.costs import CostCurve, PairCosts
from edgespec.decode.engines import LlamaTarget
from edgespec.decode.fixed_policy import policy_for
from edgespec.decode.generate import Generator
from edgespec.decode.timed_text import arbitrary_tokens, timed_tokens
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.sampler import Sampling

ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)
PASSES = 40
LENGTHS = (1, 2, 3, 4, 5, 7, 11)
RECITED = 240
"""Tokens of an answer."""
ROUNDS = 5
"""Answers of every kind, in turn."""
N_CTX = 2048
BLOCKS, WIDTH, HEADS, FEED_FORWARD, EXPERTS, USED = 6, 512, 8, 768, 64, 4


def main() -> int:
    """Makes, measures, prints. Returns 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--make", type=Path, metavar="VOCABULARY", help="write MODEL, with these tokens")
    parser.add_argument("--chance", type=float, default=0.8, help="that a drafted token is right")
    parser.add_argument("--threads", type=int, default=default_threads())
    arguments = parser.parse_args()
    if arguments.make:
        make_mixture(arguments.model, arguments.make)
    settings = ContextSettings(N_CTX, arguments.threads, max(ROWS))
    with Model(arguments.model) as model, Context(model, settings) as context:
        kinds = kinds_of_tokens(model)
        curves = time_kinds(context, kinds)
        print_curves(curves, arguments.chance)
        compare_choices(context, kinds["text"], curves, arguments.chance)
    return 0


def kinds_of_tokens(model: Model) -> dict[str, list[int]]:
    """Tokens to decode, by what they are."""
    text = timed_tokens(model)
    return {"one token": [text[0]] * 2000, "arbitrary": arbitrary_tokens(model, 2000), "text": text}


def time_kinds(context: Context, kinds: dict[str, list[int]]) -> dict[str, dict[int, float]]:
    """The least seconds of a decode, by kind and rows; all kinds in turn, so that drift hits them alike."""
    times: dict[str, dict[int, list[float]]] = {kind: {rows: [] for rows in ROWS} for kind in kinds}
    at = dict.fromkeys(kinds, 0)
    for _ in range(PASSES):
        for kind, tokens in kinds.items():
            context.clear()
            context.prefill(tokens[:1])
            for rows in ROWS:
                part = (tokens * 2)[at[kind] : at[kind] + rows]
                at[kind] = (at[kind] + rows) % len(tokens)
                before = perf_counter()
                context.decode(part, outputs=rows)
                context.logits(1)
                times[kind][rows].append(perf_counter() - before)
    return {kind: {rows: min(taken) for rows, taken in rows_of.items()} for kind, rows_of in times.items()}


def print_curves(curves: dict[str, dict[int, float]], chance: float) -> None:
    """Costs in single rows of the same kind, and the fixed length that each promises the most of."""
    print("rows          " + "".join(f"{rows:>7}" for rows in ROWS) + "   best K   1 row")
    for kind, points in curves.items():
        best = max(range(max(ROWS)), key=lambda length: promise(points, length, chance))
        costs = "".join(f"{points[rows] / points[1]:7.2f}" for rows in ROWS)
        print(f"{kind:14}{costs}{best:9}   {points[1] * 1000:.2f} ms")


def promise(points: dict[int, float], length: int, chance: float) -> float:
    """Tokens per second of drafts of one length that cost nothing: sum of chance^i over t_v(length + 1)."""
    gained = sum(chance**place for place in range(length + 1))
    return float(gained / CostCurve(points).cost(length + 1))


class Recitation(LlamaTarget):
    """Computes what any target would, and says a given text."""

    def __init__(self, context: Context, text: Sequence[int]) -> None:
        super().__init__(context, Sampling())
        self._text, self._prompt_n, self._before = text, 0, 0

    def start(self, prompt: Sequence[int]) -> int:
        """Reads the prompt."""
        self._prompt_n, self._before = len(prompt), len(prompt) - 1
        return super().start(prompt)

    def evaluate(self, tokens: Sequence[int], batch: int) -> int:
        """Computes the rows."""
        self._before = self.context.n_past
        return super().evaluate(tokens, batch)

    def pick(self, row: int) -> int:
        """What stands in the text."""
        return self._text[(self._before + row + 1 - self._prompt_n) % len(self._text)]


def compare_choices(
    context: Context, text: Sequence[int], curves: dict[str, dict[int, float]], chance: float
) -> None:
    """Prints the speed of a recitation, by how it is drafted: medians of rounds in which all take turns."""
    arms: dict[str, tuple[dict[int, float], int | None]] = {
        **{f"K = {length}": (curves["text"], length) for length in LENGTHS},
        **{f"auto, {kind}": (points, None) for kind, points in curves.items()},
    }
    speeds: dict[str, list[float]] = {"plain": [], **{name: [] for name in arms}}
    for seed in range(ROUNDS):
        speeds["plain"].append(recite(context, text, PairCosts(CostCurve(curves["text"])), None, 0.0, seed))
        for name, (points, length) in arms.items():
            costs = PairCosts(CostCurve(points))
            speeds[name].append(recite(context, text, costs, length, chance, seed))
    print(f"\ntokens per second of a recitation, drafts right with {chance:g}")
    for name, values in speeds.items():
        ratio = statistics.median(value / plain for value, plain in zip(values, speeds["plain"], strict=True))
        print(f"{name:20}{statistics.median(values):8.1f}  {ratio:5.2f}x")


def recite(
    context: Context, text: Sequence[int], costs: PairCosts, length: int | None, chance: float, seed: int
) -> float:
    """Tokens per second of one answer; without a chance nothing is drafted."""
    said = list(islice(cycle(text), 2 * RECITED))
    right = np.random.default_rng(seed).random(len(said)) < chance
    drafter = RecitingDrafter(said, right.__getitem__, chance, context.model.n_vocab)
    drafters = [drafter] if chance else []
    generator = Generator(Recitation(context, text), drafters, policy_for(costs, length))
    context.clear()
    try:
        for _ in generator.generate(text[:8], RECITED, ignore_end=True):
            pass
        return generator.stats.predicted_n / generator.stats.decode_s
    finally:
        generator.close()


def make_mixture(path: Path, vocabulary: Path) -> None:
    """Writes the random model, with the tokens of another file."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(USED)
    n_vocab = copy_vocabulary(gguf.GGUFReader(vocabulary), writer)
    writer.add_vocab_size(n_vocab)
    q4 = gguf.GGMLQuantizationType.Q4_0
    for name, weight in mixture_weights(n_vocab, np.random.default_rng(0)):
        if weight.ndim == 1 or name.endswith("ffn_gate_inp.weight"):
            writer.add_tensor(name, weight)
        else:
            writer.add_tensor(name, gguf.quants.quantize(weight, q4), raw_dtype=q4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def copy_vocabulary(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> int:
    """All fields of a file's tokenizer; returns how many tokens there are."""
    for name, found in reader.fields.items():
        if name.startswith("tokenizer.") and not name.endswith("chat_template"):
            sub_type = found.types[1] if len(found.types) > 1 else None
            writer.add_key_value(name, found.contents(), found.types[0], sub_type)
    return len(reader.fields["tokenizer.ggml.tokens"].data)


def mixture_weights(n_vocab: int, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Names and weights, rows first."""

    def matrix(*shape: int, gain: float = 1.0) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(gain / np.sqrt(shape[-1]))

    yield "token_embd.weight", matrix(n_vocab, WIDTH, gain=float(np.sqrt(WIDTH)))
    yield "output.weight", matrix(n_vocab, WIDTH)
    yield "output_norm.weight", np.ones(WIDTH, np.float32)
    for block in range(BLOCKS):
        prefix = f"blk.{block}"
        yield f"{prefix}.attn_norm.weight", np.ones(WIDTH, np.float32)
        yield f"{prefix}.attn_q.weight", matrix(WIDTH, WIDTH)
        yield f"{prefix}.attn_k.weight", matrix(WIDTH // 4, WIDTH)
        yield f"{prefix}.attn_v.weight", matrix(WIDTH // 4, WIDTH)
        yield f"{prefix}.attn_output.weight", matrix(WIDTH, WIDTH)
        yield f"{prefix}.ffn_norm.weight", np.ones(WIDTH, np.float32)
        yield f"{prefix}.ffn_gate_inp.weight", matrix(EXPERTS, WIDTH, gain=3.0)
        yield f"{prefix}.ffn_gate_exps.weight", matrix(EXPERTS, FEED_FORWARD, WIDTH)
        yield f"{prefix}.ffn_up_exps.weight", matrix(EXPERTS, FEED_FORWARD, WIDTH)
        yield f"{prefix}.ffn_down_exps.weight", matrix(EXPERTS, WIDTH, FEED_FORWARD)


if __name__ == "__main__":
    sys.exit(main())
