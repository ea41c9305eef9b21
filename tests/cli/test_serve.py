"""`edgespec serve` before anything is served."""

import sys
from collections.abc import Callable

import pytest

from tests.conftest import Outcome


def test_without_the_extra_it_says_how_to_get_it(
    run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ran = run_cli("serve")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "edgespec: edgespec serve needs uvicorn. Install it with pip install 'edgespec[serve]'\n"
    )


@pytest.mark.parametrize("wrong", ["0", "-1s", "soon"])
def test_a_time_that_is_none_is_refused(run_cli: Callable[..., Outcome], wrong: str) -> None:
    ran = run_cli("serve", "--keep-alive", wrong)
    assert (ran.code, ran.out) == (2, "")
    assert "--keep-alive" in ran.err


def test_a_host_that_is_none_is_told_of(run_cli: Callable[..., Outcome]) -> None:
    ran = run_cli("serve", "--host", "no.such.host.invalid", "--allow-without-key")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("edgespec: cannot listen on no.such.host.invalid, port 8080: ")
    assert "--host" in ran.err
