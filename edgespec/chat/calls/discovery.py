"""Finds out from a chat template how its model writes tool calls, by rendering some."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edgespec.chat.calls.form import HARMONY_CALLS, KEY, KNOWN_FORMS, NUMBER, WILD, CallForm, TaggedArguments
from edgespec.chat.marks import ThoughtMarks, is_harmony
from edgespec.chat.renderer import render_all

_NAMES: Final = ("edgespec_one", "edgespec_two")
_IDS: Final = ("a1b2c3d4e", "z9y8x7w6v")
_ARGUMENTS: Final[tuple[dict[str, object], ...]] = (
    {"kaa": "Vaaa", "kbb": 4711, "kcc": "Vccc"},
    {"kaa": "Wxxx", "kbb": 8150, "kcc": "Wzzz"},
)
_ANSWER: Final = "edgespec-answer"
_RESULT: Final = "edgespec-result"
_UNFINISHED: Final = re.compile(r"(?:<[^<>]{0,40}|\[[A-Z_]{0,40}|[<\[/|]+)$")
_SHORTEST: Final = 5
"""Characters of what tells a call from a text."""
_LONGEST: Final = 400
"""Characters of any text of a form; what is longer is no notation."""


@dataclass(frozen=True, slots=True)
class CallAbilities:
    """What a template does with tools."""

    lists: bool
    """It shows the model which tools there are."""
    shows_calls: bool
    """Earlier calls are rendered."""
    shows_results: bool
    calls_as_text: bool
    """It wants arguments as JSON text, and not as values."""
    form: CallForm | None
    """None where nothing tells how its model writes calls."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a call stands in a text: of its name, and of its arguments."""

    name: int
    name_end: int
    arguments: int
    arguments_end: int
    tagged: TaggedArguments | None


def probe_calls(
    source: str, base: Mapping[str, Any], question: Sequence[Mapping[str, Any]], marks: ThoughtMarks | None
) -> CallAbilities:
    """Renders calls and results.

    Args:
        source: Of the template.
        base: Its variables, without a conversation.
        question: A conversation of one question.
        marks: Of thoughts.

    Raises:
        ModelFileError: beyond the limits of time and memory.
    """
    tools = {"tools": [_tool(name) for name in _NAMES]}
    closed = {"add_generation_prompt": False}
    plain = {"role": "assistant", "content": _ANSWER}
    requests: list[Mapping[str, Any]] = [
        {**base, **tools, "messages": list(question)},
        {**base, **tools, **closed, "messages": [*question, plain]},
        {**base, **tools, **closed, "messages": list(question)},
    ]
    for as_text in (False, True):
        for count in (1, 2):
            requests.append(
                {**base, **tools, **closed, "messages": [*question, _calls(count, as_text=as_text)]}
            )
    result = {"role": "tool", "content": _RESULT, "tool_call_id": _IDS[0], "name": _NAMES[0]}
    requests += [{**one, "messages": [*one["messages"], result]} for one in (requests[3], requests[5])]
    prompt, answer, unasked, *called = (one.get("text", "") for one in render_all(source, requests))
    as_text = not _shows(called[0]) and _shows(called[2])
    one, two = called[2:4] if as_text else called[:2]
    if is_harmony(source):
        form: CallForm | None = HARMONY_CALLS
    else:
        ending = answer.partition(_ANSWER)[2]
        form = (
            _find_form(one, two, prompt, prompt.removeprefix(unasked), ending, marks) if _shows(one) else None
        )
        if form is None:
            form = next((known for mention, known in KNOWN_FORMS if mention in source), None)
        elif "<|python_tag|>" in source:
            form = replace(form, aliases=("<|python_tag|>",))
    return CallAbilities(
        lists=_NAMES[0] in prompt,
        shows_calls=_shows(one),
        shows_results=_RESULT in called[5 if as_text else 4],
        calls_as_text=as_text,
        form=form,
    )


