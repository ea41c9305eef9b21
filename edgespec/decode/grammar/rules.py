"""The rules of a grammar, checked: what they cannot say and what would never end is refused."""

from collections.abc import Iterable
from dataclasses import dataclass

from edgespec.decode.grammar.byte_classes import ByteClass
from edgespec.errors import UsageError

Symbol = ByteClass | int
"""A character, or the number of a rule."""
Alternative = tuple[Symbol, ...]
MOST_SYMBOLS = 200_000
"""Of a grammar, with repetitions written out: 30 MB."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A grammar: each rule is a list of alternatives, of which rule `root` is the whole text."""

    names: tuple[str, ...]
    alternatives: tuple[tuple[Alternative, ...], ...]
    root: int


def make_rules(names: list[str], alternatives: list[list[Alternative]], root: int) -> Rules:
    """The rules without those alternatives that no text can match.

    Raises:
        UsageError: a rule that begins with itself, or a root that no text can match.
    """
    rules = Rules(tuple(names), tuple(map(tuple, alternatives)), root)
    possible = _closed(rules, classes_count=True)
    if root not in possible:
        raise UsageError("no text can match the grammar", "give its rules an end")
    kept = [
        tuple(one for one in alternatives if all(_is_in(symbol, possible) for symbol in one))
        for alternatives in rules.alternatives
    ]
    rules = Rules(rules.names, tuple(kept), root)
    _check_left_recursion(rules)
    return rules


def _is_in(symbol: Symbol, known: set[int]) -> bool:
    return bool(symbol.sequences) if isinstance(symbol, ByteClass) else symbol in known


def _closed(rules: Rules, *, classes_count: bool) -> set[int]:
    """The rules with an alternative of symbols that count only: characters, if they do, and rules of this set."""
    waiting: dict[int, list[int]] = {}
    """Rule -> the alternatives that wait for it."""
    owners: list[int] = []
    missing: list[int] = []
    ready: list[int] = []
    for rule, alternatives in enumerate(rules.alternatives):
        for alternative in alternatives:
            if any(
                isinstance(one, ByteClass) and not (classes_count and one.sequences) for one in alternative
            ):
                continue
            wanted = {one for one in alternative if isinstance(one, int)}
            for one in wanted:
                waiting.setdefault(one, []).append(len(owners))
            if not wanted:
                ready.append(rule)
            owners.append(rule)
            missing.append(len(wanted))
    known: set[int] = set()
    while ready:
        rule = ready.pop()
        if rule in known:
            continue
        known.add(rule)
        for place in waiting.get(rule, ()):
            missing[place] -= 1
            if not missing[place]:
                ready.append(owners[place])
    return known


def _check_left_recursion(rules: Rules) -> None:
    empty = _closed(rules, classes_count=False)
    first = [_first_rules(alternatives, empty) for alternatives in rules.alternatives]
    done: set[int] = set()
    for start in range(len(first)):
        path: dict[int, Iterable[int]] = {}
        if start not in done:
            path[start] = iter(first[start])
        while path:
            rule = next(reversed(path))
            following = next(iter(path[rule]), None)
            if following is None:
                del path[rule]
                done.add(rule)
            elif following in path:
                raise UsageError(
                    f"rule {rules.names[following]} of the grammar begins with itself",
                    "write a repetition with * or +, or put what is repeated first",
                )
            elif following not in done:
                path[following] = iter(first[following])


def _first_rules(alternatives: Iterable[Alternative], empty: set[int]) -> list[int]:
    """The rules that the alternatives may begin with, those behind empty ones included."""
    found: dict[int, None] = {}
    for alternative in alternatives:
        for symbol in alternative:
            if isinstance(symbol, ByteClass):
                break
            found[symbol] = None
            if symbol not in empty:
                break
    return list(found)
