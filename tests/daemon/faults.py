#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Faults of the disk, the clock, memory, the GPU and the clients: each gives a clear error or degraded service, and the daemon recovers without a restart.
#
# What docs/faults.md says is what is seen here. $LINEUP_SHIMS is where shim.so and libvulkan.so.1 are (build/tests/daemon).
import glob
import mmap
import os
import random
import re
import resource
import select
import socket
import struct
import subprocess
import time

import bed
from bed import Client, Gone, Oracle, ReplyError, agree, blob, eventually, vectors

DIM = 16
EIO, ENOSPC = 5, 28
SHIMS = os.path.abspath(os.environ.get("LINEUP_SHIMS", os.path.join(bed.HERE, "../../build/tests/daemon")))
SMALL_KIB = 8192


class Faults:
    """The switches of faults.h."""

    NAMES = ["sync_error", "write_error", "read_error", "hold_sync", "held", "injected", "clock_seconds", "device_lost", "submissions"]

    def __init__(self, directory):
        path = os.path.join(directory, "faults")
        with open(path, "wb") as f:
            f.write(bytes(4096))
        with open(path, "r+b") as f:
            object.__setattr__(self, "map", mmap.mmap(f.fileno(), 4096))
        object.__setattr__(self, "environment", {"LINEUP_FAULTS": path})

    def __getattr__(self, name):
        return struct.unpack_from("<i", self.map, 4 * self.NAMES.index(name))[0]

    def __setattr__(self, name, value):
        struct.pack_into("<i", self.map, 4 * self.NAMES.index(name), value)


def shim(name):
    path = os.path.join(SHIMS, name)
    if not os.path.exists(path):
        raise bed.Skip("there is no %s: `make daemon-programs` builds it" % path)
    return path


def faulty(directory, *arguments, **more):
    """(daemon, faults)"""
    faults = Faults(directory)
    environment = dict(faults.environment, **more.pop("environment", {}))
    return bed.daemon(directory, *arguments, preload=shim("shim.so"), environment=environment, **more), faults


class Gallery:
    """A gallery filled by a client, and what it must hold."""

    def __init__(self, client, key="people", count=40, seed=1):
        self.key = key
        self.oracle = Oracle()
        self.vectors = iter(vectors(100000, DIM, seed))
        self.probe = vectors(1, DIM, seed + 1)[0]
        for i in range(count):
            assert self.add(client, "p%d" % i) == 1

    def add(self, client, subject):
        """The reply; what is acknowledged must be there from now on."""
        vector = next(self.vectors)
        reply = client.ask("VADD", self.key, "FP32", blob(vector), subject)
        if not isinstance(reply, ReplyError):
            self.oracle.replace(subject, vector)
        return reply

    def remove(self, client, subject):
        reply = client.ask("VREM", self.key, subject)
        if reply == 1:
            self.oracle.remove(subject)
        return reply

    def found(self, client, count=1000):
        reply = client("VSIM", self.key, "FP32", blob(self.probe), "WITHSCORES", "COUNT", count)
        return [(e.decode(), 2 * bed.number(s) - 1) for e, s in zip(reply[::2], reply[1::2])]

    def vector_of(self, subject):
        return [row[2] for row in self.oracle.rows if row[1] == subject][0]

    def right(self, client):
        """Searches answer exactly what was acknowledged."""
        agree(self.found(client), self.oracle.search(self.probe, 1000), self.key)


def refused(reply, *words):
    """An error that says each of @words."""
    assert isinstance(reply, ReplyError), "not refused: %r" % (reply,)
    for word in words:
        assert re.search(word, str(reply), re.I), "%r does not say %r" % (str(reply), word)
    return reply


def recovers(gallery, client, subject):
    """Changes are taken again, by itself, without a restart."""
    eventually("the gallery takes changes again", lambda: not isinstance(gallery.add(client, subject), ReplyError), 60)
    gallery.right(client)


def survives_restart(daemon, *galleries):
    daemon.stop()
    daemon.start()
    with daemon.client() as client:
        for gallery in galleries:
            gallery.right(client)


# ---- disks ----


