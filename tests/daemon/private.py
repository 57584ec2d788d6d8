#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Probes leave nothing behind: not in the daemon's memory, not in its files, its log or a core. What was deleted leaves the disk.
import array
import os
import re
import resource
import signal
import socket
import time

import bed
from bed import Gone, ReplyError, blob, normal, vectors

DIM = 128
PIECE = 32
PAGE = resource.getpagesize()


class Probe:
    """A vector, and what of it would be recognised: as it was sent, as lineup stores it, as text."""

    def __init__(self, seed):
        self.vector = vectors(1, DIM, seed)[0]
        self.text = [repr(x) for x in self.vector]
        self.needles = {}
        for kind, data in (("as it was sent", blob(self.vector)), ("normalised", blob(normal(self.vector)))):
            for at in range(0, len(data) - PIECE, 3 * PIECE):
                self.needles[data[at : at + PIECE]] = kind
        for word in sorted(self.text, key=len)[-6:]:
            self.needles[word.encode()] = "as text"

    def found_in(self, data):
        return {kind for needle, kind in self.needles.items() if needle in data}


def mappings(pid):
    with open("/proc/%d/maps" % pid) as f:
        for line in f:
            m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line)
            start, end, flags, name = int(m[1], 16), int(m[2], 16), m[3], m[4]
            # What a sanitizer keeps beside memory, of which little is there.
            if flags[0] == "r" and end - start < 4 << 30 and name not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                yield start, end, name


