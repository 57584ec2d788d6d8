#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Sixteen clients enrol, delete and search a small gallery at the same time, while it is maintained, and the daemon is killed now and then; what they saw is checked.
#
# A phase begins and ends with one client alone that reads everything, so each phase is a history of its own, from a known state. Every vector is written once, so what a search
# finds tells which write it has seen. Calls are refused (BUSY) without effect, or answered, or left without a reply by a kill: those may have taken effect before it, or never.
#
#	history.py [FACT...]     LINEUP_HISTORY_ROUNDS=N phases that end with a kill (4), LINEUP_HISTORY_OPERATIONS=N of each client and phase (40)
import bisect
import os
import random
import threading
import time

import bed
import checker
from bed import Gone, ReplyError

CLIENTS = 16
ELEMENTS = 12
DIM = 16
PROBES = 4
ALL = 64
SPACING = 4e-6
ROUNDS = int(os.environ.get("LINEUP_HISTORY_ROUNDS", "4"))
OPERATIONS = int(os.environ.get("LINEUP_HISTORY_OPERATIONS", "40"))
KEY = "people"


def name(element):
    return "element%02d" % element


class Versions:
    """Every vector that was ever written, numbered from 1; no two of them score the same with a probe."""

    def __init__(self, seed):
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.probes = [bed.normal(v) for v in bed.vectors(PROBES, DIM, seed + 1)]
        self.vector = [None]
        self.scores = [[0.0] for _ in range(PROBES)]        # [probe][version]
        self.sorted = [[] for _ in range(PROBES)]           # (score, version)
        self.cache = {}

    def new(self):
        with self.lock:
            while True:
                vector = bed.normal([self.random.gauss(0, 1) for _ in range(DIM)])
                scores = [bed.cosine(probe, vector) for probe in self.probes]
                if all(self.alone(p, score) for p, score in enumerate(scores)):
                    break
            version = len(self.vector)
            self.vector.append(vector)
            for p, score in enumerate(scores):
                self.scores[p].append(score)
                bisect.insort(self.sorted[p], (score, version))
            return version

    def alone(self, p, score):
        near = bisect.bisect_left(self.sorted[p], (score - SPACING, 0))
        return near == len(self.sorted[p]) or self.sorted[p][near][0] > score + SPACING

    def rank(self, p):
        return [-score for score in self.scores[p]]

    def of(self, p, score):
        """The version that scores this with probe @p; 0: none does."""
        with self.lock:
            place = bisect.bisect_left(self.sorted[p], (score - SPACING / 2, 0))
            if place < len(self.sorted[p]) and self.sorted[p][place][0] <= score + SPACING / 2:
                return self.sorted[p][place][1]
        return 0

    def pair(self, one, other):
        key = (one, other) if one < other else (other, one)
        if key not in self.cache:
            self.cache[key] = bed.cosine(self.vector[one], self.vector[other])
        return self.cache[key]

    def like(self, values):
        """The version whose vector this is, up to what normalising again changes; 0: none."""
        vector = bed.normal(values)
        version = self.of(0, bed.cosine(self.probes[0], vector))
        return version if version and all(abs(a - b) < 1e-6 for a, b in zip(vector, self.vector[version])) else 0


