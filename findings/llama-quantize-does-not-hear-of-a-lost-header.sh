#!/usr/bin/env bash
# llama-cpp-python 0.3.36 with its llama.cpp, llama_model_quantize; gguf 0.19.0; Python 3.11 and later; Linux with a C compiler.
# Guessed: the quantizer says "fail fast on write errors" of its output stream and means it: what it calls done is on the disk.
# Seen: the stream throws for failbit alone (src/llama-quant.cpp, `fout.exceptions(std::ofstream::failbit)`), and a write that the
# system refuses sets badbit. Refused data are noticed all the same, by the next write or seek. After the last write there is
# none, and that is the header, written over a placeholder of zeros: close() has nothing left to flush and is content. When the
# system refuses that one write, as a file system that copies on writing does when it is full, 0 comes back, and the file begins
# with zeros: no GGUF at all. Here the write is refused by a small library in front of the C library; any other refused write is
# reported. So what a quantizer wrote has to be opened again before it replaces anything. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check llama-cpp-python==0.3.36 gguf==0.19.0 numpy==2.4.6
cd "$work"
cat > refuse.c <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Refuses what is written to the front of a file when the file has something there already. */
static int is_refused(int file) {
    char link[64], path[4096];
    const char *name = getenv("REFUSED");
    link[0] = 0;
    strcat(link, "/proc/self/fd/");
    char digits[16];
    int n = 0;
    for (int left = file; left || !n; left /= 10) digits[n++] = '0' + left % 10;
    for (int at = strlen(link); n;) { link[at++] = digits[--n]; link[at] = 0; }
    long length = readlink(link, path, sizeof path - 1);
    if (!name || length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, name)) return 0;
    int is_header = lseek(file, 0, SEEK_CUR) == 0 && lseek(file, 0, SEEK_END) > 0;
    if (is_header) lseek(file, 0, SEEK_SET);
    errno = ENOSPC;
    return is_header;
}

ssize_t write(int file, const void *data, size_t size) {
    return is_refused(file) ? -1 : syscall(SYS_write, file, data, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return is_refused(file) ? -1 : syscall(SYS_writev, file, parts, count);
}
C
cc -shared -fPIC -O1 -o refuse.so refuse.c
cat > make.py <<'PY'
import gguf
import numpy as np

WIDTH = 256
rng = np.random.default_rng(0)
writer = gguf.GGUFWriter("model.gguf", "llama")
writer.add_block_count(1)
writer.add_context_length(128)
writer.add_embedding_length(WIDTH)
writer.add_feed_forward_length(WIDTH)
writer.add_head_count(4)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_vocab_size(WIDTH)
writer.add_tokenizer_model("no_vocab")
for name in ("token_embd", "output", *(f"blk.0.{part}" for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"))):
    writer.add_tensor(f"{name}.weight", rng.standard_normal((WIDTH, WIDTH), np.float32))
for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
    writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
PY
cat > quantize.py <<'PY'
import ctypes
import sys

import llama_cpp

llama_cpp.llama_backend_init()
settings = llama_cpp.llama_model_quantize_default_params()
settings.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
code = llama_cpp.llama_model_quantize(b"model.gguf", sys.argv[1].encode(), ctypes.byref(settings))
with open(sys.argv[1], "rb") as file:
    print("code", code, "begins with", file.read(4))
PY
"$work/env/bin/python" make.py
sound="$("$work/env/bin/python" quantize.py sound.gguf 2>/dev/null)"
refused="$(REFUSED=lost.gguf LD_PRELOAD="$work/refuse.so" "$work/env/bin/python" quantize.py lost.gguf 2>/dev/null)"
printf '%s\n' "a disk that takes all: $sound" "a disk that refuses the header: $refused"
[ "$sound" = "code 0 begins with b'GGUF'" ] && [ "$refused" = "code 0 begins with b'\\x00\\x00\\x00\\x00'" ]
