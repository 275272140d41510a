"""Tensors of text under NumPy 2: the server's stubs were built against NumPy 1 and take its element types' sizes for others.

They copy what came by that size before any Python runs, and DLPack, which the other stand-ins use, has no text: what is lost
then cannot be had again. So the stub is given a table of NumPy's functions of its own; NumPy itself stays as it is.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from accelkit.backends import host

NEW_FROM_DESCR, ENTRIES = 94, 283
"""The place of the function that makes arrays in NumPy's table, the same in NumPy 1 and 2, and how many a stub looks at."""
MODULE = "numpy.core.multiarray"
"""Where a stub looks for the table, once, when it sees its first array."""
_MAKE = ctypes.PYFUNCTYPE(
    ctypes.c_void_p, *[ctypes.c_void_p] * 2, ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int, ctypes.c_void_p
)
_kept: list[Any] = []


def mend(pb_utils: Any) -> None:
    """Let the stub's as_numpy read text right; call it before the first tensor is looked at. No effect under NumPy 1.

    Its function makes arrays without the steps that the stub counted out, which then are right by themselves.
    """
    if _kept or np.lib.NumpyVersion(np.__version__) < "2.0.0":
        return
    from numpy.core.multiarray import _ARRAY_API

    pointer, new = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_New
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    table = (ctypes.c_void_p * ENTRIES).from_address(pointer(_ARRAY_API, None))
    original = _MAKE(table[NEW_FROM_DESCR] or 0)

    def make(kind: int, descr: int, dims: int, shape: int, steps: int, data: int, flags: int, owner: int) -> int:
        return original(kind, descr, dims, shape, None, data, flags, owner)

    mended, callback = (ctypes.c_void_p * ENTRIES)(*table), _MAKE(make)
    mended[NEW_FROM_DESCR] = ctypes.cast(callback, ctypes.c_void_p)
    _kept.extend([mended, callback, original])
    theirs: Any = sys.modules[MODULE]
    sys.modules[MODULE] = SimpleNamespace(_ARRAY_API=new(ctypes.addressof(mended), None, None))  # type: ignore[assignment]
    try:
        pb_utils.Tensor("first", np.zeros(1, np.uint8))
    finally:
        sys.modules[MODULE] = theirs


def read(tensor: Any, text: bool) -> np.ndarray:
    """An input as an array, text as bytes in it."""
    return tensor.as_numpy() if text else np.from_dlpack(tensor)


def tensor(pb_utils: Any, name: str, array: np.ndarray) -> Any:
    """An output of an array, text as bytes in it.

    Where NumPy 1 keeps the size of an element, by which the stub counts a text's bytes, NumPy 2 keeps an element type's flags.
    So text is handed over in a type of its own, whose flags are set to 1, the size of a byte, for as long as the stub looks.
    """
    if array.dtype != object:
        return pb_utils.Tensor.from_dlpack(name, host.capsule(np.ascontiguousarray(array)))
    if not _kept:
        return pb_utils.Tensor(name, array)
    kind: Any = np.dtype("V1")
    *state, flags = kind.__reduce__()[2]
    data = b"".join(struct.pack("<I", len(one)) + one for one in array.ravel().tolist())
    encoded = np.frombuffer(data, np.uint8).view(kind)
    theirs, pb_utils.serialize_byte_tensor = pb_utils.serialize_byte_tensor, lambda _: encoded
    try:
        kind.__setstate__((*state, 1))
        return pb_utils.Tensor(name, array)
    finally:
        kind.__setstate__((*state, flags))
        pb_utils.serialize_byte_tensor = theirs
