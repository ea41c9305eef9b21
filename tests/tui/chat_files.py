"""Conversations to be kept, and what tests look at and do in the file that keeps them."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from textwrap import indent

import pytest

from tests.conftest import REPOSITORY
from tests.tui.scripted import ANSWER
from tui.chat.conversation import Conversation, Message
from tui.chat.store import ChatStore

TEXT = "".join(piece.text for piece in ANSWER)


posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and SIGKILL are POSIX")


def conversation(*questions: str, system: str = "") -> Conversation:
    """With an answer to each question."""
    begun = Conversation.begin(system)
    for question in questions:
        begun = begun.add(Message("user", question)).add(Message("assistant", f"{question}? {TEXT}", ANSWER))
    return begun


def questions_of(chat: Conversation) -> list[str]:
    return [message.content for message in chat.messages if message.role == "user"]


def kept_questions(store: ChatStore) -> set[str]:
    """All that the lists of the app lead to."""
    return {text for one in store.summaries() for text in questions_of(store.load(one.id))}


def edit_file(store: ChatStore, statement: str) -> None:
    with closing(sqlite3.connect(store.database.file)) as connection, connection:
        connection.execute(statement)


def is_sound(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own that runs a program with the arguments in `given`."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys\ngiven = sys.argv[1:]\n{program}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


_APP = """
import asyncio
from tests.tui.scripted import ScriptedWorker
from tui.app import EdgespecApp
from tui.services.launch import Launch
from tui.services.settings import AppSettings

async def run():
    app = EdgespecApp(Launch(), AppSettings(), lambda: ScriptedWorker(hold=True))
    async with app.run_test() as pilot:
        while not app.engine.is_ready:
            await asyncio.sleep(0.01)
{steps}
        print("sent", flush=True)
        await asyncio.sleep(600)

asyncio.run(run())
"""


def kill_app_after(steps: str) -> None:
    """Runs these lines with an `app` and its `pilot`, in a process of its own, and kills it. No answer comes to its end."""
    app = start(_APP.format(steps=indent(steps, 8 * " ")))
    assert app.stdout is not None and app.stdout.readline() == "sent\n"
    app.send_signal(signal.SIGKILL)
    app.wait()
