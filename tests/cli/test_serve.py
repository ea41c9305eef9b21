"""`edgespec serve` before anything is served."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome


def test_without_the_extra_it_says_how_to_get_it(
    run_cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ran = run_cli("serve")
    assert (ran.code, ran.out) == (2, "")
    # The `pip` of the path may be another Python's, as in a clone after `make install`.
    pip = f"{sys.executable} -m pip install 'edgespec[serve]'"
    assert ran.err == f"edgespec: edgespec serve needs uvicorn. Install what is missing with {pip}\n"


@pytest.mark.parametrize("wrong", ["1x", "-", "soon"])
def test_a_time_that_is_none_is_refused(run_cli: Callable[..., Outcome], wrong: str) -> None:
    ran = run_cli("serve", "--keep-alive", wrong)
    assert (ran.code, ran.out) == (2, "")
    assert "--keep-alive" in ran.err


@pytest.mark.parametrize("time", ["-1", "never", "0", "90s"])
def test_a_model_may_stay_for_ever_or_go_at_once(run_cli: Callable[..., Outcome], time: str) -> None:
    ran = run_cli("serve", "--keep-alive", time, "--host", "no.such.host.invalid", "--allow-without-key")
    assert ran.err.startswith("edgespec: cannot listen on no.such.host.invalid")


def test_a_host_that_is_none_is_told_of(run_cli: Callable[..., Outcome]) -> None:
    ran = run_cli("serve", "--host", "no.such.host.invalid", "--allow-without-key")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("edgespec: cannot listen on no.such.host.invalid, port 8080: ")
    assert "--host" in ran.err


def test_an_empty_host_is_no_address(run_cli: Callable[..., Outcome]) -> None:
    ran = run_cli("serve", "--host", "")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("edgespec: --host '' is not an address. ")


@pytest.mark.parametrize(
    "wrong", ["editor.example", "https://editor.example/", "https://editor.example/page", "null", ""]
)
def test_an_origin_that_no_browser_sends_is_refused(run_cli: Callable[..., Outcome], wrong: str) -> None:
    ran = run_cli("serve", "--cors", wrong)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"edgespec: --cors {wrong!r} is not an origin. ")


def test_a_folder_that_cannot_hold_conversations_is_told_of_before_anything_is_loaded(
    run_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    ran = run_cli("serve", "--cache-dir", file / "kept")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"edgespec: --cache-dir {file / 'kept'} cannot be written: ")


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_keys_that_others_can_read_are_warned_of(run_cli: Callable[..., Outcome], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-one\n")
    for mode, warned in ((0o644, True), (0o600, False)):
        keys.chmod(mode)
        ran = run_cli("serve", "--api-key", keys, "--host", "no.such.host.invalid")
        assert (f"warning: the mode of {keys} lets other users read its keys" in ran.err) is warned
