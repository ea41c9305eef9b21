"""What a picture test says when it fails: lines of the screen, and that a screen never came to rest."""

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.app import App, ComposeResult
from textual.widgets import Static

from tests.tui.pictures import AppSnapshot, changed_lines, screen_lines, still_picture


class Lines(App[int]):
    """Two lines; the second one can go on counting."""

    def __init__(self, second: str = "second & last", *, style: str = "white", counts: bool = False) -> None:
        super().__init__()
        self._second, self._style, self._counts, self._n = second, style, counts, 0

    def compose(self) -> ComposeResult:
        yield Static("first")
        second = Static(self._second, markup=False)
        second.styles.color = self._style
        yield second

    def on_mount(self) -> None:
        if self._counts:
            self.set_interval(0.05, self._count)

    def _count(self) -> None:
        self._n += 1
        self.query(Static).last().update(f"counted to {self._n}")


async def picture_of(app: Lines) -> str:
    async with app.run_test(size=(30, 4)) as pilot:
        return await still_picture(pilot)


async def test_the_text_of_a_picture_is_read_line_by_line() -> None:
    assert screen_lines(await picture_of(Lines()))[:2] == ["first", "second & last"]


async def test_a_changed_text_is_shown_line_by_line() -> None:
    before, after = await picture_of(Lines()), await picture_of(Lines("another line"))
    assert list(changed_lines(before, after)) == [
        "--- stored",
        "+++ shown",
        " first",
        "-second & last",
        "+another line",
        " ",
    ]


async def test_a_changed_colour_is_named_as_such() -> None:
    before, after = await picture_of(Lines()), await picture_of(Lines(style="red"))
    told = list(changed_lines(before, after))
    assert told[0] == "the text is the same; colours or styles differ:"
    assert [line for line in told[3:] if line[0] in "+-"] == [
        "-{fill: #ffffff} second & last",
        "+{fill: #ff0000} second & last",
    ]


async def test_pytests_report_of_a_failed_picture_has_these_lines(snapshot: SnapshotAssertion) -> None:
    before, after = await picture_of(Lines()), await picture_of(Lines("another line"))
    told = list(snapshot.use_extension(AppSnapshot).extension.diff_lines(after, before))
    assert told == list(changed_lines(before, after))


async def test_a_screen_that_does_not_come_to_rest_fails_and_shows_what_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.tui.pictures.LIMIT_S", 1.5)
    with pytest.raises(pytest.fail.Exception, match=r"has not come to rest in 1\.5 s") as failed:
        await picture_of(Lines(counts=True))
    assert "+counted to" in str(failed.value)
