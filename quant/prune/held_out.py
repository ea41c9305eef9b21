"""What a repair is worth: the losses of a model before it, after it and of the dense one, on text it was not fitted to."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from quant.measure.likelihood import nll_and_kl
from quant.numeric.residual_stream import Matrix, OutputHead
from quant.prune.repair_report import RepairReport
from quant.text.calibration import Calibration
from quant.text.windows import Tokens

_LOGIT_ROWS: Final = 64
"""In memory at once: of 150,000 tokens, 38 MB."""


def judge_repair(
    head: OutputHead, text: Calibration, dense: Matrix, unrepaired: Matrix, repaired: Matrix
) -> RepairReport:
    """Compares both with the dense model on the held-out windows.

    Args:
        head: Of the dense model; pruning and repair leave it as it is.
        text: Whose `held_out` is `[n_windows, n_ctx]`.
        dense: The residuals after the last block, `[n_windows, n_ctx, n_embd]`, as are the others.
        unrepaired: Of the smaller model as it was taken out.
        repaired: Of the refitted one.
    """
    windows = zip(text.held_out, dense, unrepaired, repaired, strict=True)
    losses = np.array([_losses(head, *window) for window in windows])
    (dense_nll, cut_nll, cut_kl), (_, repaired_nll, repaired_kl) = losses.mean(axis=0).tolist()
    harm, n_texts = losses[:, 1, 2] - losses[:, 0, 2], text.n_texts
    return RepairReport(
        dense_nll=dense_nll,
        cut_nll=cut_nll,
        repaired_nll=repaired_nll,
        cut_kl=cut_kl,
        repaired_kl=repaired_kl,
        harmed_texts=tuple(number for number in range(n_texts) if harm[number::n_texts].sum() > 0),
    )


def _losses(head: OutputHead, window: Tokens, dense: Matrix, *pruned: Matrix) -> NDArray[np.float64]:
    """For each of the pruned models the dense one's and its own negative log-likelihood and their KL divergence, in nats.

    Args:
        head: Of all of them.
        window: `[n_ctx]` tokens.
        dense: Residual after the last block, `[n_ctx, n_embd]`.
        pruned: Likewise, of several models.

    Returns:
        `[n_pruned, 3]`, means over the n_ctx - 1 tokens that follow another.
    """
    sums = np.zeros((len(pruned), 3))
    n_scored = len(window) - 1
    for start in range(0, n_scored, _LOGIT_ROWS):
        rows = slice(start, min(start + _LOGIT_ROWS, n_scored))
        dense_logits, following = head.logits(dense[rows]), window[1:][rows]
        for total, residual in zip(sums, pruned, strict=True):
            scores = nll_and_kl(head.logits(residual[rows]), following, dense_logits)
            total += scores.dense_nll.sum(), scores.nll.sum(), scores.kl.sum()
    return sums / n_scored
