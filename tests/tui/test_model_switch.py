"""Another model in the place of the one that is loaded: what works is never given up for what does not."""

from pathlib import Path

import pytest

from edgespec.bench.prompts import builtin_prompts
from edgespec.bench.speculative import BenchSettings
from edgespec.errors import IncompatibleDraftError, ModelMissingError
from edgespec.session.settings import EngineSettings
from edgespec.worker.jobs.bench import BenchJob
from edgespec.worker.jobs.find import FindJob
from edgespec.worker.protocol import Answered, OpenPair, RequestFailed, RunJob
from tests.catalog.gguf_files import write_gguf
from tests.recorded_progress import RecordedProgress
from tests.tui.chat_script import chat_of, roles, send, status_of
from tests.tui.conftest import SMALL, AppBench, settle
from tests.tui.scripted import PAIR, finished_stats
from tui.services.launch import Launch


async def test_a_model_that_is_not_there_leaves_the_one_that_is_loaded(bench: AppBench) -> None:
    async with bench.run(Launch(target="good"), size=SMALL) as (app, pilot):
        await send(pilot, "/model nosuch")
        assert "there is no model 'nosuch'" in status_of(app)
        assert "did you mean small or smaller?" in status_of(app)
        assert not bench.workers[0].closed
        assert bench.workers[1].closed
        assert (app.engine.pair, app.launch.target) == (PAIR, "good")
        await send(pilot, "hello")
        assert roles(app) == ["user", "assistant"]


async def test_a_model_that_cannot_be_loaded_hands_the_one_before_back(bench: AppBench) -> None:
    async with bench.run(Launch(target="good", draft="its-draft")) as (app, pilot):
        await send(pilot, "/model too-large")
        await settle(pilot)
        assert "too-large needs 40 GiB" in status_of(app)
        assert "the model from before is loaded again" in status_of(app)
        opened = [one for worker in bench.workers for one in worker.requests if isinstance(one, OpenPair)]
        assert [(one.target, one.draft) for one in opened] == [
            ("good", "its-draft"),
            ("too-large", "auto"),
            ("good", "its-draft"),
        ]
        assert app.launch.target == "good"
        await send(pilot, "hello")
        assert roles(app) == ["user", "assistant"]
        assert "too-large" not in status_of(app)


async def test_a_model_is_not_changed_in_the_middle_of_an_answer(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        await send(pilot, "/model other")
        assert "Esc stops it" in status_of(app)
        assert len(bench.workers) == 1
        assert chat_of(app).transcript.is_answering


async def test_an_answer_goes_on_while_another_model_is_not_found(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        app.open_engine("nosuch")
        await settle(pilot)
        assert "there is no model 'nosuch'" in status_of(app)
        assert chat_of(app).transcript.is_answering
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert not chat_of(app).transcript.conversation.messages[-1].stopped


async def test_another_model_waits_for_the_end_of_an_answer(bench: AppBench) -> None:
    async with bench.run(hold=True) as (app, pilot):
        await send(pilot, "hello")
        app.open_engine("other")
        await settle(pilot)
        assert not bench.workers[0].closed
        bench.workers[0].say(Answered(finished_stats(), 1))
        await settle(pilot)
        assert bench.workers[0].closed
        assert [type(one) for one in bench.workers[1].requests] == [RunJob, OpenPair]
        assert app.launch.target == "other"


def bench_job(draft: str, target: str | None = None) -> BenchJob:
    return BenchJob(target, (draft,), builtin_prompts()[:1], BenchSettings(), EngineSettings())


async def test_a_benchmark_of_models_that_are_not_there_unloads_nothing(bench: AppBench) -> None:
    async with bench.run() as (app, pilot):
        app.go("bench", with_=bench_job("a-draft", "nosuch"))
        await settle(pilot)
        assert bench.workers[1].requests == [RunJob(FindJob("nosuch", ("a-draft",)))]
        assert len(bench.workers) == 2
        assert not bench.workers[0].closed
        assert app.engine.pair == PAIR


async def test_a_benchmark_that_fails_hands_the_model_back(bench: AppBench) -> None:
    fails = lambda _request: [RequestFailed("there is not enough memory")]  # noqa: E731
    async with bench.run(job=fails) as (app, pilot):
        app.go("bench", with_=bench_job("a-draft"))
        await settle(pilot)
        await settle(pilot)
        assert bench.workers[0].closed
        assert app.engine.pair == PAIR


class Link:
    """Hears nothing."""

    progress = RecordedProgress()

    def send(self, event: object) -> None:
        pass


@pytest.mark.parametrize(
    ("target", "draft", "said"),
    [
        ("smollm2-135", "auto", "did you mean smollm2-135m"),
        (None, "smollm2-135", "did you mean smollm2-135m"),
    ],
)
def test_what_is_not_there_is_told_with_near_names(
    target: str | None, draft: str, said: str, tiny_model: Path
) -> None:
    with pytest.raises(ModelMissingError) as told:
        FindJob(target or str(tiny_model), (draft,)).run(Link())
    assert said in told.value.hint


def test_a_draft_that_does_not_suit_is_told_before_anything_is_loaded(
    tiny_model: Path, tiny_draft: Path, tmp_path: Path
) -> None:
    FindJob(str(tiny_model), (str(tiny_draft),)).run(Link())
    odd = write_gguf(tmp_path / "odd.gguf", architecture="bert")
    with pytest.raises(IncompatibleDraftError, match="odd cannot draft for"):
        FindJob(str(tiny_model), (str(odd),)).run(Link())
