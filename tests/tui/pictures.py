"""Pictures of the app to compare with stored ones, and what has changed in them, line by line of the screen."""

import re
from collections.abc import Iterator
from difflib import unified_diff
from html import unescape
from time import monotonic
from typing import Any

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.pilot import Pilot

STILL_S, LIMIT_S = 0.8, 20.0
_CELL_WIDTH = 12.2
"""Of Textual's pictures: columns are told by x."""
_TEXT = re.compile(
    r'<text class="terminal-?(?P<style>\w*)" x="(?P<x>[\d.]+)" y="[\d.]+" textLength="[\d.]+" '
    r'clip-path="url\(#terminal-line-(?P<line>\d+)\)">(?P<text>[^<]*)</text>'
)
_STYLE = re.compile(r"\.terminal-(?P<style>\w+) \{ (?P<rules>[^}]*) \}")


class AppSnapshot(SingleFileSnapshotExtension):
    """An SVG file for each picture; what differs between runs is taken out."""

    file_extension = "svg"
    _write_mode = WriteMode.TEXT

    def serialize(self, data: Any, **_options: Any) -> str:
        return without_numbers(str(data))

    def diff_lines(self, serialized_data: Any, snapshot_data: Any) -> Iterator[str]:
        """For pytest's report: lines of the screen, not of the file."""
        return changed_lines(str(snapshot_data), str(serialized_data))


async def still_picture(pilot: Pilot[int]) -> str:
    """What is on the screen once nothing has moved for longer than any screen puts off a paint."""
    before = last = ""
    since_s, end_s = monotonic(), monotonic() + LIMIT_S
    while monotonic() < since_s + STILL_S:
        if monotonic() > end_s:
            changes = "\n".join(changed_lines(before, last))
            pytest.fail(f"the picture has not come to rest in {LIMIT_S:g} s; the last change:\n{changes}")
        await pilot.pause(0.1)
        now = without_numbers(pilot.app.export_screenshot(title="edgespec", simplify=True))
        if now != last:
            before, last, since_s = last, now, monotonic()
    return last


def without_numbers(svg: str) -> str:
    """Textual numbers its style classes per run."""
    return re.sub(r"terminal-\d+", "terminal", svg)


def changed_lines(before: str, after: str) -> Iterator[str]:
    """What differs between two pictures: lines of text, and colours and styles where the text is the same."""
    old, new = screen_lines(before), screen_lines(after)
    if old != new:
        yield from _difference(old, new)
        return
    yield "the text is the same; colours or styles differ:"
    styled = list(_difference(styled_lines(before), styled_lines(after)))
    yield from styled or ["no text's: backgrounds or borders, as the two files show"]


def screen_lines(svg: str) -> list[str]:
    """The text on the screen, a string for each of its lines."""
    lines: dict[int, str] = {}
    for found in _TEXT.finditer(svg):
        line, column = int(found["line"]), round(float(found["x"]) / _CELL_WIDTH)
        lines[line] = lines.get(line, "").ljust(column) + _plain(found["text"])
    return [lines.get(line, "").rstrip() for line in range(max(lines, default=-1) + 1)]


def styled_lines(svg: str) -> list[str]:
    """The same, with the rules of each run's style before it."""
    rules = {found["style"]: found["rules"].strip() for found in _STYLE.finditer(svg)}
    lines: dict[int, list[str]] = {}
    for found in _TEXT.finditer(svg):
        if text := _plain(found["text"]).strip():
            run = f"{{{rules.get(found['style'], '')}}} {text}"
            lines.setdefault(int(found["line"]), []).append(run)
    return ["  ".join(lines.get(line, [])) for line in range(max(lines, default=-1) + 1)]


def _plain(text: str) -> str:
    return unescape(text).replace("\N{NO-BREAK SPACE}", " ")


def _difference(old: list[str], new: list[str]) -> Iterator[str]:
    lines = unified_diff(old, new, "stored", "shown", lineterm="", n=1)
    return (line for line in lines if not line.startswith("@@"))
