"""Wheels without what is not used on one machine with one kind of GPU, for a way that is narrow.

A CUDA library holds its kernels as fat binaries: for each part of it machine code of many generations of GPUs, and PTX for later
ones. The driver reads the headers of these entries and takes one; `prune` fills the others with zeros, which compress to nothing,
and moves no byte. What a library measures itself with stays whole: TensorRT's builder compares a digest of its kernels.
"""

from __future__ import annotations

import fnmatch
import functools
import struct
import zipfile
from pathlib import Path

MB = 10**6
LARGE = 50 * MB
"""Wheels below it are left as they are."""
UNUSED = ("*_train.so*", "*libcudnn_adv_*", "*/include/*", "*.a", "*/tests/*", "*/test/*")
"""Files of wheels that inference does not need and that are large."""
USED = ("tensorflow/_api/*", "triton/*")
"""What a pattern above means too and is imported, or compiled against, all the same."""
WHOLE = ("tensorrt/*",)
"""Libraries that refuse to be changed."""
_REGION = struct.pack("<IHH", 0xBA55ED50, 1, 16)
"""The head of a fat binary: magic, version, its own size; behind it the size of the entries, 64 bits."""
_ENTRY, _PTX, _CODE = struct.Struct("<HHIQ12xI"), 1, 2
"""An entry's head: kind, version, its own size, the size of what follows, and at byte 28 the compute capability times ten."""


def prune(library: bytearray, capability: int) -> int:
    """Zero in place the kernels that a GPU of this compute capability (90 is 9.0) does not take; return how many bytes.

    It takes the newest machine code of its own generation that is not newer than it is (8.6 runs what is for 8.0), and where a fat
    binary has none, the newest PTX that is not.
    """
    zeroed, at = 0, library.find(_REGION)
    while at >= 0:
        (size,) = struct.unpack_from("<Q", library, at + len(_REGION))
        end = at + 16 + size
        entries = _entries(library, at + 16, end) if 0 < size <= len(library) - at - 16 else []
        fits = [(kind, each) for kind, each, _, _ in entries if each <= capability]
        code = max((each for kind, each in fits if kind == _CODE and each // 10 == capability // 10), default=0)
        text = 0 if code else max((each for kind, each in fits if kind == _PTX), default=0)
        for kind, capable, start, length in entries:
            if (kind == _CODE and capable != code) or (kind == _PTX and capable != text):
                library[start : start + length] = bytes(length)
                zeroed += length
        at = library.find(_REGION, end if entries else at + 8)
    return zeroed


def _entries(library: bytearray, at: int, end: int) -> list[tuple[int, int, int, int]]:
    """Kind, compute capability, start and length of each entry; none where this is no fat binary after all."""
    found = []
    while at + 64 <= end:
        kind, _, head, length, capable = _ENTRY.unpack_from(library, at)
        if not kind and not head:  # padding
            break
        if not 32 <= head <= 4096 or at + head + length > end:
            return []
        found.append((kind, capable, at + head, length))
        at += head + length
    return found


def wheel(path: Path, capability: int | None = None) -> None:
    """Leave out of a large wheel what is not used, and kernels for other GPUs than those of `capability`."""
    if path.stat().st_size < LARGE:
        return
    lean = path.with_suffix(".lean")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(lean, "w") as target:
        for entry in source.infolist():
            matches = functools.partial(fnmatch.fnmatch, entry.filename)
            if any(map(matches, UNUSED)) and not any(map(matches, USED)):
                continue
            data = source.read(entry)
            if capability and ".so" in entry.filename and not any(map(matches, WHOLE)):
                library = bytearray(data)
                prune(library, capability)
                data = bytes(library)
            target.writestr(entry, data, zipfile.ZIP_STORED)  # the archive is compressed as a whole, and better
    lean.replace(path)
