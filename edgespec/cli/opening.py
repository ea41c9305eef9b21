"""Finds models and opens pairs, with the progress of it on stderr."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgespec.cli.context import Settings
from edgespec.cli.progress import shown_progress

if TYPE_CHECKING:
    from edgespec.catalog.model_file import ModelFile
    from edgespec.session import EngineSettings, Session
    from edgespec.session.choice import PairFiles


def watch_devices(engine_settings: "EngineSettings") -> None:
    """With RPC servers or accelerators: the loss of one ends the process with one line, not with a core dump."""
    from functools import partial

    from edgespec.cli.errors import end_with_native_code
    from edgespec.llama.devices import default_devices, list_devices
    from edgespec.llama.native_end import on_native_end

    if engine_settings.rpc:
        hint = "start the RPC server again, or leave --rpc out"
    elif default_devices(list_devices()):
        hint = "if a device was lost, or ran out of memory, offload fewer --gpu-layers, or 0 of them"
    else:
        return
    on_native_end(partial(end_with_native_code, hint=hint))


@contextmanager
def open_with_progress(
    target: str | None, draft: str, engine_settings: "EngineSettings", settings: Settings
) -> Iterator["Session"]:
    """A session for as long as the block runs; the bars are gone before the first token.

    Args:
        target: A pair's or model's name, `owner/repo:Q4_K_M`, or a path; None for the default model.
        draft: `auto`, `ngram`, `none`, or a model like `target`.
        engine_settings: What the pair is opened with.
        settings: Whether anything may be fetched, or be shown.

    Raises:
        EdgespecError: any error of `edgespec.session.open_pair`.
    """
    from edgespec.session import open_pair

    watch_devices(engine_settings)
    with shown_progress(quiet=settings.quiet) as progress:
        session = open_pair(
            target,
            draft,
            settings=engine_settings,
            offline=settings.offline,
            progress=progress,
        )
    with session:
        yield session


def find_files(target: str | None, drafts: Sequence[str], settings: Settings) -> "PairFiles":
    """Finds the files of a pair, downloading what is named and not here.

    Raises:
        EdgespecError: any error of `edgespec.session.choice.choose_files`.
    """
    from edgespec.session.choice import choose_files

    with shown_progress(quiet=settings.quiet) as progress:
        return choose_files(target, drafts, offline=settings.offline, progress=progress)


def find_model(spec: str, settings: Settings) -> "ModelFile":
    """Finds the file of one model, downloading what is named and not here, and reads its header.

    Raises:
        EdgespecError: any error of `edgespec.catalog.resolve.open_model`.
        ModelFileError: the file is not a model.
    """
    from edgespec.catalog.resolve import open_model
    from edgespec.catalog.toml_file import load_catalog

    with shown_progress(quiet=settings.quiet) as progress:
        return open_model(spec, load_catalog(), offline=settings.offline, progress=progress)
