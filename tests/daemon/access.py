#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Who may do what, and what the process may do: every command against every role, secrets, reloads, the filter of system calls, what the service manager and Prometheus are told.
import ctypes
import errno
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import bed
from bed import Client, Gone, ReplyError, blob, vectors

DIM = 8
VECTOR = blob(vectors(1, DIM, 1)[0])
PROBE = ["PROBES", 1, "FP32", VECTOR]

# As docs/commands.md has it: a request that is right, and who may give it; S searcher, E enroller, A auditor, M admin only, - everybody, AUTH or not.
REQUESTS = [
    ("SEA", ["PING"]), ("SEA", ["ECHO", "x"]), ("SEA", ["SELECT", 0]), ("SEA", ["CLIENT", "ID"]), ("SEA", ["COMMAND", "COUNT"]), ("SEA", ["INFO"]),
    ("SEA", ["CONFIG", "GET", "save"]), ("SEA", ["KEYS", "*"]), ("SEA", ["SCAN", 0]), ("SEA", ["DBSIZE"]), ("SEA", ["EXISTS", "g"]), ("SEA", ["TYPE", "g"]),
    ("-", ["HELLO", 2, "AUTH", "{user}", "open sesame"]), ("-", ["AUTH", "{user}", "open sesame"]), ("-", ["RESET"]),
    ("M", ["CLIENT", "LIST"]), ("M", ["CLIENT", "KILL", "ID", 999999]),
    ("E", ["VADD", "g", "FP32", VECTOR, "b"]), ("E", ["VREM", "g", "nobody"]), ("E", ["VSETATTR", "g", "a", "{{}}"]), ("E", ["DEL", "g"]), ("E", ["UNLINK", "g"]),
    ("S", ["VSIM", "g", "FP32", VECTOR]), ("S", ["VSIM", "g", "ELE", "a"]), ("S", ["VGETATTR", "g", "a"]), ("S", ["VEMB", "g", "a"]), ("S", ["VISMEMBER", "g", "a"]),
    ("S", ["VRANDMEMBER", "g"]), ("S", ["VLINKS", "g", "a"]), ("SEA", ["VCARD", "g"]), ("SEA", ["VDIM", "g"]), ("SEA", ["VINFO", "g"]),
    ("S", ["LINEUP.SEARCH", "g"] + PROBE), ("S", ["LINEUP.VERIFY", "g", "a"] + PROBE), ("E", ["LINEUP.ENROL", "g", "ROWS", 1, "FP32", VECTOR, "SUBJECTS", "c"]),
    ("E", ["LINEUP.DELETE", "g", "SUBJECT", "c"]), ("SEA", ["LINEUP.LISTS", "g"]), ("SEA", ["LINEUP.INFO", "g"]), ("A", ["LINEUP.STATS"]), ("A", ["LINEUP.STATS", "g"]),
    ("M", ["LINEUP.CREATE", "g", "DIM", 8]), ("M", ["LINEUP.ATTACH", "g", "/nonexistent"]), ("M", ["LINEUP.DETACH", "nothing"]), ("M", ["LINEUP.MAINTAIN", "g"]),
]
ROLES = {"S": "searcher", "E": "enroller", "A": "auditor", "M": "admin"}


def hashed(directory, secret="open sesame", name="secret"):
    path = os.path.join(directory, name)
    line = subprocess.run([bed.LINEUPD, "--hash-secret"], input=secret + "\n", capture_output=True, text=True, check=True).stdout
    with open(path, "w") as f:
        os.fchmod(f.fileno(), 0o600)
        f.write(line)
    return path


def users(directory, **roles):
    """Sections for users with these roles, who all have the secret, and the test itself, who is admin by its uid."""
    path = hashed(directory)
    text = "[user self]\nuid = %d\nroles = admin\n" % os.getuid()
    return text + "".join("[user %s]\nsecret_file = %s\nroles = %s\n" % (name, path, role) for name, role in roles.items())


def known(daemon, port, user):
    client = Client(("127.0.0.1", port))
    assert client("AUTH", user, "open sesame") == "OK"
    return client


def denied(reply):
    return isinstance(reply, ReplyError) and reply.code in ("NOPERM", "NOAUTH")


