"""Words that several screens share."""

from datetime import UTC, datetime
from typing import Final

from edgespec.decode.policy import Mode
from edgespec.text import human_bytes, human_duration
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
    left = "" if eta_s is None else f" · about {human_duration(eta_s)} left"
    return f"{event.label} · {amount}{left}"


def local_time(moment: str) -> str:
    """An ISO 8601 moment, such as a file has it, as this machine's clock would have shown it: `2026-01-31 09:05`.

    Empty where it is no such moment. One without a time zone is taken as UTC.
    """
    try:
        known = datetime.fromisoformat(moment)
        return (known if known.tzinfo else known.replace(tzinfo=UTC)).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return ""


def joined(text: str, hint: str) -> str:
    """What is wrong and the way out, in one line, as the app's forms call things."""
    return with_labels(f"{text.rstrip('.')}; {hint}" if hint else text)
