"""How things stand in a shared session: its figures, and the answers under way."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgespec.decode.policy import Mode
from edgespec.decode.shared.answer import Answer
from edgespec.decode.shared.batch import Batch
from edgespec.decode.token import GenerationStats
from edgespec.llama.model import Model
from edgespec.session.loading import resident_bytes
from edgespec.session.shared.asked import Figures, Look, LookAtAnswers, Place, Places
from edgespec.session.shared.choice import Choice
from edgespec.session.shared.engine import SharedEngine


def figures_of(
    look: Look, engine: SharedEngine, batch: Batch, done: GenerationStats, answers: Iterable[Answer]
) -> Figures:
    """What was done, and what is under way.

    Args:
        look: Asks for it.
        engine: With the models.
        batch: Of all answers.
        done: The sum of those that have ended.
        answers: The others.
    """
    pool, cells = batch.pool, batch.pool.slots.cells
    live = replace(done, by_source=dict(done.by_source))
    for answer in answers:
        live.add(answer.stats)
    return Figures(
        look.id,
        answering_n=batch.active_n,
        waiting_n=batch.waiting_n,
        cells_n=cells.count,
        cells_used_n=cells.used_n,
        held_n=pool.held_n + len(pool.kept),
        held_bytes=pool.kept.n_bytes,
        prompt_n=batch.figures.prompt_n,
        cached_n=batch.figures.cached_n,
        prefill_s=batch.figures.prefill_s,
        predicted_n=live.predicted_n,
        decode_s=batch.figures.decode_s,
        target_passes=batch.figures.target_passes,
        by_source={str(source): counts for source, counts in live.by_source.items()},
        plain_step_s=engine.state.costs.step_s,
        memory_bytes=resident_bytes(),
    )


def places_of(
    look: LookAtAnswers, engine: SharedEngine, batch: Batch, choices: Mapping[Answer, Choice]
) -> Places:
    """The answers under way.

    Args:
        look: Asks for them.
        engine: With the models.
        batch: Of all answers.
        choices: Of these answers.
    """
    model = engine.target.model
    places = tuple(_place(answer, choices[answer], model, look.with_texts) for answer in batch.active)
    return Places(look.id, places, engine.mode is not Mode.OFF)


def _place(answer: Answer, choice: Choice, model: Model, with_texts: bool) -> Place:
    prompt_n = len(answer.wanted.prompt)
    held_n = len(answer.slot.tokens) if answer.slot else 0
    written = _text(model, answer.history[prompt_n:])
    return Place(
        replace(choice.ask, prompt=""),
        prompt_n,
        answer.cached_n,
        max(0, min(held_n, prompt_n) - answer.cached_n),
        answer.stats.predicted_n,
        "\n" in written,
        _text(model, answer.history[:prompt_n]) if with_texts else "",
        written if with_texts else "",
    )


def _text(model: Model, tokens: list[int]) -> str:
    return b"".join(model.token_bytes(token, special=True) for token in tokens).decode("utf-8", "replace")
