"""Words that several screens share."""

from typing import Final

from edgespec.decode.policy import Mode
from edgespec.text import human_bytes
from edgespec.worker.protocol import PairOpened, Progressed, TokensArrived
from tui.common.setting_labels import with_labels

MODE_NAMES: Final = {
    Mode.AUTO: "speculation auto",
    Mode.MODEL: "draft model only",
    Mode.NGRAM: "n-grams only",
    Mode.OFF: "speculation off",
}


def drafting_of(pair: PairOpened) -> str:
    """How answers are drafted, or which server knows."""
    return f"at {pair.server}" if pair.server else MODE_NAMES[pair.mode]


def rate_of(tokens: TokensArrived) -> float:
    """Tokens a second since the first one, as the engine timed them; 0 where that is not known."""
    return max(0, tokens.predicted_n - 1) / tokens.decode_s if tokens.decode_s > 0 else 0.0


def progress_line(event: Progressed, eta_s: float | None = None) -> str:
    """How far a piece of work is, in one line."""
    if event.total is None:
        is_counted = event.unit == "bytes" and event.done > 0
        return f"{event.label} · {human_bytes(event.done)}" if is_counted else event.label
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
    """What is wrong and the way out, in one line, as the app's forms call things."""
    return with_labels(f"{text.rstrip('.')}; {hint}" if hint else text)
