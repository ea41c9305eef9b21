"""On a first start a better model is named that fits this machine; to everybody else, nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Static

from edgespec.catalog.entries import Catalog, ModelEntry
from edgespec.catalog.toml_file import load_catalog
from edgespec.errors import ConfigError
from edgespec.paths import user_catalog_file
from tests.tui.chat_script import send
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import PAIR
from tui.app import EdgespecApp
from tui.chat.suggestion import choose_suggestion
from tui.services.launch import Launch

GIB = 1 << 30
CATALOG = Catalog(
    {
        name: ModelEntry(name, repo="owner/m", file=f"{name}.gguf", size_bytes=size)
        for name, size in (("tiny", GIB // 10), ("small", GIB), ("medium", 2 * GIB), ("large", 8 * GIB))
    },
    {},
    "tiny",
    ("large", "medium", "small"),
)
DEFAULT = replace(PAIR, target="tiny", plain_tok_per_s=200.0)


@pytest.mark.parametrize(
    ("free", "tok_per_s", "name"),
    [
        (32 * GIB, 2000.0, "large"),
        (16 * GIB, 2000.0, "medium"),
        (32 * GIB, 200.0, "medium"),
        (32 * GIB, 100.0, "small"),
        (32 * GIB, 10.0, None),
        (2 * GIB, 200.0, None),
    ],
)
def test_the_best_that_fits_and_is_read_as_fast_as_it_comes(
    free: int, tok_per_s: float, name: str | None
) -> None:
    found = choose_suggestion(CATALOG, replace(DEFAULT, plain_tok_per_s=tok_per_s), free)
    assert (found.entry.name if found else None) == name


def test_who_has_another_model_is_told_nothing(tmp_path: Path) -> None:
    assert choose_suggestion(CATALOG, replace(DEFAULT, target="small"), 32 * GIB) is None
    assert choose_suggestion(CATALOG, replace(DEFAULT, server="http://there"), 32 * GIB) is None
    (tmp_path / "small.gguf").touch()
    here = replace(CATALOG.models["small"], path=tmp_path / "small.gguf")
    catalog = replace(CATALOG, models={**CATALOG.models, "small": here})
    assert choose_suggestion(catalog, DEFAULT, 32 * GIB) is None


def test_the_line_says_how_large_and_how_long() -> None:
    found = choose_suggestion(CATALOG, DEFAULT, 32 * GIB)
    assert found is not None
    assert found.text == (
        "This model is a very small one. medium answers far better and fits this machine: 2.0 GiB, "
        "about 6 min to fetch at 50 Mbit/s, then up to 10 tok/s. F5 fetches it."
    )


def test_the_catalogue_suggests_models_that_it_has_with_their_sizes() -> None:
    catalog = load_catalog()
    assert catalog.suggested
    assert all(catalog.models[name].size_bytes for name in catalog.suggested)
    sizes = [catalog.models[name].size_bytes or 0 for name in catalog.suggested]
    assert sizes == sorted(sizes, reverse=True)


def test_a_suggestion_that_is_no_model_is_refused() -> None:
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text('suggested = ["smollm2-135"]\n')
    with pytest.raises(ConfigError, match="suggested names the unknown model") as told:
        load_catalog()
    assert "smollm2-135m" in told.value.hint


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of few models, on a machine with 32 GiB free."""
    monkeypatch.setattr("tui.chat.suggestion.load_catalog", lambda: CATALOG)
    monkeypatch.setattr("tui.chat.suggestion.available_memory_bytes", lambda: 32 * GIB)


def advice(app: EdgespecApp) -> str:
    return str(app.screen.query_one("#empty", Static).content)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_a_first_start_looks_as_it_did(
    size: tuple[int, int], known: None, bench: AppBench, picture: Picture
) -> None:
    async with bench.run(size=size, pair=DEFAULT) as (app, pilot):
        await app.workers.wait_for_complete()
        app.screen.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        assert "medium answers far better" in advice(app)
        await picture(pilot)


async def test_it_is_said_once_and_not_offline(known: None, bench: AppBench) -> None:
    async with bench.run(Launch(offline=True), pair=DEFAULT) as (app, pilot):
        await app.workers.wait_for_complete()
        assert "answers far better" not in advice(app)
        await send(pilot, "hello")
    again = bench.make(pair=DEFAULT)
    async with again.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await again.workers.wait_for_complete()
        assert "answers far better" not in advice(again)
