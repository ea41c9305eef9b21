"""What huggingface_hub tells about its own downloads, as bytes of one file."""

from typing import Any

from edgespec.progress import Progress


def bar_class(progress: Progress) -> Any:
    """A class that huggingface_hub takes for a tqdm bar; `progress` advances by the bytes of one file."""

    class Bar:
        def __init__(self, *_args: object, **options: Any) -> None:
            self.total = options.get("total")
            self.n = 0
            # Xet shows two bars for one file; the one of the network repeats the other's bytes.
            self._silent = str(options.get("desc", "")).endswith("downloading bytes")
            self.update(options.get("initial"))

        def update(self, amount: float | None = 1) -> None:
            self.n += int(amount or 0)
            if amount and not self._silent:
                progress.advance(amount)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def __getattr__(self, _name: str) -> Any:
            return lambda *_args, **_options: None

    return Bar