def a_full_disk_refuses_changes_until_there_is_room(directory):
    """A real one: a small file system of its own."""
    if os.geteuid():
        raise bed.Skip("only root can mount a small file system")
    small = os.path.join(directory, "small")
    os.mkdir(small)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dk" % SMALL_KIB, "none", small], capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise bed.Skip("no file system can be mounted here: " + mounted.stderr.strip())
    try:
        full_disk(directory, small)
    finally:
        for daemon in bed.started:
            daemon.end()
        subprocess.run(["umount", small], check=True)


def full_disk(directory, small):
    daemon = bed.daemon(directory, galleries=os.path.join(small, "galleries"))
    with daemon.client() as client:
        gallery = Gallery(client)
        filler = os.path.join(small, "filler")
        fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(fd, bytes(4096))
        except OSError as error:
            assert error.errno == ENOSPC
        os.close(fd)
        said = None
        for i in range(20000):  # what was preallocated is used up first
            reply = gallery.add(client, "more%d" % i)
            if isinstance(reply, ReplyError):
                said = reply
                break
        refused(said, "space|full")
        gallery.right(client)
        assert client("PING") == "PONG"
        os.unlink(filler)
        recovers(gallery, client, "after")
        assert gallery.add(client, "again") == 1
    survives_restart(daemon, gallery)


def disk_fails(directory, switch, error, word):
    daemon, faults = faulty(directory)
    with daemon.client() as client, daemon.client() as other:
        gallery, quiet = Gallery(client), Gallery(client, "others", seed=5)
        setattr(faults, switch, error)
        said = refused(gallery.add(client, "lost"), word)
        assert len(str(said)) > 20, said
        gallery.right(other)
        # Refused at once from now on, and another gallery's searches go on.
        refused(gallery.add(client, "lost too"))
        refused(gallery.remove(client, "p1"))
        quiet.right(other)
        assert faults.injected > 0
        setattr(faults, switch, 0)
        recovers(gallery, client, "after")
        assert client("VISMEMBER", "people", "lost too") == 0
        assert gallery.remove(client, "p1") == 1
        gallery.right(other)
        assert quiet.add(client, "after") == 1
    survives_restart(daemon, gallery, quiet)


def a_failed_sync_refuses_changes_until_the_disk_is_back(directory):
    disk_fails(directory, "sync_error", EIO, "input/output|EIO")


def a_failed_write_refuses_changes_until_the_disk_is_back(directory):
    disk_fails(directory, "write_error", EIO, "input/output|EIO")


def a_disk_without_room_says_so(directory):
    disk_fails(directory, "write_error", ENOSPC, "space")


def searches_do_not_wait_for_a_slow_disk(directory):
    daemon, faults = faulty(directory)
    with daemon.client() as client, daemon.client() as writer:
        gallery = Gallery(client)
        faults.hold_sync = 1
        vector = next(gallery.vectors)
        writer.send("VADD", "people", "FP32", blob(vector), "slow")
        eventually("the write waits for the disk", lambda: faults.held > 0)
        # Not durable, so not acknowledged and not to be seen; everything that needs no disk goes on.
        for _ in range(50):
            gallery.right(client)
        assert client("PING") == "PONG"
        assert client("VCARD", "people") == 40
        writer.socket.settimeout(0.2)
        try:
            reply = writer.receive()
            raise AssertionError("acknowledged before it was durable: %r" % (reply,))
        except socket.timeout:
            pass
        writer.socket.settimeout(30 * bed.PATIENCE)
        faults.hold_sync = 0
        assert writer.receive() == 1
        gallery.oracle.replace("slow", vector)
        gallery.right(client)


def enrolments_that_wait_share_one_sync(directory):
    daemon, faults = faulty(directory)
    clients = [daemon.client() for _ in range(20)]
    with daemon.client() as client:
        gallery = Gallery(client)
        faults.hold_sync = 1
        for i, other in enumerate(clients):
            vector = next(gallery.vectors)
            other.send("VADD", "people", "FP32", blob(vector), "w%d" % i)
            gallery.oracle.replace("w%d" % i, vector)
            if i == 0:
                eventually("the first waits for the disk", lambda: faults.held > 0)
        faults.hold_sync = 0
        for other in clients:
            assert other.receive() == 1
        gallery.right(client)


