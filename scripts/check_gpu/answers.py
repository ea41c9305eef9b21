"""Opens a pair in a process of its own, answers, and prints what there is to know of it as JSON. A placement is judged by that.

python -m scripts.check_gpu.answers '{"target": "MODEL.gguf", "draft": "none", "prompts": ["..."], "max_tokens": 24}'
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from edgespec.bench.audit import logit_gap
from edgespec.catalog.model_file import open_file
from edgespec.decode.measure_costs import time_decodes
from edgespec.decode.timed_text import arbitrary_tokens
from edgespec.errors import EdgespecError
from edgespec.llama.context import Context
from edgespec.llama.devices import list_devices
from edgespec.llama.placement import PlacementRequest, parse_gpu_layers
from edgespec.llama.rpc import parse_endpoints
from edgespec.session import EngineSettings, open_pair
from edgespec.session.memory_needs import estimate_target

CURVE_ROWS = tuple(range(1, 17))


def settings_of(asked: dict[str, Any]) -> EngineSettings:
    """What a pair is opened with; fields as the command line has them."""
    split = tuple(asked.get("tensor_split", ()))
    return EngineSettings(
        n_ctx=asked.get("n_ctx", 2048),
        placement=PlacementRequest(
            parse_gpu_layers(asked.get("gpu_layers", "auto")), tuple(asked.get("device", ())), split
        ),
        draft_placement=PlacementRequest(
            parse_gpu_layers(asked.get("draft_gpu_layers", "auto"), "draft"),
            tuple(asked.get("draft_device", ())),
        ),
        kv_offload=asked.get("kv_offload", True),
        rpc=parse_endpoints(asked.get("rpc", "")),
    )


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Opens, answers, closes; as often as `times` says."""
    settings = settings_of(asked)
    told: dict[str, Any] = {"free_before": free_memory(), "resident_before": resident_bytes(), "closed": []}
    for _ in range(asked.get("times", 1)):
        with open_pair(asked["target"], asked["draft"], settings=settings) as session:
            told |= {"free_loaded": free_memory(), "resident_loaded": resident_bytes()}
            told["placements"] = session.engine.placements()
            told["estimate"] = asdict(estimate_target(session.engine.target.file, session.engine.settings))
            told["prompts"], told["answers"], told["tok_per_s"], told["draft_n"] = [], [], [], 0
            for prompt in asked["prompts"]:
                told["prompts"].append(session.tokenize(prompt, raw=True))
                session.forget()
                told["answers"].append(
                    [token.id for token in session.stream(prompt, max_tokens=asked["max_tokens"], raw=True)]
                )
                told["tok_per_s"].append(session.stats.tok_per_s)
                told["draft_n"] += session.stats.draft_n
            told["why"] = session.stats.why
            if asked.get("curve"):
                context = session.engine.target.context
                warm_up(context)
                told["curve"] = time_decodes(context, CURVE_ROWS, asked["curve"], all_outputs=True)
        told["closed"].append({"free": free_memory(), "resident": resident_bytes()})
    return told


def warm_up(context: Context) -> None:
    """Decodes every number of rows once: a driver compiles for each what it computes it with, and may take minutes for that."""
    for rows in CURVE_ROWS:
        context.decode(arbitrary_tokens(context.model, rows), outputs=rows)
        context.logits(1)
    context.clear()


def try_answer(asked: dict[str, Any]) -> dict[str, Any]:
    """The same, or why not."""
    try:
        return answer(asked)
    except EdgespecError as error:
        return {"failed": error.message}


def gaps(asked: dict[str, Any]) -> list[float]:
    """Of each text of tokens, how far the best next token is above the second, on the CPU."""
    settings = EngineSettings(n_ctx=asked.get("n_ctx", 2048), placement=PlacementRequest(0))
    with open_pair(asked["target"], "none", settings=settings) as session:
        return [float(logit_gap(session.engine.target.context, tokens)) for tokens in asked["gaps"]]


def devices() -> list[dict[str, Any]]:
    """What llama.cpp computes on."""
    return [asdict(device) for device in list_devices()]


def describe(path: str) -> dict[str, Any]:
    """Of a model, what placements are reckoned with."""
    meta = open_file("m", Path(path)).meta
    return {"n_layers": (meta.block_count or 0) + 1, "weights_bytes": meta.weights_bytes}


def free_memory() -> dict[str, int]:
    """Free bytes by device."""
    return {device.name: device.memory_free_bytes for device in list_devices()}


def resident_bytes() -> int:
    """Of this process."""
    return int(psutil.Process().memory_info().rss)


def main(arguments: Sequence[str]) -> int:
    """Does what is asked."""
    asked = json.loads(arguments[0])
    done: object
    if isinstance(asked, list):
        done = [try_answer(one) for one in asked]
    elif "gaps" in asked:
        done = gaps(asked)
    elif "describe" in asked:
        done = {"devices": devices(), "model": describe(asked["describe"])}
    else:
        done = answer(asked)
    print(json.dumps(done), flush=True)
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])

    sys.exit(code)
