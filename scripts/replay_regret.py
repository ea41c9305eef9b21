"""What `auto` gives away in replays: against the best fixed length in hindsight, and against one who knows every answer.

    python scripts/replay_regret.py qwen2.5-coder-1.5b --draft qwen2.5-coder-0.5b --keep answers.json

TARGET and DRAFT are names of the catalogue or GGUF files with one vocabulary. The target answers the built-in prompts, or
those of a file in Spec-Bench's form, greedily; the draft reads the answers, in the types and with the shortlist that it
drafts with. Then the answers are replayed on recorded machines. Nothing is timed: the same recordings give the same figures.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgespec.bench.prompts import Prompt, builtin_prompts, load_prompts, select
from edgespec.bench.statistics import geometric_mean, ratio_interval
from edgespec.catalog.model_file import ModelFile
from edgespec.cli.errors import describe
from edgespec.cli.progress import shown_progress
from edgespec.decode.clairvoyant import Clairvoyant
from edgespec.decode.machines import RecordedMachine, recorded_machines
from edgespec.decode.policy import Mode
from edgespec.decode.replay import Guesses, Recording, Replay
from edgespec.decode.speed_change import AfterChange, replay_speed_change
from edgespec.documents import build, read_json
from edgespec.errors import EdgespecError, UsageError
from edgespec.files import written_whole
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.progress import Progress
from edgespec.session.choice import choose_files
from edgespec.session.fast_draft import choose_draft_file, shortlist_of
from edgespec.session.loading import check_pair
from edgespec.session.settings import EngineSettings
from edgespec.tune.guesses import Mask, read_guesses
from edgespec.tune.recordings import ANSWER_TOKENS, record_answers

FIXED_LENGTHS = (1, 2, 3, 4)
CHANGES = {"twice as long": 2.0, "half as long": 0.5}
BANDS = ((0, 8), (8, 16), (16, None))
"""Rounds after a change of speed."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Answers and what the draft says to them, and what they were recorded with."""

    target: str
    draft: str
    max_tokens: int
    prompts: tuple[str, ...]
    """Ids of all that was asked."""
    recordings: tuple[Recording, ...]
    """The answers of two tokens and more."""
    guesses: tuple[Guesses, ...]


def find_or_record(given: argparse.Namespace, prompts: Sequence[Prompt], progress: Progress) -> Recorded:
    """What was kept, or new recordings, which are kept where that is wanted.

    Raises:
        EdgespecError: something is wrong with the files or the models.
    """
    ids = tuple(prompt.id for prompt in prompts)
    if not given.keep or not given.keep.exists():
        recorded = record(given, prompts, progress)
        if given.keep:
            with written_whole(given.keep) as unfinished:
                unfinished.write_text(json.dumps(asdict(recorded)), encoding="utf-8")
        return recorded
    kept = build(Recorded, read_json(given.keep), str(given.keep))
    wanted = (given.target, given.draft, given.max_tokens, ids)
    if (kept.target, kept.draft, kept.max_tokens, kept.prompts) != wanted:
        raise UsageError(
            f"{given.keep} has {len(kept.prompts)} answers of {kept.target} with {kept.draft}, up to {kept.max_tokens} "
            "tokens: others than are wanted",
            "Name another file to record anew.",
        )
    return kept


def record(given: argparse.Namespace, prompts: Sequence[Prompt], progress: Progress) -> Recorded:
    """Lets the target answer and the draft guess.

    Raises:
        EdgespecError: a model is missing, does not fit the memory or the other one.
    """
    files = choose_files(given.target, [given.draft], progress=progress)
    if not files.drafts:
        raise UsageError(f"{given.draft!r} is no draft model", "Name one, or a GGUF file.")
    verdict = check_pair(files.target, files.drafts[0])
    if verdict.kind != "same-vocabulary":
        raise UsageError(f"replays want a draft with the target's vocabulary: {verdict.reason}")
    progress.stage(f"recording answers of {files.target.name}", len(prompts))
    conversations = [prompt.messages for prompt in prompts]
    with Model(files.target.path) as model:
        answers = record_answers(model, conversations, default_threads(), progress, given.max_tokens)
    recordings = [one for one in answers if len(one.tokens) > 1]
    if not recordings:
        raise UsageError("no answer has more than one token", "Allow more of them, or ask something else.")
    guesses = read_draft(files.drafts[0], recordings, progress)
    ids = tuple(prompt.id for prompt in prompts)
    return Recorded(given.target, given.draft, given.max_tokens, ids, tuple(recordings), tuple(guesses))


