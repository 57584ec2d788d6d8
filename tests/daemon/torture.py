#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Raw sockets against a running lineupd: requests cut anywhere, absurd counts, half-open connections, thousands of idle ones.
#
#	torture.py SOCKET [--idle N]	SOCKET: the path of the daemon's Unix socket. TAP on standard output; exit status 1 if anything failed.
#
# After every case a well-behaved client must still be served. Nothing here asserts how long anything takes: deadlines only end what hangs.

import argparse
import os
import random
import resource
import select
import socket
import struct
import sys
import threading
import time

DEADLINE = 60  # seconds that end a case which hangs
KEY = b"torture"
DIM = 4


def blob(values):
	return struct.pack("<%df" % len(values), *values)


def request(*arguments):
	out = [b"*%d\r\n" % len(arguments)]
	for a in arguments:
		a = a if isinstance(a, bytes) else str(a).encode()
		out.append(b"$%d\r\n%s\r\n" % (len(a), a))
	return b"".join(out)


class Closed(Exception):
	pass


class Client:
	"""A connection and a strict reader of RESP2 replies."""

	def __init__(self, path):
		self.socket = socket.socket(socket.AF_UNIX)
		self.socket.settimeout(DEADLINE)
		self.socket.connect(path)
		self.bytes = b""

	def send(self, data):
		self.socket.sendall(data)

	def more(self):
		data = self.socket.recv(65536)
		if not data:
			raise Closed()
		self.bytes += data

	def line(self):
		while b"\r\n" not in self.bytes:
			self.more()
		line, self.bytes = self.bytes.split(b"\r\n", 1)
		return line

	def exactly(self, count):
		while len(self.bytes) < count:
			self.more()
		data, self.bytes = self.bytes[:count], self.bytes[count:]
		return data

	def reply(self):
		line = self.line()
		kind, rest = line[:1], line[1:]
		if kind in (b"+", b"-"):
			return kind + rest
		if kind == b":":
			return int(rest)
		if kind == b"$":
			if rest == b"-1":
				return None
			data = self.exactly(int(rest) + 2)
			assert data[-2:] == b"\r\n", "a bulk string does not end with CR LF"
			return data[:-2]
		if kind == b"*":
			return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
		raise AssertionError("not a reply: %r" % line[:80])

	def ask(self, *arguments):
		self.send(request(*arguments))
		return self.reply()

	def ends(self):
		"""Reads until the daemon closes; what came before that."""
		try:
			while True:
				self.more()
		except (Closed, ConnectionResetError):
			return self.bytes

	def close(self):
		self.socket.close()


