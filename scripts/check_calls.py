"""Finds out from llama.cpp's collection of chat templates how each writes calls of tools, and reads back what it writes.

    python scripts/check_calls.py [FOLDER]

FOLDER holds templates (*.jinja); without one they are fetched as in `check_templates.py`. Prints a line for each: what begins a call,
whether its arguments are JSON or written one by one, and whether two calls (one where it has no more) come back as they were.
1 if any does not.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from check_templates import BOS, EOS, QUESTION, fetch_templates

from edgespec.chat.answers import AnswerReader
from edgespec.chat.calls.form import HARMONY_CALLS, CallForm
from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import ChatTemplate
from edgespec.chat.tools import Tool, ToolCall
from edgespec.errors import ModelFileError

_PROPERTIES: Final = {
    name: {"type": kind, "description": "It."}
    for name, kind in (("city", "string"), ("days", "integer"), ("when", "string"))
}
TOOLS: Final = tuple(
    Tool(name, "Does it.", {"type": "object", "properties": _PROPERTIES, "required": ["city"]})
    for name in ("get_weather", "note")
)
CALLS: Final = (
    ToolCall("abcdefgh1", "get_weather", '{"city": "São <b> \\"q\\"", "days": -3, "when": "now\\nor then"}'),
    ToolCall("abcdefgh2", "note", '{"city": "x", "days": 10}'),
)


def main() -> int:
    """Checks all. Returns 0, or 1 where a call does not come back."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="templates, as *.jinja")
    folder: Path | None = parser.parse_args().folder
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted((folder or fetch_templates(Path(scratch))).glob("*.jinja")):
            template = ChatTemplate(path.read_text(encoding="utf-8"), BOS, EOS)
            form = template.calls.form
            outcome = "no form seen: as Hermes writes them" if form is None else check(template, form)
            counts[outcome] += 1
            print(f"{path.stem:52.52} {describe(form):48.48} {outcome}")
    for outcome, count in sorted(counts.items()):
        print(f"{count:4}  {outcome}")
    return 1 if counts["differs"] else 0


def describe(form: CallForm | None) -> str:
    """What begins a call, and how its arguments are written."""
    if form is None:
        return "-"
    arguments = "one by one" if form.arguments else "an object" if form.keys else "name, then an object"
    return f"{form.trigger!r}, {arguments}"


def check(template: ChatTemplate, form: CallForm) -> str:
    """Whether the calls that a template writes come back."""
    if not template.calls.shows_calls:
        return "known by its text; it leaves calls out"
    calls = CALLS[:1] if form.single else CALLS
    try:
        turns = [QUESTION, ChatMessage("assistant", "", calls=calls)]
        text = template.render(turns, tools=TOOLS, variables={"add_generation_prompt": False})
    except ModelFileError as err:
        return f"fails: {err.message[:60]}"
    name = text.rfind(calls[0].name, 0, text.find("days", text.rfind(calls[0].name)))
    begin = text.rfind(form.opening.strip() or form.trigger or form.start, 0, text.find(calls[0].name, name))
    if form == HARMONY_CALLS:
        begin = text.rfind("<|start|>")
    reader = AnswerReader(template.abilities.marks, "", form, TOOLS)
    deltas = [delta for char in text[begin:] for delta in reader.add(char).calls] + [*reader.finish().calls]
    found = [
        (next(one.name for one in deltas if one.index == index), said)
        for index in range(reader.call_n)
        if (said := "".join(one.arguments for one in deltas if one.index == index))
    ]
    wanted = [(call.name, json.loads(call.arguments)) for call in calls]
    is_same = [(name, json.loads(said)) for name, said in found] == wanted
    return "read back" if is_same else "differs"


if __name__ == "__main__":
    sys.exit(main())
