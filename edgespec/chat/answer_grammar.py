"""What a whole answer has to match: the thoughts before it, which are free, and then its structure."""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final

from edgespec.chat.calls.grammar import calls_gbnf
from edgespec.chat.marks import HARMONY
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


def constrain_answer(model: Model, prompt: ChatPrompt) -> GrammarConstraint | None:
    """What an answer has to fit: its structure, or calls of tools in the model's own notation; None for whatever it says.

    Args:
        model: The target.
        prompt: What is answered, with the structure of the answer; its toolbox says whether a tool has to be called.

    Raises:
        UsageError: a schema or a grammar that cannot be kept to, or the tool that has to be called is not there.
    """
    bodies, roots, structure = [], [], prompt.structure
    if structure is not None:
        bodies.append(structure_gbnf(structure) + "\n")
        roots.append(ROOT)
        if structure.kind is StructureKind.GBNF:
            # Alone first: its errors name lines of what was given, and it names no tokens and no rules of ours.
            _automaton(bodies[0], ROOT)
    template, toolbox = prompt.template, prompt.toolbox
    calls_only = False
    if template is not None and toolbox.offered:
        marks = template.abilities.marks
        calls_only = toolbox.choice == "required"
        if structure is not None and not calls_only:
            toolbox = replace(toolbox, choice="required")
        # What gpt-oss writes beside its calls has channels of its own, and stays free.
        if calls_only or marks != HARMONY:
            ends = model.end_texts
            body, root = calls_gbnf(template.call_form, toolbox, lambda text: mark_of(model, text), ends)
            bodies, roots = ([body], [root]) if calls_only else ([*bodies, body], [*roots, root])
    if not roots:
        return None
    rules = Rulebook(_PREFIX)
    root = roots[0] if len(roots) == 1 else rules.add(" | ".join(roots))
    start = _behind_thoughts(model, rules, root, prompt, is_call=calls_only)
    gbnf = "".join(bodies) + rules.text(start, _ANSWER)
    return GrammarConstraint(_automaton(gbnf, _ANSWER), vocabulary_of(model))


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


def _behind_thoughts(model: Model, rules: Rulebook, root: str, prompt: ChatPrompt, *, is_call: bool) -> str:
    """The text of a rule: a thought, if the model may have one, and then the answer."""

    def said(text: str) -> str:
        return spell(mark_of(model, text))

    if prompt.template is None:
        return root
    marks = prompt.template.abilities.marks
    reader = make_reader(marks, prompt.text)
    if marks == HARMONY:
        speaker, channel, rest = HARMONY.bridge.partition("<|channel|>")
        direct = root if is_call else f"{said(channel + rest)} {root}"
        behind = rules.add(f"{said(speaker)} {direct}")
        thought = rules.scan({mark_of(model, HARMONY.closing): behind})
        return f"{said(HARMONY.opening)} {thought} | {direct}"
    kind = reader.marks if reader.in_thought else marks
    if kind is None:
        return root
    bridge = f"({said(kind.bridge)} {_SPACE})?" if kind.bridge else ""
    answer = rules.add(f"{_SPACE} {bridge} {root}")
    if not reader.in_thought and prompt.text.rstrip().endswith(kind.closing.strip()):
        return answer
    thought = rules.scan({mark_of(model, kind.closing): answer})
    return thought if reader.in_thought else f"{_SPACE} {said(kind.opening.strip())} {thought} | {answer}"
