# SPDX-License-Identifier: MIT
"""Makes files of vectors for the integration tests, and searches them with correctly rounded sums.

    vectors.py random FILE ROWS DIM SEED      normally distributed, by the ending: .npy (float32), .fvecs, .bvecs
    vectors.py rows FILE TYPE "1 2;3 nan"     .npy of <f4, <f8, <f2, >f4 ..; or .fvecs
    vectors.py header FILE DICT BYTES         .npy with this header and so many bytes of 1.0
    vectors.py take FILE FROM COUNT OUT       rows of a float32 .npy
    vectors.py shape FILE                     prints "ROWS DIM TYPE"
    vectors.py judge GALLERY PROBES K FOUND   whether lines of --format tsv are the K best rows by cosine, then by row
    vectors.py same A B                       whether two float32 .npy have the same rows, up to length and rounding
"""
import ast
import math
import random
import struct
import sys

CODES = {"f2": "e", "f4": "f", "f8": "d", "i4": "i"}


def write_npy(path, rows, dim, kind="<f4"):
    body = b"".join(struct.pack(f"{kind[0]}{dim}{CODES[kind[1:]]}", *row) for row in rows)
    write_header(path, f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({len(rows)}, {dim}), }}", body)


def write_header(path, text, body):
    text = text.encode("latin-1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body)


def write(path, rows, dim, kind="<f4"):
    if path.endswith(".npy"):
        return write_npy(path, rows, dim, kind)
    code = "f" if path.endswith(".fvecs") else "B"
    with open(path, "wb") as f:
        for row in rows:
            f.write(struct.pack(f"<i{len(row)}{code}", len(row), *row))
    return None


def read(path):
    with open(path, "rb") as f:
        f.seek(8)
        size = struct.unpack("<H", f.read(2))[0]
        head = ast.literal_eval(f.read(size).decode())
        rows, dim = head["shape"]
        row = struct.Struct(f"<{dim}f")
        return [row.unpack(f.read(row.size)) for _ in range(rows)], dim, head["descr"]


def cosine(a, b):
    return math.fsum(x * y for x, y in zip(a, b)) / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


def judge(gallery, probes, k, found):
    gallery = read(gallery)[0]
    with open(found, encoding="utf-8") as f:
        lines = [line.rstrip("\n").split("\t") for line in f]
    want = []
    for number, probe in enumerate(read(probes)[0]):
        ranked = sorted((-cosine(probe, row), i) for i, row in enumerate(gallery))
        want += [(number, rank + 1, i, -score) for rank, (score, i) in enumerate(ranked[:k])]
    for line, (number, rank, i, score) in zip(lines, want):
        # Normalisation to float32 and six decimals: the order is exact, the last digit may be the other one.
        if line[:2] + line[3:4] != [str(number), str(rank), str(i)] or abs(float(line[4]) - score) > 1.1e-6:
            print(f"{line} is not probe {number} rank {rank} row {i} score {score}")
            return 1
    return 0 if len(lines) == len(want) else f"{len(lines)} lines, not {len(want)}"


def main(verb, path, *args):
    if verb == "random":
        rows, dim, seed = map(int, args)
        draw = random.Random(seed)
        value = (lambda: draw.randrange(1, 256)) if path.endswith(".bvecs") else (lambda: draw.gauss(0, 1))
        write(path, [[value() for _ in range(dim)] for _ in range(rows)], dim)
    elif verb == "rows":
        kind, text = args
        rows = [[float(v) if kind[1] == "f" else int(v) for v in row.split()] for row in text.split(";")]
        write(path, rows, len(rows[0]), kind)
    elif verb == "header":
        text, size = args
        write_header(path, text, struct.pack("<f", 1.0) * (int(size) // 4))
    elif verb == "take":
        first, count, out = args
        rows, dim, _ = read(path)
        write(out, rows[int(first):int(first) + int(count)], dim)
    elif verb == "shape":
        rows, dim, kind = read(path)
        print(len(rows), dim, kind)
    elif verb == "judge":
        return judge(path, args[0], int(args[1]), args[2])
    elif verb == "same":
        a, b = read(path)[0], read(args[0])[0]
        return 0 if len(a) == len(b) and all(cosine(x, y) > 1 - 1e-12 for x, y in zip(a, b)) else 1
    return 0


sys.exit(main(*sys.argv[1:]))
