"""How a model that is loaded wants its tokens picked."""

from edgespec.catalog import own_sampling as catalog
from edgespec.catalog.model_file import ModelFile
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import SamplingWish


def own_sampling(file: ModelFile) -> Sampling:
    """What its file says, or the catalogue; greedy where neither gives a temperature."""
    return SamplingWish(**catalog.own_sampling(file.meta, file.sampling)).over(Sampling())  # type: ignore[arg-type]
