#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# The checker of histories must take what is linearizable and refuse what is not; brute force over all orders is the oracle for small histories.
import itertools
import random

import bed
from checker import Count, Member, Op, Put, Remove, Search, SearchNear, TooComplex, Version, check

VERSIONS = 2000
RANKS = [random.Random(seed).sample(range(VERSIONS + 1), VERSIONS + 1) for seed in range(4)]


def score(own, version):
    return 1 if own == version else -float(RANKS[own % 4][version])


def nearest(state, own, k):
    scored = sorted((-score(own, version), element) for element, version in enumerate(state) if version)
    return [(element, -negative) for negative, element in scored[:k]]


def best(state, k, rank):
    return tuple(sorted((v for v in state if v), key=lambda v: rank[v])[:k])


class Simulation:
    """Makes linearizable histories: each operation takes effect at a moment between its call and its reply."""

    def __init__(self, generator, clients, operations, elements, pipelines=False):
        self.random = generator
        self.elements = elements
        self.version = 0
        self.ops = []
        moments = []
        for client in range(clients):
            now = generator.random() * 5
            last = None
            for _ in range(operations):
                begin = now
                moment = begin + generator.random() * 10
                end = moment + generator.random() * 10
                if pipelines and last is not None and generator.random() < 0.5:
                    begin = last[1] if last[1] < moment else begin
                    moment = max(moment, last[3] + 1e-6)
                    end = max(end, moment, last[2])
                    op = [client, begin, end, moment, last[4]]
                else:
                    op = [client, begin, end, moment, None]
                kept = (op[0], op[1], op[2], op[3], len(moments))
                moments.append((op[3], len(moments), op))
                last = kept
                now = end + generator.random()
        self.made = {}
        self.state = (0,) * elements
        self.sequence = 0
        for _, place, op in sorted(moments):
            self.made[place] = self.one(op)
        self.ops = [self.made[place] for place in sorted(self.made)]

    def new(self):
        self.version += 1
        return self.version

    def one(self, timing):
        client, begin, end, _, after = timing
        more = {"after": self.made[after]} if after is not None else {}
        r = self.random
        element = r.randrange(self.elements)
        kind = r.randrange(9)
        if kind <= 1:
            result = 1 if self.state[element] == 0 else 0
            op = Put(client, begin, end, [(element, self.new())], result=result, **more)
        elif kind == 2:
            chosen = r.sample(range(self.elements), min(self.elements, r.randint(1, 3)))
            op = Put(client, begin, end, [(e, self.new()) for e in chosen], sequence=self.sequence + 1, **more)
        elif kind == 3:
            there = self.state[element] != 0
            named = self.sequence + 1 if there and r.random() < 0.5 else None
            op = Remove(client, begin, end, element, result=int(there), sequence=named, **more)
        elif kind == 4:
            op = Member(client, begin, end, element, result=int(self.state[element] != 0), **more)
        elif kind == 5:
            op = Version(client, begin, end, element, result=self.state[element], **more)
        elif kind == 6:
            op = Count(client, begin, end, result=sum(v != 0 for v in self.state), **more)
        elif kind == 7:
            k, rank = r.choice((1, 3, 100)), r.choice(RANKS)
            op = Search(client, begin, end, k, rank, result=best(self.state, k, rank), sequence=self.sequence if r.random() < 0.5 else None, **more)
        else:
            own = self.state[element]
            result = nearest(self.state, own, 3) if own else None
            op = SearchNear(client, begin, end, element, 3, score, result=result, **more)
        self.state, self.sequence = op.step(self.state, self.sequence)
        return op


def brute_force(ops, elements):
    """Tries all orders; operations without a reply may be left out."""
    def possible(order):
        place = {id(op): i for i, op in enumerate(order)}
        for a in order:
            if a.after is not None and place.get(id(a.after), len(order)) > place[id(a)]:
                return False
            for b in order:
                if a.end is not None and a.end < b.begin and place[id(a)] > place[id(b)]:
                    return False
                if a.end is None and a.expires is not None and a.expires < b.begin and place[id(a)] > place[id(b)]:
                    return False
        state, sequence = (0,) * elements, 0
        for op in order:
            after = op.step(state, sequence)
            if not after:
                return False
            state, sequence = after
        return True

    must = [op for op in ops if op.end is not None]
    may = [op for op in ops if op.end is None]
    for count in range(len(may) + 1):
        for some in itertools.combinations(may, count):
            if any(possible(order) for order in itertools.permutations(must + list(some))):
                return True
    return False


def histories_of_a_linearizable_gallery_are_taken(directory):
    del directory
    for seed in range(int(60 * bed.SCALE) or 1):
        s = Simulation(random.Random(seed), clients=6, operations=25, elements=5, pipelines=seed % 2 == 1)
        verdict = check(s.ops, (0,) * 5, 0)
        assert verdict.ok, "seed %d: %s" % (seed, verdict)


