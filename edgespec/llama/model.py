"""A model: weights and vocabulary, freed when it is closed."""

import ctypes
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from edgespec.errors import EngineError, ModelFileError, NotEnoughMemoryError
from edgespec.lifetime import Closes
from edgespec.llama.devices import device_handle
from edgespec.llama.fim_tokens import FimTokens, find_fim_tokens
from edgespec.llama.interrupts import HeldInterrupts
from edgespec.llama.library import ClosedLibrary, load_library, take_native_errors
from edgespec.llama.placement import Placement
from edgespec.llama.trial import check_survived
from edgespec.progress import SILENT, Progress, advance_to

_LEARNT_POSITIONS = (b"gpt2", b"starcoder", b"mpt")


class Model(Closes):
    """A loaded GGUF. Ctrl-C ends the loading.

    Args:
        path: The file; of a split model the first part.
        placement: Where its layers go; None for the CPU.
        progress: Advanced by 1 in all, as the weights are loaded.
        weights: False checks every tensor against the architecture and reads none of their bytes: the model says
            what it is and cannot compute.
        is_tried: llama.cpp is known to survive the file, or this is where that is found out.

    Raises:
        ModelFileError: llama.cpp cannot load the file, and the message carries its own words; or it would not survive it.
        NotEnoughMemoryError: the machine or the device has no room for the weights.
    """

    def __init__(
        self,
        path: Path,
        placement: Placement | None = None,
        progress: Progress = SILENT,
        *,
        weights: bool = True,
        is_tried: bool = False,
    ) -> None:
        self.path = path
        self.placement = placement or Placement()
        self._lib: Any = load_library()
        self.handle: Any = None
        if not is_tried:
            check_survived(path, "load" if weights else "header")
        take_native_errors()
        try:
            with HeldInterrupts() as held:
                params, keep = self._params(progress, held)
                # What is tried is mapped as it is: copies in another layout would take as much memory again.
                params.use_extra_bufts = not is_tried
                if not weights:
                    params.no_alloc = True
                    params.load_mode = self._lib.LLAMA_LOAD_MODE_NONE
                self.handle = self._lib.llama_model_load_from_file(os.fsencode(path), params)
        except KeyboardInterrupt:
            self.close()
            raise
        del keep
        if not self.handle:
            raise _load_error(path.name, take_native_errors())
        self.vocab: Any = self._lib.llama_model_get_vocab(self.handle)
        self.n_vocab: int = self._lib.llama_vocab_n_tokens(self.vocab)
        self.n_ctx_train: int = self._lib.llama_model_n_ctx_train(self.handle)
        self.n_embd: int = self._lib.llama_model_n_embd(self.handle)
        self.n_layer: int = self._lib.llama_model_n_layer(self.handle)
        self.size_bytes: int = self._lib.llama_model_size(self.handle)
        self.n_params: int = self._lib.llama_model_n_params(self.handle)
        self.n_positions = self.n_ctx_train if self._learnt_positions() else None
        """Tokens of a context at most, where every position was learnt for itself; None where others can be computed."""
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def _params(self, progress: Progress, held: HeldInterrupts) -> tuple[Any, list[Any]]:
        """The parameter structure, and what must stay alive while it is used."""
        lib, keep = self._lib, list[Any]()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = self.placement.gpu_layers
        if self.placement.devices or not self.placement.gpu_layers:
            # Without layers on it a device would take buffers for nothing, and the weights of the CPU would lie where devices read
            # them fast and not as the CPU multiplies them fast (llama-model.cpp, `make_cpu_buft_list`).
            names = self.placement.devices if self.placement.gpu_layers else ()
            handles = [device_handle(name) for name in names]
            array = (ctypes.c_void_p * (len(handles) + 1))(*handles, None)
            params.devices = ctypes.cast(array, ctypes.c_void_p)
            keep.append(array)
        if self.placement.tensor_split:
            shares = (ctypes.c_float * lib.llama_max_devices())(*self.placement.tensor_split)
            params.tensor_split = shares
            keep.append(shares)

        tell_share = advance_to(progress)

        def go_on(share: float, _user_data: Any) -> bool:
            tell_share(share)
            return not held.pending

        callback = lib.llama_progress_callback(go_on)
        params.progress_callback = callback
        keep.append(callback)
        return params, keep

    @property
    def description(self) -> str:
        """Architecture, size and type in llama.cpp's words, such as `qwen2 1.5B Q4_K - Medium`."""
        buffer = ctypes.create_string_buffer(256)
        self._lib.llama_model_desc(self.handle, buffer, 256)
        return buffer.value.decode("utf-8", "replace")

    @property
    def added_bos(self) -> int | None:
        """The begin-of-text token where the vocabulary wants one before every text, else None."""
        wanted = self._lib.llama_vocab_get_add_bos(self.vocab)
        return int(self._lib.llama_vocab_bos(self.vocab)) if wanted else None

    @property
    def pair_separators(self) -> list[int]:
        """The tokens between a question and a text that it is compared with, as llama-server's `format_prompt_rerank` has it."""
        lib, vocab = self._lib, self.vocab
        return [
            *self.added_eos,
            *([int(lib.llama_vocab_sep(vocab))] if lib.llama_vocab_get_add_sep(vocab) else []),
        ]

    @property
    def added_eos(self) -> list[int]:
        """The end-of-text token where the vocabulary wants one after every text; the separator where it has no such token."""
        if not self._lib.llama_vocab_get_add_eos(self.vocab):
            return []
        eos = int(self._lib.llama_vocab_eos(self.vocab))
        return [eos if eos >= 0 else int(self._lib.llama_vocab_sep(self.vocab))]

    @property
    def bos_text(self) -> str:
        """Text of the begin-of-text token, for chat templates."""
        return self._token_text(self._lib.llama_vocab_bos(self.vocab))

    @property
    def eos_text(self) -> str:
        """Text of the end-of-text token, for chat templates."""
        return self._token_text(self._lib.llama_vocab_eos(self.vocab))

    @cached_property
    def turn_end(self) -> int | None:
        """The token that an answer is most likely to end with: of the ends of turn and text the one that the template writes."""
        ends = (self._lib.llama_vocab_eot(self.vocab), self._lib.llama_vocab_eos(self.vocab))
        known = [int(token) for token in ends if token >= 0]
        written = (token for token in known if self._token_text(token) in (self.chat_template or ""))
        return next(written, known[0] if known else None)

    @cached_property
    def end_texts(self) -> tuple[str, ...]:
        """The names of the tokens that end an answer, or at least those that are said to."""
        ends = (self._lib.llama_vocab_eot(self.vocab), self._lib.llama_vocab_eos(self.vocab))
        return tuple(dict.fromkeys(self._token_text(token) for token in ends if token >= 0))

    @cached_property
    def fim_tokens(self) -> FimTokens | None:
        """For filling in between two texts; None where it has none."""
        return find_fim_tokens(self._lib, self.vocab)

    @property
    def chat_template(self) -> str | None:
        """The model's own Jinja template, if it carries one."""
        raw = self._lib.llama_model_chat_template(self.handle, None)
        return raw.decode("utf-8", "replace") if raw else None

    def _learnt_positions(self) -> bool:
        """Whether it has a table of positions, behind whose end llama.cpp ends the process (gpt2.cpp, starcoder.cpp, mpt.cpp).

        Nothing tells an MPT that has one from others.
        """
        buffer = ctypes.create_string_buffer(64)
        self._lib.llama_model_meta_val_str(self.handle, b"general.architecture", buffer, len(buffer))
        return buffer.value in _LEARNT_POSITIONS

    @property
    def has_vocabulary(self) -> bool:
        """Whether it knows the text of its tokens."""
        return bool(self._lib.llama_vocab_type(self.vocab) != self._lib.LLAMA_VOCAB_TYPE_NONE)

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """Token ids of `text`.

        Args:
            text: The text; its NUL characters are kept.
            add_special: Adds begin and end tokens where the vocabulary wants them.
            parse_special: Reads `<|im_start|>` and its like as control tokens.

        Raises:
            EngineError: the vocabulary cannot encode the text.
            ModelFileError: there is no vocabulary.
        """
        if not self.has_vocabulary:
            # llama.cpp would end the whole process.
            raise ModelFileError(
                f"{self.path.name} carries no vocabulary", "use a file that holds its tokens"
            )
        # A lone surrogate stands for a byte of the command line that is not UTF-8.
        raw = text.encode("utf-8", "replace")
        size = len(raw) + 16
        buffer = (self._lib.llama_token * size)()
        count = self._lib.llama_tokenize(self.vocab, raw, len(raw), buffer, size, add_special, parse_special)
        if count < 0:
            buffer = (self._lib.llama_token * -count)()
            count = self._lib.llama_tokenize(
                self.vocab, raw, len(raw), buffer, -count, add_special, parse_special
            )
        if count < 0:
            raise EngineError(f"{self.path.name} cannot tokenize a text of {len(raw)} bytes")
        return list(buffer[:count])

    def token_bytes(self, token: int, *, special: bool = False) -> bytes:
        """The bytes that a token stands for, at times a part of a character; control tokens are empty unless `special`."""
        if not special and (kept := self._pieces.get(token)) is not None:
            return kept
        size = 64
        buffer = ctypes.create_string_buffer(size)
        count = self._lib.llama_token_to_piece(self.vocab, token, buffer, size, 0, special)
        if count < 0:
            size = -count
            buffer = ctypes.create_string_buffer(size)
            count = self._lib.llama_token_to_piece(self.vocab, token, buffer, size, 0, special)
        piece = buffer.raw[: max(count, 0)]
        if not special:
            self._pieces[token] = piece
        return piece

    def all_token_bytes(self) -> list[bytes]:
        """`token_bytes` of the whole vocabulary, in a fraction of the time: 0.15 s for 150,000 tokens (2 cores of Zen 3)."""
        to_piece, vocab, size = self._lib.llama_token_to_piece, self.vocab, 512
        buffer = ctypes.create_string_buffer(size)
        view = memoryview(buffer).cast("B")
        found: list[bytes] = []
        for token in range(self.n_vocab):
            count = to_piece(vocab, token, buffer, size, 0, False)
            found.append(view[:count].tobytes() if count >= 0 else self.token_bytes(token))
        self._pieces = dict(enumerate(found))
        return found

    def control_text(self, token: int) -> str:
        """What a control token is called, such as `<|im_start|>`; empty for tokens that stand for text."""
        return self._token_text(token) if self._lib.llama_vocab_is_control(self.vocab, token) else ""

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""
        if (kept := self._ends.get(token)) is None:
            kept = self._ends[token] = bool(self._lib.llama_vocab_is_eog(self.vocab, token))
        return kept

    def close(self) -> None:
        """Frees the weights. A second call does nothing."""
        if self.handle:
            self._lib.llama_model_free(self.handle)
            self.handle = None
        self._lib = ClosedLibrary(self.path.name)

    def _token_text(self, token: int) -> str:
        return "" if token < 0 else self.token_bytes(token, special=True).decode("utf-8", "replace")


def _load_error(name: str, reason: str) -> ModelFileError | NotEnoughMemoryError:
    said = reason or "no reason given"
    if "allocat" in reason or "bad_alloc" in reason:
        return NotEnoughMemoryError(
            f"there is no room for {name}: {said}", "offload fewer `gpu_layers`, or use a smaller model"
        )
    return ModelFileError(
        f"llama.cpp cannot load {name}: {said}", "check the file with `edgespec models show`"
    )