def _tool(name: str) -> dict[str, Any]:
    kinds = {"kaa": "string", "kbb": "integer", "kcc": "string"}
    properties = {key: {"type": kind, "description": "It."} for key, kind in kinds.items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": "Does.", "parameters": parameters}}


def _calls(count: int, *, as_text: bool) -> dict[str, Any]:
    calls = []
    for name, call_id, arguments in list(zip(_NAMES, _IDS, _ARGUMENTS, strict=True))[:count]:
        given: object = json.dumps(arguments) if as_text else arguments
        function = {"name": name, "arguments": given}
        calls.append({"id": call_id, "type": "function", "function": function})
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _shows(text: str) -> bool:
    return str(_ARGUMENTS[0]["kaa"]) in text


def _find_form(
    one: str, two: str, prompt: str, generation: str, ending: str, marks: ThoughtMarks | None
) -> CallForm | None:
    """The form, from a conversation that ends with a call and one that ends with two; None where it cannot be seen."""
    place = _locate(one, 0)
    if place is None:
        return None
    begin = _answer_begin(one, place.name, prompt, generation, marks)
    before = one[begin : place.name].lstrip()
    middle = one[place.name_end : place.arguments]
    after = _without_end(one[place.arguments_end :], ending)
    first = _locate(two, 0)
    second = _locate(two, 1) if first else None
    if first is None or second is None or second.name < first.arguments_end:
        texts = ("", before, middle, after, "", "")
        return _checked(texts, place.tagged, single=True)
    between = two[first.arguments_end : second.name]
    middle = _joined(middle, two[second.name_end : second.arguments])
    start = _common_end(before, between)
    kept = len(between) - len(start)
    end = _outside_of_tags(_common_start(between[:kept], after))
    opening = before[: len(before) - len(start)]
    separator = between[len(end) : kept]
    tagged = place.tagged
    if tagged and second.tagged:
        tagged = replace(tagged, first=_joined(tagged.first, second.tagged.first))
    # Without an opening nothing has to be closed.
    closing = after[len(end) :] if opening else ""
    texts = (opening, _wild_start(before, between, start), middle, end, separator, closing)
    return _checked(texts, tagged, single=False)


def _checked(texts: Sequence[str], tagged: TaggedArguments | None, *, single: bool) -> CallForm | None:
    opening, start, middle, end, separator, closing = (
        text.replace(_IDS[0], WILD).replace(_IDS[1], WILD) for text in texts
    )
    if any(len(text) > _LONGEST or name in text for text in texts for name in _NAMES):
        return None
    form = CallForm(opening, start, middle, tagged, end, separator, closing, single)
    # A call that begins with its name, or with a word, is not to be told from a text.
    return form if form.keys or len(form.trigger) >= _SHORTEST else None


def _locate(text: str, which: int) -> _Places | None:
    """Where one of the calls stands."""
    arguments = _ARGUMENTS[which]
    value = text.find(str(arguments["kaa"]))
    name = text.rfind(_NAMES[which], 0, max(value, 0))
    if value < 0 or name < 0:
        return None
    name_end = name + len(_NAMES[which])
    for found in re.finditer(r"\{", text[name_end:value]):
        begin = name_end + found.start()
        try:
            read, end = json.JSONDecoder().raw_decode(text, begin)
        except ValueError:
            continue
        if read == arguments:
            return _Places(name, name_end, begin, end, None)
    return _locate_tagged(text, name, name_end, arguments)


def _locate_tagged(text: str, name: int, name_end: int, arguments: Mapping[str, object]) -> _Places | None:
    gaps, place = [], name_end
    for part in (part for pair in arguments.items() for part in pair):
        found = text.find(str(part), place)
        if found < 0:
            return None
        gaps.append(text[place:found])
        place = found + len(str(part))
    first, text_mark, behind_text, value_mark, behind_value, again = gaps
    behind_text = behind_text.replace("kaa", KEY)
    behind_value = behind_value.replace("kbb", KEY)
    rest = text[place : place + _LONGEST].replace("kcc", KEY)
    text_end = _outside_of_tags(_common_start(behind_text, rest))
    between = behind_text[len(text_end) :]
    if again != text_mark or not behind_value.endswith(between) or not text_mark or not between:
        return None
    value_end = behind_value.removesuffix(between)
    marks = TaggedArguments(first, between, text_mark, value_mark, text_end, value_end)
    end = place + len(text_end.replace(KEY, "kcc"))
    return _Places(name, name_end, name_end, end, marks)


def _answer_begin(text: str, name: int, prompt: str, generation: str, marks: ThoughtMarks | None) -> int:
    """Where the notation of calls begins: behind what opens an answer, and behind a thought."""
    begin = min(len(_common_start(text, prompt)), name)
    if begin < len(prompt):
        begin -= len(found[0]) if (found := _UNFINISHED.search(text, max(0, begin - 50), begin)) else 0
    said = text[begin:name]
    for length in range(len(generation), 0, -1):
        if said.startswith(generation[-length:]):
            begin += length
            break
    if marks and (place := text.rfind(marks.closing, begin, name)) >= 0:
        begin = place + len(marks.closing)
        rest = text[begin:name]
        if marks.bridge and rest.lstrip().startswith(marks.bridge):
            begin += len(rest) - len(rest.lstrip()) + len(marks.bridge)
    return begin


def _without_end(text: str, ending: str) -> str:
    """A text without what ends every answer."""
    whole = text.removesuffix(ending)
    if whole != text:
        return whole
    for tag in [0, *(found.start() for found in re.finditer("<", ending))]:
        rest = ending[tag:].strip()
        if rest and (cut := text.find(rest)) >= 0:
            return text[:cut]
    if len(text) > _LONGEST and (found := re.search(r"\s*<\|", text[1:])):
        return text[: found.start() + 1]
    return text.rstrip()


def _common_start(left: str, right: str) -> str:
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return left[:length]


def _common_end(left: str, right: str) -> str:
    """The longest common end; where an id or a number differs in it, it goes on before that."""
    i, j = len(left), len(right)
    while i and j:
        if left[i - 1] == right[j - 1]:
            i, j = i - 1, j - 1
            continue
        one, other = _word_before(left, i), _word_before(right, j)
        if not one or not other or len(one) != len(other):
            break
        i, j = i - len(one), j - len(other)
    common = right[j:]
    if _UNFINISHED.search(left[:i]) and ">" in common:
        common = common[common.index(">") + 1 :]
    return common if common.strip() else ""


def _wild_start(before: str, between: str, start: str) -> str:
    return _joined(before[len(before) - len(start) :], between[len(between) - len(start) :])


def _joined(one: str, other: str) -> str:
    """Two texts as one: where a word differs, `WILD`."""
    if one == other:
        return one
    words, others = re.split(r"(\W+)", one), re.split(r"(\W+)", other)
    if len(words) != len(others):
        return one
    return "".join(
        left if left == right else NUMBER if left.isdecimal() and right.isdecimal() else WILD
        for left, right in zip(words, others, strict=True)
    )


def _word_before(text: str, place: int) -> str:
    found = re.search(r"\w+$", text[:place])
    return found[0] if found else ""


def _outside_of_tags(text: str) -> str:
    """A text without the beginning of a tag at its end, and the space before that."""
    found = _UNFINISHED.search(text)
    return text[: found.start()].rstrip() if found else text.rstrip() if text.strip() else text