def too_many_waiting_enrolments_are_told_busy(directory):
    daemon, faults = faulty(directory, {"enrol": "waiting_operations_max = 8", "server": "client_pipeline_max = 64"})
    with daemon.client() as client, daemon.client() as writer:
        gallery = Gallery(client, count=4)
        faults.hold_sync = 1
        sent = [next(gallery.vectors) for _ in range(40)]
        writer.send_raw(b"".join(bed.encode("VADD", "people", "FP32", blob(v), "b%d" % i) for i, v in enumerate(sent)))
        eventually("a write waits for the disk", lambda: faults.held > 0)
        gallery.right(client)
        faults.hold_sync = 0
        replies = [writer.receive() for _ in sent]
        busy = [r for r in replies if isinstance(r, ReplyError)]
        assert busy and len(busy) < 40, "%d of 40 refused" % len(busy)
        assert all(r.code == "BUSY" for r in busy), busy[0]
        for i, (vector, reply) in enumerate(zip(sent, replies)):
            if not isinstance(reply, ReplyError):
                gallery.oracle.replace("b%d" % i, vector)
        gallery.right(client)


# ---- journals and segments ----


def journal_of(daemon, key="people"):
    paths = [p for p in glob.glob(os.path.join(daemon.galleries, key, "journal*"))]
    assert paths, os.listdir(os.path.join(daemon.galleries, key))
    return max(paths, key=os.path.getmtime)


FRAME = 512


def tear(rng, path, begin, kind):
    """What a disk may have of the frames behind @begin when the power fails before the sync: any of them, each whole or not at all."""
    end = os.path.getsize(path)
    frames = list(range(begin, end, FRAME))
    with open(path, "r+b") as f:
        if kind == "cut":
            f.truncate(rng.randrange(begin, end))
        elif kind == "none":
            frames = []
        for at in frames:
            if kind == "nothing" or (kind == "some" and rng.random() < 0.5) or (kind == "not the first" and at == begin):
                f.seek(at)
                f.write(bytes(FRAME))


def used(path):
    """Where the last frame that is not empty ends."""
    with open(path, "rb") as f:
        data = f.read()
    end = len(data) // FRAME * FRAME
    while end and not any(data[end - FRAME : end]):
        end -= FRAME
    return end


def a_torn_journal_loses_nothing_that_was_acknowledged(directory):
    daemon, faults = faulty(directory)
    rng = random.Random(3)
    with daemon.client() as client:
        gallery = Gallery(client)
    for round_, kind in enumerate(["some"] * 6 + ["cut"] * 4 + ["nothing", "not the first", "none"]):
        path = journal_of(daemon)
        begin = used(path)
        faults.hold_sync = 1
        names = ["r%d-%d" % (round_, i) for i in range(12)]
        with daemon.client() as client:
            sent = [next(gallery.vectors) for _ in names]
            client.send_raw(b"".join(bed.encode("VADD", "people", "FP32", blob(v), name) for v, name in zip(sent, names)))
            eventually("the write waits for the sync", lambda: faults.held > 0)
            daemon.kill()
        faults.hold_sync = 0
        faults.held = 0
        assert used(path) > begin, "nothing was written before the sync"
        tear(rng, path, begin, kind)
        daemon.start()
        with daemon.client() as client:
            there = [client("VISMEMBER", "people", name) for name in names]
            # Some of those that were not acknowledged, in their order; all that were.
            assert there == sorted(there, reverse=True), (kind, there)
            for name, vector, is_there in zip(names, sent, there):
                if is_there:
                    gallery.oracle.replace(name, vector)
            gallery.right(client)
            assert gallery.add(client, "after%d" % round_) == 1
        survives_restart(daemon, gallery)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 16]))


