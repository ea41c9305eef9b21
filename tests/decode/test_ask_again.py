"""A prompt whose beginning a memory has lost, and whose end it is wanted to have kept."""

from pathlib import Path

import pytest

from edgespec.decode.engines import LlamaTarget
from edgespec.llama.model import Model
from tests.decode.real import GREEDY, open_context, plain_answer, random_tokens
from tests.tiny_memories import ARCHITECTURES, MemoryKind, make_tiny_memory


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_prompt_that_is_asked_again_is_read_once(tmp_path: Path, kind: MemoryKind) -> None:
    prompt = random_tokens(1, 100)
    with Model(make_tiny_memory(tmp_path / "tiny.gguf", kind)) as model, open_context(model) as context:
        want = plain_answer(context, prompt, 20).ids
        context.clear()
        context.prefill([*prompt, *want])
        target = LlamaTarget(context, GREEDY)
        target.start(prompt)
        assert context.tokens == prompt
        assert target.pick(0) == want[0]
