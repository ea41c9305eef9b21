#!/usr/bin/env bash
# llama.cpp b11549 as built in xllamacpp 2026.10.11549, src/llama-sampler.cpp (llama_sampler_dist_apply); Linux, no model.
# llama-cpp-python 0.3.36 does the same.
# Guessed: a sampler that takes nothing away (top_k of the whole vocabulary, top_p of 0.9999999) changes no token of a seed, for
# every token keeps its probability.
# Seen: the probabilities are the same and the tokens are not. dist goes along the candidates in the order that it finds, and
# those two sort them, while min_p and temp leave them as they are. So "the same seed, the same text" holds for one chain only:
# a switch between top_k = 0 and a top_k that never bites is another text, and a reader of logits with a chain of its own cannot
# check a server's draws without sorting as the server does. Fails when this changes.
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


def draw(*samplers):
    """Tokens of twelve draws, and the candidates' probabilities by token."""
    chain = function("chain_init", POINTER, ctypes.c_bool)(False)
    for sampler in samplers:
        function("chain_add", None, POINTER, POINTER)(chain, sampler)
    tokens = []
    for _ in range(12):
        data = (Candidate * VOCABULARY)(*[Candidate(token, logit, 0) for token, logit in enumerate(logits)])
        candidates = Candidates(data, VOCABULARY, -1, False)
        apply(chain, candidates)
        left = candidates.data[: candidates.size]
        tokens.append(candidates.data[candidates.selected].id)
        accept(chain, tokens[-1])
    return tokens, [round(candidate.p, 6) for candidate in sorted(left, key=lambda candidate: candidate.id)]


generator = random.Random(0)
logits = [generator.gauss(0, 2) for _ in range(VOCABULARY)]
init_dist, top_p, min_p = (
    function("init_dist", POINTER, SEED),
    *[function(f"init_{name}", POINTER, FLOAT, SIZE) for name in ("top_p", "min_p")],
)
top_k, temp = function("init_top_k", POINTER, ctypes.c_int32), function("init_temp", POINTER, FLOAT)
alone, probabilities = draw(init_dist(42))
print("dist alone:", alone)
assert len(probabilities) == VOCABULARY
for name, sampler, is_same in (
    ("temp 1", temp(1), True),
    ("min_p 1e-9", min_p(1e-9, 1), True),
    ("top_p 0.9999999", top_p(0.9999999, 1), False),
    (f"top_k {VOCABULARY}", top_k(VOCABULARY), False),
):
    tokens, left = draw(sampler, init_dist(42))
    print(f"after {name}: {tokens}, the same probabilities: {left == probabilities}")
    assert left == probabilities and (tokens == alone) == is_same, "changed"
PY
