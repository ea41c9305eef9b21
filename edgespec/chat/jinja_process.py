"""A process that renders Jinja templates: the parent can end it when one takes too long or too much.

Started as a file, so that it loads nothing of edgespec. A line of stdin is a request, a line of stdout its answer:

    {"source": TEMPLATE, "calls": [VARIABLES, ...]}  ->  {"results": [{"text": ...} or {"error": ...}, ...]}

What templates may use is what llama-cpp-python's `Jinja2ChatFormatter` and Transformers' `apply_chat_template` give
them: loop controls, `{% generation %}`, `raise_exception`, `strftime_now`, and a `tojson` that neither sorts nor escapes.
"""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_LONGEST_TEXT = 1 << 24
"""Characters; a context of a million tokens takes a quarter of it."""
_LONGEST_ERROR = 300
"""Characters of a template's own words."""


class _Generation(Extension):
    """`{% generation %}` marks what training learns from; what stands in it is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 (as jinja2 has it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The statements between the two tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is: jinja2's own filter sorts keys, and escapes for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


@lru_cache(maxsize=8)
def compile_template(source: str) -> Template:
    """The template in its sandbox.

    Raises:
        Exception: whatever a template that is none leads to; jinja2's own errors, and those of Python's compiler.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    # jinja2's own marks a text as HTML, and escapes whatever is joined to it; llama.cpp's leaves it as it is.
    environment.filters["safe"] = str
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    return environment.from_string(source)


def render(source: str, variables: Mapping[str, Any]) -> dict[str, str]:
    """The text, or the error in a line: a template is a program of a stranger's and may raise anything."""
    try:
        text = compile_template(source).render(variables)
    except RecursionError:
        return {"error": "it is nested too deeply"}
    except MemoryError:
        return {"error": "it needs too much memory"}
    except Exception as err:
        words = " ".join(str(err).split()) or type(err).__name__
        return {"error": words[:_LONGEST_ERROR]}
    if len(text) > _LONGEST_TEXT:
        return {"error": f"it writes more than {_LONGEST_TEXT} characters"}
    return {"text": text}


def _listen(lines: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    # The parent is gone, perhaps in the middle of a template that never ends.
    os._exit(0)


def main() -> None:
    """Serves until stdin ends."""
    # Ctrl-C in a terminal reaches this process as well; its parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    while True:
        request = json.loads(lines.get())
        results = [render(request["source"], variables) for variables in request["calls"]]
        sys.stdout.write(json.dumps({"results": results}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
