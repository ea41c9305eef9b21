"""Whole searches on tiny models, on a clock that the test moves: what is tried, what is left out, what stays."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edgespec.bench.arm import ArmSpec
from edgespec.bench.arm_loop import ArmLoop, TokenizedPrompt
from edgespec.bench.prompts import builtin_prompts
from edgespec.catalog.metadata import is_whole
from edgespec.catalog.toml_file import load_catalog
from edgespec.decode.costs import CostCurve
from edgespec.errors import UsageError
from edgespec.paths import derived_models_dir, tuned_dir, tunes_dir, user_catalog_file
from edgespec.session.choice import choose_files
from edgespec.tune.answers import find_or_record_answers
from edgespec.tune.confirm import FinalistFigures
from edgespec.tune.drift import DriftCorrection
from edgespec.tune.outcome import Candidate, TuneOutcome, load_outcome
from edgespec.tune.questions import SPARED_CATEGORIES
from edgespec.tune.request import TuneRequest
from edgespec.tune.save_pair import save_result
from edgespec.tune.search import Search
from edgespec.tune.timing import TimedDraft, TimedTarget
from edgespec.tune.variants import PUBLISHED, DraftVariant, PairVariant, TargetVariant
from tests.decode.scripted import FakeClock
from tests.recorded_progress import RecordedProgress
from tests.tiny import CHAT_TEMPLATE, make_tiny_model
from tests.tune.made_up import tune_request

pytestmark = pytest.mark.usefixtures("few_and_short_answers")

BUDGET_S = 600.0


@dataclass(slots=True)
class Searched:
    """A search that is over."""

    outcome: TuneOutcome
    winner: PairVariant
    progress: RecordedProgress
    clock: FakeClock

    def candidates(self, target: str = PUBLISHED) -> dict[str, Candidate]:
        """By the draft's label."""
        return {one.draft: one for one in self.outcome.candidates if one.target == target}


def _search(request: TuneRequest, spend: Callable[[str], float] = lambda _label: 0.0) -> Searched:
    """Runs a search whose stages take the seconds that `spend` says; every prompt of the proof is answered once."""
    clock = FakeClock(50.0)

    def entered(label: str) -> None:
        clock.spend(
            10 * BUDGET_S if label.startswith("measuring") and "candidates" in label else spend(label)
        )

    progress = RecordedProgress(entered)
    outcome, winner = Search(request, progress, clock).run()
    return Searched(outcome, winner, progress, clock)