def every_command_asks_for_its_role(directory):
    port = bed.free_port()
    roles = {role: role for role in ROLES.values()}
    daemon = bed.daemon(directory, users(directory, **roles), tcp=port)
    with daemon.client() as admin:
        admin("VADD", "g", "FP32", VECTOR, "a")
        named = {name.decode().upper() for name in admin("COMMAND", "LIST")}
    assert named == {request[0] for _, request in REQUESTS} | {"QUIT"}, named
    for letter, role in ROLES.items():
        with known(daemon, port, role) as client:
            for allowed, request in REQUESTS:
                if allowed == "-":
                    continue
                request = [part.format(user=role) if isinstance(part, str) else part for part in request]
                reply = client.ask(*request)
                may = letter == "M" or letter in allowed
                assert denied(reply) != may, (role, request[:3], reply)


def nobody_may_only_say_who_it_is(directory):
    port = bed.free_port()
    daemon = bed.daemon(directory, users(directory, reader="searcher"), tcp=port)
    for allowed, request in REQUESTS:
        request = [part.format(user="reader") if isinstance(part, str) else part for part in request]
        with Client(("127.0.0.1", port)) as client:
            reply = client.ask(*request)
            if allowed == "-":
                assert not denied(reply), (request, reply)
            else:
                assert isinstance(reply, ReplyError) and reply.code == "NOAUTH", (request[:3], reply)
    with Client(("127.0.0.1", port)) as client:
        for request in (["AUTH", "reader", "wrong"], ["AUTH", "nobody", "open sesame"], ["AUTH", "self", ""], ["AUTH", "x" * 200, "open sesame"]):
            reply = client.ask(*request)
            assert isinstance(reply, ReplyError) and reply.code == "WRONGPASS", (request, reply)
        assert isinstance(client.ask("AUTH", "open sesame"), ReplyError)
        assert client.ask("PING").code == "NOAUTH"
    said = daemon.said()
    assert "sesame" not in said and "$argon2" not in said


def a_pattern_limits_a_role_to_galleries(directory):
    port = bed.free_port()
    daemon = bed.daemon(directory, users(directory, gate="searcher:visit* enroller:visitors", eye="auditor:staff"), tcp=port)
    with daemon.client() as admin:
        for key in ("visitors", "visits", "staff"):
            admin("VADD", key, "FP32", VECTOR, "secret-name")
    with known(daemon, port, "gate") as client:
        assert client("VSIM", "visits", "FP32", VECTOR) == [b"secret-name"]
        assert denied(client.ask("VSIM", "staff", "FP32", VECTOR)) and denied(client.ask("VCARD", "staff"))
        assert client("VADD", "visitors", "FP32", VECTOR, "x") == 1
        assert denied(client.ask("VADD", "visits", "FP32", VECTOR, "x"))
        assert denied(client.ask("VADD", "new", "FP32", VECTOR, "x"))
        assert sorted(client("KEYS", "*")) == [b"visitors", b"visits"] and sorted(client("SCAN", 0)[1]) == [b"visitors", b"visits"]
        assert client("DBSIZE") == 2 and client("EXISTS", "staff", "visits") == 1 and client("TYPE", "staff") == "none"
        assert b"staff" not in client("INFO")
        assert denied(client.ask("LINEUP.STATS"))
    with known(daemon, port, "eye") as client:
        assert b"staff" in client("INFO") and b"visitors" not in client("INFO")
        assert list(bed.named(bed.named(client("LINEUP.STATS"))["galleries"])) == ["staff"]
        assert isinstance(client.ask("LINEUP.STATS", "visits"), ReplyError)
        assert denied(client.ask("VSIM", "staff", "FP32", VECTOR))


