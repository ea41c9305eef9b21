"""One thread for tiny models: two cores share so little work that waiting for each other is most of it."""

import pytest

from edgespec.session import memory_needs


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of every session in this test, unless it runs a real model."""
    if request.node.get_closest_marker("model") is None:
        monkeypatch.setattr(memory_needs, "default_threads", lambda: 1)
