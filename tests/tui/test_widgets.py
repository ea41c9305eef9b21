"""Growing text: where it is wrapped, where Markdown is cut, and how often it is painted."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from edgespec.decode.token import DraftSource
from edgespec.helper_process import describe_exit
from tui.chat.markdown_stream import MarkdownSplitter
from tui.common.pace import LONGEST_S, SHORTEST_S, Pace
from tui.common.plot import Plot
from tui.common.stream_text import wrap_runs

RUNS = st.lists(st.tuples(st.text("ab 日本é\u0301", min_size=1), st.sampled_from(DraftSource)), max_size=6)


@given(RUNS, st.integers(2, 20))
def test_wrapping_keeps_every_character_and_its_source(
    runs: list[tuple[str, DraftSource]], width: int
) -> None:
    rows = wrap_runs(runs, width)
    characters = [(c, source) for text, source in runs for c in text]
    assert [(c, source) for row in rows for text, source in row for c in text] == characters
    for row in rows:
        text = "".join(text for text, _ in row)
        assert cell_len(text.rstrip(" ")) <= width or text.endswith(" ")


def test_words_stay_whole_where_they_fit() -> None:
    rows = wrap_runs([("the quick brown fox", DraftSource.TARGET)], 10)
    assert ["".join(text for text, _ in row) for row in rows] == ["the quick ", "brown fox"]


MARKDOWN = """\
Some text.

- a

- b
  more

Then:

```python
x = 1

y = 2
```
After.

~~~~
```
~~~~

1. one
2. two

End"""


@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_markdown_join_to_the_whole_and_never_cut_a_fence_or_a_list(seed: int) -> None:
    rng, splitter = random.Random(seed), MarkdownSplitter()
    finished, tail, place = [], "", 0
    while place < len(MARKDOWN):
        step = rng.randint(1, 9)
        done, tail = splitter.add(MARKDOWN[place : place + step])
        place += step
        if done:
            finished.append(done)
    assert "".join(finished) + tail == MARKDOWN
    for done in finished:
        assert done.count("```python") == done.count("y = 2\n```")
        assert done.count("~~~~") % 2 == 0
        assert ("- a" in done) == ("- b" in done)


def test_a_finished_block_is_given_as_soon_as_it_is_one() -> None:
    splitter = MarkdownSplitter()
    assert splitter.add("One.") == ("", "One.")
    assert splitter.add("\n\nTwo") == ("One.\n\n", "Two")


def test_costly_paints_are_fewer() -> None:
    now = cpu = 0.0
    pace = Pace(lambda: cpu, lambda: now)
    assert pace.wait_s() == 0
    for cost_s, period in ((0.0001, SHORTEST_S), (0.05, LONGEST_S), (0.0001, SHORTEST_S)):
        for _ in range(40):
            pace.painted()
            assert pace.wait_s() > 0
            now += pace.wait_s()
            cpu += cost_s
        assert pace.period_s == period


def test_the_end_of_a_process_is_said_in_words() -> None:
    assert "memory" in describe_exit(-9)
    assert describe_exit(-6) == "crashed (SIGABRT)"
    assert describe_exit(3) == "ended with code 3"


async def test_a_plot_that_comes_while_the_app_is_left_needs_no_parts() -> None:
    class WithoutParts(Plot):
        def compose(self) -> ComposeResult:
            yield from ()

    class Charts(App[None]):
        def compose(self) -> ComposeResult:
            yield WithoutParts()

    app = Charts()
    async with app.run_test():
        app.query_one(WithoutParts).clear()
        app.exit()
    assert app.return_code == 0
