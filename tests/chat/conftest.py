"""Models and a context that the tests of conversations share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from edgespec.llama.context import Context
from edgespec.llama.model import Model
from tests.decode.real import open_context

# No test here is about time, and a busy machine is not a failure.
settings.register_profile("chat", deadline=None)
settings.load_profile("chat")


@pytest.fixture
def target(tiny_model: Path) -> Iterator[Context]:
    with Model(tiny_model) as model, open_context(model) as context:
        yield context


@pytest.fixture
def bpe_model(tiny_bpe: Path) -> Iterator[Model]:
    with Model(tiny_bpe) as model:
        yield model
