"""Tiny models in Hugging Face's form, written by hand: a random llama with or without a tokenizer."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

N_VOCAB, N_EMBD, N_FF = 320, 64, 128
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": N_VOCAB,
    "hidden_size": N_EMBD,
    "intermediate_size": N_FF,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
STAND_IN = """
import logging, shutil, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO)
folder = Path(sys.argv[1])
said = (folder / "said.txt").read_text() if (folder / "said.txt").exists() else ""
if said:
    Path(sys.argv[sys.argv.index("--outfile") + 1]).write_bytes(b"half of it")
    logging.getLogger("hf-to-gguf").error(said)
    sys.exit(1)
for percent in (0, 50, 100):
    print(f"\\rWriting: {percent:3d}%|###| 1/2", end="", file=sys.stderr)
shutil.copyfile(folder / "answer.gguf", sys.argv[sys.argv.index("--outfile") + 1])
"""
"""Called and heard as the converter is: its file is one that the test laid ready, or there is an error."""


def safetensors(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The bytes of a safetensors file in single precision."""
    header, start = {}, 0
    for name, tensor in tensors.items():
        end = start + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(tensor.tobytes() for tensor in tensors.values())


def llama_weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random weights by the names that transformers gives them."""
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return rng.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)

    weights = {"model.embed_tokens.weight": matrix(N_VOCAB, N_EMBD)}
    for block in range(2):
        prefix = f"model.layers.{block}."
        weights |= {
            f"{prefix}self_attn.q_proj.weight": matrix(N_EMBD, N_EMBD),
            f"{prefix}self_attn.k_proj.weight": matrix(N_EMBD // 2, N_EMBD),
            f"{prefix}self_attn.v_proj.weight": matrix(N_EMBD // 2, N_EMBD),
            f"{prefix}self_attn.o_proj.weight": matrix(N_EMBD, N_EMBD),
            f"{prefix}mlp.gate_proj.weight": matrix(N_FF, N_EMBD),
            f"{prefix}mlp.up_proj.weight": matrix(N_FF, N_EMBD),
            f"{prefix}mlp.down_proj.weight": matrix(N_EMBD, N_FF),
            f"{prefix}input_layernorm.weight": np.ones(N_EMBD, np.float32),
            f"{prefix}post_attention_layernorm.weight": np.ones(N_EMBD, np.float32),
        }
    norm, output = np.ones(N_EMBD, np.float32), matrix(N_VOCAB, N_EMBD)
    return weights | {"model.norm.weight": norm, "lm_head.weight": output}


def write_llama(folder: Path) -> Path:
    """The model without its tokenizer."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(safetensors(llama_weights()))
    return folder


def write_tokenizer(folder: Path) -> None:
    """A SentencePiece tokenizer, trained on a sentence; needs the package sentencepiece."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["The heron stood in the reeds and waited for the tide to turn."] * 20),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=N_VOCAB,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
