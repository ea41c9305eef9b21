"""One model through what edgespec does with it, for `check_architectures.py`: a line of JSON for every step.

    python scripts/architecture_trial.py MODEL.gguf COPY.gguf

COPY is a second file of the same model, which drafts for it. Every step has its own line, so that what ran before a
crash is known: {"step": NAME} as it begins, and the same with "result" when it ends.
"""

import json
import os
import re
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reciting_drafter import RecitingDrafter

from edgespec.catalog.model_file import open_file
from edgespec.decode.engines import LlamaTarget
from edgespec.decode.fixed_policy import FixedPolicy
from edgespec.decode.generate import Generator
from edgespec.decode.policy import Mode
from edgespec.decode.token import GenerationStats
from edgespec.errors import EdgespecError
from edgespec.llama.context import Context
from edgespec.llama.kv_types import KvType
from edgespec.llama.library import load_library, native_lines
from edgespec.llama.sampler import Sampling
from edgespec.session.engine import Engine
from edgespec.session.memory_needs import estimate_target, measure_target
from edgespec.session.settings import EngineSettings

N_CTX = 4096
ANSWER_TOKENS = 96
DRAFT_LENGTH = 4
CLAIMED = 0.9
"""Chance of a drafted token; drafts of a fixed length do not ask for it."""
PROMPT_TOKENS = 2000
"""So long that a pair of tokens is often found in it again."""
LONG_PROMPT_TOKENS = 3000
SAMPLINGS = {"greedy": Sampling(), "seed": Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=7)}
_BUFFER = re.compile(r"(\w+) +buffer size = +([\d.]+) MiB")
_MEMORY = re.compile(r"^(llama_(?:kv_cache|memory|ik)\w*|llama_dsv4\w*): ")
_SNAPSHOTS = re.compile(r"(\d+) rs_seq")


