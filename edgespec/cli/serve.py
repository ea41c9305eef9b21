"""`edgespec serve`: the server for programs."""

import contextlib
import logging
import os
import re
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import click

from edgespec.cli.context import Settings
from edgespec.cli.engine_options import EngineOptions, engine_options
from edgespec.cli.extras import check_extra
from edgespec.errors import ExitCode, UsageError
from edgespec.text import plain_text

if TYPE_CHECKING:
    from edgespec.progress import Progress
    from edgespec.serve.registry import Registry
    from edgespec.worker.protocol import Progressed
    from edgespec.worker.serving_protocol import SharedOpened

log = logging.getLogger(__name__)

ENGINE_COMMAND: Final = (sys.executable, "-P", "-X", "faulthandler", "-m", "edgespec.worker.serving")
"""Runs the process of a model."""
_KEY_VARIABLE: Final = "EDGESPEC_API_KEY"
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]+")
"""As of the header `Origin`: without a path."""


@click.command("serve")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--draft", default="auto", show_default=True, help="Of the first model: a model, ngram, auto or none."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Its port; 0: any."
)
@click.option(
    "--api-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"A file with keys, one a line; callers need one of them. {_KEY_VARIABLE} is one, too.",
)
@click.option("--allow-without-key", is_flag=True, help="Let other machines in without a key.")
@click.option(
    "--cors", multiple=True, metavar="ORIGIN", help="Pages of this site may use it; may be repeated."
)
@click.option("--alias", multiple=True, help="Another name for the first model; may be repeated.")
@click.option(
    "-np", "--parallel", type=click.IntRange(1, 128), default=4, show_default=True, help="Answers at a time."
)
@click.option(
    "--queue",
    type=click.IntRange(0),
    default=64,
    show_default=True,
    help="Answers that may wait beside them.",
)
@click.option(
    "--keep-alive",
    metavar="TIME",
    default="1h",
    show_default=True,
    help="A model that is idle for so long is unloaded: 90s, 15m; 0: at once; never (or -1): it stays.",
)
@click.option(
    "--cache-ram",
    type=click.IntRange(0),
    metavar="MIB",
    help="Memory for conversations that have left the KV cache [default: a share of what is free].",
)
@click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep conversations in this folder until the next start.",
)
@click.option("--log-prompts", is_flag=True, help="Write prompts to stderr; otherwise they are not logged.")
@engine_options
@click.pass_obj
def command(
    settings: Settings,
    /,
    models: tuple[str, ...],
    draft: str,
    host: str,
    port: int,
    api_key: Path | None,
    allow_without_key: bool,
    cors: tuple[str, ...],
    alias: tuple[str, ...],
    parallel: int,
    queue: int,
    keep_alive: str,
    cache_ram: int | None,
    cache_dir: Path | None,
    log_prompts: bool,
    engine: EngineOptions,
) -> int:
    """Serve the first MODEL [default: the embedded one] to programs that speak OpenAI's or Anthropic's protocol.

    A request may name any other model that is on this machine: it is loaded when it is asked for. Nothing is fetched for a request.
    """
    check_extra("edgespec serve", "serve", "starlette", "uvicorn")
    keys = _read_keys(api_key)
    _check_places(host, cors, cache_dir)
    from edgespec.durations import parse_keep_alive_s
    from edgespec.llama.rpc import Endpoint
    from edgespec.serve.guard import Access
    from edgespec.serve.pool import PoolSettings
    from edgespec.serve.server import ServerSettings, serve
    from edgespec.worker.serving_protocol import OpenShared

    if not (keys or allow_without_key or Endpoint(host, port).is_loopback):
        raise UsageError(
            f"{host} can be reached by other machines, and there is no key",
            "give a file of keys with --api-key, or say --allow-without-key",
        )
    opening = OpenShared(
        None,
        "auto",
        engine.make_settings(),
        parallel,
        None if cache_ram is None else cache_ram << 20,
        cache_dir.absolute() if cache_dir else None,
        settings.offline,
    )
    pool = PoolSettings(opening, queue, parse_keep_alive_s(keep_alive), ENGINE_COMMAND)
    registry = _make_registry(models, draft, alias)
    shown = _Shown(registry.default.id, quiet=settings.quiet)
    where = ServerSettings(host, port, Access(host, keys, cors), log_prompts)
    # It is how serving ends, so it is not a failure.
    with shown, contextlib.suppress(KeyboardInterrupt):
        serve(where, pool, registry, tell=shown.ready, tell_progress=shown.progressed)
    shown.say("ended")
    return ExitCode.OK


def _read_keys(file: Path | None) -> tuple[str, ...]:
    """The keys of a file and of the environment.

    Raises:
        UsageError: the file has none.
    """
    keys = [os.environ.get(_KEY_VARIABLE, "").strip()]
    if file is not None:
        lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
        if not any(lines):
            raise UsageError(f"{file} holds no key", "write one a line")
        if os.name == "posix" and file.stat().st_mode & stat.S_IROTH:
            log.warning("the mode of %s lets other users read its keys; chmod 600 mends that", file)
        keys += lines
    return tuple(dict.fromkeys(filter(None, keys)))


def _check_places(host: str, origins: Sequence[str], cache_dir: Path | None) -> None:
    """What would else only be noticed when nobody looks any more.

    Raises:
        UsageError: names the option.
    """
    if not host.strip():
        raise UsageError(
            f"--host {host!r} is not an address", "write 127.0.0.1, or 0.0.0.0 for all of this machine's"
        )
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise UsageError(
                f"--cors {origin!r} is not an origin",
                "write it as browsers do: https://editor.example, or * for all",
            )
    if cache_dir is not None:
        try:
            cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache_dir):
                pass
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(
                f"--cache-dir {cache_dir} cannot be written: {reason}", "name another folder"
            ) from None


def _make_registry(models: Sequence[str], draft: str, alias: Sequence[str]) -> "Registry":
    from edgespec.catalog.toml_file import load_catalog
    from edgespec.serve.registry import Registry, Served

    named = models or (load_catalog().default,)
    own = [
        Served(_name_of(model), model, draft if place == 0 else "auto", may_fetch=True)
        for place, model in enumerate(named)
    ]
    return Registry(own, alias)


def _name_of(model: str) -> str:
    """A file is called after itself, without its folder."""
    return Path(model).stem if model.lower().endswith(".gguf") and Path(model).is_file() else model


class _Shown:
    """What is told on stderr: the progress of loading, then one line."""

    def __init__(self, model: str, *, quiet: bool) -> None:
        self._model, self._quiet = model, quiet
        self._bars = contextlib.ExitStack()
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        from edgespec.cli.progress import shown_progress

        self._progress = self._bars.enter_context(shown_progress(quiet=self._quiet))
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.close()

    def progressed(self, event: "Progressed") -> None:
        """How far loading is."""
        if self._progress is not None:
            self._progress.stage(event.label, event.total, done=event.done, unit=event.unit)

    def ready(self, address: str, opened: "SharedOpened") -> None:
        """The first model is loaded."""
        self._bars.close()
        draft = f"draft {opened.draft}" if opened.draft else "no draft model"
        if opened.pooling:
            draft = "a reranker" if opened.ranks else f"embeddings, {opened.pooling} pooling"
        note = f", {opened.note}" if opened.note else ""
        self.say(f"serving {self._model} ({draft}{note}) at {address}/v1; Ctrl-C ends it")

    def say(self, text: str) -> None:
        """One line; a log that is full or that nobody reads any more is no reason to end."""
        if not self._quiet:
            with contextlib.suppress(OSError):
                click.echo(plain_text(f"edgespec: {text}"), err=True)
