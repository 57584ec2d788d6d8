# SPDX-License-Identifier: MIT
"""Stands between the program and lineupd, or in lineupd's place, on a Unix socket.

    peer.py lose SOCKET UPSTREAM COMMAND   passes everything on, but closes the connection instead of the first reply to COMMAND
    peer.py busy SOCKET UPSTREAM COMMAND   answers the first two COMMANDs itself: BUSY
    peer.py stall SOCKET SECONDS           is a gallery of 4 components that answers nothing for SECONDS once, after its 50th search
    peer.py odd SOCKET REPLY               answers everything with REPLY, in which \\r and \\n are written as such
"""
import os
import socket
import sys
import threading
import time


def commands(data):
    """Whole requests at the front of data, as (bytes, arguments), and the rest."""
    found = []
    while True:
        at = data.find(b"\r\n")
        if at < 0:
            return found, data
        arguments, pos = [], at + 2
        for _ in range(int(data[1:at])):
            end = data.find(b"\r\n", pos)
            if end < 0:
                return found, data
            size = int(data[pos + 1:end])
            if len(data) < end + 2 + size + 2:
                return found, data
            arguments.append(data[end + 2:end + 2 + size])
            pos = end + 2 + size + 2
        found.append((data[:pos], arguments))
        data = data[pos:]


def text(value):
    value = str(value).encode()
    return b"$%d\r\n%s\r\n" % (len(value), value)


def mapping(pairs):
    return b"*%d\r\n" % (2 * len(pairs)) + b"".join(text(k) + (b":%d\r\n" % v if isinstance(v, int) else v) for k, v in pairs)


INFO = mapping([("format", 1), ("dim", 4), ("store", text("float32")), ("model", text("m")), ("model_digest", text("0" * 64)),
                ("digest", text("0" * 64)), ("sequence", 1), ("templates", 1), ("lists", b"*0\r\n")])
FOUND = mapping([("sequence", 1), ("rows", 1), ("digest", text("0" * 64)), ("candidates", b"*1\r\n*0\r\n")])


class Peer:
    def __init__(self, mode, *rest):
        self.mode, self.rest, self.count, self.lock = mode, rest, 0, threading.Lock()

    def upstream(self, client):
        """Replies are passed on as they come, unless one is to be lost: then everything ends."""
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self.rest[0])
            losing = threading.Event()

            def back():
                while data := server.recv(65536):
                    if losing.is_set():
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(data)

            threading.Thread(target=back, daemon=True).start()
            self.forward(client, server, losing)

    def forward(self, client, server, losing):
        rest = b""
        while data := client.recv(65536):
            found, rest = commands(rest + data)
            for raw, arguments in found:
                with self.lock:
                    hit = arguments[0] == self.rest[1].encode() and self.count < (1 if self.mode == "lose" else 2)
                    self.count += hit
                if hit and self.mode == "busy":
                    client.sendall(b"-BUSY too much waits\r\n")
                    continue
                if hit:
                    losing.set()
                server.sendall(raw)

    def stand_in(self, client):
        rest = b""
        while data := client.recv(65536):
            found, rest = commands(rest + data)
            for _, arguments in found:
                if self.mode == "odd":
                    client.sendall(self.rest[0].replace("\\r", "\r").replace("\\n", "\n").encode())
                    continue
                if arguments[0] != b"LINEUP.SEARCH":
                    client.sendall(INFO)
                    continue
                self.count += 1
                if self.count == 51:
                    time.sleep(float(self.rest[0]))
                client.sendall(FOUND)

    def serve(self, client):
        try:
            with client:
                if self.mode in ("lose", "busy"):
                    self.upstream(client)
                else:
                    self.stand_in(client)
        except OSError:
            pass  # the other side has gone


def main():
    path = sys.argv[2]
    peer = Peer(sys.argv[1], *sys.argv[3:])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path + ".new")
        listener.listen(64)
        os.rename(path + ".new", path)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=peer.serve, args=(client,), daemon=True).start()


main()
