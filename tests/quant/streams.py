"""What a plan's own streams make of a text."""

import numpy as np
from numpy.typing import NDArray

from quant.gguf.plan import GgufPlan
from quant.measure.evaluate import nll
from quant.numeric.residual_stream import read_head


def next_token_nll(
    plan: GgufPlan, streams: NDArray[np.float32], tokens: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Mean negative log-likelihood in nats of each window's next tokens, (n,), from the streams after the last block."""
    head = read_head(plan)
    scored = zip(streams, tokens, strict=True)
    return np.array([nll(head.logits(stream[:-1]), window[1:]).mean() for stream, window in scored])
