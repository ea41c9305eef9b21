"""The model of a conversation: what answered is kept with it, and comes back with it."""

import asyncio
from pathlib import Path

from edgespec.catalog.resolve import resolve_model
from edgespec.catalog.toml_file import load_catalog
from edgespec.decode.policy import Mode
from edgespec.errors import EdgespecError
from edgespec.text import one_line
from edgespec.worker.protocol import ChangeMode
from tui.chat.conversation import Conversation, Opened
from tui.services.app_services import AppServices
from tui.services.engine_client import EngineClient, EngineState


def opened_by(engine: EngineClient) -> Opened | None:
    """What is loaded now; None where nothing is, or where a server answers."""
    pair, request = engine.pair, engine.request
    if pair is None or request is None or pair.server:
        return None
    return Opened(request.target or pair.target, pair.mode)


async def bring_model(services: AppServices, conversation: Conversation) -> str:
    """Loads the model that answered a conversation, if it is on this machine, and drafts as then; what to say of it.

    What is loaded stays where the model is not here: nothing is fetched.
    """
    opened = conversation.opened
    spec = opened.spec if opened else conversation.target
    mode = opened.mode if opened else None
    pair = services.engine.pair
    if services.launch.server is not None or not spec:
        return ""
    if pair is not None and pair.target == conversation.target:
        if mode not in (None, pair.mode) and (pair.draft or mode is not Mode.MODEL):
            services.engine.ask(ChangeMode(mode))
        return ""
    file = await asyncio.to_thread(find_file, spec)
    if file is not None:
        request = services.engine.request
        is_loading = services.engine.state is EngineState.LOADING and request is not None
        if is_loading and file == await asyncio.to_thread(find_file, request.target if request else None):
            return ""
        services.open_engine(spec, mode)
        return f"loading {one_line(conversation.target)}, which answered here"
    goes_on = f"{one_line(pair.target)} goes on" if pair else "another one answers"
    return f"{one_line(conversation.target)}, which answered here, is not on this machine: {goes_on}; F5 fetches models"


def find_file(spec: str | None) -> Path | None:
    """The file of a pair's or a model's target; None where it is not on this machine.

    Args:
        spec: A name, or a path; None for the default model.
    """
    try:
        catalog = load_catalog()
        name = spec or catalog.default
        pair = catalog.find_pair(name)
        return resolve_model(pair.target if pair else name, catalog, offline=True, download=False).path
    except (EdgespecError, OSError):
        return None
