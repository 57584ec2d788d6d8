#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# The daemon as a server: commands of connections and keys, the client programs that there are (redis-py, redis-cli, redis-benchmark, hiredis), users, signals, socket activation.
#
# $LINEUP_CLIENT is hiredis_client. RESP3 is by bed.py: redis-py 4.3 and hiredis 0.14 do not know it.
import os
import re
import shutil
import signal
import subprocess

import bed
from bed import Client, Gone, Oracle, Pairs, ReplyError, Simple, agree, blob, vectors
from conformance import DIM, both, fill, refused, scores


# ---- what every server has ----


def the_connection_commands_are_those_of_redis(directory):
    daemon = bed.daemon(directory)
    for version, client in zip((2, 3), both(daemon)):
        assert client("PING") == "PONG" and isinstance(client("PING"), Simple)
        assert client("PING", "text") == b"text"
        assert client("ping") == "PONG"
        refused(client, "PING", "a", "b", says="wrong number of arguments")
        assert client("ECHO", b"\0\r\nx") == b"\0\r\nx"
        assert client("SELECT", 0) == "OK"
        refused(client, "SELECT", 1)
        hello = bed.named(client("HELLO"))
        assert hello["proto"] == version and hello["role"] == b"master" and isinstance(hello["id"], int), hello
        assert {"server", "version", "mode", "modules"} <= set(hello)
        refused(client, "HELLO", 4, code="NOPROTO")
        refused(client, "HELLO", "x")
        assert client("CLIENT", "SETNAME", "tester") == "OK"
        assert client("CLIENT", "GETNAME") == b"tester"
        refused(client, "CLIENT", "SETNAME", "with space")
        assert client("CLIENT", "SETINFO", "LIB-NAME", "x") == "OK"
        own = client("CLIENT", "ID")
        assert isinstance(own, int) and b"id=%d " % own in client("CLIENT", "LIST") and b"name=tester" in client("CLIENT", "INFO")
        refused(client, "CLIENT", "NONSENSE")
        assert client("COMMAND", "COUNT") == len(client("COMMAND"))
        info = client("COMMAND", "INFO", "vsim", "nosuch")
        assert len(info) == 2 and info[0][0].lower() == b"vsim" and info[1] is None, info
        assert client("COMMAND", "DOCS", "vsim")
        assert any(name.lower() == b"vadd" for name in client("COMMAND", "LIST"))
        assert b"redis_version" in client("INFO") or b"lineup_version" in client("INFO")
        assert b"# Server" in client("INFO", "server")
        assert "save" in bed.named(client("CONFIG", "GET", "save"))
        assert client("DBSIZE") == 0 and client("KEYS", "*") == [] and client("EXISTS", "x", "y") == 0
        assert client("TYPE", "x") == "none"
        cursor, names = client("SCAN", 0)
        assert cursor == b"0" and names == []
        refused(client, "NOSUCH", "a", says="unknown command")
        refused(client, "AUTH", "secret", says="without any password")
    with daemon.client(3) as client:
        assert client("RESET") == "RESET"
        assert isinstance(client("CONFIG", "GET", "save"), list) and not isinstance(client("CONFIG", "GET", "save"), Pairs)
        assert client("QUIT") == "OK"
        try:
            client("PING")
            raise AssertionError("answered after QUIT")
        except Gone:
            pass


def keys_are_the_galleries(directory):
    daemon = bed.daemon(directory)
    for client in both(daemon):
        for key in ("alpha", "beta:1", "beta:2"):
            client("VADD", key, "FP32", blob(vectors(1, DIM, 1)[0]), "a")
        assert sorted(client("KEYS", "*")) == [b"alpha", b"beta:1", b"beta:2"]
        assert sorted(client("KEYS", "beta:?")) == [b"beta:1", b"beta:2"]
        assert client("EXISTS", "alpha", "alpha", "x") == 2
        assert client("TYPE", "alpha") == "vectorset"
        assert client("DBSIZE") == 3
        assert sorted(client("SCAN", 0, "MATCH", "b*", "COUNT", 100)[1]) == [b"beta:1", b"beta:2"]
        refused(client, "DEL", "alpha", says="DETACH")
        assert client("EXISTS", "alpha") == 1