def damage(generator, ops):
    """Changes one reply, or takes one away, or moves one operation in time."""
    op = generator.choice(ops)
    kind = generator.randrange(4)
    if kind == 0 and op.end is not None:
        op.end = None
        op.result = op.sequence = None
        if not op.changes:
            ops.remove(op)
            for other in ops:
                if other.after is op:
                    other.after = None
        elif generator.random() < 0.5:
            op.expires = op.begin + 12 * generator.random()
    elif kind == 1:
        shift = generator.choice((-8, 8)) * generator.random()
        op.begin += shift
        if op.end is not None:
            op.end += shift
    elif kind == 2 and op.sequence is not None:
        op.sequence += generator.choice((-1, 1))
    elif op.result is not None and not isinstance(op, (Search, SearchNear)):
        op.result = 1 - op.result if op.result in (0, 1) else generator.randrange(5)
    elif op.result:
        op.result = op.result[1:] if generator.random() < 0.5 else op.result[::-1]


def verdicts_are_those_of_brute_force(directory):
    del directory
    counts = {True: 0, False: 0}
    for seed in range(int(800 * bed.SCALE) or 1):
        generator = random.Random(1000 + seed)
        s = Simulation(generator, clients=3, operations=2, elements=2, pipelines=seed % 2 == 1)
        for _ in range(generator.randrange(4)):
            damage(generator, s.ops)
        for op in s.ops:  # a pipeline's calls and replies come in its order; what follows a call without a reply has none either
            if op.after is None:
                continue
            if op.after.end is None and seed % 3 and op.changes and op.after.expires is None:
                op.end = op.result = op.sequence = op.expires = None
            if op.after.begin > op.begin or (op.after.end is None) != (op.end is None) or op.after.expires != op.expires or (op.end and op.after.end > op.end):
                op.after = None
        for op in s.ops:
            if op.after is not None and op.after not in s.ops:
                op.after = None
        wanted = brute_force(s.ops, 2)
        found = check(s.ops, (0, 0), 0)
        assert found.ok == wanted, "seed %d: %s, brute force says %s: %s" % (seed, found, wanted, s.ops)
        counts[wanted] += 1
    assert counts[False] > sum(counts.values()) / 10 and counts[True] > sum(counts.values()) / 10, counts


RANK = list(range(VERSIONS + 1))


def refused(ops, state=(0, 0, 0), sequence=0):
    verdict = check(ops, state, sequence)
    assert not verdict.ok, "taken: %s" % ops
    assert str(verdict).startswith("nothing explains")
    return verdict


def taken(ops, state=(0, 0, 0), sequence=0):
    verdict = check(ops, state, sequence)
    assert verdict.ok, verdict


def full(begin, end, result, **more):
    return Search(9, begin, end, 100, RANK, result=tuple(result), **more)


def an_acknowledged_write_that_is_lost_is_seen(directory):
    del directory
    refused([Put(1, 0, 1, [(0, 5)], result=1), full(2, 3, [])])
    refused([Put(1, 0, 1, [(0, 5)], result=1), Member(2, 2, 3, 0, result=0)])
    taken([Put(1, 0, 1, [(0, 5)], result=1), full(0.5, 3, [])])


def a_deleted_element_that_comes_back_is_seen(directory):
    del directory
    ops = [Remove(1, 0, 1, 0, result=1), full(2, 3, []), full(4, 5, [7])]
    refused(ops, (7, 0, 0))
    # Across a restart as well: the removal without a reply may have been carried out, but not be undone.
    ops = [Remove(1, 0, None, 0, expires=10), full(2, 3, []), full(11, 12, [7])]
    refused(ops, (7, 0, 0))
    taken([Remove(1, 0, None, 0, expires=10), full(2, 3, [7]), full(11, 12, [7])], (7, 0, 0))
    taken([Remove(1, 0, None, 0, expires=10), full(2, 3, [7]), full(11, 12, [])], (7, 0, 0))


def an_operation_without_a_reply_takes_effect_before_the_restart_or_never(directory):
    del directory
    late = [Put(1, 0, None, [(0, 5)], expires=10), full(11, 12, []), full(13, 14, [5])]
    refused(late)
    taken([Put(1, 0, None, [(0, 5)], expires=10), full(11, 12, [5]), full(13, 14, [5])])


