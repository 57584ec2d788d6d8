#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Every command about galleries, with right and wrong uses, in RESP2 and RESP3; scores and orders are compared with an oracle in float64 (bed.py).
import json
import os
import re
import shutil
import struct
import time

import bed
from bed import Oracle, Pairs, ReplyError, agree, blob, near, number, unblob, vectors

DIM = 24


def both(daemon):
    return [daemon.client(2), daemon.client(3)]


def refused(client, *request, says="", code="ERR"):
    """An error of one line that says what is wrong; the connection lives on."""
    reply = client.ask(*request)
    assert isinstance(reply, ReplyError), "not refused: %r: %r" % (request[:3], reply)
    assert reply.code == code, "%r: %s" % (request[:3], reply)
    assert re.search(says, str(reply), re.I), "%r does not say %r" % (str(reply), says)
    assert client("PING") == "PONG"


def truth(version, value):
    """A boolean as VADD and others answer it."""
    return value if version == 3 else int(value)


def fill(client, key, count=50, seed=1, dim=DIM):
    oracle = Oracle()
    for i, vector in enumerate(vectors(count, dim, seed)):
        oracle.replace("e%d" % i, vector)
        assert client("VADD", key, "FP32", blob(vector), "e%d" % i) in (1, True)
    return oracle


def scores(reply):
    """[(element, cosine)] of VSIM WITHSCORES in either version."""
    pairs = reply if isinstance(reply, Pairs) else list(zip(reply[::2], reply[1::2]))
    return [(element.decode(), 2 * number(score) - 1) for element, score in pairs]


def candidates(reply):
    """[[(subject, cosine, template)]] of LINEUP.SEARCH."""
    return [[(c[0].decode(), number(c[1]), c[2]) for c in one] for one in bed.named(reply)["candidates"]]


# ---- vector sets ----


def vadd_adds_and_replaces(directory):
    daemon = bed.daemon(directory)
    v = vectors(6, DIM, 1)
    for version, client in zip((2, 3), both(daemon)):
        key = "k%d" % version
        assert client.ask("VADD", key, "FP32", blob(v[0]), "a") == truth(version, True)
        assert client.ask("VADD", key, "FP32", blob(v[1]), "a") == truth(version, False)
        assert type(client.ask("VADD", key, "FP32", blob(v[1]), "a")) is (bool if version == 3 else int)
        assert client.ask("VADD", key, "VALUES", DIM, *[repr(x) for x in v[2]], "b") == truth(version, True)
        assert client.ask("vadd", key, "fp32", blob(v[3]), "c", "setattr", '{"n": 1}') == truth(version, True)
        for options in (["CAS"], ["NOQUANT"], ["Q8"], ["EF", 100], ["M", 16], ["CAS", "Q8", "EF", 10, "SETATTR", "{}", "M", 8]):
            assert client.ask("VADD", key, "FP32", blob(v[4]), "d" + "-".join(map(str, options)).replace("{}", ""), *options) == truth(version, True)
        assert client("VCARD", key) == 9
        # The last vector counts.
        got = [number(x) for x in client("VEMB", key, "a")]
        assert all(abs(a - b) < 1e-6 for a, b in zip(bed.normal(got), bed.normal(v[1])))


def vadd_refuses_what_makes_no_sense(directory):
    daemon = bed.daemon(directory)
    v = vectors(2, DIM, 1)
    nan = struct.pack("<%df" % DIM, *([float("nan")] + v[0][1:]))
    infinite = struct.pack("<%df" % DIM, *([float("inf")] + v[0][1:]))
    for version, client in zip((2, 3), both(daemon)):
        key = "k%d" % version
        # Before there is a gallery: none may come into being by a refused command.
        refused(client, "VADD", key, "REDUCE", 8, "FP32", blob(v[0]), "a", says="REDUCE")
        refused(client, "VADD", key, "FP32", blob(v[0]), "a", "BIN", says="BIN")
        refused(client, "VADD", key, "FP32", blob(v[0])[:-1], "a", says="vector")
        refused(client, "VADD", key, "FP32", b"", "a", says="vector")
        refused(client, "VADD", key, "VALUES", 0, "a", says="vector|arguments")
        refused(client, "VADD", key, "VALUES", -1, 1, "a", says="vector")
        refused(client, "VADD", key, "VALUES", 3, 1, 2, "a", says="vector|arguments")
        refused(client, "VADD", key, "VALUES", 2, 1, "two", "a", says="vector")
        refused(client, "VADD", key, "VALUES", 2, 1, "nan", "a")
        refused(client, "VADD", key, "VALUES", 10 ** 20, 1, "a")
        refused(client, "VADD", key, "FLOAT", blob(v[0]), "a")
        refused(client, "VADD", key, "FP32", blob(v[0]), "a", "SETATTR", says="option|syntax|argument")
        refused(client, "VADD", key, "FP32", blob(v[0]), "a", "NONSENSE", says="option|syntax")
        refused(client, "VADD", key, "FP32", blob(v[0]), "a", "EF", "many")
        refused(client, "VADD", key, "FP32", blob(v[0]), "a", "SETATTR", "{no json", says="JSON")
        refused(client, "VADD", key, "FP32", blob(v[0]), "", says="name")
        refused(client, "VADD", key, "FP32", blob(v[0]), "a" * 1000, says="name")
        refused(client, "VADD", key, "FP32", blob(v[0]), b"a\nb", says="name")
        refused(client, "VADD", key, "FP32", blob(v[0]), b"\xff\xfe", says="name")
        refused(client, "VADD", key, "FP32", blob(v[0]), b"a\0b", says="name")
        refused(client, "VADD", "../" + key, "FP32", blob(v[0]), "a")
        refused(client, "VADD", ".hidden", "FP32", blob(v[0]), "a")
        refused(client, "VADD", "", "FP32", blob(v[0]), "a")
        refused(client, "VADD", key, says="wrong number of arguments")
        refused(client, "VADD", key, "FP32", nan, "a")
        refused(client, "VADD", key, "FP32", infinite, "a")
        refused(client, "VADD", key, "FP32", bytes(4 * DIM), "a")
        assert client("EXISTS", key) == 0
        # And with one.
        assert client("VADD", key, "FP32", blob(v[0]), "a") == 1
        refused(client, "VADD", key, "FP32", blob(v[0][:-1]), "b", says="dim")
        refused(client, "VADD", key, "FP32", nan, "b")
        refused(client, "VADD", key, "FP32", infinite, "b")
        refused(client, "VADD", key, "FP32", bytes(4 * DIM), "b")
        assert client("VCARD", key) == 1
        assert not os.path.exists(os.path.join(os.path.dirname(daemon.galleries), key))


