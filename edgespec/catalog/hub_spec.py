"""What people write for a model of the hub: `owner/repo:QUANT`, as llama.cpp and ollama take it, or an address."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from edgespec.errors import ModelMissingError

_PLAIN: Final = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<what>[^:]+))?", re.ASCII
)
_QUANT: Final = re.compile(r"[\w.-]+", re.ASCII)
_HOSTS: Final = ("huggingface.co", "www.huggingface.co", "hf.co")
_PAGES: Final = ("blob", "resolve", "raw", "tree")
"""What stands before the revision in an address of the hub."""
_ENDING: Final = ".gguf"


@dataclass(frozen=True, slots=True)
class HubSpec:
    """A model of the hub: a file, or the one that a quantization means."""

    repo: str
    """`owner/name`."""
    revision: str | None = None
    """None means the newest."""
    file: str | None = None
    """Path inside the repository."""
    quant: str | None = None
    """Such as `Q4_K_M`; None together with `file` leaves the choice."""

    @property
    def name(self) -> str:
        """The shortest way to write it."""
        what = self.file or self.quant
        return self.repo + (f"@{self.revision}" if self.revision else "") + (f":{what}" if what else "")


def parse_hub_spec(text: str) -> HubSpec | None:
    """What a text means on the hub; None where it means something else: a name, or a path.

    `owner/repo`, with `@revision`, and `:file.gguf` or `:QUANT` after it; the same after `hf.co/` or
    `https://huggingface.co/`; the address of a file, a folder or a repository, as a browser shows it.

    Raises:
        ModelMissingError: an address of another server, or one of the hub that is not a GGUF file's.
    """
    inside = _inside_hub(text)
    if inside is None:
        return _parse_plain(text) if not _is_path(text) else None
    parts = [unquote(part) for part in inside.strip("/").split("/")]
    if len(parts) == 2:
        found = _parse_plain("/".join(parts))
    elif len(parts) > 3 and parts[2] in _PAGES:
        found = _parse_page("/".join(parts[:2]), parts[2], parts[3], "/".join(parts[4:]))
    else:
        found = HubSpec("/".join(parts[:2]), file="/".join(parts[2:])) if _is_gguf(inside) else None
    if found is None:
        raise ModelMissingError(
            f"{text} is not the address of a GGUF model",
            "name a repository, or a .gguf file in one, as in owner/repo:Q4_K_M",
        )
    return found


def _inside_hub(text: str) -> str | None:
    """What follows the hub's host; None where there is no host before."""
    hosts = (*_HOSTS, urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc.lower() or _HOSTS[0])
    for prefix in ("hf://", "hf:"):
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    if "://" in text:
        address = urlsplit(text)
        if address.netloc.lower() in hosts:
            return address.path
        raise ModelMissingError(
            f"{text} is not an address of the hub", "fetch the file yourself, and give its path"
        )
    host, _, rest = text.partition("/")
    return rest if host.lower() in hosts else None


def _parse_plain(text: str) -> HubSpec | None:
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    what = match["what"]
    if what is None or what == "latest":  # ollama's word for no choice
        return HubSpec(match["repo"], match["revision"])
    if _is_gguf(what):
        return HubSpec(match["repo"], match["revision"], file=what)
    return HubSpec(match["repo"], match["revision"], quant=what.upper()) if _QUANT.fullmatch(what) else None


def _parse_page(repo: str, page: str, revision: str, path: str) -> HubSpec | None:
    named = None if revision == "main" else revision
    if page == "tree":  # a folder often is one quantization
        return HubSpec(repo, named, quant=path.rpartition("/")[2].upper() or None)
    return HubSpec(repo, named, file=path) if _is_gguf(path) else None


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(_ENDING)


def _is_path(text: str) -> bool:
    """Whether a text without a host means a file: it is there, or its folder is, or it ends as a file does."""
    path = Path(text)
    return path.exists() or (":" not in text and (_is_gguf(text) or path.parent.exists()))