def a_client_can_be_closed_by_another(directory):
    daemon = bed.daemon(directory)
    with daemon.client() as client, daemon.client() as victim:
        own = victim("CLIENT", "ID")
        assert client("CLIENT", "KILL", "ID", own) == 1
        try:
            victim("PING")
            raise AssertionError("answered after CLIENT KILL")
        except Gone:
            pass
        assert client("CLIENT", "KILL", "ID", own) == 0


def a_client_sees_its_own_writes_in_a_pipeline(directory):
    daemon = bed.daemon(directory)
    for version, client in zip((2, 3), both(daemon)):
        key = "k%d" % version
        oracle = Oracle()
        requests = []
        probe = vectors(1, DIM, 20)[0]
        wanted = []
        for i, vector in enumerate(vectors(60, DIM, 21)):
            requests.append(["VADD", key, "FP32", blob(vector), "e%d" % i])
            oracle.replace("e%d" % i, vector)
            if i % 4 == 3:
                requests.append(["VREM", key, "e%d" % (i - 2)])
                oracle.remove("e%d" % (i - 2))
            requests.append(["VSIM", key, "FP32", blob(probe), "WITHSCORES", "COUNT", 100])
            wanted.append(oracle.search(probe, 100))
            requests.append(["VCARD", key])
            wanted.append(len(oracle.subjects()))
        replies = client.pipeline(requests)
        found = [r for r, q in zip(replies, requests) if q[0] in ("VSIM", "VCARD")]
        for one, other in zip(found, wanted):
            if isinstance(other, int):
                assert one == other
            else:
                agree(scores(one), other, "in a pipeline")


# ---- clients that there are ----


def redis_py_works(directory):
    try:
        import redis
    except ImportError:
        raise bed.Skip("no redis module for %s (Debian: python3-redis)" % os.sys.executable)
    daemon = bed.daemon(directory, tcp=None)
    r = redis.Redis(unix_socket_path=daemon.socket)
    v = vectors(20, DIM, 1)
    oracle = Oracle()
    assert r.ping()
    with r.pipeline(transaction=False) as pipe:
        for i, vector in enumerate(v):
            pipe.execute_command("VADD", "k", "FP32", blob(vector), "e%d" % i)
            oracle.replace("e%d" % i, vector)
        assert pipe.execute() == [1] * 20
    reply = r.execute_command("VSIM", "k", "FP32", blob(v[3]), "WITHSCORES", "COUNT", 7)
    agree(scores(reply), oracle.search(v[3], 7), "redis-py")
    assert r.execute_command("VREM", "k", "e3") == 1 and r.execute_command("VCARD", "k") == 19
    try:
        r.execute_command("VADD", "k", "FP32", b"xyz", "a")
        raise AssertionError("not refused")
    except redis.ResponseError as error:
        assert "vector" in str(error)
    assert r.exists("k") == 1 and r.keys("*") == [b"k"] and r.dbsize() == 1 and r.type("k") == b"vectorset"
    assert isinstance(r.info(), dict) and r.info("server")
    assert r.client_setname("me") and r.client_getname() in ("me", b"me") and isinstance(r.client_id(), int)
    assert any(c["name"] == "me" for c in r.client_list())
    assert r.command_count() > 30
    assert "save" in r.config_get("save")
    assert r.echo("x") == b"x"
    assert list(r.scan_iter()) == [b"k"]
    pool = redis.ConnectionPool(connection_class=redis.UnixDomainSocketConnection, path=daemon.socket, client_name="pooled", health_check_interval=1)
    assert redis.Redis(connection_pool=pool).ping()
    r.close()


def tool(name):
    path = shutil.which(name)
    if not path:
        raise bed.Skip("no %s here (Debian: redis-tools)" % name)
    return path


def run(*command, given=None):
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120 * bed.PATIENCE, check=False)
    assert done.returncode == 0, "%s: %s %s" % (command, done.stdout[-1000:], done.stderr[-1000:])
    return done.stdout


