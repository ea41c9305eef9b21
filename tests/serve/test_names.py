"""Names of models in requests: the catalogue's, pairs, the hub's cache; and which of them are one process."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgespec import paths
from edgespec.catalog.entries import Catalog
from edgespec.catalog.toml_file import load_catalog
from edgespec.serve.errors import ApiError
from edgespec.serve.registry import _MOST_NAMES, Registry, Served
from tests.serve.served import Server

TEXT = "/v1/completions"
COMMIT = "0123456789" * 4


@pytest.fixture
def named(isolated_machine: Path, tiny_model: Path, tiny_draft: Path, tiny_bpe: Path) -> None:
    """A pair in the user's own catalogue, and a model in the hub's cache."""
    own = paths.user_catalog_file()
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(
        f'[models.mine]\npath = "{tiny_model}"\n[models.small]\npath = "{tiny_draft}"\n'
        '[pairs.both]\ntarget = "mine"\ndrafts = ["small"]\n'
        '[models.gone]\npath = "gone.gguf"\n[pairs.half]\ntarget = "mine"\ndrafts = ["gone"]\n',
        encoding="utf-8",
    )
    cached = isolated_machine / "huggingface" / "hub" / "models--owner--repo"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    shutil.copyfile(tiny_bpe, cached / "snapshots" / COMMIT / "bpe-Q8_0.gguf")


@pytest.mark.usefixtures("named")
async def test_what_is_here_can_be_named_and_nothing_else() -> None:
    registry = Registry([Served("first", "first")])
    assert [one.id for one in await registry.all_here()][:3] == ["first", "both", "half"]
    for name, spec in (
        ("mine", "mine"),
        ("small", "small"),
        ("owner/repo:bpe-Q8_0.gguf", "owner/repo:bpe-Q8_0.gguf"),
        ("owner/repo:Q8_0", "owner/repo:bpe-Q8_0.gguf"),
        ("owner/repo", "owner/repo:bpe-Q8_0.gguf"),
    ):
        found = await Registry([Served("first", "first")]).find(name)
        assert found.path is not None
        assert found.path.is_file()
        assert not found.may_fetch
        assert (found.spec or "").endswith(spec.rpartition(":")[2])
    for name in (
        "gone",
        "smollm2-135m",
        "owner/repo:Q4_0",
        "owner/other",
        "https://evil.example/owner/repo",
        "ollama:x",
    ):
        with pytest.raises(ApiError) as refused:
            await registry.find(name)
        assert refused.value.status in (404,), name


@pytest.mark.usefixtures("named")
async def test_two_names_of_one_file_are_one_model() -> None:
    registry = Registry([Served("first", "first")])
    both = await registry.find("both")
    assert await registry.find("mine") == both
    # The draft of that pair is not here, and is not fetched: its target drafts with what is.
    assert await registry.find("half") == both


@pytest.mark.usefixtures("named")
async def test_many_unknown_names_are_one_look_at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Catalog] = []

    def look() -> Catalog:
        looks.append(load_catalog())
        return looks[-1]

    monkeypatch.setattr("edgespec.serve.registry.load_catalog", look)
    registry = Registry([Served("first", "first")])
    found = await asyncio.gather(
        *(registry.find(f"unknown-{number}") for number in range(20)), return_exceptions=True
    )
    assert {one.status for one in found if isinstance(one, ApiError)} == {404}
    assert len(found) == 20
    assert len(looks) == 1


@pytest.mark.usefixtures("named")
async def test_whoever_hangs_up_does_not_stop_the_look_for_others() -> None:
    registry = Registry([Served("first", "first")])
    gone, stays = (asyncio.create_task(registry.find(name)) for name in ("mine", "small"))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).id == "small"
    assert (await asyncio.wait([gone]))[0] == {gone}


@pytest.mark.usefixtures("named")
async def test_a_model_of_any_number_of_names_stays_one_and_no_list_grows() -> None:
    registry = Registry([Served("first", "first")])
    found = {
        (await registry.find(f"https://huggingface.co/owner/repo/blob/main/bpe-Q8_0.gguf?{number}")).id
        for number in range(_MOST_NAMES + 20)
    }
    assert found == {"owner/repo:bpe-Q8_0.gguf"}
    assert len(registry._found) == _MOST_NAMES


@pytest.mark.usefixtures("named")
async def test_a_name_that_is_too_long_for_one_is_not_looked_for() -> None:
    registry = Registry([Served("first", "first")])
    with pytest.raises(ApiError) as refused:
        await registry.find("https://huggingface.co/owner/repo/blob/main/bpe-Q8_0.gguf?" + "x" * 1000)
    assert refused.value.status == 404
    assert len(refused.value.message) < 400


@pytest.mark.usefixtures("named")
def test_a_pair_a_model_and_one_of_the_hub_are_answered(start: Callable[..., Server]) -> None:
    server = start("both", "-t", "1").wait_ready()
    assert "draft small" in server.lines[-1]
    models = {
        server.ask(TEXT, {"prompt": "a", "max_tokens": 2, "model": name}).json["model"]
        for name in (None, "both", "mine", "owner/repo", "owner/repo:Q8_0")
    }
    assert models == {"both", "owner/repo:bpe-Q8_0.gguf"}
    assert len(server.engines()) == 2
    listed = [one["id"] for one in server.ask("/v1/models").json["data"]]
    assert listed[0] == "both"
    assert "owner/repo:bpe-Q8_0.gguf" in listed
    assert len(listed) == len(set(listed))
    assert server.ask("/v1/models/owner/repo:Q8_0").json["status"] == {"value": "loaded"}
