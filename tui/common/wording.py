"""Words that several screens share."""

from typing import Final

from edgespec.decode.policy import Mode
from edgespec.session.explain import receipt
from edgespec.text import human_bytes
from edgespec.worker.protocol import Answered, Progressed, TokensArrived
from tui.chat.conversation import Receipt

MODE_NAMES: Final = {
    Mode.AUTO: "speculation auto",
    Mode.MODEL: "draft model only",
    Mode.NGRAM: "n-grams only",
    Mode.OFF: "speculation off",
}
MODES_IN_ORDER: Final = (Mode.AUTO, Mode.MODEL, Mode.NGRAM, Mode.OFF)
MODE_WORDS: Final = {
    "off": Mode.OFF,
    "none": Mode.OFF,
    "model": Mode.MODEL,
    "ngram": Mode.NGRAM,
    "auto": Mode.AUTO,
}


def answer_receipt(answered: Answered, race_gain: float | None = None) -> Receipt:
    """The receipt of an answer, memory included, and what the same way of drafting brought in a race, if one was run."""
    measured = "" if race_gain is None else f" · {race_gain:.2f}x vanilla in the last race (measured)"
    figures = f"{receipt(answered.stats)}{measured} · {human_bytes(answered.memory_bytes)}"
    return Receipt(figures, answered.stats.why)


def live_line(tokens: TokensArrived) -> str:
    """The figures of an answer that is under way."""
    rate = rate_of(tokens)
    parts = [f"answering · {tokens.predicted_n} tokens"]
    if rate:
        parts.append(f"{rate:.1f} tok/s")
        if tokens.vanilla_tok_per_s and tokens.draft_n:
            parts.append(f"{rate / tokens.vanilla_tok_per_s:.2f}x vanilla (estimated)")
    if tokens.draft_n:
        parts.append(f"{tokens.draft_n_accepted / tokens.draft_n:.0%} accepted")
    return " · ".join(parts)


def rate_of(tokens: TokensArrived) -> float:
    """Tokens a second since the first one, as the engine timed them."""
    return (tokens.predicted_n - 1) / tokens.decode_s if tokens.decode_s > 0 else 0.0


def progress_line(event: Progressed, eta_s: float | None = None) -> str:
    """How far a piece of work is, in one line."""
    if event.total is None:
        return f"{event.label} · {human_bytes(event.done)}" if event.unit == "bytes" else event.label
    if event.unit == "bytes":
        amount = f"{human_bytes(event.done)} of {human_bytes(event.total)}"
    elif event.unit == "seconds" or event.total == 1:
        amount = f"{event.done / max(event.total, 1e-9):.0%}"
    else:
        amount = f"{event.done:.0f} of {event.total:.0f}"
    left = "" if eta_s is None else f" · about {duration(eta_s)} left"
    return f"{event.label} · {amount}{left}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def joined(text: str, hint: str) -> str:
    """What is wrong and the way out, in one line."""
    return f"{text.rstrip('.')}; {hint}" if hint else text