def redis_cli_works(directory):
    cli = [tool("redis-cli"), "-s"]
    daemon = bed.daemon(directory)
    cli.append(daemon.socket)
    assert run(*cli, "PING") == "PONG\n"
    assert run(*cli, "VADD", "k", "VALUES", "3", "1", "0", "0", "a") == "1\n"
    assert run(*cli, given="VADD k VALUES 3 0 1 0 b\nVADD k VALUES 3 0 0 1 c SETATTR '{\"n\": 1}'\n") == "1\n1\n"
    assert run(*cli, "VSIM", "k", "VALUES", "3", "1", "0.5", "0") == "a\nb\nc\n"
    assert run(*cli, "VSIM", "k", "ELE", "a", "WITHSCORES").split() == ["a", "1", "b", "0.5", "c", "0.5"]
    assert run(*cli, "-3", "VSIM", "k", "ELE", "a", "WITHSCORES")
    assert run(*cli, "VGETATTR", "k", "c") == '{"n": 1}\n'
    assert "redis_version" in run(*cli, "INFO")
    assert run(*cli, "--scan") == "k\n"
    assert "unknown command" in run(*cli, "GET", "k")


def redis_benchmark_works(directory):
    benchmark = tool("redis-benchmark")
    daemon = bed.daemon(directory)
    with daemon.client() as client:
        for i, vector in enumerate(vectors(100, 4, 1)):
            client("VADD", "k", "FP32", blob(vector), "e%d" % i)
    n = str(int(4000 * bed.SCALE) or 100)
    base = [benchmark, "-s", daemon.socket, "-n", n, "-c", "20", "-P", "16", "--csv"]
    for command in (["VSIM", "k", "VALUES", "4", "1", "2", "3", "4", "COUNT", "5"], ["VADD", "k", "VALUES", "4", "1", "2", "3", "4", "new:__rand_int__"]):
        said = run(*base, "-r", "100", *command)
        assert command[0] in said and "rror" not in said, said
    said = run(*base, "-t", "ping")
    assert "PING_INLINE" in said and "PING_MBULK" in said, said
    with daemon.client() as client:
        # One new element for each number drawn.
        assert 100 < client("VCARD", "k") <= 200


def hiredis_works(directory):
    program = os.environ.get("LINEUP_CLIENT", os.path.join(bed.HERE, "../../build/tests/daemon/hiredis_client"))
    if not os.path.exists(program):
        raise bed.Skip("there is no %s: `make daemon-programs` builds it" % program)
    daemon = bed.daemon(directory)
    said = subprocess.run([program, daemon.socket], capture_output=True, text=True, timeout=120 * bed.PATIENCE, check=False)
    assert said.returncode == 0, said.stdout
    assert said.stdout.count("\nok ") >= 5


# ---- how it starts and ends ----


def tcp_on_loopback_works_and_needs_a_user(directory):
    port = bed.free_port()
    daemon = bed.Daemon(directory, tcp=port)
    bed.started.append(daemon)
    said = subprocess.run([bed.LINEUPD, "--config", daemon.config_path], capture_output=True, text=True, timeout=60 * bed.PATIENCE, check=False)
    assert said.returncode == 2 and "tcp:127.0.0.1:%d" % port in said.stderr, said
    secret = os.path.join(directory, "secret")
    line = subprocess.run([bed.LINEUPD, "--hash-secret"], input="opensesame\n", capture_output=True, text=True, check=True).stdout
    with open(secret, "w") as f:
        os.fchmod(f.fileno(), 0o600)
        f.write(line)
    users = "[user reader]\nsecret_file = %s\nroles = searcher:pub*\n[user root]\nuid = %d\nroles = admin\n" % (secret, os.getuid())
    daemon.configure(users)
    daemon.start()
    with daemon.client() as admin:
        fill(admin, "public", 5)
        fill(admin, "private", 5)
    for version in (2, 3):
        with Client(("127.0.0.1", port)) as client:
            refused(client_without_ping(client), "VCARD", "public", code="NOAUTH")
            for wrong in (["AUTH", "wrong"], ["AUTH", "reader", "wrong"], ["AUTH", "nobody", "opensesame"], ["AUTH", "root", ""]):
                reply = client.ask(*wrong)
                assert isinstance(reply, ReplyError) and reply.code in ("WRONGPASS", "ERR"), reply
            if version == 3:
                client("HELLO", 3, "AUTH", "reader", "opensesame")
            else:
                assert client("AUTH", "reader", "opensesame") == "OK"
            assert client("VCARD", "public") == 5
            refused(client, "VCARD", "private", code="NOPERM")
            refused(client, "VREM", "public", "e1", code="NOPERM")
            refused(client, "LINEUP.DETACH", "public", code="NOPERM")
            refused(client, "CLIENT", "KILL", "ID", 1, code="NOPERM")
    assert "opensesame" not in daemon.said()