def a_damaged_gallery_is_not_served_and_the_others_are(directory):
    daemon = bed.daemon(directory)
    with daemon.client() as client:
        damaged, sound = Gallery(client, "damaged"), Gallery(client, "sound", seed=9)
    daemon.stop()
    path = journal_of(daemon, "damaged")
    flip(path, 4096 + 300)
    daemon.start()
    with daemon.client() as client:
        sound.right(client)
        assert sound.add(client, "after") == 1
        reply = client.ask("VSIM", "damaged", "FP32", blob(damaged.probe))
        refused(reply, "damaged")
        # It must not be taken for a missing one, and made anew.
        refused(client.ask("VADD", "damaged", "FP32", blob(damaged.probe), "new"))
        assert "damaged" in daemon.said()
        flip(path, 4096 + 300)
        client("LINEUP.ATTACH", "damaged", os.path.join(daemon.galleries, "damaged"))
        damaged.right(client)


def a_damaged_block_fails_the_searches_that_need_it_and_no_other(directory):
    daemon = bed.daemon(directory, {"search": "residency = streamed"})
    with daemon.client() as client:
        damaged, sound = Gallery(client, "damaged"), Gallery(client, "sound", seed=9)
        for key in ("damaged", "sound"):
            client("LINEUP.MAINTAIN", key, "COMPACT")
        damaged.right(client)
        segments = [p for p in glob.glob(os.path.join(daemon.galleries, "damaged", "*seg*"))]
        assert segments, os.listdir(os.path.join(daemon.galleries, "damaged"))
        size = os.path.getsize(segments[0])
        places = [at for at in range(4096 + 64, size, 4096)]
        failed = 0
        for at in places:
            flip(segments[0], at)
            reply = client.ask("VSIM", "damaged", "FP32", blob(damaged.probe), "WITHSCORES", "COUNT", 1000)
            if isinstance(reply, ReplyError):
                failed += 1
                assert len(str(reply)) > 20, reply
            else:
                damaged.right(client)  # a byte that this search does not need
            sound.right(client)
            flip(segments[0], at)
            damaged.right(client)
        assert failed, "no flipped byte of %d places was noticed" % len(places)


# ---- clocks ----


def a_clock_that_jumps_changes_expiry_and_nothing_else(directory):
    daemon, faults = faulty(directory, {"server": "client_idle_s = 60"})
    with daemon.client() as client, daemon.client() as idle:
        gallery = Gallery(client)
        vector = next(gallery.vectors)
        expires = int(time.time()) + 3600
        client("LINEUP.ENROL", "people", "EXPIRES", expires, "ROWS", 1, "FP32", blob(vector), "SUBJECTS", "guest")
        with_guest = Oracle()
        with_guest.rows = list(gallery.oracle.rows)
        with_guest.next_id = gallery.oracle.next_id
        with_guest.add("guest", vector)
        for seconds, there in ((0, True), (7200, False), (-7200, True), (10 * 365 * 86400, False), (0, True)):
            faults.clock_seconds = seconds
            wanted = with_guest if there else gallery.oracle
            agree(gallery.found(client), wanted.search(gallery.probe, 1000), "clock %+d s" % seconds)
            assert gallery.add(client, "clock%d" % seconds) in (0, 1)
            with_guest.replace("clock%d" % seconds, gallery.vector_of("clock%d" % seconds))
            # Timeouts are by a clock that does not jump: nobody is thrown out.
            assert idle("PING") == "PONG"


# ---- memory, descriptors, clients ----


def limit(daemon, which, soft):
    return resource.prlimit(daemon.process.pid, which, (soft, resource.prlimit(daemon.process.pid, which)[1]))


