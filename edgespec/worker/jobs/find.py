"""Finding what a pair would be made of, before the pair that is loaded makes room for it."""

from dataclasses import dataclass

from edgespec.catalog.compatibility import check_writes_text
from edgespec.session.choice import choose_files
from edgespec.session.loading import check_pair
from edgespec.worker.protocol import Link


@dataclass(frozen=True, slots=True)
class FindJob:
    """Finds the files of a target and its drafts, fetching what is not here, and checks that they go together. Nothing is loaded."""

    target: str | None
    drafts: tuple[str, ...]
    offline: bool = False

    def run(self, link: Link) -> None:
        """Ends when the pairs could be opened, as far as files can tell.

        Raises:
            EdgespecError: there is no such model, it cannot be fetched or read, or the draft does not suit the target.
        """
        files = choose_files(self.target, self.drafts, offline=self.offline, progress=link.progress)
        check_writes_text(files.target.name, files.target.meta)
        for draft in files.drafts:
            check_pair(files.target, draft)