def certificate(directory, name, signer=None):
    """name.pem and name.key, signed by the signer's, or by itself."""
    path = os.path.join(directory, name)
    request = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout", path + ".key"]
    if not signer:
        subprocess.run(request + ["-x509", "-days", "2", "-out", path + ".pem"], check=True, capture_output=True)
        return
    ca = os.path.join(directory, signer)
    with open(path + ".ext", "w") as f:
        f.write("subjectAltName=IP:127.0.0.1\n")
    sign = ["openssl", "x509", "-req", "-in", path + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial", "-days", "2", "-out", path + ".pem"]
    subprocess.run(request + ["-out", path + ".csr"], check=True, capture_output=True)
    subprocess.run(sign + ["-extfile", path + ".ext"], check=True, capture_output=True)


def by_tls(directory, port, name=None, ca="ca", **versions):
    """A client with the certificate of this name."""
    context = ssl.create_default_context(cafile=os.path.join(directory, ca + ".pem"))
    for attribute, version in versions.items():
        setattr(context, attribute, version)
    if name:
        context.load_cert_chain(os.path.join(directory, name + ".pem"), os.path.join(directory, name + ".key"))
    client = Client(("127.0.0.1", port))
    try:
        client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
    except BaseException:
        client.close()
        raise
    return client


def refused_by_tls(*arguments, **more):
    """Whether the connection ends before an answer: in TLS 1.3 a client learns only afterwards that its certificate was not taken."""
    try:
        with by_tls(*arguments, **more) as client:
            client.ask("PING")
            return False
    except (OSError, Gone):
        return True


def certificates_are_users(directory):
    if not shutil.which("openssl"):
        raise bed.Skip("no openssl here, to make certificates with")
    for name, signer in (("ca", None), ("other-ca", None), ("server", "ca"), ("gate", "ca"), ("desk", "ca"), ("stranger", "ca"), ("forged", "other-ca")):
        certificate(directory, name, signer)
    with open(os.path.join(directory, "desk.pem")) as f:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()
    port = bed.free_port()
    tls = "[tls]\n" + "".join("%s = %s/%s\n" % (key, directory, file) for key, file in (("certificate", "server.pem"), ("key", "server.key"), ("ca", "ca.pem")))
    who = users(directory, reader="searcher") + "[user gate]\ncertificate = gate\nroles = searcher:g\n[user desk]\ncertificate = sha256:%s\nroles = enroller\n" % digest
    daemon = bed.Daemon(directory)
    bed.started.append(daemon)
    listen = "listen = unix:%s tls:127.0.0.1:%d\n" % (daemon.socket, port)
    with open(daemon.config_path, "w") as f:
        f.write("[server]\ndirectory = %s\n%s%s%s" % (daemon.galleries, listen, tls, who))
    daemon.start()
    with daemon.client() as admin:
        admin("VADD", "g", "FP32", VECTOR, "a")
    with by_tls(directory, port, "gate") as client:
        assert client.socket.version() == "TLSv1.3"
        assert client("VSIM", "g", "FP32", VECTOR) == [b"a"] and denied(client.ask("VREM", "g", "a"))
    with by_tls(directory, port, "desk") as client:
        assert client("VADD", "g", "FP32", VECTOR, "b") == 1 and denied(client.ask("VISMEMBER", "g", "a"))
    with by_tls(directory, port, "stranger") as client:
        assert client.ask("VCARD", "g").code == "NOAUTH"
        assert client("AUTH", "reader", "open sesame") == "OK" and client("VCARD", "g") == 2
    assert refused_by_tls(directory, port), "taken without a certificate"
    assert refused_by_tls(directory, port, "forged"), "taken with a certificate of another authority"
    assert refused_by_tls(directory, port, "gate", maximum_version=ssl.TLSVersion.TLSv1_2), "taken with TLS 1.2"
    with Client(("127.0.0.1", port)) as client:
        client.send("PING")
        try:
            assert client.socket.recv(100)[:1] not in (b"+", b"-")
        except OSError:
            pass
    # A new certificate is shown after a reload.
    certificate(directory, "server", "other-ca")
    daemon.process.send_signal(signal.SIGHUP)
    bed.eventually("the reload", lambda: "event=reloaded" in daemon.said())
    with by_tls(directory, port, "gate", ca="other-ca") as client:
        assert client("VCARD", "g") == 2


def rights_follow_a_reload(directory):
    port = bed.free_port()
    daemon = bed.daemon(directory, users(directory, one="searcher", two="searcher"), tcp=port)
    with daemon.client() as admin, known(daemon, port, "one") as one, known(daemon, port, "two") as two:
        admin("VADD", "g", "FP32", VECTOR, "a")
        assert one("VISMEMBER", "g", "a") == 1 and two("VISMEMBER", "g", "a") == 1
        daemon.configure(users(directory, one="auditor", three="searcher"))
        daemon.process.send_signal(signal.SIGHUP)
        bed.eventually("the reload is logged", lambda: "event=reloaded" in daemon.said())
        assert one.ask("VISMEMBER", "g", "a").code == "NOPERM" and one("VCARD", "g") == 1
        assert two.ask("VCARD", "g").code == "NOAUTH"
        assert two("AUTH", "three", "open sesame") == "OK" and two("VISMEMBER", "g", "a") == 1
        assert admin("VISMEMBER", "g", "a") == 1


def a_reload_does_not_disturb_those_who_authenticate(directory):
    port = bed.free_port()
    daemon = bed.daemon(directory, users(directory, one="searcher"), tcp=port)
    rounds = max(4, int(20 * bed.SCALE))
    wrong = []

    def authenticate():
        for _ in range(rounds):
            with Client(("127.0.0.1", port)) as client:
                reply = client.ask("AUTH", "one", "open sesame")
                if reply != "OK":
                    wrong.append(reply)

    threads = [threading.Thread(target=authenticate) for _ in range(4)]
    for thread in threads:
        thread.start()
    reloads = 0
    while any(thread.is_alive() for thread in threads):
        reloads += 1
        daemon.process.send_signal(signal.SIGHUP)
        bed.eventually("a reload", lambda: daemon.said().count("event=reloaded") >= reloads)
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert reloads > 1
    daemon.stop()


def a_wrong_configuration_is_refused_whole(directory):
    daemon = bed.daemon(directory, users(directory, one="searcher"))
    with open(os.path.join(directory, "open"), "w") as f:
        f.write("$argon2id$")
    os.chmod(f.name, 0o644)
    for config, says in (
        ("[search]\nthreads = many\n", r"lineup.conf:\d+: threads: 'many' is not taken"),
        ("[user one]\nroles = searcher\nsecret_file = /nonexistent\n", "secret_file: /nonexistent"),
        ("[user one]\nroles = searcher\nsecret_file = %s\n" % f.name, "others can neither read"),
        ("[user one]\nroles = root\nuid = 1\n", "'root' is none of"),
        ("[tls]\ncertificate = /nonexistent.pem\nkey = /nonexistent.key\n", "/nonexistent"),
        ("[gallery x]\n", "no path"),
    ):
        daemon.configure(config)
        checked = subprocess.run([bed.LINEUPD, "--config", daemon.config_path, "--check-config"], capture_output=True, text=True, check=False)
        assert checked.returncode == 2 and checked.stdout == "", (config, checked)
        assert re.search(says, checked.stderr) and len(checked.stderr.splitlines()) == 1, (config, checked.stderr)
        before = daemon.said().count("event=reload_refused")
        daemon.process.send_signal(signal.SIGHUP)
        bed.eventually("the refusal of " + config, lambda: daemon.said().count("event=reload_refused") == before + 1)
        with daemon.client() as client:
            assert client("PING") == "PONG"
    assert "event=reloaded" not in daemon.said()


def a_right_configuration_is_said_to_be(directory):
    daemon = bed.Daemon(directory, users(directory, one="searcher"))
    checked = subprocess.run([bed.LINEUPD, "--config", daemon.config_path, "--check-config"], capture_output=True, text=True, check=True)
    assert checked.stdout == daemon.config_path + ": ok\n" and checked.stderr == ""
    told = subprocess.run([bed.LINEUPD, "--help-config"], capture_output=True, text=True, check=True).stdout
    for word in ("[server]", "clients_max", "Default: 16384.", "[user NAME]", "[gallery NAME]"):
        assert word in told, word
    for wrong in (["--nonsense"], ["a", "b"], ["--config", "x", "DIR"]):
        assert subprocess.run([bed.LINEUPD] + wrong, capture_output=True, check=False).returncode == 2
    missing = subprocess.run([bed.LINEUPD, "--config", "/nonexistent"], capture_output=True, text=True, check=False)
    assert missing.returncode == 2 and missing.stderr == "lineupd: /nonexistent: No such file or directory\n", missing


def sanitized(daemon):
    return "built with a sanitizer" in daemon.said()


def work(daemon):
    """Something of everything."""
    with daemon.client() as client:
        for i, vector in enumerate(vectors(30, DIM, 3)):
            client("VADD", "k", "FP32", blob(vector), "e%d" % i, "SETATTR", '{"n":%d}' % i)
        client("VSIM", "k", "FP32", VECTOR, "FILTER", ".n > 3", "WITHATTRIBS")
        client("VREM", "k", "e1")
        client("VRANDMEMBER", "k", 3)
        client("LINEUP.SEARCH", "k", *PROBE)
        client("LINEUP.MAINTAIN", "k", "COMPACT")
        client("LINEUP.DETACH", "k")
        client("LINEUP.ATTACH", "k", os.path.join(daemon.galleries, "k"))
        assert client("VCARD", "k") == 29
        client("INFO")


def every_thread_is_confined(directory):
    daemon = bed.daemon(directory)
    work(daemon)
    if sanitized(daemon):
        raise bed.Skip("built with a sanitizer, whose system calls the filter forbids")
    tasks = "/proc/%d/task" % daemon.process.pid
    threads = os.listdir(tasks)
    for task in threads:
        with open(os.path.join(tasks, task, "status")) as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", status
    assert len(threads) > 4, threads
    with open("/proc/%d/limits" % daemon.process.pid) as f:
        assert re.search(r"^Max core file size +0 +0 ", f.read(), re.M)


def nothing_it_does_is_refused_by_its_own_filter(directory):
    if not shutil.which("strace"):
        raise bed.Skip("no strace here")
    trace = os.path.join(directory, "trace")
    port = bed.free_port()
    config = "metrics = 127.0.0.1:%d\nclients_max = 100\n" % port + users(directory, one="searcher")
    daemon = bed.Daemon(directory, config, wrap=["strace", "-D", "-f", "-qq", "-o", trace])
    bed.started.append(daemon)
    try:
        daemon.start()
    except AssertionError:
        with open(trace, errors="replace") as f:
            if "ptrace" in f.read() + daemon.said():
                raise bed.Skip("tracing is not allowed here")
        raise
    if sanitized(daemon):
        raise bed.Skip("built with a sanitizer, whose system calls the filter forbids")
    work(daemon)
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port) as reply:
        assert reply.status == 200
    with daemon.client() as client:
        assert client("AUTH", "one", "open sesame") == "OK"
    daemon.configure(config.replace("clients_max = 100", "clients_max = 2000"))
    daemon.process.send_signal(signal.SIGHUP)
    bed.eventually("the reload", lambda: "event=reloaded" in daemon.said())
    work_again = daemon.client()
    assert work_again("VCARD", "k") == 29
    work_again.close()
    daemon.stop()
    with open(trace, errors="replace") as f:
        lines = f.read().splitlines()
    confined = [place for place, line in enumerate(lines) if "seccomp(SECCOMP_SET_MODE_FILTER, " in line and line.endswith("= 0")]
    assert confined, "strace saw no filter"
    refused = [line for line in lines[confined[0] :] if re.search(r"= -1 (EPERM|ENOSYS)", line) and "clone3" not in line]
    assert not refused, "\n".join(refused[:10])


