"""Text that is still coming, read by generators: each goes on where it was when there is more."""

from collections.abc import Callable, Generator

from edgespec.chat.calls.form import NUMBER, WILD

Reading = Generator[None, None, str]
"""Reads a text; yields where it needs more."""
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


class NoCallError(Exception):
    """The text is none of what is read."""


class Feed:
    """What came and is not read yet."""

    def __init__(self) -> None:
        self.text = ""
        self.is_whole = False
        """Nothing more comes."""

    def take(self, count: int) -> str:
        """The next characters, which are there."""
        taken, self.text = self.text[:count], self.text[count:]
        return taken

    def need(self, count: int = 1) -> Generator[None, None, bool]:
        """Waits until so many characters are there; whether they came."""
        while len(self.text) < count and not self.is_whole:
            yield
        return len(self.text) >= count

    def skip_space(self) -> Reading:
        """White space, as much as there is."""
        skipped = ""
        while (yield from self.need()) and self.text[0].isspace():
            skipped += self.take(1)
        return skipped

    def word(self) -> Reading:
        """Letters, digits, `_`, `-` and `.`."""
        count = 0
        while (yield from self.need(count + 1)) and self.text[count] in _WORD:
            count += 1
        return self.take(count)

    def match(self, wanted: str) -> Generator[None, None, str]:
        """Reads a text in which white space may differ; what stood in place of its `WILD`.

        Raises:
            NoCallError: another text.
        """
        wild = ""
        for char in wanted:
            if char.isspace():
                continue
            yield from self.skip_space()
            if char in (WILD, NUMBER):
                word = yield from self.word()
                wild = word if char == WILD else wild
            elif (yield from self.need()) and self.text[0] == char:
                self.take(1)
            else:
                raise NoCallError
        if wanted[-1:].isspace():
            yield from self.skip_space()
        return wild

    def begins_with(self, wanted: str) -> Generator[None, None, bool]:
        """Whether exactly that text comes next; it stays."""
        count = 0
        while count < len(wanted) and (yield from self.need(count + 1)) and self.text[count] == wanted[count]:
            count += 1
        return count == len(wanted)

    def is_next(self, wanted: str) -> Generator[None, None, bool]:
        """Whether a text comes next behind white space, which is skipped; the text itself stays."""
        yield from self.skip_space()
        wanted = wanted.partition(WILD)[0].partition(NUMBER)[0].strip()
        count = 0
        for char in wanted:
            if char.isspace():
                continue
            while (yield from self.need(count + 1)) and self.text[count].isspace():
                count += 1
            if len(self.text) <= count or self.text[count] != char:
                return False
            count += 1
        return bool(wanted)

    def json_string(self) -> Reading:
        """A JSON string with its quotation marks.

        Raises:
            NoCallError: there is none.
        """
        if not (yield from self.need()) or self.text[0] != '"':
            raise NoCallError
        count = 1
        while (yield from self.need(count + 1)) and self.text[count] != '"':
            count += 2 if self.text[count] == "\\" else 1
        if len(self.text) <= count:
            raise NoCallError
        return self.take(count + 1)

    def copy_value(self, put: Callable[[str], None]) -> Generator[None, None, None]:
        """A JSON value, handed on in pieces as they come; one that ends early is left as it is."""
        yield from self.skip_space()
        depth, in_string, is_escaped, count = 0, False, False, 0
        while True:
            if count == len(self.text):
                put(self.take(count))
                count = 0
                if not (yield from self.need()):
                    return
            char = self.text[count]
            if in_string:
                in_string = is_escaped or char != '"'
                is_escaped = char == "\\" and not is_escaped
                is_done = depth == 0 and not in_string
            elif depth == 0 and (char in ",}]" or char.isspace()):
                put(self.take(count))
                return
            else:
                in_string = char == '"'
                depth += (char in "{[") - (char in "}]")
                is_done = depth == 0 and char in "}]"
            count += 1
            if is_done:
                put(self.take(count))
                return

    def until(self, ends: tuple[str, ...]) -> Generator[None, None, tuple[str, str]]:
        """Some text, and which of the ends comes then, if one does; the end itself stays. One call may not reach an end."""
        while True:
            places = [(place, end) for end in ends if (place := self.text.find(end)) >= 0]
            if places:
                place, end = min(places)
                return self.take(place), end
            sure = self._sure(ends)
            if sure or self.is_whole:
                return self.take(len(self.text) if self.is_whole else sure), ""
            yield

    def _sure(self, ends: tuple[str, ...]) -> int:
        """How many characters cannot belong to an end that is still coming."""
        text = self.text
        for place in range(max(0, len(text) - max(map(len, ends)) + 1), len(text)):
            if any(end.startswith(text[place:]) for end in ends):
                return place
        return len(text)
