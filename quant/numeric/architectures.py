"""Which models are computed block by block."""

from typing import Final

COMPUTED_ARCHITECTURES: Final = ("llama", "deci", "qwen2", "qwen3")
"""Those whose blocks quant/numeric/residual_stream.py computes one by one; those can be refitted."""
