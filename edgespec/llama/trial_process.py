"""The helper of `edgespec.llama.trial`: does with a file what ends the process where the file is odd.

A request is `{"path": FILE, "use": USE}`, its answer `{}`, or `{"ended": llama.cpp's last words}` where it ends the process.
"""

import json
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from edgespec.errors import EdgespecError
from edgespec.llama.context import Context
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import default_threads
from edgespec.llama.model import Model
from edgespec.llama.native_end import on_native_end
from edgespec.llama.placement import Placement
from edgespec.llama.quantizer import try_dry_run

_TEXTS = ("", "The cat's 7 hats, \u00e9t\u00e9 \u65e5\u672c \U0001f600\n\t  <|im_end|> \x00")
"""Letters, digits, marks, several bytes a character, white space and what looks like a control token."""
EVERY_BYTE = tuple(
    chr(code)
    for code in (
        *range(1, 0x100),
        *range(0x100, 0x800, 0x40),
        *(0x800, *range(0x1000, 0x10000, 0x1000)),
        *(0x10000, *range(0x40000, 0x110000, 0x40000)),
    )
)
"""Characters that have every byte of UTF-8 among them: a vocabulary may lack one."""
_MOST_TOKENS = 1024
_N_CTX = 512
_OUTPUTS = 16
_SNAPSHOTS = 7


def try_file(path: Path, use: str) -> None:
    """Goes through a file as its use will; what llama.cpp refuses in words is no harm."""
    with suppress(EdgespecError):
        if use == "quantize":
            try_dry_run(path)
        else:
            _try_model(path, weights=use == "load")


def _try_model(path: Path, *, weights: bool) -> None:
    with Model(path, Placement(), weights=weights, is_tried=True) as model:
        if not model.has_vocabulary:
            return
        for text in (*_TEXTS, *EVERY_BYTE):
            for token in model.tokenize(text):
                model.token_bytes(token, special=True)
        for token in range(0, model.n_vocab, model.n_vocab // _MOST_TOKENS + 1):
            model.is_end(token)
            model.token_bytes(token)
        _ = model.bos_text, model.eos_text, model.chat_template, model.description
        settings = ContextSettings(
            _N_CTX,
            default_threads(),
            n_outputs_max=_OUTPUTS,
            n_batch=_N_CTX,
            n_snapshots=_SNAPSHOTS,
            full_window=False,
        )
        with Context(model, settings) as context:
            if weights:
                # Several rows are computed in other ways than one.
                context.decode(_some_tokens(model), outputs=1)
                context.decode([model.n_vocab - 1])


def _some_tokens(model: Model) -> list[int]:
    return [0, model.n_vocab // 2]


def main() -> None:
    """Serves until stdin ends."""
    # Ctrl-C in a terminal reaches this process as well; its parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # native code may print
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    on_native_end(lambda words: _answer(out, {"ended": words}))
    while True:
        request = json.loads(lines.get())
        try_file(Path(request["path"]), request["use"])
        _answer(out, {})


def _answer(out: TextIO, answer: dict[str, str]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()


def _listen(lines: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    # The parent is gone, perhaps in the middle of a file that never ends.
    os._exit(0)


if __name__ == "__main__":
    main()
