"""Choosing rows of a plan's tensors: exact in every type, because no quantized block spans two rows."""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from quant.container import ComputedTensor, CopiedBytes, CopiedRows, GgufPlan, PlannedTensor, TensorSource
from quant.tensors import planned_bytes


def chosen_rows(plan: GgufPlan, tensor: PlannedTensor, rows: NDArray[np.int64]) -> PlannedTensor:
    """The tensor with only these rows, in this order; of a vector, these items.

    Args:
        plan: The tensor's.
        tensor: A matrix, or a vector of an unquantized type.
        rows: Numbers of rows (outputs).
    """
    n_rows = tensor.shape[-1]
    row_bytes = tensor.n_bytes // n_rows
    return replace(
        tensor,
        shape=(*tensor.shape[:-1], len(rows)),
        source=_source(plan, tensor, row_bytes, rows),
    )


def _source(plan: GgufPlan, tensor: PlannedTensor, row_bytes: int, rows: NDArray[np.int64]) -> TensorSource:
    match tensor.source:
        case CopiedBytes(part, offset, _):
            return CopiedRows(part, offset, row_bytes, rows)
        case CopiedRows(part, offset, _, earlier):
            return CopiedRows(part, offset, row_bytes, earlier[rows])
        case _:
            return ComputedTensor(partial(_gathered, plan, tensor.name, row_bytes, rows))


def _gathered(plan: GgufPlan, name: str, row_bytes: int, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    gathered: NDArray[np.uint8] = planned_bytes(plan, name).reshape(-1, row_bytes)[rows]
    return gathered.reshape(-1)
