#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Memory stays flat: clients come and go, enrol, replace, delete and search for $LINEUP_SOAK_SECONDS (600), and the daemon's memory at the end is that of the first quarter.
import os
import random
import threading
import time

import bed
from bed import ReplyError, blob, vectors

SECONDS = float(os.environ.get("LINEUP_SOAK_SECONDS", "600"))
DIM = 64
SUBJECTS = 2000
# What allocators and caches of the kernel's may move by.
SLACK_KIB = 8192


class Worker(threading.Thread):
    def __init__(self, daemon, seed, over):
        super().__init__()
        self.daemon = daemon
        self.random = random.Random(seed)
        self.over = over
        self.done = 0
        self.failure = None
        self.pool = vectors(200, DIM, seed)

    def run(self):
        try:
            while not self.over.is_set():
                with self.daemon.client(self.random.choice((2, 3))) as client:
                    for _ in range(200):
                        if self.over.is_set():
                            break
                        self.one(client)
        except Exception as error:
            self.failure = error

    def request(self):
        r = self.random
        subject = "s%d" % r.randrange(SUBJECTS)
        vector = blob(r.choice(self.pool))
        return r.choice((
            ["VADD", "soak", "FP32", vector, subject],
            ["VADD", "soak", "FP32", vector, subject, "SETATTR", '{"n": %d}' % r.randrange(100)],
            ["VREM", "soak", subject],
            ["VSIM", "soak", "FP32", vector, "WITHSCORES", "COUNT", 20],
            ["VSIM", "soak", "FP32", vector, "FILTER", ".n > %d" % r.randrange(100), "WITHATTRIBS"],
            ["VSIM", "soak", "ELE", subject],
            ["LINEUP.SEARCH", "soak", "PROBES", 2, "FP32", vector * 2, "K", 10],
            ["VEMB", "soak", subject],
            ["VGETATTR", "soak", subject],
            ["VRANDMEMBER", "soak", 5],
            ["INFO"],
            ["NOSUCH"],
        ))

    def one(self, client):
        if self.random.random() < 0.1:
            replies = client.pipeline([self.request() for _ in range(20)])
        else:
            replies = [client.ask(*self.request())]
        for reply in replies:
            if isinstance(reply, ReplyError):
                assert reply.code == "BUSY" or "not found" in str(reply) or "unknown command" in str(reply), reply
        self.done += len(replies)


def memory_stays_flat(directory):
    daemon = bed.daemon(directory)
    with daemon.client() as client:
        for i, vector in enumerate(vectors(SUBJECTS, DIM, 1)):
            client("VADD", "soak", "FP32", blob(vector), "s%d" % i)
        client("LINEUP.MAINTAIN", "soak", "COMPACT")
    over = threading.Event()
    workers = [Worker(daemon, seed, over) for seed in range(4)]
    for worker in workers:
        worker.start()
    begin = time.monotonic()
    samples = []
    try:
        while time.monotonic() < begin + SECONDS and all(w.is_alive() for w in workers):
            time.sleep(min(1, SECONDS / 60))
            samples.append((daemon.memory_kib("VmRSS"), len(os.listdir("/proc/%d/fd" % daemon.process.pid))))
            # Compacted now and then, so that rows do not pile up.
            if len(samples) % 15 == 0:
                with daemon.client() as client:
                    client.ask("LINEUP.MAINTAIN", "soak", "COMPACT")
    finally:
        over.set()
        for worker in workers:
            worker.join()
    for worker in workers:
        if worker.failure:
            raise worker.failure
    quarter = len(samples) // 4
    early, late = max(s[0] for s in samples[:quarter]), max(s[0] for s in samples[-quarter:])
    print("%d requests; resident memory: %d KiB at most in the first quarter, %d KiB in the last; descriptors %d and %d" % (
        sum(w.done for w in workers), early, late, max(s[1] for s in samples[:quarter]), max(s[1] for s in samples[-quarter:])), flush=True)
    assert late <= early + SLACK_KIB, "memory grew from %d to %d KiB" % (early, late)
    assert max(s[1] for s in samples[-quarter:]) <= max(s[1] for s in samples[:quarter]) + 4
    daemon.stop()


if __name__ == "__main__":
    bed.main([memory_stays_flat])