class Trial:
    """A model, loaded, and the steps that it goes through."""

    def __init__(self, model: Path, copy: Path) -> None:
        self.model, self.copy = open_file("model", model), open_file("copy", copy)
        # In full precision decodes of different sizes agree to the last bits, and a tie is rare.
        cache: dict[str, Any] = {
            name: KvType.F32 for name in EngineSettings.__slots__ if name.startswith("kv_type")
        }
        self.settings = EngineSettings(n_ctx=N_CTX, n_threads=1, **cache)
        self.plain: dict[str, list[int]] = {}

    def run(self) -> None:
        """All steps; one that the model is refused for does not end the others."""
        if not self.step("load", self.load):
            return
        self.step("feels", self.feels)
        self.step("plain", self.write_plain)
        if not self.plain:
            return
        self.step("half right", self.compare_half_right)
        self.step("ngram", lambda: self.compare(Mode.NGRAM, None))
        if self.context.n_ctx > LONG_PROMPT_TOKENS:  # else a prompt is a single batch, in which nothing stops
            self.step("stop", self.stop_and_go_on)
        if self.step("load copy", self.load_copy):
            self.step("copy", lambda: self.compare(Mode.MODEL, self.copy.name))
            self.step("auto", lambda: self.compare(Mode.AUTO, self.copy.name, fixed=False))

    def step(self, name: str, work: Callable[[], Any]) -> bool:
        """Runs one step and tells how it ended; returns whether it was not refused."""
        tell(step=name)
        try:
            tell(step=name, result="ok", **work())
        except EdgespecError as err:
            tell(step=name, result="refused", code=int(err.exit_code), reason=f"{err.message}. {err.hint}")
            return False
        return True

    def load(self) -> dict[str, Any]:
        """The target, with what llama.cpp says of the memory that it takes."""
        lines: list[str] = []
        load_library()
        with native_lines(lines.append):
            self.engine = Engine(self.model, [], self.settings)
        self.state = self.engine.measure_costs(None)
        buffers: dict[str, float] = defaultdict(float)
        for line in lines:
            if found := _BUFFER.search(line):
                buffers[found[1]] += float(found[2])
        estimate = estimate_target(self.model, self.settings)
        return {
            "memory": sorted({found[1] for line in lines if (found := _MEMORY.search(line))}),
            "snapshots": max(
                (int(found[1]) for line in lines if (found := _SNAPSHOTS.search(line))), default=0
            ),
            "window": any("SWA KV cache" in line for line in lines),
            "allocated_mib": buffers,
            "estimate_mib": {name: getattr(estimate, name) / 2**20 for name in estimate.__slots__},
            "header_total_mib": estimate.total_bytes / 2**20,
            "asked_total_mib": measure_target(self.model, self.settings).total_bytes / 2**20,
        }

    def feels(self) -> dict[str, Any]:
        """How far the first of many tokens moves the logits behind the last, and their spread."""
        context, tokens = self.context, self.prompt(64)
        rows = []
        for first in (tokens[0], (tokens[0] + 1) % context.model.n_vocab):
            context.clear()
            context.prefill([first, *tokens[1:]])
            rows.append(context.logits(1)[0].astype(np.float64))
        context.clear()
        return {"moved": float(np.abs(rows[0] - rows[1]).max()), "spread": float(np.ptp(rows[0]))}

    def write_plain(self) -> dict[str, Any]:
        """What every draft is compared with, each in an empty context."""
        for name, sampling in SAMPLINGS.items():
            self.context.clear()
            self.plain[name], _ = self.write(self.prompt(), Mode.OFF, None, sampling)
        return {"tokens": len(self.plain["greedy"]), "different": len(set(self.plain["greedy"]))}

    def compare(self, mode: Mode, draft: str | None, *, fixed: bool = True) -> dict[str, Any]:
        """Whether drafted text is plain text; what was asked before stays in the cache, as in a conversation."""
        return self.compare_with(
            lambda name: self.write(self.prompt(), mode, draft, SAMPLINGS[name], fixed=fixed)
        )

    def compare_half_right(self) -> dict[str, Any]:
        """The same with drafts that are cut at every length."""

        def write(name: str) -> tuple[list[int], GenerationStats]:
            target = LlamaTarget(self.context, SAMPLINGS[name])
            # Every third token wrong: a draft of four is cut at every length.
            drafter = RecitingDrafter(
                self.plain[name], lambda place: place % 3 > 0, CLAIMED, self.context.model.n_vocab
            )
            generator = Generator(target, [drafter], FixedPolicy(self.state.costs, DRAFT_LENGTH))
            return self.take_answer(generator, self.prompt(), ANSWER_TOKENS)

        return self.compare_with(write)

    def compare_with(self, write: Callable[[str], tuple[list[int], GenerationStats]]) -> dict[str, Any]:
        """Both samplings, twice each: the second time the prompt is in the cache."""
        found: dict[str, Any] = {}
        for name in SAMPLINGS:
            for again in ("", " again"):
                tokens, stats = write(name)
                found[name + again] = {
                    "equal": tokens == self.plain[name],
                    "drafted": stats.draft_n,
                    "accepted": stats.draft_n_accepted,
                    "drift": self.measure_drift(tokens),
                }
                if tokens != self.plain[name]:
                    found[name + again] |= self.describe_difference(self.plain[name], tokens)
        return found

    def measure_drift(self, answer: Sequence[int]) -> float:
        """How far the logits behind an answer lie from those of a context that has read the same tokens at once."""
        self.context.decode(answer[-1:])
        logits = np.array(self.context.logits(1)[0], np.float64)
        self.context.clear()
        self.context.prefill([*self.prompt(), *answer])
        return float(np.abs(logits - self.context.logits(1)[0]).max())

    def describe_difference(self, plain: Sequence[int], drafted: Sequence[int]) -> dict[str, Any]:
        """Where two texts part, and how far the two tokens are apart there.

        Decodes of several rows round differently from single ones, by more the more a kernel computes in 16 bits. Where
        two tokens are nearer to each other than that, either text is right.
        """
        place = next(i for i, (left, right) in enumerate(zip(plain, drafted, strict=True)) if left != right)
        single, several = (self.logits_of(plain, rows) for rows in (1, DRAFT_LENGTH + 1))
        return {
            "at": place,
            "apart": float(single[place][plain[place]] - single[place][drafted[place]]),
            "noise": float(np.abs(single - several).max()),
        }

    def logits_of(self, answer: Sequence[int], rows: int) -> NDArray[np.float64]:
        """Before each token of an answer, `[n_tokens, n_vocab]`: of a context that reads it in decodes of so many rows."""
        self.context.clear()
        self.context.prefill(self.prompt())
        logits = [np.array(self.context.logits(1), np.float64)]
        for start in range(0, len(answer) - 1, rows):
            part = answer[start : min(start + rows, len(answer) - 1)]
            self.context.decode(part, outputs=len(part))
            logits.append(np.array(self.context.logits(len(part)), np.float64))
        return np.concatenate(logits)

    def stop_and_go_on(self) -> dict[str, Any]:
        """Ctrl-C while a long prompt is read; then another prompt, and the same one again."""
        long = self.prompt(LONG_PROMPT_TOKENS)
        self.context.clear()
        want, _ = self.write(long, Mode.OFF, None, SAMPLINGS["greedy"], 8)
        stopped = self.stop_reading(long)
        held = self.context.n_past
        other, _ = self.write(self.prompt(), Mode.OFF, None, SAMPLINGS["greedy"])
        self.stop_reading(long)
        same, _ = self.write(long, Mode.OFF, None, SAMPLINGS["greedy"], 8)
        return {
            "stopped": stopped,
            "held": held,
            "other": other == self.plain["greedy"],
            "same": same == want,
        }

    def stop_reading(self, prompt: Sequence[int]) -> bool:
        """Asks, with Ctrl-C after the first batch; whether that stopped it."""
        self.context.clear()
        watch = threading.Thread(target=self.interrupt_when_reading)
        watch.start()
        try:
            self.write(prompt, Mode.OFF, None, SAMPLINGS["greedy"], 1)
        except KeyboardInterrupt:
            return True
        finally:
            watch.join()
        return False

    def interrupt_when_reading(self) -> None:
        """Ctrl-C as soon as the first batch is in the cache."""
        while not self.context.tokens:
            sleep(0.0005)
        os.kill(os.getpid(), signal.SIGINT)

    def load_copy(self) -> dict[str, Any]:
        """The draft beside the target."""
        self.engine.add_draft(self.copy)
        self.state = self.engine.measure_costs(self.copy.name)
        return {}

    def write(
        self,
        prompt: Sequence[int],
        mode: Mode,
        draft: str | None,
        sampling: Sampling,
        max_tokens: int = ANSWER_TOKENS,
        *,
        fixed: bool = True,
    ) -> tuple[list[int], GenerationStats]:
        """The answer's tokens and its figures."""
        length = DRAFT_LENGTH if fixed and mode is not Mode.OFF else None
        generator = self.engine.generator(mode, draft, sampling, self.state, draft_length=length)
        return self.take_answer(generator, prompt, max_tokens)

    @staticmethod
    def take_answer(
        generator: Generator, prompt: Sequence[int], max_tokens: int
    ) -> tuple[list[int], GenerationStats]:
        """An answer to its end, and the generator closed."""
        try:
            answer = generator.generate(prompt, max_tokens, ignore_end=True)
            return [token.id for token in answer], generator.stats
        finally:
            generator.close()

    @property
    def context(self) -> Context:
        """The target's."""
        return self.engine.target.context

    def prompt(self, count: int = PROMPT_TOKENS) -> list[int]:
        """Arbitrary tokens, always the same; half a context of them at most."""
        if self.context.n_ctx < 2 * count and count == PROMPT_TOKENS:
            count = self.context.n_ctx // 2
        ids = np.random.default_rng(count).integers(self.context.model.n_vocab, size=count)
        return [int(token) for token in ids]


def tell(**fields: Any) -> None:
    """A line of JSON, at once."""
    print(json.dumps(fields), flush=True)


def main() -> None:
    """Runs all steps of the model that is named."""
    # A shell that starts a program in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Trial(Path(sys.argv[1]), Path(sys.argv[2])).run()


if __name__ == "__main__":
    main()
