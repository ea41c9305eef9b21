"""Renders chat templates within limits of time and memory, in a process of their own that starts with the first one."""

import atexit
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgespec.chat import jinja_process
from edgespec.errors import ModelFileError
from edgespec.helper_process import HelperLostError, HelperProcess
from edgespec.text import plain_text

LIMIT_S: Final = 5.0
"""Of the processor, for one request. The largest template of llama.cpp's collection takes 0.02 s."""
LIMIT_BYTES: Final = 1 << 30
"""Resident memory of the process; it begins with 20 MiB."""
_HINT: Final = "`edgespec run` with `raw` sends a prompt without the template"


def template_error(words: str) -> ModelFileError:
    """The error of a template that fails, in its own words."""
    return ModelFileError(f"the model's chat template fails: {plain_text(words)}", _HINT)


_lock = threading.Lock()
_process: HelperProcess | None = None


def render_all(source: str, calls: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Renders a template several times.

    Args:
        source: In Jinja.
        calls: The variables of each time; plain values, as JSON has them.

    Returns:
        For each a `text`, or an `error` in the template's own words.

    Raises:
        ModelFileError: beyond the limits.
    """
    global _process
    with _lock:
        if _process is None:
            _process = HelperProcess([sys.executable, "-P", str(Path(jinja_process.__file__))])
        try:
            request = {"source": source, "calls": list(calls)}
            answer = _process.ask(request, limit_s=LIMIT_S, limit_bytes=LIMIT_BYTES)
        except HelperLostError as lost:
            _end_process()
            ended = lost.exit_code is not None
            raise template_error("it ended the process that renders it" if ended else str(lost)) from None
        except BaseException:
            _end_process()
            raise
    results: list[dict[str, str]] = answer["results"]
    return results


def _end_process() -> None:
    global _process
    process, _process = _process, None
    if process is not None:
        process.close()


atexit.register(_end_process)
