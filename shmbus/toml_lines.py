"""Where each key of a TOML document stands.

The standard library's parser says what stands in a document, and not where. This one knows just enough of TOML to find
the lines, and is only asked about documents which that parser has read: it refuses nothing.

    path: a key or an index in a list for each step, as ("topics", 0, "slots")
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Final

Path = tuple[int | str, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
_TEXT: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:""?(?!"))?' r"|'''.*?'''(?:''?(?!'))?" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL
)
_PLAIN: Final = re.compile(r"[^,\]}#\n]*")


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of every key, table, and entry of a list."""
    return _Scanner(text).run()


def line_at(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of what stands at the path, or of the nearest thing around it; None: it stands nowhere."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._number, self._counted = 1, 0  # the line of what was asked for last
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # of the tables in each [[list]] so far

    def run(self) -> dict[Path, int]:
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _header(self) -> Path:
        line, is_list = self._line(), self._text.startswith("[[", self._at)
        self._at += 1 + is_list
        path: Path = ()
        keys = self._keys()
        for key in keys[:-1]:
            path = self._newest((*path, key))
        path = (*path, keys[-1])
        if is_list:
            self._lines.setdefault(path, line)
            self._counts[path] = self._counts.get(path, 0) + 1
            path = self._newest(path)
        else:
            path = self._newest(path)
        self._lines.setdefault(path, line)
        self._at = self._text.index("]", self._at) + 1 + is_list
        return path

    def _newest(self, path: Path) -> Path:
        """A list of tables stands for its last one."""
        return (*path, self._counts[path] - 1) if path in self._counts else path

    def _pair(self, table: Path) -> None:
        line, path = self._line(), table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip()
        start = self._text[self._at]
        if start == "[":
            self._at += 1
            self._skip()
            index = 0
            while self._text[self._at] != "]":
                self._lines[(*path, index)] = self._line()
                self._value((*path, index))
                index += 1
                self._next()
            self._at += 1
        elif start == "{":
            self._at += 1
            self._skip()
            while self._text[self._at] != "}":
                self._pair(path)
                self._next()
            self._at += 1
        else:
            found = _TEXT.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
            assert found is not None  # the second matches anything
            self._at = found.end()

    def _next(self) -> None:
        """To what follows in a list or a table in braces."""
        self._skip()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip()

    def _keys(self) -> list[str]:
        """One, or several with dots between them."""
        keys: list[str] = []
        while True:
            self._skip()
            found = _KEY.match(self._text, self._at)
            assert found is not None  # it is TOML
            self._at = found.end()
            key = found[0]
            keys.append(next(iter(tomllib.loads(f"{key} = 0"))) if key[0] in "\"'" else key)
            self._skip()
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _skip(self) -> None:
        found = _BLANK.match(self._text, self._at)
        assert found is not None  # also nothing
        self._at = found.end()

    def _line(self) -> int:
        """Of what comes next; asked for from the top down, so that each end of a line is counted once."""
        self._number += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._number
