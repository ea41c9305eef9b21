"""What travels together to the server, and what may not wait."""

import io
from dataclasses import replace

from edgespec.chat.tools import CallDelta
from edgespec.decode.token import GenerationStats
from edgespec.session.shared.asked import Ask, Began, Cancel, Ended, EndReason, Figures, Refused, Told, Wrote
from edgespec.worker.frames import read_frame
from edgespec.worker.outbox import Outbox, joined
from edgespec.worker.protocol import BATCH_S

ENDED = Ended(1, 0, EndReason.STOP, "", GenerationStats())


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Sent:
    """An outbox, and the frames that have left it."""

    def __init__(self) -> None:
        self._stream, self.clock = io.BytesIO(), Clock()
        self._read_n = 0
        self.outbox = Outbox(self._stream, self.clock)

    def new(self) -> list[object]:
        self._stream.seek(self._read_n)
        found = []
        while self._stream.tell() < len(self._stream.getvalue()):
            found.append(read_frame(self._stream))
        self._read_n = self._stream.tell()
        return found


def test_the_first_text_leaves_at_once_and_later_ones_together() -> None:
    sent = Sent()
    sent.outbox.add([Began(1, 5, 0)])
    sent.outbox.add([Wrote(1, 0, tokens=(1,))])
    assert sent.new() == [(Began(1, 5, 0),)]  # nothing had left for long
    sent.outbox.add([Wrote(1, 0, text="a", tokens=(2,))])
    assert sent.new() == [(Wrote(1, 0, text="a", tokens=(1, 2)),)]
    for letter in "bcd":
        sent.clock.now_s += BATCH_S / 4
        sent.outbox.add([Wrote(1, 0, text=letter)])
    assert sent.new() == []
    sent.clock.now_s += BATCH_S / 3
    sent.outbox.add([Wrote(1, 0, text="e")])
    assert sent.new() == [(Wrote(1, 0, text="bcde"),)]
    sent.outbox.add([Wrote(1, 0, text="f"), ENDED])
    assert sent.new() == [(Wrote(1, 0, text="f"), ENDED)]
    sent.outbox.flush()
    assert sent.new() == []


def test_slow_texts_do_not_wait_for_others() -> None:
    sent = Sent()
    for letter in "abc":
        sent.outbox.add([Wrote(1, 0, text=letter)])
        assert sent.new() == [(Wrote(1, 0, text=letter),)]
        sent.clock.now_s += 2 * BATCH_S


def test_what_is_no_text_leaves_at_once_with_all_that_came_before() -> None:
    figures = Figures(3, *[0] * 12, by_source={}, plain_step_s=0, memory_bytes=0)
    for urgent in (figures, Refused(2, "request", "no")):
        sent = Sent()
        sent.outbox.add([Wrote(1, 0, text="a")])
        sent.outbox.add([Wrote(1, 0, text="b")])
        sent.new()
        sent.outbox.add([Wrote(1, 0, text="c"), urgent])
        (frame,) = sent.new()
        assert frame[-1] == urgent  # type: ignore[index]


def test_nothing_more_is_told_of_what_was_cancelled() -> None:
    sent = Sent()
    sent.outbox.add([Wrote(1, 0, text="a")])
    sent.outbox.add([Wrote(1, 0, text="b"), Wrote(2, 0)])
    sent.new()
    sent.outbox.cancelled(Cancel(1))
    sent.outbox.flush()
    assert sent.new() == [(Wrote(2, 0),)]


def test_answers_are_joined_each_for_itself_and_in_their_order() -> None:
    told: list[Told] = [
        Wrote(1, 0, thought="a"),
        Wrote(1, 1, text="x"),
        Wrote(1, 0, thought="b", text="c"),
        Wrote(2, 0, text="y"),
        Wrote(1, 0, text="d", calls=(CallDelta(0, "i", "n"),)),
        Wrote(1, 0, calls=(CallDelta(0, arguments="{}"),)),
        Wrote(1, 1, text="z"),
    ]
    calls = (CallDelta(0, "i", "n"), CallDelta(0, arguments="{}"))
    assert joined(told) == (
        Wrote(1, 0, thought="ab", text="cd", calls=calls),
        Wrote(1, 1, text="xz"),
        Wrote(2, 0, text="y"),
    )
    later = Wrote(1, 0, text="after")
    assert joined([*told, later])[-1] == later
    thought = Wrote(2, 0, thought="again")
    assert joined([*told, thought])[-1] == thought
    assert joined([ENDED, replace(ENDED, choice=1)]) == (ENDED, replace(ENDED, choice=1))


def test_who_wants_the_whole_hears_of_it_once() -> None:
    sent = Sent()
    sent.outbox.asked(Ask(1, "p", n_choices=2, in_pieces=False))
    for letter in "abc":
        sent.clock.now_s += 2 * BATCH_S
        sent.outbox.add([Began(1, 5, 0), Wrote(1, 0, text=letter), Wrote(1, 1, text=letter)][letter != "a" :])
    sent.outbox.flush()
    assert sent.new() == []
    sent.outbox.add([Wrote(1, 0, text="d"), ENDED])
    begun = (Began(1, 5, 0), Wrote(1, 0, text="abcd"), Wrote(1, 1, text="abc"))
    assert sent.new() == [(*begun, ENDED)]
    sent.outbox.add([Wrote(1, 1, text="d")])
    assert sent.new() == []
    ended = replace(ENDED, choice=1)
    sent.outbox.add([ended])
    assert sent.new() == [(Wrote(1, 1, text="d"), ended)]
    sent.outbox.ended(1)
    sent.outbox.asked(Ask(2, "p", in_pieces=False))
    sent.outbox.add([Wrote(2, 0, text="a"), Wrote(3, 0, text="x")])
    sent.outbox.cancelled(Cancel(2))
    sent.outbox.add([ENDED])
    assert sent.new() == [(Wrote(3, 0, text="x"),), (ENDED,)]
