"""Several sequences in one memory of every kind: each goes back alone, and is then what it would be without the others."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.kv_types import KvType
from edgespec.llama.model import Model
from edgespec.llama.sequences import SequencesContext
from tests.decode.real import random_tokens
from tests.tiny_memories import ARCHITECTURES, MemoryKind, make_tiny_memory

ROUNDS = 24
SEQUENCES = 3


@pytest.mark.parametrize("kv_unified", [True, False], ids=["unified", "split"])
@pytest.mark.parametrize("is_shared", [True, False], ids=["one-prompt", "own-prompts"])
@pytest.mark.parametrize("n_snapshots", [0, 4])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_random_rounds_of_drafts_end_where_fresh_contexts_are(
    kind: MemoryKind, tmp_path: Path, n_snapshots: int, kv_unified: bool, is_shared: bool
):
    random = Random(f"{kind} {n_snapshots}")
    shared = random_tokens(1, 40)
    prompts = [shared] * SEQUENCES if is_shared else [shared[s:] for s in range(SEQUENCES)]
    settings = ContextSettings(
        n_ctx=256 * SEQUENCES,
        n_threads=1,
        n_outputs_max=16,
        n_batch=48,
        type_k=KvType.F32,
        type_v=KvType.F32,
        flash_attention="off",
        n_sequences=SEQUENCES,
        kv_unified=kv_unified,
        n_snapshots=n_snapshots,
    )
    with Model(make_tiny_memory(tmp_path / "m.gguf", kind)) as model:
        with SequencesContext(model, settings) as context:
            context.start(prompts)
            texts = [list(prompt) for prompt in prompts]
            for _ in range(ROUNDS):
                draft_and_reject(context, texts, random)
            last = np.array([random.randrange(3, 250) for _ in range(SEQUENCES)], np.int32)
            context.step(last)
            found = context.logits(SEQUENCES)[context.rows].copy()
        assert context.lengths.tolist() == [len(text) + 1 for text in texts]
        alone = ContextSettings(
            256, 1, type_k=KvType.F32, type_v=KvType.F32, flash_attention="off", n_batch=48
        )
        with Context(model, alone) as fresh:
            for text, token, row in zip(texts, last.tolist(), found, strict=True):
                fresh.clear()
                fresh.prefill([*text, token])
                np.testing.assert_allclose(row, fresh.logits(1)[0], rtol=0, atol=5e-3)


def draft_and_reject(context: SequencesContext, texts: list[list[int]], random: Random) -> None:
    """Some of the sequences verify up to four drafts each, and keep some of them."""
    active = np.array([s for s in range(SEQUENCES) if random.random() < 0.8] or [0], np.int32)
    alike = 1 + random.randrange(5)
    each = [alike if random.random() < 0.5 else 1 + random.randrange(5) for _ in active]
    context.mark(active, np.array(each, np.int32))
    rows = np.array([random.randrange(3, 250) for _ in range(sum(each))], np.int32)
    context.decode(rows, np.repeat(active, each), np.ones(len(rows), np.bool_))
    first = 0
    for sequence, count in zip(active.tolist(), each, strict=True):
        kept = random.randrange(1, count + 1)
        texts[sequence] += rows[first : first + kept].tolist()
        context.rollback(sequence, len(texts[sequence]))
        first += count
