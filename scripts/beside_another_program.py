"""What drafting is worth while another program takes a core: `auto` against plain decoding, in turns.

    python scripts/beside_another_program.py qwen2.5-coder-1.5b --draft qwen2.5-coder-0.5b

In the middle of every answer a process starts that does nothing but count; it ends with the answer. Printed are the
speed-ups of the halves before and after, the geometric means of neighbours with their ranges: the second half contains
all that finding out about the other program costs.
"""

import argparse
import subprocess
import sys
from statistics import geometric_mean

from edgespec.bench.prompts import Prompt, builtin_prompts
from edgespec.decode.policy import Mode
from edgespec.llama.sampler import Sampling
from edgespec.session.session import Session, open_pair

_COUNT = [sys.executable, "-c", "while True: pass"]


def time_halves(session: Session, prompt: Prompt, mode: Mode, max_tokens: int) -> tuple[float, float]:
    """Seconds a token of an answer's undisturbed first half, and of its second half beside the other program."""
    session.mode = mode
    session.forget()
    seconds: tuple[list[float], list[float]] = ([], [])
    other = None
    try:
        for number, token in enumerate(
            session.stream(prompt.messages, max_tokens=max_tokens, sampling=Sampling())
        ):
            if number == 0:
                continue
            seconds[other is not None].append(token.round_s / token.round_tokens)
            if other is None and number >= max_tokens // 2:
                other = subprocess.Popen(_COUNT)
    finally:
        if other:
            other.kill()
            other.wait()
    return tuple(sum(half) / len(half) if half else 0.0 for half in seconds)  # type: ignore[return-value]


def main() -> None:
    """Prints a line for each prompt, and the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target")
    parser.add_argument("--draft", default="auto")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--limit", type=int, default=1, help="prompts of each kind")
    options = parser.parse_args()
    speedups: tuple[list[float], list[float]] = ([], [])
    with open_pair(options.target, options.draft) as session:
        for prompt in _choose(options.limit):
            plain = time_halves(session, prompt, Mode.OFF, options.max_tokens)
            auto = time_halves(session, prompt, Mode.AUTO, options.max_tokens)
            if not plain[1]:
                print(f"{prompt.id:<16} ended before the other program began")
                continue
            for half in (0, 1):
                speedups[half].append(plain[half] / auto[half])
            print(f"{prompt.id:<16} {speedups[0][-1]:.2f}x, then {speedups[1][-1]:.2f}x", flush=True)
    for half, name in enumerate(("before", "beside it")):
        found = speedups[half]
        print(f"{name:<16} {geometric_mean(found):.2f}x ({min(found):.2f} to {max(found):.2f})")


def _choose(limit: int) -> list[Prompt]:
    """The first prompts of each kind."""
    chosen: dict[str, list[Prompt]] = {}
    for prompt in builtin_prompts():
        kind = chosen.setdefault(prompt.category, [])
        if len(kind) < limit:
            kind.append(prompt)
    return [prompt for kind in chosen.values() for prompt in kind]


if __name__ == "__main__":
    main()
