"""Renders llama.cpp's collection of chat templates and compares with what llama-cpp-python's formatter makes of them.

    python scripts/check_templates.py [FOLDER]

FOLDER holds templates (*.jinja); without one, `models/templates` of the source package of the llama-cpp-python that
edgespec is built with is fetched through pip. Three conversations each: one question, two with an answer between them,
and a system prompt before a question. Prints a line for every template that differs, then the figures; 1 if any differs.
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from install_llama import PACKAGE, pinned_version
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import ChatTemplate, fold_system
from edgespec.errors import ModelFileError

BOS, EOS = "<s>", "</s>"
QUESTION: Final = ChatMessage("user", 'Why is the sky "blue" & <wide>?\n\nSay it in `one` line: für Ö.')
CONVERSATIONS: Final = {
    "one": [QUESTION],
    "two": [
        QUESTION,
        ChatMessage("assistant", "Light scatters.\n\n- blue most"),
        ChatMessage("user", "And at dusk?"),
    ],
    "system": [ChatMessage("system", "Be brief."), QUESTION],
}
Outcome = Literal["same", "same, as parts", "same, system folded", "both refuse", "differs"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One conversation in one template."""

    outcome: Outcome
    note: str = ""


def main() -> int:
    """Compares all. Returns 0, or 1 where a text differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="templates, as *.jinja")
    folder: Path | None = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        counts = compare_folder(folder or fetch_templates(Path(scratch)))
    for outcome, count in sorted(counts.items()):
        print(f"{count:4}  {outcome}")
    return 1 if counts["differs"] else 0


def fetch_templates(folder: Path) -> Path:
    """The templates of llama.cpp as they lie in the source package, unpacked into a folder."""
    wanted = f"{PACKAGE}=={pinned_version()}"
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(folder), wanted], check=True)
    (package,) = folder.glob("*.tar.gz")
    with tarfile.open(package) as tar:
        members = [member for member in tar.getmembers() if "/llama.cpp/models/templates/" in member.name]
        tar.extractall(folder, members, filter="data")
    return next(folder.glob("*/vendor/llama.cpp/models/templates"))


def compare_folder(folder: Path) -> Counter[str]:
    """How often each outcome came; differences are printed."""
    counts: Counter[str] = Counter()
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        template = ChatTemplate(source, BOS, EOS)
        for name, messages in CONVERSATIONS.items():
            compared = compare(source, template, messages)
            counts[compared.outcome] += 1
            if compared.note:
                print(f"{path.name}, {name}: {compared.outcome}: {compared.note}")
    counts["templates"] = len(list(folder.glob("*.jinja")))
    return counts


def compare(source: str, template: ChatTemplate, messages: Sequence[ChatMessage]) -> Comparison:
    """One conversation, rendered by both."""
    try:
        ours = template.render(messages)
    except ModelFileError as err:
        theirs = reference(source, messages, typed=False)
        if theirs.startswith("!"):
            return Comparison("both refuse", err.message)
        return Comparison("differs", f"{err.message}; theirs: {theirs[:200]!r}")
    abilities = template.abilities
    if abilities.typed_content:
        return judge(ours, reference(source, messages, typed=True), "same, as parts")
    if not abilities.system_role and messages[0].role == "system":
        return judge(ours, reference(source, fold_system(messages), typed=False), "same, system folded")
    return judge(ours, reference(source, messages, typed=False), "same")


def judge(ours: str, theirs: str, outcome: Outcome) -> Comparison:
    """The outcome where both are one text, else where they part."""
    if ours == theirs:
        return Comparison(outcome)
    place = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )
    return Comparison("differs", f"from {place}: {ours[place:][:80]!r} and {theirs[place:][:80]!r}")


def reference(source: str, messages: Sequence[ChatMessage], *, typed: bool) -> str:
    """What llama-cpp-python renders; its error after an exclamation mark."""
    turns = [
        {"role": turn.role, "content": [{"type": "text", "text": turn.content}] if typed else turn.content}
        for turn in messages
    ]
    try:
        formatter = Jinja2ChatFormatter(source, eos_token=EOS, bos_token=BOS)
        return str(formatter(messages=turns).prompt)
    except Exception as err:  # whatever a template raises
        return f"!{err}"


if __name__ == "__main__":
    sys.exit(main())
