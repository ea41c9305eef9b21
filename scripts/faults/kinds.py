"""The kinds of trials: what goes wrong, and what has to be true after it. Each takes a work and a seed."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .home import Home
from .layer import Fault, Layer
from .outcome import Outcome, Undisturbed, missing, patience_s, unlisted, was_early
from .patience import Patience
from .process import Running, alive
from .run import Cut, Ended, run
from .terminal import Terminal
from .work import MIB, Work

_CHILD_S: Final = 10.0
_LEAST_MEMORY: Final = 300 * MIB
_MOST_MEMORY: Final = 3000 * MIB
_SHELL: Final = {
    "stdout closed": 'exec "$0" "$@" >&-',
    "stdout full": 'exec "$0" "$@" >/dev/full',
    "stderr closed": 'exec "$0" "$@" 2>&-',
    "stderr full": 'exec "$0" "$@" 2>/dev/full',
    "stdin closed": 'exec "$0" "$@" <&-',
    "all closed": 'exec "$0" "$@" <&- >&- 2>&-',
    "reader gone": '{ "$0" "$@"; echo $? >&3; } 3>code | head -c 1; exit "$(cat code)"',
    "reader of stderr gone": '{ "$0" "$@"; echo $? >&3; } 3>code 2>&1 | head -c 1; exit "$(cat code)"',
}
N_STREAMS: Final = len(_SHELL) + 1


class Bench:
    """Runs trials of works in homes of their own.

    Args:
        folder: For homes; emptied after each trial.
        inputs: The folder of what works are given.
        library: The layer.
        n_kills: Before one run goes on to its end, over what all of them left.
    """

    def __init__(self, folder: Path, inputs: Path, library: Path, n_kills: int = 5) -> None:
        self._n_kills = n_kills
        self._folder, self._inputs, self._library = folder, inputs, library
        self._undisturbed: dict[str, Undisturbed] = {}
        self._n_homes = 0

    def undisturbed(self, work: Work) -> Undisturbed:
        """How the work goes on a good day; run once.

        Raises:
            RuntimeError: it does not go at all.
        """
        if work.name not in self._undisturbed:
            with self._home(work) as (home, layer):
                ended = run(work, home, layer=layer.environment(Fault("count")))
                if wrong := [*ended.missed, *ended.said, *ended.stayed]:
                    raise RuntimeError(f"{work.name} fails by itself: {wrong} {ended.errors[-600:]}")
                self._undisturbed[work.name] = Undisturbed(ended, layer.counted(), home.files())
        return self._undisturbed[work.name]

    @contextmanager
    def _home(self, work: Work) -> Iterator[tuple[Home, Layer]]:
        self._n_homes += 1
        home = Home.make(self._folder / f"home-{self._n_homes}", self._inputs, work.inputs)
        layer = Layer(self._library, home.folder, self._folder / f"page-{self._n_homes}")
        try:
            yield home, layer
        finally:
            home.remove()
            layer.remove()

    def kill(self, work: Work, seed: int) -> Outcome:
        """SIGKILL at random moments, half of them in the middle of a change to the disk; then a run to the end."""
        whole, chance = self.undisturbed(work), _chance(work, seed)
        faults: list[str] = []
        moments: list[float] = []
        limit_s = patience_s(work, whole)
        with self._home(work) as (home, layer):
            for _ in range(self._n_kills):
                again = work.next_arguments(home.folder / "work") if moments else None
                if chance.random() < 0.5:
                    fault = Fault("kill", chance.randint(1, max(1, whole.counted.calls)))
                    ended = run(work, home, layer=layer.environment(fault), arguments=again, limit_s=limit_s)
                    landed, what = layer.counted().calls >= fault.at, str(fault)
                    moment = fault.at / max(1, whole.counted.calls)
                else:
                    cut = Cut(chance.uniform(0.0, whole.ended.duration_s), _kill)
                    ended = run(work, home, cut=cut, arguments=again, limit_s=limit_s)
                    landed, what = ended.was_struck, f"kill after {cut.after_s:.2f} s"
                    moment = cut.after_s / whole.ended.duration_s
                moments += [moment] * landed
                # What a child's death does is for its parent to tell.
                found = [*ended.stayed, *(ended.said if ended.code >= 0 else ()), *self._wrong(home, whole)]
                # One that nothing happened to goes on with what the others left.
                found += () if landed else ended.missed
                faults += (f"{what}: {one}" for one in dict.fromkeys(found))
                if not landed:  # it is done: there is nothing left to kill
                    break
            faults += unlisted(home, work)
            faults += self._go_on(work, home, whole)
        return Outcome(len(moments), tuple(faults), tuple(moments))

    def child(self, work: Work, seed: int) -> Outcome:
        """SIGKILL for one of the processes that it began: the engine, pip, the quantizer."""
        chance = _chance(work, seed)
        return self._cut(
            work, chance, lambda running, home: _kill_child(running, home, chance), "child killed"
        )

    def stop(self, work: Work, seed: int) -> Outcome:
        """SIGTERM, SIGINT or SIGHUP: it ends as by Ctrl-C."""
        number = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[seed % 3]

        def strike(running: Running, _home: Home) -> bool:
            running.process.send_signal(number)
            return True

        return self._cut(work, _chance(work, seed), strike, number.name)

    def terminal(self, work: Work, seed: int) -> Outcome:
        """A terminal whose window is closed, or in which Ctrl-C is pressed."""

        def press(running: Running, _home: Home) -> bool:
            running.type(b"\x03")
            return True

        def close(running: Running, _home: Home) -> bool:
            running.hang_up()
            return True

        if seed % 2 and not work.needs_terminal:
            return self._cut(work, _chance(work, seed), press, "Ctrl-C", in_terminal=True)
        return self._cut(work, _chance(work, seed), close, "closed", in_terminal=True)

    def _cut(
        self,
        work: Work,
        chance: random.Random,
        strike: Callable[[Running, Home], bool],
        name: str,
        *,
        in_terminal: bool = False,
    ) -> Outcome:
        whole = self.undisturbed(work)
        cut = Cut(chance.uniform(0.0, whole.ended.duration_s), strike, ends_it=name != "child killed")
        with self._home(work) as (home, _):
            ended = run(work, home, cut=cut, in_terminal=in_terminal, limit_s=patience_s(work, whole))
            said = () if cut.ends_it and was_early(ended) else ended.said
            # Who lost a helper and did not end of it goes on with another one.
            missed = () if cut.ends_it or ended.code else ended.missed
            found = [
                *ended.stayed,
                *said,
                *missed,
                *self._wrong(home, whole),
                *self._go_on(work, home, whole),
            ]
        return Outcome(
            int(ended.was_struck),
            tuple(f"{name} after {cut.after_s:.2f} s: {one}" for one in found),
            (cut.after_s / whole.ended.duration_s,) * ended.was_struck,
        )

    def full(self, work: Work, seed: int) -> Outcome:
        """A disk that is full after some bytes."""
        n_bytes = self.undisturbed(work).counted.n_bytes
        return self._disk(work, Fault("full", _chance(work, seed).randint(1, max(1, n_bytes))))

    def fail(self, work: Work, seed: int) -> Outcome:
        """A disk that fails: once, from then on, or when it is read."""
        counted, chance = self.undisturbed(work).counted, _chance(work, seed)
        fault = (
            Fault("fail", chance.randint(1, max(1, counted.calls))),
            Fault("dead", chance.randint(1, max(1, counted.calls))),
            Fault("read", chance.randint(1, max(1, counted.reads))),
        )[seed % 3]
        return self._disk(work, fault)

    def lie(self, work: Work, seed: int) -> Outcome:
        """A disk that takes half of what it is given, says late that it could not, or forgets what it was not told to keep."""
        whole, chance = self.undisturbed(work), _chance(work, seed)
        if seed % 3 == 0:
            return self._disk(work, Fault("fsync", chance.randint(1, max(1, whole.counted.syncs))))
        if seed % 3 == 1:
            return self._disk(work, Fault("short", chance.randint(1, max(1, whole.counted.calls))))
        fault = Fault("power", chance.randint(1, max(1, whole.counted.calls)))
        with self._home(work) as (home, layer):
            run(work, home, layer=layer.environment(fault), grace_s=0.0)
            landed = layer.counted().calls >= fault.at
            home.forget(layer.unflushed() if landed else {}, chance)
            found = [*self._wrong(home, whole), *self._go_on(work, home, whole)]
        return Outcome(int(landed), tuple(f"{fault}: {one}" for one in found))

    def _disk(self, work: Work, fault: Fault) -> Outcome:
        whole = self.undisturbed(work)
        with self._home(work) as (home, layer):
            ended = run(work, home, layer=layer.environment(fault), limit_s=patience_s(work, whole))
            found = [*ended.stayed, *ended.said, *self._wrong(home, whole)]
            if fault.kind == "short":
                found += ended.missed
            if not ended.code:
                found += missing(work, home, whole)
            found += self._go_on(work, home, whole)
        return Outcome(1, tuple(f"{fault}: {one}" for one in found))

    def clock(self, work: Work, seed: int) -> Outcome:
        """The time of day jumps by up to years, forward and back: nothing comes of it."""
        whole = self.undisturbed(work)
        with self._home(work) as (home, layer):
            ended = run(work, home, layer=layer.environment(Fault("clock", seed)))
            found = [*ended.stayed, *ended.said, *ended.missed, *self._wrong(home, whole)]
            found += self._remains(work, home, whole)
        return Outcome(1, tuple(found))

    def memory(self, work: Work, seed: int) -> Outcome:
        """An address space that is too small, from where Python starts at all; then one without bounds."""
        limit = _chance(work, seed).randint(_LEAST_MEMORY, _MOST_MEMORY)
        return self._limited(work, f"ulimit -v {limit // 1024}", f"{limit // MIB} MiB")

    def limits(self, work: Work, seed: int) -> Outcome:
        """Too few open files, or no file larger than that."""
        whole, chance = self.undisturbed(work), _chance(work, seed)
        if seed % 2:
            n_files = chance.randint(8, 64)
            return self._limited(work, f"ulimit -n {n_files}", f"{n_files} open files")
        n_blocks = chance.randint(1, max(2, whole.counted.n_bytes // 512))
        return self._limited(work, f"ulimit -f {n_blocks}", f"files of {n_blocks} blocks")

    def _limited(self, work: Work, limit: str, what: str) -> Outcome:
        whole = self.undisturbed(work)
        with self._home(work) as (home, _):
            ended = run(
                work, home, before=("sh", "-c", f'{limit}; exec "$0" "$@"'), limit_s=patience_s(work, whole)
            )
            found = [*ended.stayed, *ended.said, *self._wrong(home, whole)]
            if not ended.code:
                found += missing(work, home, whole)
            found += self._go_on(work, home, whole)
        return Outcome(1, tuple(f"{what}: {one}" for one in found))

    def pipe(self, work: Work, seed: int) -> Outcome:
        """Streams that are closed, full or not read: one line, or nothing."""
        trouble = [*_SHELL, "nobody reads"][seed % N_STREAMS]
        # Without a reader of stdout it ends in silence, as programs do that die of SIGPIPE.
        is_mute = any(word in trouble for word in ("stderr", "all", "reader"))
        with self._home(work) as (home, _):
            if trouble == "nobody reads":
                ended = self._unread(work, home, seed)
            else:
                ended = run(work, home, before=("sh", "-c", _SHELL[trouble]), quiet=is_mute)
            found = [*ended.stayed, *ended.said]
            # Who is told to end keeps what has come.
            found += (
                self._go_on(work, home, self.undisturbed(work))
                if trouble == "nobody reads"
                else home.unfinished()
            )
        return Outcome(1, tuple(f"{trouble}: {one}" for one in found))

    @staticmethod
    def _unread(work: Work, home: Home, seed: int) -> Ended:
        """A terminal that shows no more, as over a connection that hangs; SIGTERM ends it all the same."""

        def strike(running: Running, _home: Home) -> bool:
            if isinstance(running, Terminal):
                running.is_read = False
            with suppress(OSError):
                running.type(b"\r/help\r" * 50)
            running.process.send_signal(signal.SIGTERM)
            return True

        after_s = _chance(work, seed).uniform(0.5, 4.0)
        ended = run(work, home, cut=Cut(after_s, strike), in_terminal=True)
        return ended if ended.code >= 0 else Ended(0, 0.0, ended.was_struck, (), (), ended.stayed, "")

    def _wrong(self, home: Home, whole: Undisturbed) -> Iterator[str]:
        yield from home.damaged(whole.files)
        yield from home.lost(self._inputs)

    def _go_on(self, work: Work, home: Home, whole: Undisturbed) -> list[str]:
        """What is wrong after a run without faults over what others left."""
        ended = run(work, home, arguments=work.next_arguments(home.folder / "work"))
        found = [*ended.stayed, *ended.said, *ended.missed, *self._wrong(home, whole)]
        if not ended.code:
            found += missing(work, home, whole)
        found += self._remains(work, home, whole)
        return [f"the next run: {one}" for one in found]

    @staticmethod
    def _remains(work: Work, home: Home, whole: Undisturbed) -> Iterator[str]:
        return home.unfinished() if work.varies else home.left_over(whole.files)


def _chance(work: Work, seed: int) -> random.Random:
    return random.Random(f"{work.name} {seed}")


def _kill(running: Running, _home: Home) -> bool:
    running.process.kill()
    return True


def _kill_child(running: Running, home: Home, chance: random.Random) -> bool:
    """Waits for one where there is none yet: some works have a child for a small part of their way."""
    patience = Patience(_CHILD_S)
    while running.process.poll() is None and patience.left_s():
        if children := sorted(alive(home.token).keys() - {running.process.pid}):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGKILL)
            return True
        running.read(0.02)
    return False