def vsim_finds_exactly_what_the_oracle_finds(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    oracle = fill(two, "k", 300)
    for i, probe in enumerate(vectors(30, DIM, 2)):
        k = (1, 2, 10, 299, 300, 1000)[i % 6]
        wanted = oracle.search(probe, k)
        for client in (two, three):
            agree(scores(client("VSIM", "k", "FP32", blob(probe), "WITHSCORES", "COUNT", k)), wanted, "COUNT %d" % k)
            values = client("VSIM", "k", "VALUES", DIM, *[repr(x) for x in probe], "WITHSCORES", "COUNT", k)
            agree(scores(values), wanted, "VALUES")
            plain = client("VSIM", "k", "FP32", blob(probe), "COUNT", k)
            assert isinstance(plain, list) and not isinstance(plain, Pairs)
            assert [e.decode() for e in plain] == [w[0] for w in wanted] or k > 100
    # Ten without COUNT; the vector's length does not matter.
    assert len(two("VSIM", "k", "FP32", blob(probe))) == 10
    long = [x * 1000 for x in probe]
    agree(scores(two("VSIM", "k", "FP32", blob([bed.f32(x) for x in long]), "WITHSCORES")), oracle.search(probe, 10), "a long vector")


def vsim_by_element_finds_what_its_vector_finds(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    oracle = fill(two, "k", 100)
    for element in ("e0", "e50", "e99"):
        vector = next(row[2] for row in oracle.rows if row[1] == element)
        wanted = oracle.search(vector, 20)
        assert wanted[0][0] == element
        for client in (two, three):
            agree(scores(client("VSIM", "k", "ELE", element, "WITHSCORES", "COUNT", 20)), wanted, element)
    for client in (two, three):
        refused(client, "VSIM", "k", "ELE", "nobody", says="element not found")


def equal_scores_go_by_the_order_of_enrolment(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    axes = [[1.0 if d == axis else 0.0 for d in range(8)] for axis in range(8)]
    names = ["z", "m", "a", "q", "b", "y", "c", "x", "d", "w"]
    for name in names:
        two("VADD", "ties", "FP32", blob(axes[3]), name)
    two("VADD", "ties", "FP32", blob(axes[2]), "other")
    for client in (two, three):
        assert [e.decode() for e in client("VSIM", "ties", "FP32", blob(axes[3]), "COUNT", 10)] == names
        assert [e.decode() for e in client("VSIM", "ties", "FP32", blob(axes[3]), "COUNT", 4)] == names[:4]
    # Replaced: enrolled anew, so it goes last.
    two("VADD", "ties", "FP32", blob(axes[3]), "z")
    assert [e.decode() for e in two("VSIM", "ties", "FP32", blob(axes[3]), "COUNT", 10)] == names[1:] + ["z"]
    # A score of exactly 1, and of exactly 0 for the opposite.
    reply = three("VSIM", "ties", "FP32", blob(axes[2]), "WITHSCORES", "COUNT", 2)
    assert reply[0] == (b"other", 1.0) and reply[1][1] == 0.5, reply
    opposite = [-x for x in axes[2]]
    assert three("VSIM", "ties", "FP32", blob(opposite), "WITHSCORES", "COUNT", 20).get(b"other") == 0.0


def vsim_has_the_reply_shapes_of_redis(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    v = vectors(3, DIM, 1)
    two("VADD", "k", "FP32", blob(v[0]), "a", "SETATTR", '{"n":1}')
    two("VADD", "k", "FP32", blob(v[1]), "b")
    probe = blob(v[0])
    assert two("VSIM", "k", "FP32", probe) == [b"a", b"b"]
    assert three("VSIM", "k", "FP32", probe) == [b"a", b"b"]
    reply = two("VSIM", "k", "FP32", probe, "WITHSCORES")
    assert len(reply) == 4 and reply[0] == b"a" and isinstance(reply[1], bytes) and near(float(reply[1]), 1)
    reply = three("VSIM", "k", "FP32", probe, "WITHSCORES")
    assert isinstance(reply, Pairs) and isinstance(reply[0][1], float) and near(reply[0][1], 1)
    assert two("VSIM", "k", "FP32", probe, "WITHATTRIBS") == [b"a", b'{"n":1}', b"b", None]
    reply = three("VSIM", "k", "FP32", probe, "WITHATTRIBS")
    assert isinstance(reply, Pairs) and reply == [(b"a", b'{"n":1}'), (b"b", None)]
    reply = two("VSIM", "k", "FP32", probe, "WITHSCORES", "WITHATTRIBS")
    assert len(reply) == 6 and reply[2] == b'{"n":1}' and reply[5] is None
    reply = three("VSIM", "k", "FP32", probe, "WITHATTRIBS", "WITHSCORES")
    assert isinstance(reply, Pairs) and reply[0][0] == b"a" and reply[0][1][1] == b'{"n":1}' and near(reply[0][1][0], 1) and reply[1][1][1] is None
    # Doubles are told so that they read back as the same double.
    assert float(two("VSIM", "k", "FP32", probe, "WITHSCORES")[3]) == three("VSIM", "k", "FP32", probe, "WITHSCORES")[1][1]
    for client in (two, three):
        assert client("VSIM", "nothing", "FP32", probe) == []


def vsim_takes_every_option_of_redis(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    oracle = fill(two, "k", 100)
    probe = vectors(1, DIM, 5)[0]
    wanted = oracle.search(probe, 10)
    for client in (two, three):
        for options in (["TRUTH"], ["NOTHREAD"], ["EF", 500], ["FILTER-EF", 10], ["TRUTH", "EF", 1, "NOTHREAD", "FILTER-EF", 0 + 5]):
            agree(scores(client("VSIM", "k", "FP32", blob(probe), "WITHSCORES", *options)), wanted, options)
        for epsilon in (0.3, 0.45, 0.5, 0.6, 1):
            far = [w for w in oracle.search(probe, 100) if (1 - w[1]) / 2 <= epsilon]
            agree(scores(client("VSIM", "k", "FP32", blob(probe), "WITHSCORES", "COUNT", 100, "EPSILON", epsilon)), far, "EPSILON %g" % epsilon)


def vsim_refuses_what_makes_no_sense(directory):
    daemon = bed.daemon(directory)
    v = vectors(2, DIM, 1)
    for client in both(daemon):
        client("VADD", "k", "FP32", blob(v[0]), "a")
        probe = blob(v[1])
        refused(client, "VSIM", "k", "FP32", blob(v[1][:-1]), says="dim")
        refused(client, "VSIM", "k", "FP32", probe[:-1], says="vector")
        refused(client, "VSIM", "k", "FP32", bytes(4 * DIM))
        refused(client, "VSIM", "k", "FP32", struct.pack("<%df" % DIM, *[float("nan")] * DIM))
        refused(client, "VSIM", "k", "FP32", probe, "COUNT", 0, says="COUNT")
        refused(client, "VSIM", "k", "FP32", probe, "COUNT", -1, says="COUNT")
        refused(client, "VSIM", "k", "FP32", probe, "COUNT", "ten", says="COUNT")
        refused(client, "VSIM", "k", "FP32", probe, "COUNT", says="syntax|argument")
        refused(client, "VSIM", "k", "FP32", probe, "EPSILON", "x", says="EPSILON")
        refused(client, "VSIM", "k", "FP32", probe, "EPSILON", -1, says="EPSILON")
        refused(client, "VSIM", "k", "FP32", probe, "EF", 0, says="EF")
        refused(client, "VSIM", "k", "FP32", probe, "WITHNONSENSE", says="syntax")
        refused(client, "VSIM", "k", "FP32", probe, "FILTER", ".a ==", says="filter")
        refused(client, "VSIM", "k", "FP32", probe, "FILTER", "a b c", says="filter")
        refused(client, "VSIM", "k", "VALUES", DIM, 1, 2, says="vector|argument|syntax")
        refused(client, "VSIM", "k", "SOMETHING", probe, says="vector|syntax")
        refused(client, "VSIM", "k", says="wrong number of arguments")


def filters_keep_what_matches(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    oracle = fill(two, "k", 120)
    cities = ["Ulm", "Bonn", "Jena"]
    attributes = {}
    for i in range(120):
        if i % 7 == 0:
            continue
        attributes["e%d" % i] = {"age": i, "city": cities[i % 3], "vip": i % 5 == 0, "tags": ["t%d" % (i % 4), "x"], "ratio": i / 8}
        assert two("VSETATTR", "k", "e%d" % i, json.dumps(attributes["e%d" % i])) == 1
    cases = {
        '.age > 60': lambda a: a["age"] > 60,
        '.age >= 10 and .age < 20': lambda a: 10 <= a["age"] < 20,
        '.city == "Ulm"': lambda a: a["city"] == "Ulm",
        '.city != "Ulm" && .vip': lambda a: a["city"] != "Ulm" and a["vip"],
        'not .vip': lambda a: not a["vip"],
        '!(.vip or .age > 30)': lambda a: not (a["vip"] or a["age"] > 30),
        '.city in ["Bonn", "Jena"]': lambda a: a["city"] in ("Bonn", "Jena"),
        '"t1" in .tags': lambda a: "t1" in a["tags"],
        '.age % 10 == 3': lambda a: a["age"] % 10 == 3,
        '(.age + 2) * 2 > 100 || .city == "Jena"': lambda a: (a["age"] + 2) * 2 > 100 or a["city"] == "Jena",
        '.ratio ** 2 < 9': lambda a: a["ratio"] ** 2 < 9,
        '.missing == 1': lambda a: False,
        '.age == 50.0': lambda a: a["age"] == 50,
    }
    probe = vectors(1, DIM, 8)[0]
    for text, matches in cases.items():
        keep = {name for name, a in attributes.items() if matches(a)}
        wanted = oracle.search(probe, 120, keep=keep)
        for client in (two, three):
            agree(scores(client("VSIM", "k", "FP32", blob(probe), "WITHSCORES", "COUNT", 120, "FILTER", text)), wanted, text)
        agree(candidates(three("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probe), "K", 120, "FILTER", text))[0], wanted, text)
    # A change of attributes is seen at once, a removed element is not found by them.
    two("VSETATTR", "k", "e1", '{"age": 1000}')
    assert three("VSIM", "k", "FP32", blob(probe), "FILTER", ".age == 1000") == [b"e1"]
    two("VREM", "k", "e1")
    assert three("VSIM", "k", "FP32", blob(probe), "FILTER", ".age == 1000") == []
    two("VADD", "k", "FP32", blob(probe), "e1")
    assert three("VSIM", "k", "FP32", blob(probe), "FILTER", ".age == 1000") == []
    assert three("VGETATTR", "k", "e1") is None


def attributes_are_set_told_and_removed(directory):
    daemon = bed.daemon(directory)
    v = blob(vectors(1, DIM, 1)[0])
    for version, client in zip((2, 3), both(daemon)):
        key = "k%d" % version
        client("VADD", key, "FP32", v, "a", "SETATTR", '{"x": [1, 2]}')
        assert client("VGETATTR", key, "a") == b'{"x": [1, 2]}'
        assert client.ask("VSETATTR", key, "a", '{"y":"\u00fc"}') == truth(version, True)
        assert client("VGETATTR", key, "a") == '{"y":"\u00fc"}'.encode()
        # A VADD without attributes leaves them; one with attributes sets them.
        client("VADD", key, "FP32", v, "a")
        assert client("VGETATTR", key, "a") == '{"y":"\u00fc"}'.encode()
        client("VADD", key, "FP32", v, "a", "SETATTR", "{}")
        assert client("VGETATTR", key, "a") == b"{}"
        assert client.ask("VSETATTR", key, "a", "") == truth(version, True)
        assert client("VGETATTR", key, "a") is None
        assert client.ask("VSETATTR", key, "nobody", "{}") == truth(version, False)
        assert client.ask("VSETATTR", "nothing", "a", "{}") == truth(version, False)
        assert client("VGETATTR", key, "nobody") is None
        assert client("VGETATTR", "nothing", "a") is None
        refused(client, "VSETATTR", key, "a", "{broken", says="JSON")
        refused(client, "VSETATTR", key, "a", '{"big": "%s"}' % ("x" * 70000))
        refused(client, "VSETATTR", key, "a", says="wrong number of arguments")
        client("VSETATTR", key, "a", '{"kept": true}')
    daemon.stop()
    daemon.start()
    for key in ("k2", "k3"):
        with daemon.client() as client:
            assert client("VGETATTR", key, "a") == b'{"kept": true}'


def vrem_removes(directory):
    daemon = bed.daemon(directory)
    for version, client in zip((2, 3), both(daemon)):
        key = "k%d" % version
        oracle = fill(client, key, 20)
        assert client.ask("VREM", key, "e3") == truth(version, True)
        oracle.remove("e3")
        assert client.ask("VREM", key, "e3") == truth(version, False)
        assert client.ask("VREM", key, "nobody") == truth(version, False)
        assert client.ask("VREM", "nothing", "e3") == truth(version, False)
        refused(client, "VREM", key, says="wrong number of arguments")
        assert client("VCARD", key) == 19
        probe = vectors(1, DIM, 9)[0]
        agree(scores(client("VSIM", key, "FP32", blob(probe), "WITHSCORES", "COUNT", 50)), oracle.search(probe, 50))
        for i in range(20):
            client("VREM", key, "e%d" % i)
        assert client("VCARD", key) == 0
        assert client("VSIM", key, "FP32", blob(probe)) == []


def what_a_gallery_is_is_told(directory):
    daemon = bed.daemon(directory)
    for version, client in zip((2, 3), both(daemon)):
        key = "k%d" % version
        fill(client, key, 12)
        assert client("VCARD", key) == 12 and client("VCARD", "nothing") == 0
        assert client("VDIM", key) == DIM
        refused(client, "VDIM", "nothing", says="key does not exist")
        info = bed.named(client("VINFO", key))
        assert info["vector-dim"] == DIM and info["size"] == 12, info
        assert "quant-type" in info
        assert client("VINFO", "nothing") is None
        for element, there in (("e1", True), ("nobody", False)):
            assert client.ask("VISMEMBER", key, element) == truth(version, there)
        assert client.ask("VISMEMBER", "nothing", "e1") == truth(version, False)
        refused(client, "VLINKS", key, "e1", says="graph|link")
        refused(client, "VCARD", says="wrong number of arguments")
        refused(client, "VDIM", key, key, says="wrong number of arguments")


def vemb_tells_the_vector(directory):
    daemon = bed.daemon(directory)
    v = vectors(5, DIM, 3)
    for version, client in zip((2, 3), both(daemon)):
        key = "k%d" % version
        for i, vector in enumerate(v):
            client("VADD", key, "FP32", blob(vector), "e%d" % i)
        for i, vector in enumerate(v):
            reply = client("VEMB", key, "e%d" % i)
            assert len(reply) == DIM and all(type(x) is (float if version == 3 else bytes) for x in reply)
            values = [number(x) for x in reply]
            assert all(abs(a - b) < 1e-6 for a, b in zip(bed.normal(values), bed.normal(vector)))
            raw = client("VEMB", key, "e%d" % i, "RAW")
            assert isinstance(raw, list) and len(raw) >= 3, raw
            assert all(abs(a - b) < 1e-6 for a, b in zip(bed.normal(unblob(raw[1])), bed.normal(vector))), raw[0]
        assert client("VEMB", key, "nobody") is None
        assert client("VEMB", "nothing", "e1") is None
        refused(client, "VEMB", key, "e1", "COOKED")


def vrandmember_picks_elements(directory):
    daemon = bed.daemon(directory)
    for client in both(daemon):
        if not client("EXISTS", "k"):
            fill(client, "k", 10)
        names = {b"e%d" % i for i in range(10)}
        assert client("VRANDMEMBER", "k") in names
        some = client("VRANDMEMBER", "k", 4)
        assert len(some) == 4 and len(set(some)) == 4 and set(some) <= names
        assert set(client("VRANDMEMBER", "k", 100)) == names
        many = client("VRANDMEMBER", "k", -50)
        assert len(many) == 50 and set(many) <= names
        assert client("VRANDMEMBER", "k", 0) == []
        assert client("VRANDMEMBER", "nothing") is None
        assert client("VRANDMEMBER", "nothing", 3) == []
        refused(client, "VRANDMEMBER", "k", "few")
        seen = {client("VRANDMEMBER", "k") for _ in range(400)}
        assert seen == names, "after 400 picks of 10, only %d were seen" % len(seen)


# ---- what vector sets lack ----


def lineup_search_answers_batches(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    oracle = fill(two, "k", 200)
    probes = vectors(17, DIM, 4)
    data = b"".join(blob(p) for p in probes)
    wide = struct.pack("<%dd" % (17 * DIM), *[x for p in probes for x in p])
    wanted = [oracle.search(p, 5) for p in probes]
    for client in (two, three):
        for form, bytes_ in (("FP32", data), ("F64", wide)):
            reply = client("LINEUP.SEARCH", "k", "PROBES", 17, form, bytes_, "K", 5)
            found = candidates(reply)
            assert len(found) == 17
            for one, other in zip(found, wanted):
                agree(one, other, form)
                assert [c[2] for c in one] == [w[2] for w in other] or len({c[1] for c in one}) < 5
            assert bed.named(reply)["sequence"] == 200 and bed.named(reply)["rows"] == 200
        found = candidates(client("LINEUP.SEARCH", "k", "PROBES", 17, "FP32", data, "K", 200, "THRESHOLD", 0.2))
        for probe, one in zip(probes, found):
            agree(one, oracle.search(probe, 200, threshold=0.2), "THRESHOLD")
            assert all(c[1] >= 0.2 for c in one)
        for priority in (0, 9):
            agree(candidates(client("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probes[0]), "K", 5, "PRIORITY", priority))[0], wanted[0])
        assert len(candidates(client("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probes[0])))[0]) == 10
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 2, "FP32", blob(probes[0]), says="vector|bytes|probes")
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 0, "FP32", b"")
        refused(client, "LINEUP.SEARCH", "k", "PROBES", -1, "FP32", b"")
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 2 ** 62, "FP32", blob(probes[0]))
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 1, "FP16", blob(probes[0]))
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probes[0]), "K", 0)
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probes[0]), "K", 10 ** 9)
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probes[0]), "PRIORITY", 10)
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probes[0]), "LIST", "nolist", says="nolist|list")
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probes[0]), "THRESHOLD", "high")
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probes[0]), "PER", "PERSON")
        refused(client, "LINEUP.SEARCH", "nothing", "PROBES", 1, "FP32", blob(probes[0]))