class Recorder(threading.Thread):
    """One client: draws calls, makes them, and writes down what it saw."""

    def __init__(self, place, daemon, versions, seed, operations):
        super().__init__()
        self.place = place
        self.daemon = daemon
        self.versions = versions
        self.random = random.Random(seed)
        self.operations = operations
        self.ops = []
        self.refused = 0
        self.failure = None
        self.lost = False

    def run(self):
        try:
            with self.daemon.client(2 + self.place % 2) as client:
                while len(self.ops) < self.operations:
                    self.go(client, 1 if self.random.random() < 0.7 else self.random.randint(2, 4))
        except (Gone, ConnectionError, FileNotFoundError):
            self.lost = True
        except Exception as error:  # told by the main thread
            self.failure = error

    def go(self, client, count):
        """One call, or several in a pipeline."""
        calls = [self.draw() for _ in range(count)]
        begin = time.monotonic_ns()
        waiting = []
        try:
            before = None
            for _, make, _ in calls:
                op = make(begin)
                op.after = before
                before = op
                waiting.append(op)
            client.send_raw(b"".join(bed.encode(*request) for request, _, _ in calls))
            for (_, _, read), op in zip(calls, list(waiting)):
                reply = client.receive()
                end = time.monotonic_ns()
                waiting.pop(0)
                if isinstance(reply, ReplyError) and reply.code == "BUSY":
                    self.forget(op, waiting)
                    continue
                read(op, reply)
                op.end = end
                self.ops.append(op)
        finally:
            # What has no reply; a read without one tells nothing.
            for op in list(waiting):
                waiting.pop(0)
                if op.changes:
                    self.ops.append(op)
                else:
                    self.forget(op, waiting)

    def forget(self, op, later):
        """The op had no effect: what comes after it comes after what came before it."""
        self.refused += 1
        for other in later:
            if other.after is op:
                other.after = op.after

    def draw(self):
        """(request, a function that makes the op, a function that puts the reply into it)."""
        kinds = (
            [self.add] * 4 + [self.remove] * 2 + [self.enrol] * 4 + [self.delete] * 3 + [self.member] * 2 + [self.count] + [self.embedding] * 2
            + [self.similar] * 3 + [self.near] * 3 + [self.search] * 8
        )
        return self.random.choice(kinds)(self.random.randrange(ELEMENTS))

    def vector(self, version):
        return bed.blob(self.versions.vector[version])

    def add(self, element):
        version = self.versions.new()
        if self.random.random() < 0.2:
            values = [repr(x) for x in self.versions.vector[version]]
            request = ["VADD", KEY, "VALUES", DIM, *values, name(element)]
        else:
            request = ["VADD", KEY, "FP32", self.vector(version), name(element)]

        def read(op, reply):
            assert reply is True or reply is False or reply in (0, 1), "VADD answers %r" % (reply,)
            op.result = int(reply)

        return request, lambda begin: checker.Put(self.place, begin, None, [(element, version)]), read

    def enrol(self, _):
        chosen = self.random.sample(range(ELEMENTS), self.random.randint(1, 4))
        puts = [(element, self.versions.new()) for element in chosen]
        request = ["LINEUP.ENROL", KEY, "REPLACE", "ROWS", len(puts), "FP32", b"".join(self.vector(v) for _, v in puts)]
        request += ["SUBJECTS", *[name(e) for e, _ in puts]]

        def read(op, reply):
            assert not isinstance(reply, ReplyError), reply
            reply = bed.named(reply)
            assert reply["rows"] == len(puts), reply
            op.sequence = reply["sequence"]

        return request, lambda begin: checker.Put(self.place, begin, None, puts), read

    def remove(self, element):
        def read(op, reply):
            assert reply is True or reply is False or reply in (0, 1), "VREM answers %r" % (reply,)
            op.result = int(reply)

        return ["VREM", KEY, name(element)], lambda begin: checker.Remove(self.place, begin, None, element), read

    def delete(self, element):
        def read(op, reply):
            if isinstance(reply, ReplyError):
                assert "no subject" in str(reply), reply
                op.result = 0
                return
            reply = bed.named(reply)
            assert reply["rows"] == 1, reply
            op.result, op.sequence = 1, reply["sequence"]

        return ["LINEUP.DELETE", KEY, "SUBJECT", name(element)], lambda begin: checker.Remove(self.place, begin, None, element), read

    def member(self, element):
        def read(op, reply):
            assert reply is True or reply is False or reply in (0, 1), "VISMEMBER answers %r" % (reply,)
            op.result = int(reply)

        return ["VISMEMBER", KEY, name(element)], lambda begin: checker.Member(self.place, begin, None, element), read

    def count(self, _):
        def read(op, reply):
            assert type(reply) is int, "VCARD answers %r" % (reply,)
            op.result = reply

        return ["VCARD", KEY], lambda begin: checker.Count(self.place, begin, None), read

    def embedding(self, element):
        def read(op, reply):
            assert not isinstance(reply, ReplyError), reply
            op.result = 0
            if reply is not None:
                op.result = self.versions.like([bed.number(x) for x in reply])
                assert op.result, "VEMB tells a vector that nobody wrote"

        return ["VEMB", KEY, name(element)], lambda begin: checker.Version(self.place, begin, None, element), read

    def scored(self, reply):
        """[(element, score in Redis's scale)] of VSIM WITHSCORES in either version."""
        assert not isinstance(reply, ReplyError), reply
        pairs = reply if isinstance(reply, bed.Pairs) else list(zip(reply[::2], reply[1::2]))
        return [(int(e[-2:]), bed.number(score)) for e, score in pairs]

    def similar(self, _):
        p = self.random.randrange(PROBES)
        k = self.random.choice((1, 3, ALL, ALL))

        def read(op, reply):
            op.result = self.found(p, [(e, 2 * score - 1) for e, score in self.scored(reply)])

        request = ["VSIM", KEY, "FP32", bed.blob(self.versions.probes[p]), "WITHSCORES", "COUNT", k]
        return request, lambda begin: checker.Search(self.place, begin, None, k, p), read

    def found(self, p, candidates):
        """The versions of (element, cosine)."""
        versions = tuple(self.versions.of(p, score) for _, score in candidates)
        assert all(versions), "a candidate has a score that no version has: %r" % (candidates,)
        return versions

    def near(self, element):
        k = self.random.choice((1, 3, ALL))

        def read(op, reply):
            if isinstance(reply, ReplyError):
                assert "element not found" in str(reply), reply
                return
            op.result = [(e, 2 * score - 1) for e, score in self.scored(reply)]

        request = ["VSIM", KEY, "ELE", name(element), "WITHSCORES", "COUNT", k]
        return request, lambda begin: checker.SearchNear(self.place, begin, None, element, k, self.versions.pair), read

    def search(self, _):
        """A batch of probes is one search of one state; the first probe is for the checker, and the others must agree with it."""
        count = self.random.randint(1, PROBES)
        k = self.random.choice((1, 3, ALL, ALL))
        request = ["LINEUP.SEARCH", KEY, "PROBES", count, "FP32", b"".join(bed.blob(p) for p in self.versions.probes[:count]), "K", k]

        def read(op, reply):
            assert not isinstance(reply, ReplyError), reply
            op.sequence, found = self.answer(reply)
            assert len(found) == count, reply
            op.result = found[0]
            if k == ALL:
                assert all(set(versions) == set(found[0]) for versions in found), "the probes of one search saw different states: %r @%d" % (found, op.sequence)

        return request, lambda begin: checker.Search(self.place, begin, None, k, 0), read

    def answer(self, reply):
        """(sequence, versions of each probe) of LINEUP.SEARCH."""
        reply = bed.named(reply)
        found = []
        for p, candidates in enumerate(reply["candidates"]):
            found.append(self.found(p, [(int(c[0][-2:]), bed.number(c[1])) for c in candidates]))
        return reply["sequence"], found

    def everything(self, client):
        """(state, sequence), read alone; and as an op."""
        request, make, read = self.search(0)
        request[request.index("K") + 1] = ALL
        op = make(time.monotonic_ns())
        op.k = ALL
        read(op, client.ask(*request))
        op.end = time.monotonic_ns()
        # Which element has which version is known by asking for each.
        state = [0] * ELEMENTS
        for element in range(ELEMENTS):
            ask, make, read = self.embedding(element)
            one = make(0)
            read(one, client.ask(*ask))
            state[element] = one.result
        assert sorted(v for v in state if v) == sorted(op.result), "a search finds %r, elements have %r" % (op.result, state)
        return tuple(state), op.sequence, op


