"""Safe reading of pickled arrays: numbers in plain containers, and no code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_arrays"]


def read_arrays(file: Path) -> Any:
    """Read a pickle of plain containers, numbers, text and arrays of numbers.

    A pickle may name any function, which its reader then calls. This one knows numpy's three that
    make arrays, ``ndarray``, ``dtype`` and ``bytes``, and nothing else. Text of Python 2's pickles
    is read as latin1.

    Raises:
        pickle.UnpicklingError: it holds anything else.
        Exception: of a damaged file, the reader can raise anything.
    """
    with file.open("rb") as opened:
        return ArrayUnpickler(opened, encoding="latin1").load()


class ArrayUnpickler(pickle.Unpickler):
    """Allows only the functions that make arrays of numbers."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, but may hold arrays of numbers alone"
            )
        return KNOWN[module, name]


def number_dtype(name: str, align: bool = False, copy: bool = False) -> np.dtype:
    """Return a numeric type; refuse types of objects or of fields."""
    dtype = np.dtype(name)
    if dtype.kind not in "biuf":
        raise pickle.UnpicklingError(f"it holds an array of {dtype}, not of numbers")
    return dtype


# The functions that pickled arrays call, under the module names of all numpy versions.
KNOWN = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): number_dtype,
    # Bytes in pickles that Python 2 can read too; encoding text is all that this does.
    ("_codecs", "encode"): bytes,
}
for core in ("numpy.core", "numpy._core"):
    KNOWN[f"{core}.multiarray", "_reconstruct"] = np.empty(0).__reduce__()[0]
    KNOWN[f"{core}.multiarray", "scalar"] = np.int64(0).__reduce__()[0]
    KNOWN[f"{core}.numeric", "_frombuffer"] = np.empty(0).__reduce_ex__(5)[0]
