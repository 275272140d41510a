"""The text: two novels of Jane Austen (1775-1817), in the public domain, as one line for each paragraph, ASCII alone.

`python -m accelkit.models.gpt.training.text FILE ...` makes assets/text.xz of plain text files of the novels.
"""

from __future__ import annotations

import lzma
import re
import sys
from pathlib import Path

from accelkit.models.gpt.corpus import FILE

PLAIN = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "é": "e", "è": "e", "ê": "e", "à": "a", "ï": "i", "_": None}
)
_CHAPTER = re.compile(r"^\s*(?:chapter|volume)\s+[ivxlc\d]+\.?\s*$", re.IGNORECASE)


def novel(text: str) -> str:
    """The chapters of a novel: no header, no footer, no headings; a blank line between chapters."""
    text = re.split(r"\*\*\* ?START OF[^\n]*\n", text)[-1]
    text = re.split(r"(?:\*{3} ?END|End) of (?:the |this )?Project Gutenberg", text, flags=re.IGNORECASE)[0]
    text = text.translate(PLAIN).encode("ascii", "ignore").decode()
    chapters: list[list[str]] = []
    for block in re.split(r"\n\s*\n", text):
        if _CHAPTER.match(block):
            chapters.append([])
        elif chapters and not block.isupper() and (line := " ".join(block.split())):
            chapters[-1].append(line)
    return "\n\n".join("\n".join(lines) for lines in chapters if lines)


def main(files: list[str]) -> None:
    """Write the text of the novels in these files."""
    whole = "\n\n".join(novel(Path(file).read_text(encoding="utf-8-sig")) for file in files) + "\n"
    FILE.write_bytes(lzma.compress(whole.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main(sys.argv[1:])
