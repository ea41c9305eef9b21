"""How answers are sampled in the chat: the model's own, for a model, for a chat, by command and in a form."""

from dataclasses import replace

import pytest
from textual.widgets import Input, Static

from edgespec.errors import UsageError
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import NO_WISH, SamplingWish
from edgespec.worker.protocol import Answer
from tests.tui.chat_script import chat_of, send, status_of
from tests.tui.conftest import LARGE, SMALL, AppBench, Picture, settle
from tests.tui.scripted import PAIR
from tui.chat.sampling import SamplingChange, SamplingScreen, Scope, describe_sampling, read_sampling
from tui.services.launch import Launch
from tui.services.settings import load_settings

OWN = replace(PAIR, sampling=Sampling(temperature=0.6, top_k=20))
BEFORE: dict[Scope, SamplingWish] = {"chat": SamplingWish(top_p=0.5), "model": SamplingWish(seed=3)}


def asked_of(bench: AppBench, worker: int = 0) -> list[SamplingWish]:
    asked = [one.sampling for one in bench.workers[worker].requests if isinstance(one, Answer)]
    return [one for one in asked if isinstance(one, SamplingWish)]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("temperature 0.7", SamplingChange("chat", SamplingWish(temperature=0.7, top_p=0.5))),
        (
            "temp=1 top-k=5 top_p=0.9",
            SamplingChange("chat", SamplingWish(temperature=1, top_k=5, top_p=0.9)),
        ),
        ("model min-p 0.1", SamplingChange("model", SamplingWish(min_p=0.1, seed=3))),
        ("reset", SamplingChange("chat", NO_WISH)),
        ("model reset", SamplingChange("model", NO_WISH)),
    ],
)
def test_what_is_typed_is_laid_over_what_holds(text: str, change: SamplingChange) -> None:
    assert read_sampling(text, BEFORE) == change


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("warmth 3", "warmth is no setting of the sampling"),
        ("temperature", "is not pairs of a name and a number"),
        ("temperature hot", "temperature is 'hot'"),
        ("top-k 2.5", "top-k is '2.5'"),
        ("top-p 7", "`top_p` 7.0 is out of range"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_sampling(text, BEFORE)


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        (Sampling(), "greedy"),
        (Sampling(repeat_penalty=1.1), "greedy, repeat penalty 1.1"),
        (Sampling(temperature=0.7), "temperature 0.7, top-k 40, top-p 0.95, min-p 0.05"),
        (
            Sampling(temperature=1, top_k=0, top_p=1, min_p=0, frequency_penalty=0.5),
            "temperature 1, frequency penalty 0.5",
        ),
    ],
)
def test_it_is_said_in_a_few_words(sampling: Sampling, words: str) -> None:
    assert describe_sampling(sampling) == words


async def test_the_model_decides_where_nobody_does_and_draws_anew_every_time(bench: AppBench) -> None:
    async with bench.run(pair=OWN) as (_, pilot):
        await send(pilot, "hello")
        await pilot.press("ctrl+r")
        await settle(pilot)
        first, second = asked_of(bench)
        assert (set(first.given), set(second.given)) == ({"seed"}, {"seed"})
        assert first.seed != second.seed


async def test_a_greedy_model_is_asked_for_nothing(bench: AppBench) -> None:
    async with bench.run() as (_, pilot):
        await send(pilot, "hello")
        assert asked_of(bench) == [NO_WISH]


async def test_a_chat_has_its_own_and_keeps_it(bench: AppBench) -> None:
    async with bench.run(pair=OWN) as (app, pilot):
        await send(pilot, "/sampling temperature 0 top-k 5")
        assert "sampling from the next answer: greedy" in status_of(app)
        await send(pilot, "hello")
        assert asked_of(bench) == [SamplingWish(temperature=0, top_k=5)]
        await send(pilot, "/new")
        await send(pilot, "another")
        assert set(asked_of(bench)[-1].given) == {"seed"}
        kept = chat_of(app).pane.store.summaries()
        saved = {one.title: chat_of(app).pane.store.load(one.id).sampling for one in kept}
        assert saved == {"hello": SamplingWish(temperature=0, top_k=5), "another": None}


async def test_a_model_has_its_own_in_the_settings(bench: AppBench) -> None:
    async with bench.run(pair=OWN) as (app, pilot):
        await send(pilot, "/sampling model temperature 0.3 seed 7")
        assert load_settings().sampling == {"target-1b": SamplingWish(temperature=0.3, seed=7)}
        await send(pilot, "hello")
        assert asked_of(bench) == [SamplingWish(temperature=0.3, seed=7)]
        await send(pilot, "/sampling model reset")
        assert load_settings().sampling == app.settings.sampling == {}


async def test_the_command_line_stands_between_both(bench: AppBench) -> None:
    async with bench.run(Launch(sampling=SamplingWish(temperature=0.5, top_p=0.8, seed=1)), pair=OWN) as (
        _,
        pilot,
    ):
        await send(pilot, "/sampling model temperature 0.3 min-p 0.2")
        await send(pilot, "/sampling top-p 0.7")
        await send(pilot, "hello")
        assert asked_of(bench) == [SamplingWish(temperature=0.5, top_p=0.7, min_p=0.2, seed=1)]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
async def test_the_form_looks_as_it_did(size: tuple[int, int], bench: AppBench, picture: Picture) -> None:
    async with bench.run(size=size, pair=OWN) as (app, pilot):
        app.screen.query("#rail-memory, #rail-cpu-title, #rail-cpu").set(visible=False)
        await send(pilot, "/sampling temperature 0.25")
        await send(pilot, "/sampling")
        assert isinstance(app.screen, SamplingScreen)
        await picture(pilot)


async def test_the_form_takes_them_for_the_chat_or_the_model(bench: AppBench) -> None:
    async with bench.run(pair=OWN) as (app, pilot):
        await send(pilot, "/sampling")
        app.screen.query_one("#sampling-temperature", Input).value = "warm"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "temperature is 'warm'" in str(app.screen.query_one("#sampling-note", Static).content)
        app.screen.query_one("#sampling-temperature", Input).value = "11"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "temperature 11.0 is out of range" in str(
            app.screen.query_one("#sampling-note", Static).content
        )
        app.screen.query_one("#sampling-temperature", Input).value = "0.9"
        await pilot.press("ctrl+s")
        await settle(pilot)
        await send(pilot, "hello")
        assert asked_of(bench)[-1].temperature == 0.9
        await send(pilot, "/sampling")
        app.screen.query_one("#sampling-temperature", Input).value = "0.1"
        await pilot.click("#model")
        await settle(pilot)
        assert load_settings().sampling == {"target-1b": SamplingWish(temperature=0.1)}