class Torture:
	def __init__(self, path, idle):
		self.path = path
		self.idle = idle
		self.random = random.Random(20260101)

	def client(self):
		return Client(self.path)

	def works(self):
		c = self.client()
		assert c.ask("PING") == b"+PONG"
		got = c.ask("VSIM", KEY, "FP32", blob([1, 0, 0, 0]), "COUNT", 1)
		assert got == [b"a"], got
		c.close()

	def prepare(self):
		c = self.client()
		for name, v in ((b"a", [1, 0, 0, 0]), (b"b", [0, 1, 0, 0]), (b"c", [0, 0, 1, 0])):
			got = c.ask("VADD", KEY, "FP32", blob(v), name)
			assert got in (0, 1), got
		c.close()

	# ---- the cases ----

	def requests_cut_at_every_byte(self):
		requests = [
			(request("PING"), b"+PONG"),
			(request("PING", b"a\r\nb"), b"a\r\nb"),
			(request("VSIM", KEY, "FP32", blob([0, 1, 0, 0]), "COUNT", 1), [b"b"]),
			(request("VSIM", KEY, "VALUES", 4, 0, 0, 1, 0, "COUNT", 1), [b"c"]),
			(b"PING\r\n", b"+PONG"),
			(b"PING \"x y\\x41\"\r\n", b"x yA"),
		]
		for data, want in requests:
			c = self.client()
			for at in range(1, len(data)):
				c.send(data[:at])
				time.sleep(0.0005)
				c.send(data[at:])
				got = c.reply()
				assert got == want, (data, at, got)
			c.close()

	def requests_of_one_byte_sends(self):
		c = self.client()
		c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
		for byte in request("VSIM", KEY, "FP32", blob([1, 0, 0, 0]), "COUNT", 1) * 3:
			c.send(bytes([byte]))
		for _ in range(3):
			assert c.reply() == [b"a"]
		c.close()

	def pipelines_are_answered_in_order(self):
		c = self.client()
		count = 10000
		data = b"".join(request("ECHO", "n%d" % i) if i % 3 else request("VSIM", KEY, "FP32", blob([1, 0, 0, 0]), "COUNT", 1)
				for i in range(count))
		sender = threading.Thread(target=c.send, args=(data,))
		sender.start()
		for i in range(count):
			want = b"n%d" % i if i % 3 else [b"a"]
			got = c.reply()
			assert got == want, (i, got)
		sender.join()
		c.close()

	def broken_protocol_is_refused_and_closed(self):
		broken = [
			b"*2147483647\r\n", b"*9999999999999999999\r\n", b"*x\r\n", b"*1x\r\n", b"*\r\n",
			b"*1\r\n$9999999999\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$-5\r\n", b"*1\r\n$x\r\n", b"*1\r\nPING\r\n", b"*1\r\n:4\r\n",
			b"*1\r\n$4\r\nPINGxx", b"*1\r\n$18446744073709551616\r\n", b"*1\r\n$4x\r\nPING\r\n", b"PING \"open\r\n",
		]
		for data in broken:
			c = self.client()
			c.send(request("PING") + data)
			assert c.reply() == b"+PONG", data
			rest = c.ends()
			assert rest.startswith(b"-ERR Protocol error"), (data, rest[:80])
			assert rest.count(b"\r\n") == 1 and rest.endswith(b"\r\n"), (data, rest[:200])
			c.close()

	def heads_without_an_end_are_refused(self):
		"""A length that never ends must not be collected for ever."""
		for data in (b"*" + b"1" * 100000, b"*1\r\n$" + b"1" * 100000, b"P" * (1 << 20)):
			c = self.client()
			try:
				c.send(data)
				assert c.ends().startswith(b"-ERR Protocol error"), data[:10]
			except (BrokenPipeError, ConnectionResetError):
				pass  # closed while we were still sending: refused as well
			c.close()

	def empty_requests_are_skipped(self):
		c = self.client()
		c.send(b"\r\n*0\r\n\r\n*-2\r\n" + request("PING"))
		assert c.reply() == b"+PONG"
		c.close()

	def unknown_and_malformed_commands_leave_the_connection(self):
		c = self.client()
		for arguments in (["NOSUCH"], ["NOSUCH", "a" * 10000], [b"\x00\xff\r\n"], [b""], ["VSIM"], ["VSIM", KEY], ["VSIM", KEY, "FP32"],
				  ["VSIM", KEY, "FP32", b"123"], ["VSIM", KEY, "FP32", b""], ["VSIM", KEY, "VALUES", "4", "1"], ["VSIM", KEY, "VALUES", "-1"],
				  ["VSIM", KEY, "VALUES", "99999999999"], ["VSIM", KEY, "FP32", blob([1, 0, 0, 0]), "COUNT", "-1"],
				  ["VSIM", KEY, "FP32", blob([float("nan"), 0, 0, 0])], ["VSIM", KEY, "FP32", blob([float("inf"), 0, 0, 0])],
				  ["VSIM", KEY, "FP32", blob([0, 0, 0, 0])], ["VADD", KEY, "FP32", blob([1, 0]), "x"], ["VADD", KEY, "FP32", blob([1, 0, 0, 0])],
				  ["VADD", KEY, "VALUES", "4", "1", "0", "0", "x", "e"], ["LINEUP.SEARCH", KEY, "PROBES", "2000000000", "FP32", b""],
				  ["LINEUP.ENROL", KEY, "ROWS", "-1", "FP32", b"", "SUBJECTS"]):
			got = c.ask(*arguments)
			assert isinstance(got, bytes) and got.startswith(b"-"), (arguments[:3], got)
			assert b"\r" not in got and b"\n" not in got
			assert len(got) < 1000, (arguments[:3], len(got))
		assert c.ask("PING") == b"+PONG"
		c.close()

	def requests_cut_off_by_their_client_do_nothing(self):
		data = request("VADD", KEY, "FP32", blob([0, 0, 0, 1]), "never")
		for at in range(1, len(data) - 1):
			c = self.client()
			c.send(data[:at])
			if at % 2:
				c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
			c.close()
		c = self.client()
		assert c.ask("VISMEMBER", KEY, "never") == 0
		c.close()

	def a_half_closed_connection_gets_its_replies(self):
		c = self.client()
		c.send(request("PING") + request("VSIM", KEY, "FP32", blob([1, 0, 0, 0]), "COUNT", 1) + request("ECHO", "last"))
		c.socket.shutdown(socket.SHUT_WR)
		assert c.reply() == b"+PONG"
		assert c.reply() == [b"a"]
		assert c.reply() == b"last"
		assert c.ends() == b""
		c.close()

	def clients_that_vanish_with_requests_under_way(self):
		for i in range(200):
			c = self.client()
			c.send(request("VSIM", KEY, "FP32", blob([1, 0, 0, 0])) * self.random.randrange(1, 20))
			if i % 2:
				c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
			c.close()

	def a_client_that_does_not_read_disturbs_nobody(self):
		"""Its replies pile up to a bound; then it waits, or is closed. Others go on."""
		slow = self.client()
		slow.socket.setblocking(False)
		data = request("ECHO", b"x" * 60000) * 20
		sent, at, end = 0, 0, time.monotonic() + 20
		try:
			while sent < 512 << 20 and time.monotonic() < end:
				if not select.select([], [slow.socket], [], 2)[1]:
					break  # the daemon takes no more: as it should
				n = slow.socket.send(data[at:])
				sent, at = sent + n, (at + n) % len(data)  # whole requests, whatever the socket takes at once
		except (BrokenPipeError, ConnectionResetError):
			pass
		self.works()
		slow.close()
		assert sent < 512 << 20, "the daemon took %d bytes of requests whose replies nobody reads" % sent

	def garbage(self):
		for i in range(300):
			c = self.client()
			data = bytes(self.random.randrange(256) for _ in range(self.random.randrange(1, 2000)))
			if i % 3 == 0:
				data = b"*" + data
			if i % 3 == 1:
				good = bytearray(request("VSIM", KEY, "FP32", blob([1, 0, 0, 0])) * 3)
				for _ in range(3):
					good[self.random.randrange(len(good))] = self.random.randrange(256)
				data = bytes(good)
			try:
				c.send(data)
				c.socket.shutdown(socket.SHUT_WR)
				c.ends()
			except (BrokenPipeError, ConnectionResetError, OSError):
				pass
			c.close()

	def reconnects(self):
		for _ in range(2000):
			c = self.client()
			c.close()
		for _ in range(300):
			c = self.client()
			assert c.ask("PING") == b"+PONG"
			c.close()

	def idle_connections_cost_little(self):
		soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
		want = self.idle + 200
		resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(want, hard)), hard))
		idle = []
		busy = self.client()
		before = self.memory(busy)
		for i in range(self.idle):
			s = socket.socket(socket.AF_UNIX)
			s.settimeout(DEADLINE)
			s.connect(self.path)
			idle.append(s)
			if i % 1000 == 0:
				assert busy.ask("PING") == b"+PONG"
		for s in (idle[0], idle[len(idle) // 2], idle[-1]):
			s.sendall(request("PING"))
			assert s.recv(100) == b"+PONG\r\n"
		assert busy.ask("VSIM", KEY, "FP32", blob([1, 0, 0, 0]), "COUNT", 1) == [b"a"]
		after = self.memory(busy)
		for s in idle:
			s.close()
		busy.close()
		if before and after:
			each = (after - before) / len(idle)
			print("# %d idle connections: %.0f bytes each" % (len(idle), each))
			assert each < 8192, "%.0f bytes an idle connection" % each

	def memory(self, client):
		"""Of the daemon, in bytes; 0 where it cannot be seen."""
		pid = struct.unpack("iii", client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
		try:
			with open("/proc/%d/statm" % pid) as f:
				return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
		except OSError:
			return 0

	CASES = [
		requests_cut_at_every_byte, requests_of_one_byte_sends, pipelines_are_answered_in_order, broken_protocol_is_refused_and_closed,
		heads_without_an_end_are_refused, empty_requests_are_skipped, unknown_and_malformed_commands_leave_the_connection,
		requests_cut_off_by_their_client_do_nothing, a_half_closed_connection_gets_its_replies, clients_that_vanish_with_requests_under_way,
		a_client_that_does_not_read_disturbs_nobody, garbage, reconnects, idle_connections_cost_little,
	]

	def run(self):
		failed = 0
		print("1..%d" % len(self.CASES), flush=True)
		self.prepare()
		for i, case in enumerate(self.CASES):
			why = None
			try:
				case(self)
				self.works()
			except Exception as e:  # whatever it is, the case failed, and the others are still worth knowing
				why = "%s: %s" % (type(e).__name__, str(e)[:300])
			print("%s %d - %s" % ("not ok" if why else "ok", i + 1, case.__name__), flush=True)
			if why:
				failed += 1
				print("# " + why.replace("\n", " "), flush=True)
		return 1 if failed else 0


def main():
	parser = argparse.ArgumentParser(description="raw sockets against a running lineupd")
	parser.add_argument("socket")
	parser.add_argument("--idle", type=int, default=10000)
	options = parser.parse_args()
	sys.exit(Torture(options.socket, options.idle).run())


main()
