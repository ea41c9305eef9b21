"""What downloads that broke off have left of a model, whichever source it came from."""

from edgespec.catalog.entries import ModelEntry
from edgespec.catalog.sources import hub_cache, wheels


def arrived_bytes(entry: ModelEntry) -> int:
    """Bytes that a download which broke off has left, and that the next one goes on from; 0 for a whole model."""
    from_hub = sum(path.stat().st_size for path in hub_cache.find_arrived(entry))
    return max(from_hub, wheels.arrived_bytes(entry))


def discard_arrived(entry: ModelEntry) -> None:
    """Remove what downloads that broke off have left of a model; of a whole one nothing is touched.

    Raises:
        OSError: a file cannot be removed.
    """
    hub_cache.discard_arrived(entry)
    wheels.discard_arrived(entry)
