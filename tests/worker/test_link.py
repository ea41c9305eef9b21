"""Progress on its way to another process: what is said of it, and how often."""

import io
from collections.abc import Iterator

import pytest

from edgespec.progress import Progress, advance_to
from edgespec.worker import link as link_module
from edgespec.worker.frames import read_frame
from edgespec.worker.link import PipeLink
from edgespec.worker.protocol import Progressed


class Watch:
    """Seconds that go by when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(link_module, "monotonic", watch)
    return watch


@pytest.fixture
def pipe() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def progress(pipe: io.BytesIO, watch: Watch) -> Progress:
    return PipeLink(pipe).progress


def told(pipe: io.BytesIO) -> list[object]:
    """The events in the pipe, which is empty afterwards."""

    def frames() -> Iterator[object]:
        pipe.seek(0)
        while pipe.tell() < len(pipe.getbuffer()):
            yield read_frame(pipe)

    events = list(frames())
    pipe.seek(0)
    pipe.truncate()
    return events


def test_a_stage_is_told_with_all_that_was_said_of_it(progress: Progress, pipe: io.BytesIO) -> None:
    progress.stage("fetching tiny", 4096, done=1024, unit="bytes")
    assert told(pipe) == [Progressed("fetching tiny", 1024, 4096, "bytes")]


def test_steps_are_told_ten_times_a_second_and_the_last_one_is_not_lost(
    progress: Progress, pipe: io.BytesIO, watch: Watch
) -> None:
    progress.stage("reading", 1000)
    for _ in range(999):
        progress.advance()
    assert told(pipe) == [Progressed("reading", 0, 1000)]
    watch.now_s += 0.1
    progress.advance()
    assert told(pipe) == [Progressed("reading", 1000, 1000)]


def test_the_end_of_a_stage_is_told_at_once(progress: Progress, pipe: io.BytesIO) -> None:
    progress.stage("reading", 3)
    for _ in range(3):
        progress.advance()
    assert told(pipe) == [Progressed("reading", 0, 3), Progressed("reading", 3, 3)]


def test_how_far_a_stage_came_is_told_when_another_begins(progress: Progress, pipe: io.BytesIO) -> None:
    progress.stage("looking", unit="bytes")
    progress.advance(512)
    progress.advance(512)
    progress.stage("checking", 8)
    assert told(pipe) == [
        Progressed("looking", 0, None, "bytes"),
        Progressed("looking", 1024, None, "bytes"),
        Progressed("checking", 0, 8),
    ]


def test_a_new_label_is_told_at_once_and_the_stage_goes_on(progress: Progress, pipe: io.BytesIO) -> None:
    progress.stage("chat: chat-1", 2)
    progress.stage("edit: edit-1", 2, done=1)
    progress.advance()
    assert told(pipe) == [
        Progressed("chat: chat-1", 0, 2),
        Progressed("edit: edit-1", 1, 2),
        Progressed("edit: edit-1", 2, 2),
    ]


def test_work_that_says_how_much_is_done_in_all_arrives_as_that(
    progress: Progress, pipe: io.BytesIO, watch: Watch
) -> None:
    progress.stage("writing", 100, unit="bytes")
    report = advance_to(progress)
    for done in (10, 40, 70):
        watch.now_s += 1.0
        report(done)
    assert [one.done for one in told(pipe) if isinstance(one, Progressed)] == [0, 10, 40, 70]
