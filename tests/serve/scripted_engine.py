"""An engine process whose answers are a script: what the server does with frames, without a model.

The last message says what is answered: its words, each a token, over and over to the limit. `think`, `call`, `slow`, `dawdle`,
`hang` and `die` do what they say.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from edgespec.chat.infill import Infill
from edgespec.chat.tools import CallDelta
from edgespec.decode.token import GenerationStats
from edgespec.session.shared.asked import (
    Ask,
    Asked,
    Began,
    Cancel,
    Detokenize,
    Embed,
    Ended,
    EndReason,
    Figures,
    Look,
    LookAtAnswers,
    Place,
    Places,
    Refused,
    Tokenize,
    Tokenized,
    TokenLogprob,
    Told,
    Wrote,
)
from edgespec.worker.entry import claim_stdout
from edgespec.worker.outbox import Outbox
from edgespec.worker.pulse import Pulse
from edgespec.worker.rounds import Inbox, Rounds
from edgespec.worker.serving_protocol import OpenShared, SharedOpened

N_CTX = 512
IMPATIENT_SILENT_S = 4.0
IMPATIENT_STUCK_S = 10.0
"""What servers wait for in `impatient_server`."""


def text_of(prompt: object) -> str:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Infill):
        files = [f"{file.name} {file.text}" for file in prompt.extra]
        return " ".join([*files, prompt.prefix, prompt.suffix, prompt.begun])
    assert isinstance(prompt, tuple)
    return " ".join(str(one) if isinstance(one, int) else one.content for one in prompt)


class ScriptedPair:
    """Writes a word of every answer a round."""

    def __init__(self) -> None:
        self._told: list[Told] = []
        self._answers: dict[int, tuple[Ask, int, list[str]]] = {}
        self._predicted_n = 0

    @property
    def is_idle(self) -> bool:
        return not (self._told or self._answers)

    def rest(self) -> None:
        pass

    def submit(self, asked: Asked) -> None:
        match asked:
            case Ask():
                self._begin(asked)
            case Cancel(number):
                self._answers.pop(number, None)
            case Tokenize(number, prompt):
                data = text_of(prompt).encode()
                self._told.append(
                    Tokenized(number, tuple(data), tuple(bytes([one]) for one in data), text_of(prompt))
                )
            case Detokenize(number, tokens):
                self._told.append(Tokenized(number, tokens, (), bytes(tokens).decode()))
            case Embed(number):
                self._told.append(Refused(number, "request", "a script gives no vectors"))
            case Look(number):
                self._told.append(self._figures(number))
            case LookAtAnswers(number, with_texts):
                places = tuple(
                    Place(replace(ask, prompt=""), len(words), 0, len(words), written, False)
                    if not with_texts
                    else Place(
                        replace(ask, prompt=""), len(words), 0, 0, written, False, " ".join(words), "?"
                    )
                    for ask, written, words in self._answers.values()
                )
                self._told.append(Places(number, places, True))

    def _begin(self, ask: Ask) -> None:
        words = text_of(ask.prompt).split()
        if len(words) > N_CTX:
            said = f"the prompt has {len(words)} tokens and the context {N_CTX}"
            self._told.append(Refused(ask.id, "context", said, "shorten it", len(words), N_CTX))
        elif not words:
            self._told.append(Refused(ask.id, "request", "the prompt is empty"))
        else:
            self._told.append(Began(ask.id, len(words), 0))
            self._answers[ask.id] = (ask, 0, words)

    def step(self) -> Sequence[Told]:
        told, self._told = self._told, []
        for number, (ask, written, words) in list(self._answers.items()):
            told += self._write(ask, written, words)
            if written + 1 >= (ask.max_tokens or 8):
                del self._answers[number]
                told += self._end(ask, words)
            else:
                self._answers[number] = (ask, written + 1, words)
        return told

    def _write(self, ask: Ask, written: int, words: list[str]) -> list[Told]:
        if "die" in words and written == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if "slow" in words:
            time.sleep(0.01)
        if "dawdle" in words:
            time.sleep(IMPATIENT_SILENT_S * 1.5)
        if "hang" in words and written == 2:
            time.sleep(1000)
        word = words[written % len(words)] + " "
        top = (TokenLogprob(1, word, word.encode(), -0.1),) if ask.logprobs_n else ()
        logprobs = (TokenLogprob(1, word, word.encode(), -0.1, top),) if ask.logprobs_n is not None else ()
        self._predicted_n += ask.n_choices
        is_thought = "think" in words and written < 2
        return [
            Wrote(
                ask.id,
                choice,
                text="" if is_thought else word,
                thought=word if is_thought else "",
                tokens=(1,),
                logprobs=logprobs,
            )
            for choice in range(ask.n_choices)
        ]

    def _end(self, ask: Ask, words: list[str]) -> list[Told]:
        stats = GenerationStats(prompt_n=len(words), prompt_evaluated_n=len(words), prefill_s=0.1)
        stats.predicted_n, stats.decode_s, stats.why = ask.max_tokens or 8, 0.5, "no draft: a script"
        calls = "call" in words
        told: list[Told] = []
        for choice in range(ask.n_choices):
            if calls:
                deltas = (
                    CallDelta(0, "c1", "look"),
                    CallDelta(0, arguments='{"at":'),
                    CallDelta(0, arguments="1}"),
                )
                told.append(Wrote(ask.id, choice, calls=deltas))
            reason = EndReason.TOOL_CALLS if calls else EndReason.LENGTH
            told.append(Ended(ask.id, choice, reason, "", stats))
        return told

    def _figures(self, number: int) -> Figures:
        n = len(self._answers)
        by_source = {"ngram": (4, 3)}
        return Figures(number, n, 0, 512, 9, 1, 0, 7, 2, 0.5, self._predicted_n, 1.0, 5, by_source, 0.5, 1000)


def main() -> int:
    inbox, outbox = Inbox(sys.stdin.buffer), Outbox(claim_stdout())
    inbox.start()
    pulse = Pulse(outbox, every_s=0.2)
    pulse.start()
    request = inbox.take_first()
    if not isinstance(request, OpenShared):
        return 0
    pulse.work()
    time.sleep(float(os.environ.get("SCRIPT_LOADS_S", "0")))
    outbox.send(
        SharedOpened(
            "scripted",
            None,
            request.target or "",
            N_CTX,
            request.n_parallel,
            1000,
            1000,
            1000,
            256,
            512,
            "",
            "",
            "",
        )
    )
    try:
        return Rounds(ScriptedPair(), inbox, outbox, pulse).run()
    finally:
        pulse.end()


if __name__ == "__main__":
    sys.exit(main())