def subjects_have_several_templates(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    oracle = Oracle()
    v = vectors(60, DIM, 6)
    subjects = ["s%d" % (i % 20) for i in range(60)]
    for i, (vector, subject) in enumerate(zip(v, subjects)):
        oracle.add(subject, vector)
        if i % 10 == 9:
            rows = range(i - 9, i + 1)
            two_reply = None
            if i == 9:
                two("LINEUP.CREATE", "k", "DIM", DIM)
            two_reply = bed.named(two("LINEUP.ENROL", "k", "ROWS", 10, "FP32", b"".join(blob(v[r]) for r in rows), "SUBJECTS", *[subjects[r] for r in rows]))
            assert two_reply["rows"] == 10 and two_reply["template_first"] == i - 9, two_reply
            assert two_reply["sequence"] == (i + 1) // 10
    assert two("VCARD", "k") == 20
    for probe in vectors(6, DIM, 7):
        for client in (two, three):
            found = candidates(client("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probe), "K", 20))[0]
            agree(found, oracle.search(probe, 20), "per subject")
            found = candidates(client("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probe), "K", 60, "PER", "TEMPLATE"))[0]
            agree(found, oracle.search(probe, 60, per="template"), "per template")
            # An element of several templates: the best of all of them.
            best = {}
            for template in (row for row in oracle.rows if row[1] == "s3"):
                for subject, score, _ in oracle.search(template[2], 20):
                    best[subject] = max(best.get(subject, -2), score)
            found = scores(client("VSIM", "k", "ELE", "s3", "WITHSCORES", "COUNT", 20))
            assert dict(found).keys() == best.keys() and all(near(best[s], score) for s, score in found)
    # REPLACE takes a subject's older templates away.
    reply = bed.named(three("LINEUP.ENROL", "k", "REPLACE", "ROWS", 2, "FP32", blob(v[0]) + blob(v[1]), "SUBJECTS", "s3", "s4"))
    oracle.remove("s3")
    oracle.remove("s4")
    oracle.add("s3", v[0])
    oracle.add("s4", v[1])
    assert reply["sequence"] == 7
    found = candidates(three("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(v[5]), "K", 60, "PER", "TEMPLATE"))[0]
    agree(found, oracle.search(v[5], 60, per="template"), "after REPLACE")
    # One template, then a subject with all of them.
    template = next(row[0] for row in oracle.rows if row[1] == "s5")
    reply = bed.named(three("LINEUP.DELETE", "k", "TEMPLATE", template))
    oracle.rows = [row for row in oracle.rows if row[0] != template]
    assert reply["sequence"] == 8
    reply = bed.named(three("LINEUP.DELETE", "k", "SUBJECT", "s6"))
    assert reply["sequence"] == 9 and reply["rows"] == 3, reply
    oracle.remove("s6")
    found = candidates(three("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(v[5]), "K", 60, "PER", "TEMPLATE"))[0]
    agree(found, oracle.search(v[5], 60, per="template"), "after LINEUP.DELETE")
    refused(two, "LINEUP.DELETE", "k", "SUBJECT", "nobody")
    refused(two, "LINEUP.DELETE", "k", "TEMPLATE", 10 ** 9)
    refused(two, "LINEUP.DELETE", "nothing", "SUBJECT", "s1")


def a_repeated_op_id_is_no_second_operation(directory):
    daemon = bed.daemon(directory)
    v = vectors(3, DIM, 6)
    op, other = "0123456789abcdef" * 2, "fedcba9876543210" * 2
    with daemon.client() as client:
        client("LINEUP.CREATE", "k", "DIM", DIM)
        for again in (0, 1, 1):
            reply = bed.named(client("LINEUP.ENROL", "k", "OPID", op, "ROWS", 1, "FP32", blob(v[0]), "SUBJECTS", "a"))
            assert reply["repeated"] == again and reply["sequence"] == 1, reply
        client("LINEUP.ENROL", "k", "ROWS", 1, "FP32", blob(v[1]), "SUBJECTS", "b")
        for _ in range(2):
            bed.named(client("LINEUP.DELETE", "k", "SUBJECT", "a", "OPID", other))
        assert client("VCARD", "k") == 1
        refused(client, "LINEUP.ENROL", "k", "OPID", "short", "ROWS", 1, "FP32", blob(v[2]), "SUBJECTS", "c")
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        reply = bed.named(client("LINEUP.ENROL", "k", "OPID", op, "ROWS", 1, "FP32", blob(v[0]), "SUBJECTS", "a"))
        assert reply["repeated"] == 1, reply
        assert client("VCARD", "k") == 1


def lists_and_expiry_limit_who_is_found(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    v = vectors(30, DIM, 6)
    now = int(time.time())
    two("LINEUP.CREATE", "k", "DIM", DIM)
    everybody, red, blue, soon = Oracle(), Oracle(), Oracle(), Oracle()
    for i, vector in enumerate(v):
        options = []
        for oracle in (everybody, red, blue, soon):
            oracle.next_id = i
        everybody.add("s%d" % i, vector)
        if i % 3 == 0:
            options += ["LIST", "red"]
            red.add("s%d" % i, vector)
        if i % 5 == 0:
            options += ["LIST", "blue"]
            blue.add("s%d" % i, vector)
        if i % 4 == 0:
            options += ["EXPIRES", now + 1000000]
        else:
            soon.add("s%d" % i, vector)
        two("LINEUP.ENROL", "k", *options, "ROWS", 1, "FP32", blob(vector), "SUBJECTS", "s%d" % i)
    probe = v[0]
    for client in (two, three):
        def find(*options, client=client):
            return candidates(client("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(probe), "K", 30, *options))[0]
        agree(find(), everybody.search(probe, 30))
        agree(find("LIST", "red"), red.search(probe, 30), "red")
        agree(find("LIST", "blue"), blue.search(probe, 30), "blue")
        names = {row[1] for row in red.rows + blue.rows}
        agree(find("LIST", "red", "LIST", "blue"), everybody.search(probe, 30, keep=names), "red or blue")
        agree(find("NOW", now + 999999), everybody.search(probe, 30), "before")
        agree(find("NOW", now + 1000001), soon.search(probe, 30), "after")
        lists = client("LINEUP.LISTS", "k")
        assert sorted(b if isinstance(b, bytes) else b[0] for b in lists) == [b"blue", b"red"], lists
        refused(client, "LINEUP.LISTS", "nothing")


def models_are_compared(directory):
    daemon = bed.daemon(directory)
    with daemon.client() as client:
        client("LINEUP.CREATE", "k", "DIM", DIM, "MODEL", "face-model-1")
        client("LINEUP.CREATE", "other", "DIM", DIM, "MODEL", "face-model-2")
        info = bed.named(client("LINEUP.INFO", "k"))
        digest, another = info["model_digest"], bed.named(client("LINEUP.INFO", "other"))["model_digest"]
        assert digest != another and info["model"] == b"face-model-1"
        v = vectors(2, DIM, 1)
        assert bed.named(client("LINEUP.ENROL", "k", "MODEL", digest, "ROWS", 1, "FP32", blob(v[0]), "SUBJECTS", "a"))["rows"] == 1
        refused(client, "LINEUP.ENROL", "k", "MODEL", another, "ROWS", 1, "FP32", blob(v[1]), "SUBJECTS", "b", code="MODEL")
        assert candidates(client("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(v[0]), "MODEL", digest))[0][0][0] == "a"
        refused(client, "LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(v[0]), "MODEL", another, code="MODEL")
        refused(client, "LINEUP.VERIFY", "k", "a", "PROBES", 1, "FP32", blob(v[0]), "MODEL", another, code="MODEL")
        assert client("VCARD", "k") == 1


def verification_is_one_to_one(directory):
    daemon = bed.daemon(directory)
    two, three = both(daemon)
    oracle = fill(two, "k", 30)
    probes = vectors(3, DIM, 11)
    for client in (two, three):
        reply = client("LINEUP.VERIFY", "k", "e7", "PROBES", 3, "FP32", b"".join(map(blob, probes)))
        assert len(reply) == 3
        for probe, one in zip(probes, reply):
            wanted = oracle.search(probe, 1, keep={"e7"})[0]
            assert one[0] == b"e7" and near(number(one[1]), wanted[1]) and one[2] == wanted[2], (one, wanted)
        refused(client, "LINEUP.VERIFY", "k", "nobody", "PROBES", 1, "FP32", blob(probes[0]))
        refused(client, "LINEUP.VERIFY", "nothing", "e7", "PROBES", 1, "FP32", blob(probes[0]))
        refused(client, "LINEUP.VERIFY", "k", "e7", "PROBES", 2, "FP32", blob(probes[0]))


def enrolment_is_all_or_nothing(directory):
    daemon = bed.daemon(directory)
    v = vectors(4, DIM, 6)
    with daemon.client() as client:
        client("LINEUP.CREATE", "k", "DIM", DIM)
        bad = blob(v[0]) + bytes(4 * DIM) + blob(v[2])
        refused(client, "LINEUP.ENROL", "k", "ROWS", 3, "FP32", bad, "SUBJECTS", "a", "b", "c")
        refused(client, "LINEUP.ENROL", "k", "ROWS", 2, "FP32", blob(v[0]) + blob(v[1]), "SUBJECTS", "a", "b\n")
        refused(client, "LINEUP.ENROL", "k", "ROWS", 2, "FP32", blob(v[0]) + blob(v[1]), "SUBJECTS", "a")
        refused(client, "LINEUP.ENROL", "k", "ROWS", 2, "FP32", blob(v[0]), "SUBJECTS", "a", "b")
        refused(client, "LINEUP.ENROL", "k", "ROWS", 0, "FP32", b"", "SUBJECTS")
        refused(client, "LINEUP.ENROL", "nothing", "ROWS", 1, "FP32", blob(v[0]), "SUBJECTS", "a")
        refused(client, "LINEUP.ENROL", "k", "EXPIRES", "soon", "ROWS", 1, "FP32", blob(v[0]), "SUBJECTS", "a")
        refused(client, "LINEUP.ENROL", "k", "LIST", "", "ROWS", 1, "FP32", blob(v[0]), "SUBJECTS", "a")
        assert client("VCARD", "k") == 0
        assert bed.named(client("LINEUP.SEARCH", "k", "PROBES", 1, "FP32", blob(v[0])))["sequence"] == 0
        many = 3000
        rows = vectors(many, DIM, 12)
        reply = bed.named(client("LINEUP.ENROL", "k", "ROWS", many, "FP32", b"".join(map(blob, rows)), "SUBJECTS", *["m%d" % i for i in range(many)]))
        assert reply["rows"] == many and client("VCARD", "k") == many


def galleries_are_created_attached_and_detached(directory):
    daemon = bed.daemon(directory)
    elsewhere = os.path.join(directory, "elsewhere")
    with daemon.client() as client:
        oracle = fill(client, "k", 10)
        assert client("LINEUP.CREATE", "half", "DIM", 8, "STORE", "f16", "MODEL", "m") == "OK"
        refused(client, "LINEUP.CREATE", "half", "DIM", 8)
        refused(client, "LINEUP.CREATE", "x", "DIM", 0)
        refused(client, "LINEUP.CREATE", "../x", "DIM", 8)
        refused(client, "LINEUP.CREATE", "x", "DIM", 8, "STORE", "f8")
        assert sorted(client("KEYS", "*")) == [b"half", b"k"]
        assert client("LINEUP.DETACH", "k") == "OK"
        assert client("VCARD", "k") == 0 and client("EXISTS", "k") == 0
        refused(client, "LINEUP.DETACH", "k")
        # It must not be made anew by an enrolment while its directory is there.
        refused(client, "VADD", "k", "FP32", blob(vectors(1, DIM, 1)[0]), "a")
        shutil.move(os.path.join(daemon.galleries, "k"), elsewhere)
        refused(client, "LINEUP.ATTACH", "k", os.path.join(directory, "missing"))
        refused(client, "LINEUP.ATTACH", "k", directory)
        assert client("LINEUP.ATTACH", "again", elsewhere) == "OK"
        refused(client, "LINEUP.ATTACH", "again", elsewhere)
        probe = vectors(1, DIM, 9)[0]
        agree(scores(client("VSIM", "again", "FP32", blob(probe), "WITHSCORES", "COUNT", 20)), oracle.search(probe, 20))
        info = bed.named(client("LINEUP.INFO", "again"))
        assert info["dim"] == DIM and info["templates"] == 10, info
        refused(client, "LINEUP.INFO", "nothing")
        for request in (["LINEUP.MAINTAIN", "again"], ["LINEUP.MAINTAIN", "again", "COMPACT"]):
            assert not isinstance(client.ask(*request), ReplyError)
        agree(scores(client("VSIM", "again", "FP32", blob(probe), "WITHSCORES", "COUNT", 20)), oracle.search(probe, 20))
        refused(client, "LINEUP.MAINTAIN", "nothing")
        stats = client("LINEUP.STATS")
        assert bed.named(stats)
        assert bed.named(client("LINEUP.STATS", "again"))
        refused(client, "LINEUP.STATS", "nothing")


if __name__ == "__main__":
    bed.main([
        vadd_adds_and_replaces,
        vadd_refuses_what_makes_no_sense,
        vsim_finds_exactly_what_the_oracle_finds,
        vsim_by_element_finds_what_its_vector_finds,
        equal_scores_go_by_the_order_of_enrolment,
        vsim_has_the_reply_shapes_of_redis,
        vsim_takes_every_option_of_redis,
        vsim_refuses_what_makes_no_sense,
        filters_keep_what_matches,
        attributes_are_set_told_and_removed,
        vrem_removes,
        what_a_gallery_is_is_told,
        vemb_tells_the_vector,
        vrandmember_picks_elements,
        lineup_search_answers_batches,
        subjects_have_several_templates,
        a_repeated_op_id_is_no_second_operation,
        lists_and_expiry_limit_who_is_found,
        models_are_compared,
        verification_is_one_to_one,
        enrolment_is_all_or_nothing,
        galleries_are_created_attached_and_detached,
    ])