@pytest.fixture(scope="module")
def home(few_and_short_answers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the searches that several tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("searches")
        patch.setenv("EDGESPEC_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def whole(home: Path, tiny_model: Path, tiny_draft: Path) -> Searched:
    """A search with time for everything."""
    return _search(tune_request(tiny_model, tiny_draft, requantizes=True))


def test_every_target_type_meets_every_draft_variant(whole: Searched):
    drafts = {"none", "ngram", "tiny-draft, F32", "tiny-draft, Q4_0"}
    assert {(one.target, one.draft) for one in whole.outcome.candidates} == {
        (target, draft) for target in (PUBLISHED, "Q4_0", "Q4_K") for draft in drafts
    }


def test_what_is_predicted_of_a_candidate_fits_together(whole: Searched):
    for one in whole.outcome.candidates:
        assert (one.acceptance is None) == (one.draft_step_share is None) == (one.draft in {"none", "ngram"})
        assert (one.kl is None) == (one.top1_agreement is None) == (one.target == PUBLISHED)
    plain = whole.candidates()["none"]
    assert plain.predicted_speedup == pytest.approx(1.0)
    for one in whole.outcome.candidates:
        ratio = one.predicted_tok_per_s / plain.predicted_tok_per_s
        assert one.predicted_speedup == pytest.approx(ratio)


def test_the_finalists_are_plain_decoding_what_auto_does_and_the_best_three(whole: Searched):
    plain, untuned = whole.candidates()["none"], whole.candidates()["tiny-draft, Q4_0"]
    assert plain.measured_speedup == 1.0
    assert untuned.is_untuned
    assert untuned.measured_speedup is not None
    others = [one for one in whole.outcome.candidates if one not in (plain, untuned) and one.draft != "none"]
    best = sorted(others, key=lambda one: -one.predicted_speedup)[:3]
    assert {one.label for one in others if one.measured_speedup is not None} == {one.label for one in best}


def test_the_outcome_says_how_long_it_took_and_whose_files_won(whole: Searched):
    assert whole.outcome.seconds == whole.clock.now_s - 50.0
    assert (whole.outcome.target, whole.outcome.budget_s, whole.outcome.pair) == ("tiny", BUDGET_S, "")
    best = whole.outcome.best
    assert whole.winner.target.label == best.target
    assert (whole.winner.draft.label if whole.winner.draft else None) == (
        None if best.draft in {"none", "ngram"} else best.draft
    )


def test_the_proof_is_answered_by_prompts_of_each_kind_that_the_search_never_saw(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    answered: list[TokenizedPrompt] = []
    run = ArmLoop.run

    def watched(loop: ArmLoop, prompt: TokenizedPrompt, repeat: int, turn: int) -> None:
        answered.append(prompt)
        run(loop, prompt, repeat, turn)

    monkeypatch.setattr(ArmLoop, "run", watched)
    found = _search(tune_request(tiny_model, tiny_draft))
    assert found.outcome.proof == tuple(one.id for one in answered)
    assert {one.category for one in answered} == {one.category for one in builtin_prompts()}
    assert len(answered) == 10
    recorded = find_or_record_answers(found.winner.target, 1)
    seen = {one.prompt for one in (*recorded.fit, *recorded.held_out)}
    assert not seen & {one.tokens for one in answered}


def test_a_search_leaves_no_files_of_finalists_and_nothing_half_written(whole: Searched, home: Path):
    names = [path.name for path in (home / "cache" / "derived").iterdir()]
    assert names
    assert not [name for name in names if "finalist" in name or name.endswith(".part")]
    assert not (home / "config").exists()


def test_a_second_search_finds_what_the_first_one_made(
    whole: Searched, home: Path, tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EDGESPEC_HOME", str(home))
    again = _search(tune_request(tiny_model, tiny_draft, requantizes=True))
    made = {"quantizing", f"recording answers, target {PUBLISHED}"}
    assert made <= set(whole.progress.labels)
    assert not made & set(again.progress.labels)
    for draft, one in again.candidates().items():
        assert one.acceptance == whole.candidates()[draft].acceptance


# Time


def test_without_time_for_variants_the_published_files_are_measured_all_the_same(
    tiny_model: Path, tiny_draft: Path
):
    # Recording the answers takes half of the budget and more.
    request = tune_request(tiny_model, tiny_draft, requantizes=True)
    found = _search(request, lambda label: 0.6 * BUDGET_S if label.startswith("recording") else 0.0)
    assert {one.target for one in found.outcome.candidates} == {PUBLISHED}
    measured = {one.draft for one in found.outcome.candidates if one.measured_speedup is not None}
    assert {"none", "tiny-draft, Q4_0"} < measured
    assert found.outcome.seconds > BUDGET_S


def test_time_that_runs_out_between_two_types_leaves_the_second_one_out(tiny_model: Path, tiny_draft: Path):
    request = tune_request(tiny_model, tiny_draft, requantizes=True)
    found = _search(request, lambda label: 0.6 * BUDGET_S if label == "timing target Q4_0" else 0.0)
    assert {one.target for one in found.outcome.candidates} == {PUBLISHED, "Q4_0"}
    assert f"recording answers, target {PUBLISHED}" in found.progress.labels
    assert "recording answers, target Q4_0" not in found.progress.labels


def test_a_budget_that_is_too_small_is_refused_before_anything_is_loaded(tiny_model: Path):
    progress = RecordedProgress()
    with pytest.raises(UsageError, match="too small"):
        Search(tune_request(tiny_model, budget_s=10.0), progress)
    assert progress.labels == []


# Other drafts


def test_without_small_models_the_target_drafts_for_itself_with_fewer_blocks(tmp_path: Path):
    path = make_tiny_model(tmp_path / "lone.gguf", blocks=4, chat_template=CHAT_TEMPLATE)
    found = _search(tune_request(path))
    without = [draft for draft in found.candidates() if draft.startswith("lone without blocks ")]
    # A third and half of four blocks: one of them, and two neighbours.
    assert sorted(label.count(" to ") for label in without) == [0, 1]
    assert set(found.candidates()) == {"none", "ngram", *without}
    assert found.candidates()["ngram"].is_untuned


def test_a_distilled_draft_is_a_candidate_beside_the_one_that_it_was_made_from(
    tiny_model: Path, tiny_draft: Path
):
    found = _search(tune_request(tiny_model, tiny_draft, distills=True)).candidates()
    before, after = found["tiny-draft, Q4_0"], found["tiny-draft, Q4_0, taught"]
    assert after.acceptance != before.acceptance
    assert (before.is_untuned, after.is_untuned) == (True, False)


# What is tried depends on what is predicted: here, of costs that the test makes up


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a pass, whatever its rows: of target variants by label, and of all drafts."""

    targets: dict[str, float]
    draft_s: float

    def use(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("edgespec.tune.predictions.time_target", self._time_target)
        patch.setattr("edgespec.tune.predictions.time_draft", self._time_draft)

    def _time_target(self, variant: TargetVariant, _correction: DriftCorrection) -> TimedTarget:
        seconds = self.targets[variant.label]
        return TimedTarget(variant, CostCurve({1: seconds, 16: seconds}), pads=False)

    def _time_draft(self, variant: DraftVariant, _correction: DriftCorrection) -> TimedDraft:
        return TimedDraft(variant, CostCurve({1: self.draft_s, 400: self.draft_s}), pads=False)


def test_only_the_target_variant_that_promises_most_records_answers_of_its_own(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    Costs({PUBLISHED: 1.0, "Q4_0": 0.7, "Q4_K": 0.5}, draft_s=0.1).use(monkeypatch)
    found = _search(tune_request(tiny_model, tiny_draft, requantizes=True))
    recorded = [label for label in found.progress.labels if label.startswith("recording")]
    assert recorded == ["recording answers, target as published", "recording answers, target Q4_K"]
    plain = [found.candidates(label)["none"].predicted_speedup for label in (PUBLISHED, "Q4_0", "Q4_K")]
    assert plain == pytest.approx([1.0, 1 / 0.7, 2.0])
    borrowed, own = (found.candidates(label)["tiny-draft, F32"] for label in ("Q4_0", "Q4_K"))
    assert borrowed.acceptance == found.candidates()["tiny-draft, F32"].acceptance
    assert own.acceptance != borrowed.acceptance


@pytest.mark.parametrize(("draft_s", "is_tried"), [(0.1, True), (5.0, False)])
def test_fewer_blocks_are_tried_where_they_could_win_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draft_s: float, is_tried: bool
):
    target = make_tiny_model(tmp_path / "large.gguf", blocks=4, chat_template=CHAT_TEMPLATE)
    draft = make_tiny_model(tmp_path / "small.gguf", blocks=4, noise=0.02)
    Costs({PUBLISHED: 1.0}, draft_s).use(monkeypatch)
    found = _search(tune_request(target, draft))
    assert any(one.startswith("small without blocks ") for one in found.candidates()) == is_tried
    assert any(label.startswith("looking for ") for label in found.progress.labels) == is_tried


def test_where_answers_take_long_the_proof_has_fewer_kinds(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    # Ten answers of 24 tokens by three finalists would take longer than the search has.
    Costs({PUBLISHED: 1.0}, draft_s=1.0).use(monkeypatch)
    found = _search(tune_request(tiny_model, tiny_draft))
    kinds = [name.rsplit("-", 1)[0] for name in found.outcome.proof]
    assert sorted([*kinds, *SPARED_CATEGORIES]) == sorted({one.category for one in builtin_prompts()})
    assert sum(one.measured_speedup is not None for one in found.outcome.candidates) == 3


# Ctrl-C

STAGES = [
    "timing target as published",
    "recording answers, target as published",
    "measuring the importance",
    "writing",
    "timing tiny-draft, Q4_0",
    "guessing with tiny-draft, Q4_0",
]
OF_TYPES = {"measuring the importance", "writing"}


@pytest.fixture
def own_catalog() -> Iterator[None]:
    """A catalogue of the user's; when Ctrl-C has come, it is as it was, and nothing stands half-written."""
    user_catalog_file().parent.mkdir(parents=True)
    user_catalog_file().write_text("# mine\n")
    yield
    left = list(derived_models_dir().rglob("*"))
    assert not [path for path in left if path.is_dir() or path.suffix == ".part" or "finalist" in path.name]
    assert all(is_whole(path) for path in left if path.suffix == ".gguf")
    assert user_catalog_file().read_text() == "# mine\n"
    assert not tuned_dir().exists()
    assert not tunes_dir().exists()


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_leaves_nothing_half_written(
    own_catalog: None, tiny_model: Path, tiny_draft: Path, stage: str
):
    def stop(label: str) -> float:
        if label.startswith(stage):
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        _search(tune_request(tiny_model, tiny_draft, requantizes=stage in OF_TYPES), stop)


def test_ctrl_c_during_the_benchmark_leaves_no_files_of_finalists(
    own_catalog: None, tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[list[Path]] = []

    def interrupt(*_arguments: object, **_settings: object) -> None:
        loaded.append(list(derived_models_dir().rglob("finalist-*")))
        raise KeyboardInterrupt

    monkeypatch.setattr("edgespec.tune.search.measure_finalists", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _search(tune_request(tiny_model, tiny_draft))
    assert len(loaded[0]) == 2
    assert not list(derived_models_dir().rglob("finalist-*"))


# What is saved


def _measuring(
    speedups: dict[str, float], unfaithful: Sequence[str] = ()
) -> Callable[..., list[FinalistFigures]]:
    """A benchmark that finds these speed-ups by draft, and 1 for the others."""

    def measure(
        finalists: Sequence[ArmSpec], *_arguments: object, **_settings: object
    ) -> list[FinalistFigures]:
        names = [one.draft or str(one.mode) for one in finalists]
        found = [(speedups.get(name, 1.0), name not in unfaithful) for name in names]
        return [FinalistFigures(10 * rate, rate, 0.01, rate, is_faithful) for rate, is_faithful in found]

    return measure


@pytest.fixture
def won(tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch) -> Searched:
    """A search that the published draft wins, and not its copy, which `auto` would take."""
    speedups = {"tiny-draft, F32": 1.8, "tiny-draft, Q4_0": 1.3, "ngram": 1.1}
    monkeypatch.setattr("edgespec.tune.search.measure_finalists", _measuring(speedups))
    return _search(tune_request(tiny_model, tiny_draft))


def test_the_fastest_of_the_benchmark_wins_whatever_was_predicted(won: Searched):
    assert [one.draft for one in won.outcome.candidates] == [
        "tiny-draft, F32",
        "tiny-draft, Q4_0",
        "ngram",
        "none",
    ]
    assert (won.outcome.best.draft, won.outcome.best.measured_speedup) == ("tiny-draft, F32", 1.8)
    assert won.winner.draft is not None
    assert won.winner.draft.kind == "published"
    assert "1.38x what auto does without tuning" in won.outcome.verdict


def test_a_finalist_that_wrote_another_text_cannot_win(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    measuring = _measuring({"tiny-draft, F32": 1.8, "ngram": 1.1}, unfaithful=["tiny-draft, F32"])
    monkeypatch.setattr("edgespec.tune.search.measure_finalists", measuring)
    outcome = _search(tune_request(tiny_model, tiny_draft)).outcome
    assert outcome.best.draft != "tiny-draft, F32"
    assert {one.draft: one.measured_speedup for one in outcome.candidates}["tiny-draft, F32"] is None


def test_the_winner_is_saved_and_found_by_the_catalogue_and_by_explain(
    won: Searched, tiny_model: Path, tiny_draft: Path
):
    request = tune_request(tiny_model, tiny_draft)
    saved = save_result(request.target, won.outcome, won.winner)
    assert saved == replace(won.outcome, pair="tiny-tuned")
    pair = load_catalog().pairs["tiny-tuned"]
    assert (pair.target, pair.drafts, pair.tuned) == ("tiny", ("tiny-draft",), True)
    assert pair.description.endswith("proved on 10 prompts that the search never saw")
    files = choose_files("tiny-tuned", offline=True)
    assert files.target.path == tiny_model.resolve()
    assert [draft.path for draft in files.drafts] == [tuned_dir() / "tiny-tuned" / "tiny-draft.gguf"]
    assert load_outcome("tiny") == load_outcome("tiny-tuned") == saved


def test_a_winner_that_auto_would_take_anyway_is_not_saved_but_explained(
    tiny_model: Path, tiny_draft: Path, monkeypatch: pytest.MonkeyPatch
):
    speedups = {"tiny-draft, F32": 1.2, "tiny-draft, Q4_0": 1.3}
    monkeypatch.setattr("edgespec.tune.search.measure_finalists", _measuring(speedups))
    request = tune_request(tiny_model, tiny_draft)
    found = _search(request)
    saved = save_result(request.target, found.outcome, found.winner)
    assert (saved.pair, saved.best.draft) == ("", "tiny-draft, Q4_0")
    assert not user_catalog_file().exists()
    assert not tuned_dir().exists()
    assert load_outcome("tiny") == saved
