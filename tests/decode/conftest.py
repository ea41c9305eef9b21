"""Settings and models that the tests of decoding share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from edgespec.llama.context import Context
from edgespec.llama.model import Model
from tests.decode.real import open_context

# No test here is about time, and a busy machine is not a failure.
settings.register_profile("decode", deadline=None)
settings.load_profile("decode")


@pytest.fixture(scope="session")
def target_model(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model) as model:
        yield model


@pytest.fixture(scope="session")
def draft_model(tiny_draft: Path) -> Iterator[Model]:
    with Model(tiny_draft) as model:
        yield model


@pytest.fixture(scope="session")
def bpe_model(tiny_bpe: Path) -> Iterator[Model]:
    with Model(tiny_bpe) as model:
        yield model


@pytest.fixture
def target(target_model: Model) -> Iterator[Context]:
    with open_context(target_model) as context:
        yield context


@pytest.fixture
def draft_context(draft_model: Model) -> Iterator[Context]:
    with open_context(draft_model, n_outputs_max=1) as context:
        yield context
