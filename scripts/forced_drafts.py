"""What a grammar's forced tokens are worth as drafts: constrained answers with them against plain constrained decoding, in turns.

    python scripts/forced_drafts.py qwen2.5-coder-1.5b --repeat 3

One schema forces many tokens (long names of properties), one few (a single free text). Printed are the ratios of decode speed, forced
drafts over none, by question, and for each schema their mean with its interval; every pair of texts has to be equal.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass

from edgespec.bench.statistics import mean_ratio, ratio_interval
from edgespec.chat.structure import Structure, StructureKind
from edgespec.decode.policy import Mode
from edgespec.decode.token import DraftSource
from edgespec.llama.sampler import Sampling
from edgespec.session.session import Session, open_pair

PLAIN, FORCED = Mode.OFF, Mode.MODEL
"""Without a draft model the second leaves the grammar as the only drafter."""


def _object(**properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_WORD = {"type": "string", "maxLength": 16}
_SCHEMAS = {
    "many forced": _object(
        customer_identification=_object(customer_first_name=_WORD, customer_family_name=_WORD),
        delivery_destination=_object(destination_street_address=_WORD, destination_city_name=_WORD),
        requested_shipping_method={"enum": ["standard_ground_shipping", "express_overnight_shipping"]},
        order_confirmation_requested={"type": "boolean"},
    ),
    "few forced": _object(t={"type": "string", "maxLength": 4000}),
}
_QUESTIONS = {
    "many forced": (
        "Ada Lovelace of 12 Hill Street in London wants her parcel tomorrow, and a confirmation. Write that down.",
        "Send the order of Grace Hopper to 5 Bay Road, Boston. It need not be quick. Write that down.",
        "Alan Turing, 3 King's Parade, Cambridge: ordinary post, and please confirm. Write that down.",
    ),
    "few forced": (
        "Tell in ten sentences how a bicycle stays upright.",
        "Describe in ten sentences what a compiler does.",
        "Explain in ten sentences why the sea is salty.",
    ),
}


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer."""

    text: str
    tok_per_s: float
    forced_share: float
    """Of its tokens, those that came from drafts of the grammar."""


def answer(session: Session, question: str, schema: str, mode: Mode, max_tokens: int) -> Timed:
    """Asks from an empty cache."""
    session.mode = mode
    session.forget()
    structure = Structure(StructureKind.SCHEMA, json.dumps(_SCHEMAS[schema]))
    tokens = session.stream(question, max_tokens=max_tokens, sampling=Sampling(), structure=structure)
    text = "".join(token.text for token in tokens)
    stats = session.stats
    accepted = stats.by_source.get(DraftSource.GRAMMAR, (0, 0))[1]
    return Timed(text, (stats.predicted_n - 1) / stats.decode_s, accepted / stats.predicted_n)


def pairs(session: Session, schema: str, repeat: int, max_tokens: int) -> Iterator[tuple[str, Timed, Timed]]:
    """Every question with both, whoever is first by turns."""
    for number in range(repeat):
        for place, question in enumerate(_QUESTIONS[schema]):
            order = (PLAIN, FORCED) if (number + place) % 2 else (FORCED, PLAIN)
            found = {mode: answer(session, question, schema, mode, max_tokens) for mode in order}
            yield question, found[PLAIN], found[FORCED]


def main() -> None:
    """Prints a line for each pair, and the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target")
    parser.add_argument("--max-tokens", type=int, default=110)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--schema", choices=list(_SCHEMAS), action="append")
    options = parser.parse_args()
    with open_pair(options.target, "none", offline=True) as session:
        for schema in options.schema or _SCHEMAS:
            ratios: dict[str, list[float]] = {}
            unequal = 0
            for mode in (PLAIN, FORCED):
                answer(session, _QUESTIONS[schema][0], schema, mode, 24)
            for question, plain, forced in pairs(session, schema, options.repeat, options.max_tokens):
                ratios.setdefault(question, []).append(forced.tok_per_s / plain.tok_per_s)
                unequal += forced.text != plain.text
                print(
                    f"{schema}: {question[:14]} {plain.tok_per_s:6.1f} -> {forced.tok_per_s:6.1f} tok/s, "
                    f"{ratios[question][-1]:.3f}x, {forced.forced_share:.0%} forced",
                    flush=True,
                )
            interval = ratio_interval(ratios)
            every = [one for group in ratios.values() for one in group]
            print(
                f"{schema}: {mean_ratio(ratios).value:.3f}x ({interval.low:.3f} to {interval.high:.3f}, 95 %; "
                f"pairs {min(every):.3f} to {max(every):.3f}), {unequal} of {len(every)} texts differ",
                flush=True,
            )


if __name__ == "__main__":
    main()
