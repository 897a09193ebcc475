"""Which files of a folder are documents: by their suffix, or by a pattern."""

from __future__ import annotations

import os
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, NamedTuple

from headway.errors import InputError
from headway.pipeline.documents.reading import shown

__all__ = ["DOCUMENTS_MAX", "Found", "find"]

DOCUMENTS_MAX: Final = 100_000
"""Documents of one run."""

_TEXTS: Final = frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".html", ".htm", ".xhtml"})
_OFFICE: Final = frozenset({".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".ppt", ".pptx"})
"""Documents, but no text: they are found, so that each is told of in a row of its own."""
_SUFFIXES_SHOWN: Final = 3
_LINKED: Final = "linked"


class Found(NamedTuple):
    """The documents of a folder, sorted by path; and the other files, counted by suffix."""

    paths: list[Path]
    others: Counter[str]

    def left_out(self) -> str:
        """A sentence on the files that are no documents; "" when there are none."""
        if not self.others:
            return ""
        count = self.others.total()
        most = sorted(self.others.items(), key=lambda one: (-one[1], one[0]))[:_SUFFIXES_SHOWN]
        kinds = ", ".join(f"{number:,} {suffix}" for suffix, number in most)
        more = ", ..." if len(self.others) > _SUFFIXES_SHOWN else ""
        files = "1 file was" if count == 1 else f"{count:,} files were"
        return f"{files} left out as no documents ({kinds}{more}); --glob names others"


def find(folder: Path, pattern: str | None = None, *, without: tuple[Path, ...] = ()) -> Found:
    """The documents in a folder and in those below it; hidden files and folders are passed over, links not followed.

    A link may lead anywhere, and what a document holds is sent to a provider: links are counted among the others.

    Args:
        folder: The folder.
        pattern: Take the files that fit it, whatever their suffix: a pattern with a slash is for the path below the
            folder, one without for the name.
        without: Files that are none, such as the output.

    Raises:
        InputError: There is no document, or there are too many; or the folder cannot be read.
    """
    own = {path.resolve() for path in without}
    paths: list[Path] = []
    others: Counter[str] = Counter()

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}; summarize the folders beside it by name")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        others[_LINKED] += sum(_is_link(Path(place, name)) for name in folders)
        for name in names:
            path = Path(place, name)
            if name.startswith(".") or (own and path.resolve() in own):
                continue
            if _is_link(path):
                others[_LINKED] += 1
            elif _is_document(path, folder, pattern):
                paths.append(path)
            else:
                others[shown(path.suffix.lower()) or "without a suffix"] += 1
        if len(paths) > DOCUMENTS_MAX:
            raise InputError(f"{folder} has more than {DOCUMENTS_MAX:,} documents; name fewer with --glob")
    if not paths:
        what = f"file like {pattern}" if pattern else "document (.txt, .md, .rst, .html, ...)"
        linked = ", for links are not followed" if others[_LINKED] else ""
        raise InputError(f"{shown(folder)} has no {what} in it{linked}; say which files are meant with --glob")
    return Found(sorted(paths), +others)


def _is_document(path: Path, folder: Path, pattern: str | None) -> bool:
    if pattern is None:
        return path.suffix.lower() in _TEXTS or path.suffix.lower() in _OFFICE
    if "/" in pattern:
        below = path.relative_to(folder).as_posix()
        return fnmatch(below, pattern) or (pattern.startswith("**/") and fnmatch(below, pattern[3:]))
    return fnmatch(path.name, pattern)


def _is_link(path: Path) -> bool:
    return os.path.islink(path)  # noqa: PTH114 - a folder that may be listed and not entered is no error here
