# SPDX-License-Identifier: MIT
# What the tests of lineupd from outside share: a daemon in a directory of its own, a RESP client, an oracle in float64, and facts told as TAP.
#
# $LINEUPD is the program. These scripts use Debian's own Python (/usr/bin/python3), which is the one that has the redis module.
import math
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
LINEUPD = os.path.abspath(os.environ.get("LINEUPD", os.path.join(HERE, "../../build/lineupd")))
# How much longer than usual things may take: sanitizers are slow.
PATIENCE = float(os.environ.get("LINEUP_TEST_PATIENCE", "1"))
# How many rounds random tests make, as a factor.
SCALE = float(os.environ.get("LINEUP_TEST_SCALE", "1"))


class Skip(Exception):
    """Ends a fact as skipped, with the reason."""


# ---- RESP ----


class ReplyError(Exception):
    """An error reply; equal to another with the same text, so that replies can be compared."""

    def __eq__(self, other):
        return isinstance(other, ReplyError) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class Gone(Exception):
    """The connection ended before the reply."""


class Pairs(list):
    """A map of RESP3 as a list of pairs, in the order in which they came."""

    def get(self, name):
        for key, value in self:
            if key == name:
                return value
        raise KeyError(name)


class Elements(list):
    """A set of RESP3."""


class Simple(str):
    """A simple string, "+OK"."""


class Verbatim(bytes):
    """A verbatim string of RESP3, without its format."""


def encode(*arguments):
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if isinstance(argument, str):
            argument = argument.encode()
        elif isinstance(argument, float):
            argument = repr(argument).encode()
        elif isinstance(argument, int):
            argument = b"%d" % argument
        parts.append(b"$%d\r\n" % len(argument))
        parts.append(bytes(argument))
        parts.append(b"\r\n")
    return b"".join(parts)


