"""Who goes next when several answers come side by side."""

from collections.abc import Iterator

import pytest

from edgespec.bench.interleave import run_interleaved


def stream(name: str, length: int, log: list[str]) -> Iterator[str]:
    for number in range(length):
        log.append(name)
        yield f"{name}{number}"


@pytest.mark.parametrize(
    ("lengths", "order"),
    [
        ((3, 3), "ababab"),
        ((2, 2, 2), "abcabc"),
        ((1, 4), "abbbb"),
        ((4, 1), "abaaa"),
        ((3,), "aaa"),
        ((0, 2), "bb"),
        ((), ""),
    ],
)
def test_the_one_that_is_furthest_behind_is_next(lengths: tuple[int, ...], order: str):
    log: list[str] = []
    ended: list[int] = []
    streams = [stream("abc"[at], length, log) for at, length in enumerate(lengths)]
    items = run_interleaved(streams, ended.append)
    assert "".join(log) == order
    assert items == [[f"{'abc'[at]}{n}" for n in range(length)] for at, length in enumerate(lengths)]
    assert sorted(ended) == list(range(len(lengths)))


def test_what_a_stream_raises_reaches_the_caller():
    def failing() -> Iterator[str]:
        yield "x"
        raise KeyboardInterrupt

    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_interleaved([failing(), stream("b", 9, log)])
    assert log == ["b"]
