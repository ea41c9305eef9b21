"""Who goes next when several answers come side by side."""

from collections.abc import Iterator

import pytest

from edgespec.bench.abreast import run_abreast


def stream(name: str, length: int, log: list[str]) -> Iterator[str]:
    for number in range(length):
        log.append(name)
        yield f"{name}{number}"


@pytest.mark.parametrize(
    ("lengths", "lead", "order"),
    [
        ((4, 4), 1, "abbaabba"),
        ((4, 4), 2, "aabbbbaa"),
        ((3, 3, 3), 1, "abccabbac"),
        ((2, 6), 2, "aabbbbbb"),
        ((6, 2), 2, "aabbaaaa"),
        ((5,), 2, "aaaaa"),
        ((0, 3), 2, "bbb"),
        ((), 2, ""),
    ],
)
def test_the_one_that_is_furthest_behind_goes_on(lengths: tuple[int, ...], lead: int, order: str):
    log: list[str] = []
    ended: list[int] = []
    streams = [stream("abc"[at], length, log) for at, length in enumerate(lengths)]
    items = run_abreast(streams, ended.append, lead)
    assert "".join(log) == order
    assert items == [[f"{'abc'[at]}{n}" for n in range(length)] for at, length in enumerate(lengths)]
    assert sorted(ended) == list(range(len(lengths)))


def test_what_a_stream_raises_reaches_the_caller():
    def failing() -> Iterator[str]:
        yield "x"
        raise KeyboardInterrupt

    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_abreast([failing(), stream("b", 9, log)])
    assert log == []
