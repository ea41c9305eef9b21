"""Fetching a model beside whatever else is going on."""

from dataclasses import dataclass

from edgespec.catalog.resolve import ResolvedModel, resolve_model
from edgespec.catalog.toml_file import load_catalog
from edgespec.worker.protocol import Link


@dataclass(frozen=True, slots=True)
class PullJob:
    """Fetch one model. What arrived stays when it is stopped, and the next such job goes on from there."""

    spec: str
    """A name of the catalogue, or a model of the hub such as `owner/repo:Q4_K_M`."""
    offline: bool = False

    def run(self, link: Link) -> ResolvedModel:
        """Fetches and checks it.

        Raises:
            EdgespecError: it is unknown, gated, too large for the disk, or did not arrive as published.
        """
        return resolve_model(self.spec, load_catalog(), offline=self.offline, progress=link.progress)
