"""How answers are sampled, per chat and per model: what is typed after /sampling, and the form."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, Vertical
from textual.widgets import Button, Input, Label, Static

from edgespec.errors import EdgespecError, UsageError
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import NO_WISH, SamplingWish
from edgespec.text import plain_text
from tui.chat.conversation import Conversation
from tui.common.dialog import Dialog
from tui.common.wording import joined
from tui.services.app_services import AppServices

FIELDS: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_k": "top-k",
    "top_p": "top-p",
    "min_p": "min-p",
    "repeat_penalty": "repeat penalty",
    "presence_penalty": "presence penalty",
    "frequency_penalty": "frequency penalty",
    "seed": "seed",
}
"""Fields of `SamplingWish` -> how messages call them."""
_WHOLE: Final = ("top_k", "seed")
_HINTS: Final = {"temperature": "0 is greedy", "top_k": "0 is off", "repeat_penalty": "1 is off"}
_RANDOM: Final = "another with every answer"
_TAKES: Final = "such as /sampling temperature 0.7 top-p 0.9; /sampling reset takes the model's own again"
_SEEDS: Final = 2**32 - 1

Scope = Literal["chat", "model"]


@dataclass(frozen=True, slots=True)
class SamplingChange:
    """What is to hold from the next answer on, and where."""

    scope: Scope
    wish: SamplingWish


def read_sampling(text: str, before: Mapping[Scope, SamplingWish]) -> SamplingChange:
    """What is typed after /sampling: pairs of a name and a number, perhaps with `model` before them, or `reset`.

    Args:
        text: As it was typed.
        before: What holds now in each scope: what is not named stays.

    Raises:
        UsageError: an unknown name, or no number.
    """
    words = text.replace("=", " ").lower().split()
    scope: Scope = "model" if words[:1] == ["model"] else "chat"
    words = words[1:] if words[:1] in (["model"], ["chat"]) else words
    if words == ["reset"]:
        return SamplingChange(scope, NO_WISH)
    if not words or len(words) % 2:
        raise UsageError(f"/sampling {text} is not pairs of a name and a number", _TAKES)
    changed = dict(_pair(name, value) for name, value in zip(words[::2], words[1::2], strict=True))
    return SamplingChange(scope, before[scope].under(SamplingWish(**changed)))  # type: ignore[arg-type]


def _pair(word: str, value: str) -> tuple[str, float | int]:
    name = {"temp": "temperature"}.get(word, word).replace("-", "_")
    if name not in FIELDS:
        raise UsageError(f"{word} is no setting of the sampling", f"known are {', '.join(_words())}")
    return name, _number(name, value)


def _words() -> Iterator[str]:
    return (name.replace("_", "-") for name in FIELDS)


def _number(name: str, text: str) -> float | int:
    try:
        return int(text) if name in _WHOLE else float(text)
    except ValueError:
        kind = "a whole number" if name in _WHOLE else "a number"
        raise UsageError(f"{FIELDS[name]} is {text!r:.40}", f"take {kind}") from None


def describe_sampling(sampling: Sampling) -> str:
    """In a few words: `greedy`, or what is not switched off."""
    parts = []
    if sampling.temperature:
        parts = [f"temperature {sampling.temperature:g}"]
        parts += [f"top-k {sampling.top_k}"] if sampling.top_k else []
        parts += [f"top-p {sampling.top_p:g}"] if sampling.top_p < 1 else []
        parts += [f"min-p {sampling.min_p:g}"] if sampling.min_p else []
    penalties = [("repeat_penalty", 1.0), ("presence_penalty", 0.0), ("frequency_penalty", 0.0)]
    parts += [
        f"{FIELDS[name]} {getattr(sampling, name):g}"
        for name, off in penalties
        if getattr(sampling, name) != off
    ]
    return ", ".join(parts if sampling.temperature else ["greedy", *parts])


class ChatSampling:
    """How the next answer of a conversation is sampled: the model's own, under what was set for the model, on the command line
    and in the conversation, each over the ones before.
    """

    def __init__(self, services: AppServices) -> None:
        self._services = services

    def of_model(self) -> SamplingWish:
        """What was set for the model that is loaded."""
        pair = self._services.engine.pair
        return self._services.settings.sampling.get(pair.target, NO_WISH) if pair else NO_WISH

    def of_chat(self, conversation: Conversation) -> SamplingWish:
        """What was set in the conversation, or on the command line."""
        return self._services.launch.sampling.under(conversation.sampling or NO_WISH)

    def take(self, change: SamplingChange, conversation: Conversation) -> Conversation:
        """Lets a change hold; returns the conversation with what is its own.

        Raises:
            UsageError: it is for the model, and none is loaded.
        """
        settings, pair = self._services.settings, self._services.engine.pair
        if change.scope == "chat":
            return replace(conversation, sampling=change.wish if change.wish.given else None)
        if pair is None:
            raise UsageError(
                "no model is loaded yet", "`/sampling` without a word before it is for this chat"
            )
        kept = {**settings.sampling, pair.target: change.wish}
        kept = {name: wish for name, wish in kept.items() if wish.given}
        self._services.change_settings(replace(settings, sampling=kept))
        return conversation

    def asked(self, conversation: Conversation) -> SamplingWish:
        """What the engine is asked for: without a seed of somebody's, another one for every answer."""
        wish = self.of_model().under(self.of_chat(conversation))
        seed = SamplingWish(seed=secrets.randbelow(_SEEDS))
        return (
            wish if wish.seed is not None or not self.settled(conversation).temperature else wish.under(seed)
        )

    def settled(self, conversation: Conversation) -> Sampling:
        """All of it."""
        pair = self._services.engine.pair
        own = pair.sampling if pair else Sampling()
        return self.of_model().under(self.of_chat(conversation)).over(own)