def half_a_batch_is_seen(directory):
    del directory
    batch = Put(1, 0, 10, [(0, 5), (1, 6)], sequence=1)
    refused([batch, full(1, 2, [5])])
    refused([batch, full(1, 2, [6])])
    refused([batch, Count(3, 1, 2, result=1)])
    taken([batch, full(1, 2, [5, 6]), full(3, 4, [5, 6])])
    # Also of one without a reply.
    batch = Put(1, 0, None, [(0, 5), (1, 6)], expires=10)
    refused([batch, full(11, 12, [5])])


def time_does_not_go_back(directory):
    del directory
    write = Put(1, 0, 10, [(0, 5)], result=1)
    refused([write, full(1, 2, [5]), full(3, 4, [])])
    # Two readers see two writes in opposite orders.
    refused([Put(1, 0, 10, [(0, 5)], result=1), Put(2, 0, 10, [(1, 6)], result=1), full(1, 2, [5]), full(3, 4, [5, 6]), full(3, 4, [6])])


def sequence_numbers_are_dense_and_tell_the_state(directory):
    del directory
    taken([Put(1, 0, 1, [(0, 5)], sequence=4), full(2, 3, [5], sequence=4)], sequence=3)
    refused([Put(1, 0, 1, [(0, 5)], sequence=5)], sequence=3)
    refused([Put(1, 0, 1, [(0, 5)], sequence=4), full(2, 3, [5], sequence=3)], sequence=3)
    refused([Put(1, 0, 1, [(0, 5)], sequence=1), Put(2, 0, 1, [(1, 6)], sequence=1)])


def wrong_candidates_are_seen(directory):
    del directory
    state = (7, 8, 9)
    taken([full(0, 1, [7, 8, 9])], state)
    refused([full(0, 1, [8, 7, 9])], state)
    refused([Search(1, 0, 1, 2, RANK, result=(7, 9))], state)
    refused([Search(1, 0, 1, 2, RANK, result=(7,))], state)
    refused([full(0, 1, [7, 8, 9, 10])], state)
    near = nearest(state, 8, 3)
    taken([SearchNear(1, 0, 1, 1, 3, score, result=near)], state)
    refused([SearchNear(1, 0, 1, 1, 3, score, result=near[1:])], state)
    refused([SearchNear(1, 0, 1, 1, 3, score, result=[near[0], near[2], near[1]])], state)
    refused([SearchNear(1, 0, 1, 1, 3, score, result=[near[0], near[1], (near[2][0], near[2][1] + 1)])], state)
    refused([SearchNear(1, 0, 1, 1, 3, score, result=None)], state)


def a_pipeline_is_carried_out_in_its_order(directory):
    del directory
    write = Put(1, 0, 10, [(0, 5)], result=1)
    read = full(0, 11, [])
    taken([write, read])
    read = full(0, 11, [])
    read.after = write
    refused([write, read])


def what_waits_in_a_pipeline_behind_an_idle_removal_may_take_effect(directory):
    del directory
    idle = Remove(1, 0, None, 0)
    write = Put(1, 0, None, [(1, 5)], after=idle)
    taken([idle, write, full(10, 11, [5])])
    lost = Put(1, 0, None, [(0, 6)])
    refused([lost, Put(1, 0, None, [(1, 5)], after=lost), full(10, 11, [5])])


def a_history_that_is_too_wide_has_no_verdict(directory):
    del directory
    ops = [Put(c, 0, 100, [(c, c + 1)]) for c in range(12)] + [Count(20, 1, 2, result=13)]
    try:
        check(ops, (0,) * 12, 0, most=100)
    except TooComplex:
        return
    raise AssertionError("a verdict from 100 configurations of 4096")


def sixteen_busy_clients_are_checked(directory):
    del directory
    s = Simulation(random.Random(7), clients=16, operations=60, elements=12)
    verdict = check(s.ops, (0,) * 12, 0)
    assert verdict.ok, verdict
    # One stale search among a thousand operations.
    searches = [op for op in s.ops if isinstance(op, Search) and op.k == 100 and len(op.result) > 2]
    op = searches[len(searches) // 2]
    op.result = op.result[:-1]
    assert not check(s.ops, (0,) * 12, 0).ok


assert issubclass(Version, Op)

if __name__ == "__main__":
    bed.main([
        histories_of_a_linearizable_gallery_are_taken,
        verdicts_are_those_of_brute_force,
        an_acknowledged_write_that_is_lost_is_seen,
        a_deleted_element_that_comes_back_is_seen,
        an_operation_without_a_reply_takes_effect_before_the_restart_or_never,
        half_a_batch_is_seen,
        time_does_not_go_back,
        sequence_numbers_are_dense_and_tell_the_state,
        wrong_candidates_are_seen,
        a_pipeline_is_carried_out_in_its_order,
        what_waits_in_a_pipeline_behind_an_idle_removal_may_take_effect,
        a_history_that_is_too_wide_has_no_verdict,
        sixteen_busy_clients_are_checked,
    ])