def memory_that_runs_out_is_an_error_and_comes_back(directory):
    if "asan" in bed.LINEUPD or "tsan" in bed.LINEUPD:
        raise bed.Skip("a sanitizer cannot live with a limit of the address space")
    daemon = bed.daemon(directory)
    with daemon.client() as client:
        gallery = Gallery(client)
        big = 48 << 20
        old = limit(daemon, resource.RLIMIT_AS, (daemon.memory_kib("VmSize") << 10) + (8 << 20))
        errors = 0
        for _ in range(3):
            # A request that does not fit: the client is told or dropped, and nobody else notices.
            try:
                with daemon.client() as greedy:
                    reply = greedy.ask("ECHO", bytes(big))
                    assert isinstance(reply, ReplyError) or len(reply) == big
                    errors += isinstance(reply, ReplyError)
            except Gone:
                errors += 1
            gallery.right(client)
            assert daemon.alive()
        assert errors, "no request of %d bytes met the limit" % big
        limit(daemon, resource.RLIMIT_AS, old[0])
        with daemon.client() as greedy:
            assert len(greedy("ECHO", bytes(1 << 20))) == 1 << 20
        recovers(gallery, client, "after")
    survives_restart(daemon, gallery)


def descriptors(daemon):
    return len(os.listdir("/proc/%d/fd" % daemon.process.pid))


def descriptors_that_run_out_stop_nobody_who_is_there(directory):
    daemon = bed.daemon(directory)
    with daemon.client() as client:
        gallery = Gallery(client)
        before = descriptors(daemon)
        old = limit(daemon, resource.RLIMIT_NOFILE, before + 20)
        crowd = []
        for _ in range(100):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.setblocking(False)
            s.connect_ex(daemon.socket)
            crowd.append(s)
        for _ in range(20):
            gallery.right(client)
        gallery.add(client, "crowded")
        assert daemon.alive()
        for s in crowd:
            s.close()
        # Without a higher limit: it is enough that they have gone.
        def newcomer():
            try:
                with Client(daemon.socket, timeout=2) as new:
                    return new("PING") == "PONG"
            except (Gone, OSError):
                return False
        eventually("a newcomer is served", newcomer, 30)
        recovers(gallery, client, "after")
        limit(daemon, resource.RLIMIT_NOFILE, old[0])
        eventually("the crowd's descriptors are closed", lambda: descriptors(daemon) <= before + 1, 30)


def too_many_clients_are_told_so(directory):
    daemon = bed.daemon(directory, {"server": "clients_max = 10"})
    with daemon.client() as client:
        gallery = Gallery(client)
        crowd = [Client(daemon.socket) for _ in range(9)]
        for other in crowd:
            assert other("PING") == "PONG"
        with Client(daemon.socket) as one_more:
            refused(one_more.receive(), "max number of clients")
            try:
                one_more("PING")
                raise AssertionError("served beyond the limit")
            except Gone:
                pass
        gallery.right(client)
        crowd.pop().close()
        def newcomer():
            with Client(daemon.socket) as new:
                try:
                    return new.ask("PING") == "PONG"
                except Gone:
                    return False
        eventually("there is room for another", newcomer)


def a_flood_of_searches_is_refused_with_busy_and_others_are_served(directory):
    daemon = bed.daemon(directory, {"search": "probes_max = 16\nwaiting_max = 32", "server": "client_pipeline_max = 1024"})
    with daemon.client() as client:
        gallery = Gallery(client, count=400)
        wanted = gallery.oracle.search(gallery.probe, 5)
        flood = [daemon.client() for _ in range(8)]
        one = bed.encode("VSIM", "people", "FP32", blob(gallery.probe), "WITHSCORES", "COUNT", 5)
        for other in flood:
            other.send_raw(one * 500)
        busy = 0
        for other in flood:
            for _ in range(500):
                reply = other.receive()
                if isinstance(reply, ReplyError):
                    assert reply.code == "BUSY", reply
                    busy += 1
                else:
                    agree([(e.decode(), 2 * bed.number(s) - 1) for e, s in zip(reply[::2], reply[1::2])], wanted)
        # A batch that can never fit is refused, one that fits is answered; nothing hangs.
        eventually("the daemon is idle again", lambda: not isinstance(client.ask("VSIM", "people", "FP32", blob(gallery.probe)), ReplyError))
        gallery.right(client)
        print("%d of 4000 searches refused" % busy, flush=True)
        refused(client.ask("LINEUP.SEARCH", "people", "PROBES", 33, "FP32", blob(gallery.probe) * 33, "K", 5), "32")
        reply = client("LINEUP.SEARCH", "people", "PROBES", 32, "FP32", blob(gallery.probe) * 32, "K", 5)
        assert len(bed.named(reply)["candidates"]) == 32