def filter_of_the_unit():
    """The system calls that the unit allows, as systemd puts them together: @default and what its lines name, in their order."""

    def calls(name):
        if not name.startswith("@"):
            return {name}
        told = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
        found = set()
        for line in map(str.strip, told):
            if line and not line.startswith("#"):
                found |= calls(line)
        return found

    allowed = calls("@default")
    with open(os.path.join(bed.HERE, "../../userspace/systemd/lineupd.service.in")) as f:
        lines = re.findall("^SystemCallFilter=(~?)(.*)$", f.read(), re.M)
    assert lines
    for without, names in lines:
        for name in names.split():
            allowed = allowed - calls(name) if without else allowed | calls(name)
    return allowed


def filtered(names, command):
    """Becomes @command, without privileges where there are any, and with these system calls only: others fail with EPERM, as the unit says."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    rules = library.seccomp_init(0x00050000 | errno.EPERM)
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert library.seccomp_rule_add(rules, 0x7FFF0000, number, 0) == 0, name
    if os.getuid() == 0 and os.access(command[0], os.X_OK):
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    assert library.seccomp_load(rules) == 0
    os.execv(command[0], command)


def it_works_with_the_units_filter_and_no_privileges(directory):
    if not shutil.which("systemd-analyze"):
        raise bed.Skip("no systemd-analyze here (Debian: systemd)")
    os.chmod(directory, 0o711)
    port = bed.free_port()
    wrap = ["/usr/bin/python3", os.path.abspath(__file__), "--filtered", ",".join(sorted(filter_of_the_unit()))]
    # A copy: the build may be where only its owner can go.
    program = os.path.join(directory, "lineupd")
    shutil.copy(bed.LINEUPD, program)
    daemon = bed.Daemon(directory, {"server": "metrics = 127.0.0.1:%d\nunix_mode = 0666" % port, "search": "residency = streamed"}, wrap=wrap)
    bed.started.append(daemon)
    with open(daemon.log, "ab") as log:
        os.fchmod(log.fileno(), 0o666)
    if os.getuid() == 0:
        for path in (directory, daemon.galleries, daemon.config_path):
            os.chown(path, 65534, 65534)
    before, bed.LINEUPD = bed.LINEUPD, program
    try:
        daemon.spawn()
    finally:
        bed.LINEUPD = before
    bed.eventually("it is ready, or ended", lambda: "event=ready" in daemon.said() or daemon.process.poll() is not None)
    assert daemon.alive(), daemon.said()
    if sanitized(daemon):
        raise bed.Skip("built with a sanitizer, whose system calls the filters forbid")
    work(daemon)
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port) as reply:
        assert reply.status == 200
    daemon.stop()
    said = daemon.said()
    assert "level=error" not in said and "event=harden" not in said and "event=seccomp confined=yes" in said, said


def prometheus_is_told_what_happened(directory):
    port = bed.free_port()
    daemon = bed.daemon(directory, {"server": "metrics = 127.0.0.1:%d" % port})

    def get(path):
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path)) as reply:
            return reply.read().decode()

    def value(series):
        found = re.findall("^%s (.*)$" % re.escape(series), get("/metrics"), re.M)
        assert len(found) == 1, (series, found)
        return float(found[0])

    work(daemon)
    with daemon.client() as client:
        client.ask("VSIM", "k")
        bed.eventually("the gallery's figures", lambda: 'lineup_gallery_templates{gallery="k"} 29\n' in get("/metrics"))
        assert value("lineup_clients") == 1
        assert value("lineup_enrolled_templates_total") == 30 and value("lineup_deleted_templates_total") == 1
        assert value("lineup_searches_total") == 2 and value("lineup_probes_total") == 2
        assert value('lineup_errors_total{cause="invalid"}') == 1
        assert value("lineup_seals_total") == 1
        assert value("lineup_enrol_duration_seconds_count") == 30
        assert value("lineup_search_duration_seconds_count") == 2
        assert 1 <= value("lineup_groups_total") <= 31 and value("lineup_sync_duration_seconds_count") == value("lineup_groups_total")
        assert value('lineup_gallery_deleted_rows{gallery="k"}') == 0
        assert get("/healthz") == "ok\n"
        if shutil.which("promtool"):
            subprocess.run(["promtool", "check", "metrics"], input=get("/metrics"), text=True, check=True, capture_output=True)
        client("LINEUP.DETACH", "k")
        bed.eventually("the gallery is not told of any more", lambda: 'gallery="k"' not in get("/metrics"))
    try:
        get("/nothing")
        raise AssertionError("answered")
    except urllib.error.HTTPError as error:
        assert error.code == 404
        error.close()


def the_service_manager_is_told(directory):
    path = os.path.join(directory, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(60 * bed.PATIENCE)
        daemon = bed.Daemon(directory, environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        bed.started.append(daemon)
        daemon.environment.pop("WATCHDOG_PID", None)
        daemon.start()
        heard = []

        def hears(what):
            while not any(line.startswith(what) for line in heard):
                heard.extend(manager.recv(4096).decode().split("\n"))

        hears("READY=1")
        hears("STATUS=serving 0 galleries")
        for _ in range(3):
            heard.clear()
            hears("WATCHDOG=1")
        heard.clear()
        daemon.process.send_signal(signal.SIGHUP)
        hears("RELOADING=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in heard), heard
        hears("READY=1")
        heard.clear()
        daemon.process.send_signal(signal.SIGTERM)
        hears("STOPPING=1")
        assert daemon.process.wait(60 * bed.PATIENCE) == 0
        daemon.process = None


if __name__ == "__main__":
    if sys.argv[1:2] == ["--filtered"]:
        filtered(sys.argv[2].split(","), sys.argv[3:])
    bed.main([
        every_command_asks_for_its_role,
        nobody_may_only_say_who_it_is,
        a_pattern_limits_a_role_to_galleries,
        certificates_are_users,
        rights_follow_a_reload,
        a_reload_does_not_disturb_those_who_authenticate,
        a_wrong_configuration_is_refused_whole,
        a_right_configuration_is_said_to_be,
        every_thread_is_confined,
        nothing_it_does_is_refused_by_its_own_filter,
        it_works_with_the_units_filter_and_no_privileges,
        prometheus_is_told_what_happened,
        the_service_manager_is_told,
    ])