def read_draft(draft: ModelFile, recordings: Sequence[Recording], progress: Progress) -> list[Guesses]:
    """What it says to the answers as `auto` would use it: as a fast copy with a shortlist, where it has one."""
    chosen = choose_draft_file(draft, Placement(), EngineSettings(), progress)
    shortlist = shortlist_of(chosen.meta) if chosen is not draft else None
    mask: Mask | None = None
    progress.stage(f"reading the answers with {chosen.name}", len(recordings))
    with Model(chosen.path) as model:
        if shortlist:
            mask = np.zeros(model.n_vocab, np.bool_)
            mask[shortlist.ids] = True
        (guesses,) = read_guesses(model, recordings, [mask], default_threads(), progress)
    return guesses


@dataclass(frozen=True, slots=True)
class Speedups:
    """On one machine, over plain decoding: one for each answer."""

    auto: list[float]
    model: list[float]
    """As `auto`, but without n-grams."""
    ngram: list[float]
    fixed: dict[int, list[float]]
    """By the drafts' length; 0 is plain decoding."""
    clairvoyant: list[float]

    @property
    def best_fixed(self) -> int:
        """The length that is best over all answers."""
        return max(self.fixed, key=lambda length: geometric_mean(self.fixed[length]))

    @property
    def own_best_fixed(self) -> list[float]:
        """With the length that is best for each answer."""
        return [max(own) for own in zip(*self.fixed.values(), strict=True)]


def time_ratios(speeds: Sequence[float], others: Sequence[float]) -> list[float]:
    """Of each answer, the time that it takes over that at the other speed."""
    return [other / own for own, other in zip(speeds, others, strict=True)]


def percent_more(ratios: Sequence[float]) -> str:
    """The geometric mean with its 95 % interval as `+1.2 % (+0.9 to +1.5)`; without that where there is one ratio alone."""
    by_answer = {str(number): [ratio] for number, ratio in enumerate(ratios)}
    interval = ratio_interval(by_answer)
    mean = f"{percent(geometric_mean(ratios))} %"
    if math.isnan(interval.low):
        return mean
    return f"{mean} ({percent(interval.low)} to {percent(interval.high)})"


def percent(ratio: float) -> str:
    """`+1.2` of 1.012."""
    return f"{100 * (ratio - 1):+.1f}"


def middle_95(values: Sequence[float]) -> tuple[float, float]:
    """The bounds between which 95 % of the values lie; the value itself where there is only one."""
    if len(values) < 2:
        return values[0], values[0]
    cuts = statistics.quantiles(values, n=40, method="inclusive")
    return cuts[0], cuts[-1]


def replay_machine(machine: RecordedMachine, recorded: Recorded, knowing: Sequence[Clairvoyant]) -> Speedups:
    """Everything on one machine."""

    def speedups(replay: Replay) -> list[float]:
        return [one.speedup for one in replay.run(recorded.recordings, recorded.guesses)]

    costs = machine.costs()
    return Speedups(
        auto=speedups(Replay(costs)),
        model=speedups(Replay(costs, Mode.MODEL)),
        ngram=speedups(Replay(costs, Mode.NGRAM)),
        fixed={0: [1.0] * len(recorded.recordings)}
        | {length: speedups(Replay(costs, draft_length=length)) for length in FIXED_LENGTHS},
        clairvoyant=[one.speedup(costs) for one in knowing],
    )


def print_machines(recorded: Recorded, progress: Progress) -> None:
    """Speed-ups and regrets, a line for each machine."""
    knowing = [Clairvoyant(one, own) for one, own in zip(recorded.recordings, recorded.guesses, strict=True)]
    machines = recorded_machines()
    progress.stage("replaying", len(machines))
    found = {}
    for machine in machines:
        found[machine.name] = replay_machine(machine, recorded, knowing)
        progress.advance()
    print_speedups(found, len(knowing))
    print_regrets(found)
    print()
    for machine in machines:
        print(f"{machine.name}: {machine.origin}")


