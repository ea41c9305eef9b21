"""What a whole answer has to match: the thoughts before it, which are free, and then its structure."""

import re
from functools import lru_cache
from typing import Final

from edgespec.chat.marks import HARMONY, ThoughtMarks
from edgespec.chat.schema.convert import schema_to_gbnf
from edgespec.chat.schema.writing import Mark, Rulebook, spell
from edgespec.chat.structure import Structure, StructureKind
from edgespec.chat.thinking import ChatPrompt
from edgespec.chat.thoughts import make_reader
from edgespec.decode.grammar.automaton import Automaton
from edgespec.decode.grammar.constraint import GrammarConstraint
from edgespec.decode.grammar.gbnf import ROOT, read_gbnf
from edgespec.decode.grammar.vocabulary import vocabulary_of
from edgespec.llama.model import Model

_ANSWER: Final = "edgespec-answer"
_PREFIX: Final = "edgespec-"
_SPACE: Final = r"[ \t\r\n]{0,4}"
"""Between a thought and the answer: as much as models write there, and not so much that one runs away with it."""
_ANY_OBJECT: Final = r"""
root ::= object
object ::= "{" space (member ("," space member)*)? "}"
member ::= string ":" " "? value space
array ::= "[" space (value space ("," space value space)*)? "]"
value ::= object | array | string | number | "true" | "false" | "null"
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cefA-CEF] hex{3} | [dD] [0-7] hex{2}))
hex ::= [0-9a-fA-F]
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?
space ::= " "? | "\n" [ \t]{0,20}
"""


def structure_gbnf(structure: Structure) -> str:
    """The grammar of a structure; its rule is `root`.

    Raises:
        UsageError: a schema that cannot become one.
    """
    if structure.kind is StructureKind.GBNF:
        return structure.text
    return _ANY_OBJECT if structure.kind is StructureKind.JSON else schema_to_gbnf(structure.text)


def check_structure(structure: Structure) -> None:
    """Makes sure that it can be kept to, without a model.

    Raises:
        UsageError: a schema or a grammar that cannot.
    """
    read_gbnf(structure_gbnf(structure))


def constrain_answer(
    model: Model, structure: Structure, marks: ThoughtMarks | None, prompt: str
) -> GrammarConstraint:
    """What an answer has to fit.

    Args:
        model: The target.
        structure: Of the answer.
        marks: Of thoughts, as the template has them; None without any.
        prompt: The text that the answer goes on from; it may have begun a thought, or ended one.

    Raises:
        UsageError: a schema or a grammar that cannot be kept to.
    """
    body = structure_gbnf(structure)
    # Alone first: its errors name lines of what was given.
    _automaton(body, ROOT)
    return constrain(model, f"{body}\n", ROOT, marks, prompt)


def constrain_prompt(
    model: Model, structure: Structure | None, prompt: ChatPrompt
) -> GrammarConstraint | None:
    """What the answer to a prompt has to fit, if anything.

    Raises:
        UsageError: a schema or a grammar that cannot be kept to.
    """
    if structure is None:
        return None
    if prompt.template is None:
        return constrain_answer(model, structure, None, "")
    return constrain_answer(model, structure, prompt.template.abilities.marks, prompt.text)


def constrain(
    model: Model, body: str, root: str, marks: ThoughtMarks | None, prompt: str
) -> GrammarConstraint:
    """What an answer has to fit, as a grammar.

    Args:
        model: The target.
        body: The grammar of the answer behind its thoughts.
        root: Its rule.
        marks: Of thoughts, if the answer may have any.
        prompt: The text that the answer goes on from.
    """
    rules = Rulebook(_PREFIX)
    start = _behind_thoughts(model, rules, root, marks, prompt)
    return GrammarConstraint(_automaton(body + rules.text(start, _ANSWER), _ANSWER), vocabulary_of(model))


@lru_cache(maxsize=8)
def _automaton(gbnf: str, root: str) -> Automaton:
    return Automaton(read_gbnf(gbnf, root, takes_tokens=root == _ANSWER))


def mark_of(model: Model, text: str) -> Mark:
    """A text as its characters and control tokens."""
    tokens = model.tokenize(text, add_special=False) if text else []
    names = {name: f"<[{token}]>" for token in tokens if (name := model.control_text(token))}
    if not names:
        return tuple(text)
    pieces = re.split("(" + "|".join(map(re.escape, names)) + ")", text)
    return tuple(symbol for piece in pieces for symbol in ([names[piece]] if piece in names else piece))


def _behind_thoughts(
    model: Model, rules: Rulebook, root: str, marks: ThoughtMarks | None, prompt: str
) -> str:
    """The text of a rule: a thought, if the model may have one, and then the answer."""

    def said(text: str) -> str:
        return spell(mark_of(model, text))

    reader = make_reader(marks, prompt)
    if marks == HARMONY:
        speaker, channel, rest = HARMONY.bridge.partition("<|channel|>")
        direct = f"{said(channel + rest)} {root}"
        behind = rules.add(f"{said(speaker)} {direct}")
        thought = rules.scan({mark_of(model, HARMONY.closing): behind})
        return f"{said(HARMONY.opening)} {thought} | {direct}"
    kind = reader.marks if reader.in_thought else marks
    if kind is None:
        return root
    bridge = f"({said(kind.bridge)} {_SPACE})?" if kind.bridge else ""
    answer = rules.add(f"{_SPACE} {bridge} {root}")
    if not reader.in_thought and prompt.rstrip().endswith(kind.closing.strip()):
        return answer
    thought = rules.scan({mark_of(model, kind.closing): answer})
    return thought if reader.in_thought else f"{_SPACE} {said(kind.opening.strip())} {thought} | {answer}"
