"""A tiny model that is loaded once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgespec.llama.context import Context
from edgespec.llama.model import Model
from tests.llama.engines import TEXT, settings


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model) as loaded:
        yield loaded


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    with Context(model, settings()) as made:
        yield made


@pytest.fixture
def tokens(model: Model) -> list[int]:
    return model.tokenize(TEXT)