class SamplingScreen(Dialog[SamplingChange | None]):
    """A form: what is left empty is the model's own.

    Args:
        own: What holds where nothing is set.
        wishes: What is set now.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", id="sampling.cancel", tooltip="Change nothing"),
        Binding(
            "ctrl+s", "take('chat')", "For this chat", id="sampling.chat", tooltip="Take it", priority=True
        ),
    ]

    def __init__(self, own: Sampling, wishes: Mapping[Scope, SamplingWish]) -> None:
        super().__init__()
        self._own, self._wishes = own, wishes

    def compose(self) -> ComposeResult:
        """A row for each setting."""
        shown = self._wishes["model"].under(self._wishes["chat"])
        with Vertical(classes="dialog"):
            yield Static("Sampling, from the next answer", classes="dialog-title")
            with Grid(id="settings-grid"):
                for name, title in FIELDS.items():
                    value = getattr(shown, name)
                    yield Label(title)
                    yield Input(
                        "" if value is None else f"{value:g}" if isinstance(value, float) else str(value),
                        id=f"sampling-{name}",
                        placeholder=self._hint(name),
                        compact=True,
                    )
            yield Static("", id="sampling-note", markup=False, classes="dialog-text")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("For this model", id="model", compact=True)
                yield Button("For this chat", id="chat", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Says what empty fields mean."""
        self._note("An empty field is the model's own. Ctrl+S takes them for this chat.")

    def _hint(self, name: str) -> str:
        if name == "seed":
            return _RANDOM
        hint = f"; {_HINTS[name]}" if name in _HINTS else ""
        return f"{getattr(self._own, name):g}{hint}"

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "cancel":
            self.dismiss(None)
        else:
            self.action_take("model" if event.button.id == "model" else "chat")

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_take("chat")

    def action_take(self, scope: Scope) -> None:
        """Takes them, or says what is wrong with one."""
        typed = {name: self.query_one(f"#sampling-{name}", Input).value.strip() for name in FIELDS}
        try:
            given = {name: _number(name, text) for name, text in typed.items() if text}
            self.dismiss(SamplingChange(scope, SamplingWish(**given)))  # type: ignore[arg-type]
        except EdgespecError as error:
            self._note(joined(error.message, error.hint))

    def _note(self, text: str) -> None:
        self.query_one("#sampling-note", Static).update(plain_text(text))
