#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times the searches that one would write with PyTorch over the same rows, each beside its exactness.

    peer_torch.py make FILE.npy ROWS DIM SEED
    peer_torch.py head FILE.npy ROWS OUT.npy
    peer_torch.py run --gallery FILE.npy --probes FILE.npy --truth FILE.tsv [OPTION]...

make writes unit Gaussian rows as float16 .npy, which `lineup enrol` reads; head takes the first rows of such a file. run answers
batches of the probes in two ways, both in tiles of the gallery so that the score matrix stays small, with the tiles' best merged: int8
torch._int_mm and topk, and float16 matmul and topk.
The answers are compared with --truth, lines of `lineup search --per template --format tsv`: recall is the share of the true k best that were
found, identical the share of probes with the same k in the same order. Without torch the exit status is 77; --dry-run does the same
in plain Python, for sizes that allow it, and says nothing about speed.
"""
import argparse
import ast
import array
import ctypes
import json
import math
import random
import statistics
import struct
import sys
import time

try:
    import torch
except ImportError:
    torch = None

CHUNK_ROWS = 1 << 18
TILE_BYTES = 1 << 30  # of the scores of a tile, as int32 and as float32
INT_MM_ROWS = 32  # torch._int_mm wants more than 16 rows, and multiples of 8


# ---- .npy files of float16 or float32 ----


def npy_write(path, rows, dim, chunks):
    """Writes float16 rows; chunks are buffers of whole rows."""
    text = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {dim}), }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
        for chunk in chunks:
            f.write(chunk)


def npy_head(f):
    if f.read(8)[:6] != b"\x93NUMPY":
        sys.exit(f"{f.name}: not a .npy file")
    head = ast.literal_eval(f.read(struct.unpack("<H", f.read(2))[0]).decode())
    if head["descr"] not in ("<f2", "<f4") or head["fortran_order"] or len(head["shape"]) != 2:
        sys.exit(f"{f.name}: not two-dimensional float16 or float32 rows")
    return head["shape"][0], head["shape"][1], head["descr"]


def npy_take(path, rows, out):
    with open(path, "rb") as f:
        have, dim, descr = npy_head(f)
        if descr != "<f2":
            sys.exit(f"{path}: not float16")
        npy_write(out, min(rows, have), dim, [f.read(min(rows, have) * dim * 2)])


def truth_read(path, probes, k):
    """The k templates of each of the first probes, from lines "probe rank subject template score"."""
    lists = [[] for _ in range(probes)]
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.rstrip("\n").split("\t")
            if words[0].isdigit() and int(words[0]) < probes and len(lists[int(words[0])]) < k:
                lists[int(words[0])].append(int(words[3]))
    return lists


# ---- the two searches, in torch ----


class Torch:
    """Both searches on the GPU, or on the CPU where there is none."""

    methods = {"int8": "torch int8 _int_mm + topk", "fp16": "torch float16 matmul + topk"}

    def __init__(self):
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.name = torch.cuda.get_device_name() if self.cuda else "CPU"
        self.version = f"torch {torch.__version__}"

    def read(self, path, half):
        """All rows, divided by their norms, on the device."""
        with open(path, "rb") as f:
            rows, dim, descr = npy_head(f)
            kind, size = (torch.float16, 2) if descr == "<f2" else (torch.float32, 4)
            out = torch.empty((rows, dim), dtype=torch.float16 if half else torch.float32, device=self.device)
            for first in range(0, rows, CHUNK_ROWS):
                count = min(CHUNK_ROWS, rows - first)
                chunk = torch.frombuffer(bytearray(f.read(count * dim * size)), dtype=kind).view(count, dim).to(self.device).float()
                out[first:first + count] = chunk / chunk.norm(dim=1, keepdim=True)
        return out

    @staticmethod
    def quantise(rows):
        """int8 codes and the scale of each row."""
        scale = rows.float().abs().amax(dim=1) / 127
        return (rows.float() / scale[:, None]).round().to(torch.int8), scale

    def load(self, gallery, probes):
        self.half = self.read(gallery, True)
        self.codes = torch.empty(self.half.shape, dtype=torch.int8, device=self.device)
        self.scales = torch.empty(len(self.half), device=self.device)
        for first in range(0, len(self.half), CHUNK_ROWS):
            part = slice(first, first + CHUNK_ROWS)
            self.codes[part], self.scales[part] = self.quantise(self.half[part])
        self.probes = self.read(probes, False)
        self.probe_codes = self.quantise(self.probes)[0]
        self.probe_half = self.probes.half()
        self.rows, self.probe_count = len(self.half), len(self.probes)
        if self.rows % 8 or self.half.shape[1] % 8:
            sys.exit("torch._int_mm wants multiples of 8, of rows and of components")

    def scores(self, method, first, batch, tile):
        """Scores of a batch against a tile; those of int8 but for the probe's own scale, which does not change the order."""
        if method == "fp16":
            return self.probe_half[first:first + batch] @ self.half[tile].t()
        codes = self.probe_codes[first:first + batch]
        if batch < INT_MM_ROWS or batch % 8:
            padded = max(INT_MM_ROWS, (batch + 7) // 8 * 8)
            codes = torch.nn.functional.pad(codes, (0, 0, 0, padded - batch))
        return torch._int_mm(codes, self.codes[tile].t())[:batch] * self.scales[tile]

    def search(self, method, first, batch, k):
        step = max(1 << 13, min(1 << 20, TILE_BYTES // (8 * max(batch, INT_MM_ROWS)) // 8 * 8))
        best = ids = None
        for start in range(0, self.rows, step):
            tile = slice(start, min(start + step, self.rows))
            value, index = self.scores(method, first, batch, tile).topk(min(k, tile.stop - start), dim=1)
            value, index = value.float(), index + start
            if best is not None:
                value, index = torch.cat((best, value), 1), torch.cat((ids, index), 1)
                value, order = value.topk(min(k, value.shape[1]), dim=1)
                index = index.gather(1, order)
            best, ids = value, index
        return ids

    def sync(self):
        if self.cuda:
            torch.cuda.synchronize()

    @staticmethod
    def lists(ids):
        return ids.tolist()

    def ceilings(self):
        """Rates of this device as torch reaches them: reading memory, and int8 and float16 products of large squares."""
        if not self.cuda:
            return {}
        data = torch.ones(1 << 30, dtype=torch.float32, device=self.device)  # 4 GiB
        int8 = torch.ones((8192, 8192), dtype=torch.int8, device=self.device)
        half = torch.ones((8192, 8192), dtype=torch.float16, device=self.device)
        macs = 8192.0 ** 3
        return {
            "read_bytes_per_second": 4.0 * data.numel() / self.seconds(data.sum),
            "int8_multiply_adds_per_second": macs / self.seconds(lambda: torch._int_mm(int8, int8.t())),
            "float16_multiply_adds_per_second": macs / self.seconds(lambda: half @ half.t()),
        }

    def seconds(self, call):
        call()
        return statistics.median(timed(self, call)[0] for _ in range(7))


class Plain:
    """The same in plain Python, to see that files, tiles, merging and judging work where there is no torch."""

    methods = {"int8": "plain int8 (dry run)", "fp16": "plain float16 (dry run)"}
    name, version, step = "no device", "dry run", 700

    @staticmethod
    def read(path):
        with open(path, "rb") as f:
            rows, dim, descr = npy_head(f)
            row = struct.Struct(f"<{dim}{'e' if descr == '<f2' else 'f'}")
            out = [row.unpack(f.read(row.size)) for _ in range(rows)]
        return [[x / math.sqrt(math.fsum(y * y for y in r)) for x in r] for r in out]

    @staticmethod
    def quantise(row):
        scale = max(map(abs, row)) / 127
        return [round(x / scale) for x in row], scale

    def load(self, gallery, probes):
        self.half, self.probes = self.read(gallery), self.read(probes)
        self.codes, self.scales = zip(*map(self.quantise, self.half))
        self.probe_codes = [self.quantise(p)[0] for p in self.probes]
        self.rows, self.probe_count = len(self.half), len(self.probes)

    def score(self, method, p, r):
        if method == "fp16":
            return math.fsum(map(lambda x, y: x * y, self.probes[p], self.half[r]))
        return sum(map(lambda x, y: x * y, self.probe_codes[p], self.codes[r])) * self.scales[r]

    def search(self, method, first, batch, k):
        lists = [[] for _ in range(batch)]
        for start in range(0, self.rows, self.step):
            for i in range(batch):
                tile = [(-self.score(method, first + i, r), r) for r in range(start, min(start + self.step, self.rows))]
                lists[i] = sorted(lists[i] + sorted(tile)[:k])[:k]
        return [[r for _, r in one] for one in lists]

    def sync(self):
        pass

    @staticmethod
    def lists(ids):
        return ids

    @staticmethod
    def ceilings():
        return {}


# ---- a run ----


def timed(engine, call):
    engine.sync()
    begin = time.perf_counter()
    answer = call()
    engine.sync()
    return time.perf_counter() - begin, answer


def judge(engine, method, k, truth):
    """Recall and the share of identical lists, of the probes that truth has."""
    answers = engine.lists(engine.search(method, 0, len(truth), k))
    found = sum(len(set(a) & set(t)) for a, t in zip(answers, truth))
    return found / sum(map(len, truth)), sum(a == t for a, t in zip(answers, truth)) / len(truth)


def measure(engine, method, batch, options, truth):
    cell = {"peer": method, "name": engine.methods[method], "batch": batch}
    span = engine.probe_count - batch + 1
    rounds = []
    for n in range(-1, options.rounds):
        seconds = timed(engine, lambda n=n: engine.search(method, (n * batch) % span, batch, options.k))[0]
        if n >= 0:  # the first one warms up
            rounds.append(seconds)
    cell["call_seconds"] = {"median": statistics.median(rounds), "rounds": rounds}
    cell["comparisons_per_second"] = batch * engine.rows / statistics.median(rounds)
    cell["recall"], cell["identical"] = truth[method]
    return cell


def run(options):
    if torch is None and not options.dry_run:
        print("torch is not installed: no peers")
        return 77
    engine = Plain() if options.dry_run else Torch()
    engine.load(options.gallery, options.probes)
    truth = truth_read(options.truth, min(options.judged, engine.probe_count), options.k)
    if not truth or not all(truth):
        sys.exit(f"{options.truth}: no answers for some of {len(truth)} probes")
    verdicts = {method: judge(engine, method, options.k, truth) for method in engine.methods}
    result = {
        "device": engine.name, "version": engine.version, "dry_run": options.dry_run, "rows": engine.rows, "k": options.k,
        "rounds": options.rounds, "judged_probes": len(truth), "ceilings": engine.ceilings(), "searches": [],
    }
    print(f"{engine.version}, {engine.name}: {engine.rows} rows, k = {options.k}, median of {options.rounds} rounds")
    for batch in options.batch:
        if batch > engine.probe_count:
            print(f"  {batch} probes a call: there are only {engine.probe_count}")
            continue
        for method in engine.methods:
            try:
                cell = measure(engine, method, batch, options, verdicts)
            except (RuntimeError, MemoryError) as error:  # out of device memory, or a product that this device lacks
                print(f"  {engine.methods[method]}, {batch} probes: {str(error).splitlines()[0]}")
                continue
            result["searches"].append(cell)
            print(f"  {cell['name']:<30} {batch:5} probes  {cell['comparisons_per_second'] / 1e6:12.1f} Mcmp/s  "
                  f"recall@{options.k} {cell['recall']:.4f}, identical {cell['identical']:.4f}")
    with open(options.json, "w", encoding="utf-8") as f:
        json.dump(result, f, indent=2)
    return 0


def make_torch(rows, dim, seed):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device=device).manual_seed(seed)
    for first in range(0, rows, CHUNK_ROWS):
        chunk = torch.randn((min(CHUNK_ROWS, rows - first), dim), generator=generator, device=device)
        chunk = (chunk / chunk.norm(dim=1, keepdim=True)).half().cpu()
        # Not through numpy, which may not be there.
        yield ctypes.string_at(chunk.data_ptr(), 2 * chunk.numel())


def make_plain(rows, dim, seed):
    rng = random.Random(seed)
    for _ in range(rows):
        row = array.array("d", (rng.gauss(0, 1) for _ in range(dim)))
        norm = math.sqrt(math.fsum(x * x for x in row))
        yield struct.pack(f"<{dim}e", *(x / norm for x in row))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make")
    make.add_argument("file")
    for name in ("rows", "dim", "seed"):
        make.add_argument(name, type=int)
    head = commands.add_parser("head")
    head.add_argument("file")
    head.add_argument("rows", type=int)
    head.add_argument("out")
    timing = commands.add_parser("run")
    for name in ("gallery", "probes", "truth"):
        timing.add_argument(f"--{name}", required=True)
    timing.add_argument("--batch", type=lambda text: sorted({int(word) for word in text.split(",")}), default=[1, 8, 32, 128, 1024, 4096])
    timing.add_argument("-k", type=int, default=10)
    timing.add_argument("--rounds", type=int, default=7)
    timing.add_argument("--judged", type=int, default=128, help="probes whose answers are compared")
    timing.add_argument("--json", default="peers.json")
    timing.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    if options.command == "make":
        chunks = make_torch if torch is not None else make_plain
        npy_write(options.file, options.rows, options.dim, chunks(options.rows, options.dim, options.seed))
        return 0
    if options.command == "head":
        npy_take(options.file, options.rows, options.out)
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
