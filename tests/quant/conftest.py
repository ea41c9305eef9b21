"""What several of these tests start from."""

from pathlib import Path

import pytest

from edgespec.catalog.metadata import read_metadata
from quant.gguf.plan import GgufPlan, copy_of
from quant.measure import activations, evaluate
from quant.text import answers
from tests.tiny import TinyShape, make_tiny_model

SHAPE = TinyShape(blocks=3, embedding=64, heads=4, kv_heads=2, feed_forward=96)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models are slower with more threads, which wait for each other."""
    for module in (activations, evaluate, answers):
        monkeypatch.setattr(module, "default_threads", lambda: 1)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def plan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GgufPlan:
    """A model of three blocks that gradients are known for, in either architecture."""
    tokenizer = "spm" if request.param == "llama" else "bpe"
    path: Path = tmp_path_factory.mktemp("gradients") / f"{request.param}.gguf"
    return copy_of(
        read_metadata(make_tiny_model(path, shape=SHAPE, architecture=request.param, tokenizer=tokenizer))
    )
