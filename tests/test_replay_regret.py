"""The script that replays a pair's answers on recorded machines: what it records, keeps and prints."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgespec.decode.machines import recorded_machines
from scripts import replay_regret

MACHINES = [machine.name for machine in recorded_machines()]
QUESTIONS = ("Name three colours.", "Say a word.", "Why?")

Run = Callable[..., str]


@pytest.fixture
def pair(tmp_path: Path, tiny_model: Path, tiny_draft: Path) -> tuple[Path, Path]:
    """A target and a draft that may be taken away."""
    return (
        shutil.copy(tiny_model, tmp_path / "target.gguf"),
        shutil.copy(tiny_draft, tmp_path / "draft.gguf"),
    )


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Questions in Spec-Bench's form."""
    file = tmp_path / "questions.jsonl"
    lines = [
        json.dumps({"question_id": number, "category": "qa", "turns": [text, "And then?"]})
        for number, text in enumerate(QUESTIONS)
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.fixture
def run(
    pair: tuple[Path, Path],
    prompts: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs the script on the pair and the questions, and returns what it prints."""
    monkeypatch.setattr(replay_regret, "default_threads", lambda: 1)

    def run_script(*arguments: str | Path, n_tokens: int = 40) -> str:
        target, draft = pair
        options = ["--draft", draft, "--prompts", prompts, "--max-tokens", n_tokens, *arguments]
        replay_regret.main([str(target), *map(str, options)])
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run_script


def figures(printed: str, name: str) -> list[list[float]]:
    """The numbers of every line that begins with a name and blanks."""
    lines = [line for line in printed.splitlines() if re.match(rf"{name} {{2,}}", line)]
    return [[float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?", line[12:])] for line in lines]


def test_every_machine_has_its_figures_and_nobody_beats_the_clairvoyant(run: Run):
    printed = run()
    assert "geometric means of 3 answers" in printed
    for name in MACHINES:
        speedups, regret = figures(printed, name)
        auto, model, ngram, *fixed, best_length, clairvoyant = speedups
        assert len(fixed) == 4
        assert max(auto, model, ngram, *fixed) <= clairvoyant
        best = max([1.0, *fixed])
        assert [1.0, *fixed][int(best_length)] == best
        # Regret is in time: a speed of 1.5 against 1.2 is a fifth less.
        assert regret[0] == pytest.approx(100 * (best / auto - 1), abs=0.15)
        assert regret[-3] == pytest.approx(100 * (clairvoyant / auto - 1), abs=0.15)
        assert f"\n{name}: " in printed
    for change in ("twice as long", "half as long"):
        (numbers,) = figures(printed, change)
        median, nine_of_ten = numbers[:2]
        assert 0 <= median <= nine_of_ten <= 20


def test_what_was_kept_is_used_again_without_the_models(run: Run, pair: tuple[Path, Path], tmp_path: Path):
    kept = tmp_path / "kept" / "answers.json"
    first = run("--keep", kept)
    for file in pair:
        file.unlink()
    assert run("--keep", kept) == first
    recorded = json.loads(kept.read_text(encoding="utf-8"))
    assert [len(one["tokens"]) for one in recorded["recordings"]] == [40, 40, 40]
    # All of the text, and what a draft at work begins with.
    begins = [[view["begin"] for view in one["views"]] for one in recorded["guesses"]]
    assert begins == [sorted({0, max(len(one["prompt"]) - 24, 0)}) for one in recorded["recordings"]]


def test_what_was_kept_of_others_is_refused(run: Run, tmp_path: Path):
    kept = tmp_path / "answers.json"
    run("--keep", kept)
    before = kept.read_bytes()
    with pytest.raises(SystemExit, match=r"up to 40 tokens: others than are wanted. Name another file"):
        run("--keep", kept, n_tokens=41)
    with pytest.raises(SystemExit, match="has 3 answers"):
        run("--keep", kept, "--limit", "1")
    assert kept.read_bytes() == before


def test_errors_are_one_line(run: Run, pair: tuple[Path, Path], tiny_bpe: Path):
    shutil.copy(tiny_bpe, pair[1])
    with pytest.raises(SystemExit, match=r"^replays want a draft with the target's vocabulary: .+$"):
        run()
    pair[0].unlink()
    with pytest.raises(SystemExit, match=r"target\.gguf"):
        run()


def test_an_answer_needs_two_tokens(run: Run, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run(n_tokens=1)
    assert "--max-tokens must be 2 or more" in capsys.readouterr().err