def print_speedups(found: Mapping[str, Speedups], n_answers: int) -> None:
    """Of everything."""
    heads = ["auto", "model", "ngram", *(f"K={length}" for length in FIXED_LENGTHS), "best K"]
    print(
        f"Speed-ups over plain decoding, geometric means of {n_answers} answers; K is of the model's drafts alone"
    )
    print(f"\n{'':<12}{''.join(f'{head:>8}' for head in heads)}{'clairvoyant':>13}")
    for name, own in found.items():
        columns = [own.auto, own.model, own.ngram, *(own.fixed[length] for length in FIXED_LENGTHS)]
        figures = "".join(f"{geometric_mean(column):8.3f}" for column in columns)
        print(f"{name:<12}{figures}{own.best_fixed:8}{geometric_mean(own.clairvoyant):13.3f}")


def print_regrets(found: Mapping[str, Speedups]) -> None:
    """Of `auto`, in time."""
    heads = ("than the best K", "95 of 100 answers", "than their best K", "than the clairvoyant")
    print("\nauto's regret: how much longer it takes, geometric means with 95 % intervals")
    print(f"\n{'':<12}{''.join(f'{head:>26}' for head in heads)}")
    for name, own in found.items():
        ratios = time_ratios(own.auto, own.fixed[own.best_fixed])
        low, high = middle_95(ratios)
        cells = (
            percent_more(ratios),
            f"{percent(low)} to {percent(high)} %",
            percent_more(time_ratios(own.auto, own.own_best_fixed)),
            percent_more(time_ratios(own.auto, own.clairvoyant)),
        )
        print(f"{name:<12}{''.join(f'{cell:>26}' for cell in cells)}")


def print_speed_changes(recorded: Recorded, progress: Progress) -> None:
    """A line for each direction."""
    machine = recorded_machines()[0]
    progress.stage("changing the machine's speed", len(CHANGES) + 1)

    def play(slowdown: float) -> list[AfterChange]:
        found = replay_speed_change(machine.costs(), recorded.recordings, recorded.guesses, slowdown)
        progress.advance()
        return found

    undisturbed = play(1.0)
    heads = ("median", "9 of 10", "1 to 8", "9 to 16", "17 to end")
    print(f"\nOn `{machine.name}` every pass takes another time from the middle of each answer on")
    print(f"\n{'':<16}{'rounds until right':>22}{'choices other than of one who knew, in rounds':>49}")
    print(f"{'':<16}{''.join(f'{head:>11}' for head in heads)}{'time lost':>26}")
    for name, slowdown in CHANGES.items():
        changed = play(slowdown)
        rounds = sorted(one.rounds_until_right for one in changed)
        cells = (
            f"{statistics.median(rounds):g}",
            str(rounds[int(0.9 * (len(rounds) - 1))]),
            *(share_wrong(changed, begin, end) for begin, end in BANDS),
        )
        # An answer of two tokens has no round after its middle.
        lost = [b.seconds / a.seconds for a, b in zip(undisturbed, changed, strict=True) if a.seconds]
        print(f"{name:<16}{''.join(f'{cell:>11}' for cell in cells)}{percent_more(lost):>26}")


def share_wrong(found: Sequence[AfterChange], begin: int, end: int | None) -> str:
    """Of the rounds of all answers from one to another after the change, how many chose otherwise."""
    rounds = [right for one in found for right in one.was_right[begin:end]]
    return f"{1 - sum(rounds) / len(rounds):.0%}" if rounds else "–"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target")
    parser.add_argument("--draft", required=True)
    parser.add_argument("--limit", type=int, help="prompts of each category at most")
    parser.add_argument("--max-tokens", type=int, default=ANSWER_TOKENS, help="of an answer")
    parser.add_argument("--prompts", type=Path, help="a JSONL file of Spec-Bench's form")
    parser.add_argument("--keep", type=Path, help="a file for the recordings; used again where it is there")
    given = parser.parse_args(arguments)
    if given.max_tokens < 2:
        parser.error("--max-tokens must be 2 or more: the first token comes with the prompt")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Records and prints."""
    given = parse(arguments)
    try:
        prompts = select(load_prompts(given.prompts) if given.prompts else builtin_prompts(), (), given.limit)
        with shown_progress() as progress:
            recorded = find_or_record(given, prompts, progress)
            print_machines(recorded, progress)
            print_speed_changes(recorded, progress)
    except EdgespecError as error:
        sys.exit(describe(error)[0])


if __name__ == "__main__":
    main()