def a_client_that_does_not_read_harms_nobody(directory):
    # The address sanitizer keeps what was freed, up to this many MiB, and would count for what piles up.
    options = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"}
    # Few under way at once: what those need is bounded by their number, and is not what is looked for.
    daemon = bed.daemon(directory, {"server": "client_output_bytes_max = 65536\nclient_pipeline_max = 16"}, environment=options)
    with daemon.client() as client:
        gallery = Gallery(client, count=400)
        for _ in range(20):
            gallery.right(client)
        before = daemon.memory_kib()
        deaf = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deaf.connect(daemon.socket)
        deaf.setblocking(False)
        data = bed.encode("VSIM", "people", "FP32", blob(gallery.probe), "WITHSCORES", "COUNT", 400) * 20000
        sent = 0
        try:
            # Until it is closed, or nothing more is taken from it for a while.
            while sent < len(data) and select.select([], [deaf], [], 2 * bed.PATIENCE)[1]:
                sent += deaf.send(data[sent:sent + 65536])
        except (BrokenPipeError, ConnectionResetError):
            pass
        # Whatever of it is done is done: the replies to all of it would be 200 MiB and more.
        done = None
        while done != (now := re.search(rb"^searches:(\d+)", client("INFO"), re.MULTILINE).group(1)):
            done = now
            time.sleep(0.5 * bed.PATIENCE)
        # Its requests wait, so its replies do not pile up.
        assert daemon.memory_kib() < before + 32768, (before, daemon.memory_kib())
        for _ in range(20):
            gallery.right(client)
        deaf.close()
        gallery.right(client)


# ---- GPUs ----


def software_device():
    return glob.glob("/usr/share/vulkan/icd.d/lvp_icd*.json")


def a_lost_gpu_is_replaced_by_the_cpu(directory):
    if not software_device():
        raise bed.Skip("no lavapipe here (Debian: mesa-vulkan-drivers)")
    shim("libvulkan.so.1")
    faults = Faults(directory)
    environment = dict(faults.environment, LD_LIBRARY_PATH=SHIMS, VK_ICD_FILENAMES=software_device()[0], XDG_CACHE_HOME=directory)
    daemon = bed.daemon(directory, {"search": "backend = vulkan-scalar\ndevices = 0"}, environment=environment)
    with daemon.client() as client:
        gallery = Gallery(client, count=200)
        client("LINEUP.MAINTAIN", "people", "COMPACT")
        gallery.right(client)
        eventually("a search used the device", lambda: gallery.right(client) or faults.submissions > 0, 60)
        faults.device_lost = 1
        for i in range(5):
            gallery.right(client)
            assert gallery.add(client, "lost%d" % i) == 1
        assert faults.injected > 0, "nothing was asked of the lost device"
        gallery.right(client)
        faults.device_lost = 0
        gallery.right(client)
        assert re.search("lost|CPU", daemon.said()), daemon.said()[-1500:]


if __name__ == "__main__":
    bed.main([
        a_full_disk_refuses_changes_until_there_is_room,
        a_failed_sync_refuses_changes_until_the_disk_is_back,
        a_failed_write_refuses_changes_until_the_disk_is_back,
        a_disk_without_room_says_so,
        searches_do_not_wait_for_a_slow_disk,
        enrolments_that_wait_share_one_sync,
        too_many_waiting_enrolments_are_told_busy,
        a_torn_journal_loses_nothing_that_was_acknowledged,
        a_damaged_gallery_is_not_served_and_the_others_are,
        a_damaged_block_fails_the_searches_that_need_it_and_no_other,
        a_clock_that_jumps_changes_expiry_and_nothing_else,
        memory_that_runs_out_is_an_error_and_comes_back,
        descriptors_that_run_out_stop_nobody_who_is_there,
        too_many_clients_are_told_so,
        a_flood_of_searches_is_refused_with_busy_and_others_are_served,
        a_client_that_does_not_read_harms_nobody,
        a_lost_gpu_is_replaced_by_the_cpu,
    ])