class Client:
    """A connection that knows RESP2 and RESP3, strict in what it takes: an unknown or broken reply is a failure of the test."""

    def __init__(self, address, version=2, timeout=30.0):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(timeout * PATIENCE)
        self.buffer = b""
        self.at = 0
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        if version == 3:
            self("HELLO", 3)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, *arguments):
        self.send_raw(encode(*arguments))

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except socket.timeout:
            raise
        except OSError as error:
            raise Gone(str(error))

    def _fill(self):
        try:
            data = self.socket.recv(1 << 18)
        except socket.timeout:
            raise
        except OSError as error:
            raise Gone(str(error))
        if not data:
            raise Gone("end of the connection")
        self.buffer = self.buffer[self.at :] + data
        self.at = 0

    def _line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.at)
            if end >= 0:
                line = self.buffer[self.at : end]
                self.at = end + 2
                return line
            self._fill()

    def _bytes(self, size):
        while len(self.buffer) - self.at < size + 2:
            self._fill()
        data = self.buffer[self.at : self.at + size]
        assert self.buffer[self.at + size : self.at + size + 2] == b"\r\n", "a bulk string does not end with CR LF"
        self.at += size + 2
        return data

    def receive(self):
        """One reply. An error is returned, not raised."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Simple(rest.decode())
        if kind == b"-":
            return ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._bytes(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.receive() for _ in range(int(rest))]
        if kind == b"~":
            return Elements(self.receive() for _ in range(int(rest)))
        if kind == b"%":
            return Pairs((self.receive(), self.receive()) for _ in range(int(rest)))
        if kind == b",":
            return float(rest)
        if kind == b"#":
            assert rest in (b"t", b"f"), line
            return rest == b"t"
        if kind == b"_":
            assert rest == b"", line
            return None
        if kind == b"=":
            return Verbatim(self._bytes(int(rest))[4:])
        raise AssertionError("no reply of RESP begins like this: %r" % line[:80])

    def ask(self, *arguments):
        """The reply; an error is returned."""
        self.send(*arguments)
        return self.receive()

    def __call__(self, *arguments):
        """The reply; an error is raised."""
        reply = self.ask(*arguments)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def pipeline(self, requests):
        """All requests at once, then all replies."""
        self.send_raw(b"".join(encode(*request) for request in requests))
        return [self.receive() for _ in requests]


def named(reply):
    """The map of a reply in either version, with keys as text."""
    pairs = reply if isinstance(reply, Pairs) else list(zip(reply[::2], reply[1::2]))
    found = {}
    for key, value in pairs:
        key = key.decode() if isinstance(key, bytes) else str(key)
        assert key not in found, "%s is in the map twice" % key
        found[key] = value
    return found


def number(value):
    """A double of either version."""
    return value if isinstance(value, float) else float(value)


# ---- the oracle ----


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def blob(vector):
    return struct.pack("<%df" % len(vector), *vector)


def unblob(data):
    return list(struct.unpack("<%df" % (len(data) // 4), data))


def normal(vector):
    """As lineup stores it: the norm in float64, the result in float32."""
    norm = math.sqrt(math.fsum(x * x for x in vector))
    return [f32(x / norm) for x in vector]


def cosine(a, b):
    """Of two normalised vectors."""
    return f32(math.fsum(x * y for x, y in zip(a, b)))


def vectors(count, dim, seed):
    generator = random.Random(seed)
    return [[f32(generator.gauss(0, 1)) for _ in range(dim)] for _ in range(count)]


def near(a, b, most=2e-7):
    """Whether two scores agree but for the last bit of a float32 near 1."""
    return abs(a - b) <= most


class Oracle:
    """What a gallery holds, by brute force: templates in the order of their ids, subjects by name."""

    def __init__(self):
        self.rows = []  # (template id, subject, normalised vector)
        self.next_id = 0

    def add(self, subject, vector):
        self.rows.append((self.next_id, subject, normal(vector)))
        self.next_id += 1

    def remove(self, subject):
        before = len(self.rows)
        self.rows = [row for row in self.rows if row[1] != subject]
        return before != len(self.rows)

    def replace(self, subject, vector):
        existed = self.remove(subject)
        self.add(subject, vector)
        return existed

    def subjects(self):
        return {row[1] for row in self.rows}

    def search(self, probe, k, threshold=None, keep=None, per="subject"):
        """[(subject, score, template id)], best first: score descending, then template id ascending."""
        probe = normal(probe)
        scored = [(-cosine(probe, row[2]), row[0], row[1]) for row in self.rows if keep is None or row[1] in keep]
        found, seen = [], set()
        for score, template, subject in sorted(scored):
            if threshold is not None and -score < threshold:
                break
            if per == "subject" and subject in seen:
                continue
            seen.add(subject)
            found.append((subject, -score, template))
            if len(found) == k:
                break
        return found


def agree(found, wanted, what=""):
    """Two lists of (subject, score ...): the same subjects in the same order, scores that agree. Where scores agree so nearly that the last bit decides, order is not judged."""
    assert len(found) == len(wanted), "%s: %d candidates, not %d" % (what, len(found), len(wanted))
    for place, (one, other) in enumerate(zip(found, wanted)):
        assert near(one[1], other[1]), "%s: place %d has score %r, not %r" % (what, place, one[1], other[1])
        if one[0] != other[0]:
            close = [w[0] for w in wanted if near(w[1], other[1])]
            assert one[0] in close and len(close) > 1, "%s: place %d is %r, not %r" % (what, place, one[0], other[0])


# ---- the daemon ----


class Daemon:
    """lineupd with a directory of its own. .start() returns when it answers PING."""

    def __init__(self, directory, config="", environment=None, preload=None, tcp=None, galleries=None, wrap=()):
        self.directory = directory
        self.galleries = galleries or os.path.join(directory, "galleries")
        self.socket = os.path.join(directory, "s")
        self.log = os.path.join(directory, "log")
        self.config_path = os.path.join(directory, "lineup.conf")
        self.tcp = tcp
        self.wrap = list(wrap)
        self.environment = dict(os.environ, **(environment or {}))
        if preload:
            self.environment["LD_PRELOAD"] = preload
        self.process = None
        os.makedirs(self.galleries, exist_ok=True)
        self.configure(config)

    def configure(self, config):
        """Writes the configuration; @config is text of more sections, or {"section": "lines"}."""
        sections = dict(config) if isinstance(config, dict) else {}
        listen = "unix:" + self.socket + (" tcp:127.0.0.1:%d" % self.tcp if self.tcp else "")
        text = "[server]\nlisten = %s\ndirectory = %s\n%s\n" % (listen, self.galleries, sections.pop("server", ""))
        for name, lines in sections.items():
            text += "[%s]\n%s\n" % (name, lines)
        if not isinstance(config, dict):
            text += config
        with open(self.config_path, "w") as f:
            f.write(text)

    def spawn(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.wrap + [LINEUPD, "--config", self.config_path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.directory,
            )

    def start(self):
        self.spawn()
        deadline = time.monotonic() + 60 * PATIENCE
        while True:
            try:
                with Client(self.socket) as client:
                    assert client("PING") == "PONG"
                return self
            except (OSError, Gone):
                pass
            status = self.process.poll()
            assert status is None, "lineupd ended with %s: %s" % (status, self.said()[-2000:])
            assert time.monotonic() < deadline, "lineupd does not answer: " + self.said()[-2000:]
            time.sleep(0.02)

    def client(self, version=2, **more):
        return Client(self.socket, version, **more)

    def kill(self):
        """As a crash would: nothing is finished."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self, seconds=60):
        """SIGTERM; it must end by itself, with status 0."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            stacks = self.stacks()
            self.kill()
            raise AssertionError("lineupd does not end after SIGTERM: " + self.said()[-1000:] + stacks)
        self.process = None
        assert status == 0, "lineupd ended with status %d: %s" % (status, self.said()[-3000:])

    def stacks(self):
        """Where its threads are, if gdb can tell."""
        try:
            return subprocess.run(
                ["gdb", "-p", str(self.process.pid), "-batch", "-ex", "thread apply all bt 12"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
            ).stdout[-6000:]
        except (OSError, subprocess.TimeoutExpired):
            return ""

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def said(self):
        """Its log."""
        try:
            with open(self.log, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def end(self):
        """Whatever happened: no process is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def memory_kib(self, field="VmRSS"):
        with open("/proc/%d/status" % self.process.pid) as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        return 0


