"""Tensors of text under NumPy 2: the server's stubs were built against NumPy 1 and take wrong steps through an array.

DLPack, which the other stand-ins use, has no text. The stub looks NumPy's functions up once, when it makes its first array;
`mend` lets it find one that makes arrays without the steps that the stub counted out, which then are right by themselves.
"""

from __future__ import annotations

import ctypes
import struct
from importlib import import_module
from typing import Any

import numpy as np

from accelkit.backends import host

NEW_FROM_DESCR, ENTRIES = 94, 400
"""Where the function stands in NumPy's table, and how many of its entries a stub may look at (numpy/__multiarray_api.h)."""
FLAGS = 32
"""Bytes from the start of a NumPy 2 element type to its flags: head, type, four letters, number (numpy/ndarraytypes.h)."""
_MAKE = ctypes.PYFUNCTYPE(
    ctypes.c_void_p, *[ctypes.c_void_p] * 2, ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int, ctypes.c_void_p
)
_kept: list[Any] = []


def mend() -> None:
    """Let the stub's as_numpy read text right; call it before the first tensor is looked at. No effect under NumPy 1."""
    if _kept or np.lib.NumpyVersion(np.__version__) < "2.0.0":
        return
    from numpy._core import multiarray

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = (ctypes.c_void_p * ENTRIES).from_address(pointer(multiarray._ARRAY_API, None))
    original = _MAKE(table[NEW_FROM_DESCR] or 0)

    def make(kind: int, descr: int, dims: int, shape: int, steps: int, data: int, flags: int, owner: int) -> int:
        return original(kind, descr, dims, shape, None, data, flags, owner)

    mended = (ctypes.c_void_p * ENTRIES)(*table)
    callback = _MAKE(make)
    mended[NEW_FROM_DESCR] = ctypes.cast(callback, ctypes.c_void_p)
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    _kept.extend([mended, callback, original])
    vars(import_module("numpy.core.multiarray"))["_ARRAY_API"] = new(ctypes.addressof(mended), None, None)


def read(tensor: Any, text: bool) -> np.ndarray:
    """An input as an array, text as bytes in it."""
    return tensor.as_numpy() if text else np.from_dlpack(tensor)


def tensor(pb_utils: Any, name: str, array: np.ndarray) -> Any:
    """An output of an array, text as bytes in it.

    Where NumPy 1 keeps the size of an element, by which the stub counts a text's bytes, NumPy 2 keeps an element type's flags.
    So text is handed over in a type of its own, whose flags read 1, the size of a byte, for as long as the stub looks.
    """
    if array.dtype != object:
        return pb_utils.Tensor.from_dlpack(name, host.capsule(np.ascontiguousarray(array)))
    if not _kept:
        return pb_utils.Tensor(name, array)
    kind = np.dtype("V1")
    flags = ctypes.c_uint64.from_address(id(kind) + FLAGS)
    before = flags.value
    data = b"".join(struct.pack("<I", len(one)) + one for one in array.ravel().tolist())
    encoded = np.frombuffer(data, np.uint8).view(kind)
    theirs, pb_utils.serialize_byte_tensor = pb_utils.serialize_byte_tensor, lambda _: encoded
    try:
        flags.value = 1
        return pb_utils.Tensor(name, array)
    finally:
        flags.value, pb_utils.serialize_byte_tensor = before, theirs