class Maintainer(threading.Thread):
    """Seals and compacts again and again."""

    def __init__(self, daemon, seed):
        super().__init__()
        self.daemon = daemon
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.failure = None
        self.times = 0

    def run(self):
        try:
            with self.daemon.client() as client:
                while not self.over.wait(self.random.random() * 0.1):
                    reply = client.ask("LINEUP.MAINTAIN", KEY, "COMPACT")
                    assert not isinstance(reply, ReplyError) or reply.code == "BUSY", reply
                    self.times += 1
        except (Gone, ConnectionError, FileNotFoundError):
            pass
        except Exception as error:
            self.failure = error


class Course:
    """A daemon and its gallery from phase to phase."""

    def __init__(self, daemon, seed):
        self.daemon = daemon
        self.seed = seed
        self.random = random.Random(seed)
        self.versions = Versions(seed)
        self.reader = Recorder(99, daemon, self.versions, seed, 0)
        self.counts = dict(phases=0, ops=0, lost=0, refused=0, maintained=0, most=0)

    def begin(self):
        with self.daemon.client() as client:
            client("LINEUP.CREATE", KEY, "DIM", DIM)
            self.state, self.sequence, _ = self.reader.everything(client)
        assert not any(self.state)

    def phase(self, kill):
        self.counts["phases"] += 1
        threads = [Recorder(c, self.daemon, self.versions, self.random.random(), OPERATIONS) for c in range(CLIENTS)]
        maintainer = Maintainer(self.daemon, self.random.random())
        for thread in threads + [maintainer]:
            thread.start()
        if kill:
            want = self.random.random() * CLIENTS * OPERATIONS
            bed.eventually("calls are answered", lambda: sum(len(t.ops) for t in threads) >= want or not any(t.is_alive() for t in threads), 60)
            self.daemon.kill()
        for thread in threads:
            thread.join(120 * bed.PATIENCE)
            assert not thread.is_alive(), "a client waits for a reply that does not come: " + self.daemon.stacks()
        maintainer.over.set()
        maintainer.join(120 * bed.PATIENCE)
        assert not maintainer.is_alive(), "maintenance does not end"
        for thread in threads + [maintainer]:
            if thread.failure:
                raise thread.failure
        assert kill or not any(t.lost for t in threads), "the daemon has gone: " + self.daemon.said()[-2000:]
        if kill:
            self.daemon.start()
        self.judge([op for thread in threads for op in thread.ops])
        self.counts["refused"] += sum(t.refused for t in threads)
        self.counts["maintained"] += maintainer.times

    def judge(self, ops):
        with self.daemon.client() as client:
            state, sequence, last = self.reader.everything(client)
        for op in ops + [last]:
            # Without a reply it took effect before the kill or never; since nobody is there between the kill and the last search, that is: before that search.
            if op.end is None:
                self.counts["lost"] += 1
            if isinstance(op, checker.Search):
                op.rank = self.versions.rank(op.rank)
        verdict = checker.check(ops + [last], self.state, self.sequence)
        assert verdict.ok, "seed %r, phase %d: %s" % (self.seed, self.counts["phases"], verdict)
        self.counts["ops"] += len(ops)
        self.counts["most"] = max(self.counts["most"], verdict.most)
        self.state, self.sequence = state, sequence

    def __str__(self):
        return " ".join("%s=%d" % item for item in self.counts.items())


def course(directory, kills, rounds, config=""):
    seed = int(os.environ.get("LINEUP_HISTORY_SEED", time.time_ns() % 1000000))
    print("seed %d" % seed, flush=True)
    c = Course(bed.daemon(directory, config), seed)
    c.begin()
    for _ in range(rounds):
        c.phase(kills)
    c.daemon.stop()
    print(c, flush=True)


def concurrent_histories_are_linearizable(directory):
    course(directory, False, max(1, ROUNDS // 2))


def histories_across_kills_are_linearizable(directory):
    course(directory, True, ROUNDS)


def histories_of_a_streamed_gallery_are_linearizable(directory):
    course(directory, True, max(1, ROUNDS // 4), {"search": "residency = streamed"})


if __name__ == "__main__":
    bed.main([
        concurrent_histories_are_linearizable,
        histories_across_kills_are_linearizable,
        histories_of_a_streamed_gallery_are_linearizable,
    ])