def client_without_ping(client):
    """For refused(), which pings: PING needs a user as well."""

    class Quiet:
        def ask(self, *request):
            return client.ask(*request)

        def __call__(self, *request):
            return "PONG"

    return Quiet()


def sigterm_drains(directory):
    daemon = bed.daemon(directory)
    with daemon.client() as client:
        oracle = fill(client, "k", 200)
        probe = vectors(1, DIM, 2)[0]
        client.send_raw(bed.encode("VSIM", "k", "FP32", blob(probe), "WITHSCORES", "COUNT", 50) * 50 + bed.encode("VADD", "k", "FP32", blob(probe), "last"))
        first = client.receive()
        agree(scores(first), oracle.search(probe, 50))
        daemon.process.send_signal(signal.SIGTERM)
        got = 1
        last = None
        try:
            while True:
                last = client.receive()
                got += 1
        except Gone:
            pass
        assert last is not None and got <= 51
    assert daemon.process.wait(60 * bed.PATIENCE) == 0
    daemon.process = None
    daemon.start()
    with daemon.client() as client:
        assert client("VCARD", "k") == (201 if got == 51 else 200) or got < 51


def sighup_reloads(directory):
    daemon = bed.daemon(directory, {"server": "clients_max = 100"})
    with daemon.client() as client:
        fill(client, "k", 5)
        # A bad configuration is refused, and the old one stays.
        daemon.configure({"server": "clients_max = none"})
        daemon.process.send_signal(signal.SIGHUP)
        bed.eventually("the bad configuration is logged", lambda: "clients_max" in daemon.said())
        assert client("VCARD", "k") == 5
        daemon.configure({"server": "clients_max = 1"})
        daemon.process.send_signal(signal.SIGHUP)

        def limited():
            with Client(daemon.socket) as other:
                try:
                    return isinstance(other.ask("PING"), ReplyError)
                except Gone:
                    return True
        bed.eventually("the new limit holds", limited)
        assert client("VCARD", "k") == 5


def socket_activation_works(directory):
    activate = shutil.which("systemd-socket-activate")
    if not activate:
        raise bed.Skip("no systemd-socket-activate here")
    daemon = bed.Daemon(directory, wrap=[activate, "-l", os.path.join(directory, "s"), "-E", "LINEUP_TEST=1"])
    bed.started.append(daemon)
    with open(daemon.config_path, "w") as f:
        f.write("[server]\ndirectory = %s\n" % daemon.galleries)
    daemon.spawn()
    bed.eventually("systemd listens", lambda: os.path.exists(daemon.socket))
    with daemon.client() as client:
        fill(client, "k", 3)
        assert client("VCARD", "k") == 3
    daemon.stop()


if __name__ == "__main__":
    bed.main([
        the_connection_commands_are_those_of_redis,
        keys_are_the_galleries,
        a_client_can_be_closed_by_another,
        a_client_sees_its_own_writes_in_a_pipeline,
        redis_py_works,
        redis_cli_works,
        redis_benchmark_works,
        hiredis_works,
        tcp_on_loopback_works_and_needs_a_user,
        sigterm_drains,
        sighup_reloads,
        socket_activation_works,
    ])
