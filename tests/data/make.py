#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Wrote the .npy files beside it, with NumPy 1.24. Value of row r, component c: (4 r + c - 5) / 4.
import numpy as np
from numpy.lib import format as npy

values = (np.arange(12).reshape(3, 4) - 5) / 4


def save(name, array, version=None):
    with open(name + ".npy", "wb") as f:
        npy.write_array(f, array, version)


for kind, name in ("f2", "float16"), ("f4", "float32"), ("f8", "float64"):
    save(name + "_little", values.astype("<" + kind), (1, 0))
    save(name + "_big", values.astype(">" + kind), (1, 0))
save("version_2", values.astype("<f4"), (2, 0))
save("version_3", values.astype("<f4"), (3, 0))
save("no_rows", np.zeros((0, 4), "<f4"))
save("fortran", np.asfortranarray(values.astype("<f4")))
save("one_dimension", values.astype("<f4").reshape(12))
save("three_dimensions", values.astype("<f4").reshape(3, 2, 2))
save("int32", np.arange(12, dtype="<i4").reshape(3, 4))
save("structured", np.zeros((3, 4), [("a", "<f4"), ("b", "<f4")]))