def eventually(what, condition, seconds=30):
    """Waits until @condition() is true; a bound for a test that would hang, not a measurement."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in %g s: %s" % (seconds * PATIENCE, what)
        time.sleep(0.02)


# ---- facts ----


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def sanitizers_are_silent(directory):
    """A daemon that is killed at the end of a fact tells nothing by its exit status; its log does."""
    path = os.path.join(directory, "log")
    if os.path.exists(path):
        with open(path, errors="replace") as f:
            said = f.read()
        report = re.search("(WARNING: ThreadSanitizer|ERROR: (Address|Leak)Sanitizer|runtime error:)", said)
        assert not report, said[max(0, report.start() - 200) : report.start() + 6000]


def main(facts, arguments=None):
    """Runs functions named for what they show, each with a directory of its own that is gone afterwards, and prints TAP. Arguments name those to run."""
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = [f for f in facts if not arguments or f.__name__ in arguments]
    assert chosen, "there are: " + " ".join(f.__name__ for f in facts)
    print("1..%d" % len(chosen), flush=True)
    failed = False
    for place, fact in enumerate(chosen, 1):
        directory = tempfile.mkdtemp(prefix="lineupd-test.")
        try:
            fact(directory)
            sanitizers_are_silent(directory)
            print("ok %d - %s" % (place, fact.__name__), flush=True)
        except Skip as reason:
            print("%s\nok %d # SKIP %s" % (reason, place, fact.__name__), flush=True)
        except Exception:
            failed = True
            print("not ok %d - %s" % (place, fact.__name__))
            for line in traceback.format_exc().splitlines()[::-1]:
                print("# " + line)
            keep = os.environ.get("LINEUP_TEST_KEEP")
            if keep:
                shutil.copytree(directory, os.path.join(keep, fact.__name__), dirs_exist_ok=True, ignore=lambda d, names: ["s"])
            log = os.path.join(directory, "log")
            if os.path.exists(log):
                with open(log, errors="replace") as f:
                    print("".join("# log: " + line for line in f.readlines()[-40:]), end="")
            sys.stdout.flush()
        finally:
            for daemon in started:
                daemon.end()
            started.clear()
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(1 if failed else 0)


started = []


def daemon(directory, *arguments, **more):
    """A started daemon that ends with the fact."""
    d = Daemon(directory, *arguments, **more)
    started.append(d)
    return d.start()
