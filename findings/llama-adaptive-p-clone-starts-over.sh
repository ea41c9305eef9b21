#!/usr/bin/env bash
# llama.cpp b11549 as built in xllamacpp 2026.10.11549, src/llama-sampler.cpp (llama_sampler_adaptive_p_clone); Linux, no model.
# llama-cpp-python 0.3.36 does the same.
# Guessed: llama_sampler_clone copies a sampler in the middle of a text, random numbers included, whatever sampler it is: the
# original and the clone go on alike.
# Seen: dist, xtc, mirostat and mirostat_v2 do. adaptive_p copies its averages and begins its random numbers anew: the clone
# draws what the first tokens drew. llama-server saves its samplers by this call before it tests a draft on a memory that cannot
# drop tokens (common_sampler_clone, read and not run): there the text with adaptive_p would not be the one of plain decoding
# with the same seed. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549
cd "$work"
"$work/env/bin/python" - <<'PY'
import ctypes
import importlib.util
import random

VOCABULARY = 96
FLOAT, SEED, SIZE, POINTER = ctypes.c_float, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_void_p
library = ctypes.CDLL(importlib.util.find_spec("xllamacpp.xllamacpp").origin)


class Candidate(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int32), ("logit", FLOAT), ("p", FLOAT)]


class Candidates(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.POINTER(Candidate)),
        ("size", SIZE),
        ("selected", ctypes.c_int64),
        ("sorted", ctypes.c_bool),
    ]


def function(name, result, *arguments):
    found = getattr(library, f"llama_sampler_{name}")
    found.restype, found.argtypes = result, arguments
    return found


apply = function("apply", None, POINTER, ctypes.POINTER(Candidates))
accept = function("accept", None, POINTER, ctypes.c_int32)


def draw(sampler, texts):
    """A token for each list of logits."""
    tokens = []
    for logits in texts:
        data = (Candidate * VOCABULARY)(*[Candidate(token, logit, 0) for token, logit in enumerate(logits)])
        candidates = Candidates(data, VOCABULARY, -1, False)
        apply(sampler, candidates)
        tokens.append(candidates.data[candidates.selected].id)
        accept(sampler, tokens[-1])
    return tokens


generator = random.Random(0)
logits = [generator.gauss(0, 2) for _ in range(VOCABULARY)]
samplers = {
    "dist": function("init_dist", POINTER, SEED)(42),
    "mirostat_v2": function("init_mirostat_v2", POINTER, SEED, FLOAT, FLOAT)(42, 5, 0.1),
    "adaptive_p": function("init_adaptive_p", POINTER, FLOAT, FLOAT, SEED)(-1, 0.9, 42),
}
for name, sampler in samplers.items():
    first = draw(sampler, [logits] * 12)
    clone = function("clone", POINTER, POINTER)(sampler)
    original, copy = draw(sampler, [logits] * 12), draw(clone, [logits] * 12)
    print(f"{name}: first {first}\n    original goes on {original}\n    clone goes on    {copy}")
    assert (copy == original) == (name != "adaptive_p") and original != first, "changed"
    assert name != "adaptive_p" or copy == first, "changed"
PY