def pages(pagemap, start, end):
    """Runs of pages that are in memory: the others hold nothing, or are in files."""
    pagemap.seek(start // PAGE * 8)
    present = array.array("Q", pagemap.read((end - start) // PAGE * 8))
    begin = None
    for place, entry in enumerate(present):
        if entry >> 62:  # present or swapped
            begin = place if begin is None else begin
        elif begin is not None:
            yield start + begin * PAGE, start + place * PAGE
            begin = None
    if begin is not None:
        yield start + begin * PAGE, end


def in_memory(daemon, probes):
    """Where the probes are: ["kind in mapping"]."""
    found = []
    proc = "/proc/%d/" % daemon.process.pid
    try:
        memory, pagemap = open(proc + "mem", "rb", buffering=0), open(proc + "pagemap", "rb", buffering=0)
    except PermissionError:
        raise bed.Skip("this user may not read the daemon's memory")
    with memory, pagemap:
        for start, end, name in mappings(daemon.process.pid):
            for first, last in pages(pagemap, start, end):
                try:
                    memory.seek(first)
                    data = memory.read(last - first)
                except (OSError, OverflowError):
                    continue
                for i, probe in enumerate(probes):
                    for kind in probe.found_in(data):
                        found.append("probe %d %s in %x-%x %s" % (i, kind, start, end, name))
    return found


def in_files(directory, probes):
    found = []
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(root, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                data = f.read()
            for i, probe in enumerate(probes):
                for kind in probe.found_in(data):
                    found.append("probe %d %s in %s" % (i, kind, path))
    return found


def settled(daemon, probes, kinds=("as it was sent", "normalised", "as text")):
    """No trace is left, once what was under way has ended."""
    deadline = time.monotonic() + 10 * bed.PATIENCE
    while True:
        found = [f for f in in_memory(daemon, probes) if any(kind in f for kind in kinds)]
        if not found:
            return
        assert time.monotonic() < deadline, "\n".join(found[:10])
        time.sleep(0.1)


def enrolled(client, count=200, key="people"):
    probes = [Probe(1000 + i) for i in range(3)]
    for i, vector in enumerate([p.vector for p in probes] + vectors(count, DIM, 77)):
        assert client("VADD", key, "FP32", blob(vector), "s%d" % i) == 1
    return probes


def the_scan_finds_what_is_there(directory):
    """Without this the others would show nothing: templates in the journal are in memory and on disk."""
    daemon = bed.daemon(directory)
    with daemon.client() as client:
        probes = enrolled(client)
        assert len({f.split()[1] for f in in_memory(daemon, probes)}) == 3
        assert len({f.split()[1] for f in in_files(daemon.galleries, probes)}) == 3


def searches_leave_no_probe_in_memory_or_files(directory):
    daemon = bed.daemon(directory)
    probes = [Probe(i) for i in range(8)]
    with daemon.client() as client, daemon.client(3) as other:
        enrolled(client)
        for round_ in range(3):
            for p in probes:
                client("VSIM", "people", "FP32", blob(p.vector), "WITHSCORES")
                client("VSIM", "people", "VALUES", DIM, *p.text)
            other("LINEUP.SEARCH", "people", "PROBES", 8, "FP32", b"".join(blob(p.vector) for p in probes), "K", 5)
            other("LINEUP.VERIFY", "people", "s1", "PROBES", 1, "FP32", blob(probes[0].vector))
            client.pipeline([["VSIM", "people", "FP32", blob(p.vector)] for p in probes * 20])
            if round_ == 1:
                client("LINEUP.MAINTAIN", "people", "COMPACT")
        # While the connections are open, and after.
        settled(daemon, probes)
    settled(daemon, probes)
    assert not in_files(directory, probes), in_files(directory, probes)


def refused_and_broken_requests_leave_no_probe(directory):
    daemon = bed.daemon(directory, {"search": "probes_max = 4\nwaiting_max = 4"})
    probes = [Probe(i) for i in range(8)]
    p = [blob(x.vector) for x in probes]
    with daemon.client() as client:
        enrolled(client)
        for request in (
            ["VSIM", "people", "FP32", p[0] + p[1]],
            ["VSIM", "nothing", "FP32", p[0]],
            ["VSIM", "people", "FP32", p[1], "COUNT", 0],
            ["VSIM", "people", "FP32", p[2], "FILTER", "((("],
            ["VSIM", "people", "VALUES", DIM - 1, *probes[2].text],
            ["NOSUCH", p[3]],
            ["LINEUP.SEARCH", "people", "PROBES", 2, "FP32", p[3]],
            ["VADD", "people", "REDUCE", 4, "FP32", p[4], "x"],
            ["VADD", "people", "FP32", p[4], "x" * 2000],
        ):
            reply = client.ask(*request)
            assert isinstance(reply, ReplyError) or reply == [], (request[0], reply)
        # Refused for want of room.
        client.pipeline([["LINEUP.SEARCH", "people", "PROBES", 8, "FP32", b"".join(p)]] * 3)
        client.pipeline([["VSIM", "people", "FP32", one] for one in p * 30])
        # Half a request, and then gone; a whole one, and gone before the reply; a protocol error with a probe before it.
        for ending in (p[5][:300], p[5] + b"\r\n", p[6] + b"\r\n$zz\r\n"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.connect(daemon.socket)
                s.sendall(b"*4\r\n$4\r\nVSIM\r\n$6\r\npeople\r\n$4\r\nFP32\r\n$%d\r\n" % len(p[5]) + ending)
        # Inline.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.connect(daemon.socket)
            s.sendall(("VSIM people VALUES %d %s\r\n" % (DIM, " ".join(probes[7].text))).encode())
            s.recv(100)
        settled(daemon, probes)
    settled(daemon, probes)
    said = daemon.said()
    assert not any(probe.found_in(said.encode()) for probe in probes)
    assert "people" not in said or not re.search(r"\bs[0-9]+\b", said), "a subject's name is in the log"


def what_is_deleted_leaves_the_disk(directory):
    """With its attributes, once the gallery is compacted. Of the requests that enrolled it nothing is left before that."""
    daemon = bed.daemon(directory)
    marker = "marker-of-an-attribute-0123456789"
    with daemon.client() as client:
        probes = enrolled(client, 50)
        client("VSETATTR", "people", "s0", '{"note": "%s"}' % marker)
        settled(daemon, probes, ("as it was sent", "as text"))
        for i in range(3):
            assert client("VREM", "people", "s%d" % i) == 1
        client("LINEUP.MAINTAIN", "people", "COMPACT")
        found = in_files(daemon.galleries, probes)
        assert not found, found
        assert client("VCARD", "people") == 50
    daemon.stop()
    for root, _, names in os.walk(daemon.galleries):
        for name in names:
            with open(os.path.join(root, name), "rb") as f:
                assert marker.encode() not in f.read(), "the deleted subject's attributes are in " + name


def a_crash_leaves_no_core(directory):
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    if pattern.startswith("|") or "/" in pattern:
        raise bed.Skip("core_pattern sends core files elsewhere")
    daemon = bed.daemon(directory)
    assert resource.prlimit(daemon.process.pid, resource.RLIMIT_CORE) == (0, 0)
    try:
        # Without the limit, too, if this user may lift it.
        resource.prlimit(daemon.process.pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except PermissionError:
        pass
    probe = Probe(1)
    with daemon.client() as client:
        enrolled(client)
        client.send_raw(bed.encode("VSIM", "people", "FP32", blob(probe.vector)) * 200)
        daemon.process.send_signal(signal.SIGABRT)
        try:
            while True:
                client.receive()
        except Gone:
            pass
    daemon.process.wait(60 * bed.PATIENCE)
    cores = [name for name in os.listdir(directory) if "core" in name]
    assert not cores, cores
    assert not in_files(directory, [probe])


if __name__ == "__main__":
    bed.main([
        the_scan_finds_what_is_there,
        searches_leave_no_probe_in_memory_or_files,
        refused_and_broken_requests_leave_no_probe,
        what_is_deleted_leaves_the_disk,
        a_crash_leaves_no_core,
    ])
