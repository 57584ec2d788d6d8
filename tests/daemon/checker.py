# SPDX-License-Identifier: MIT
# Decides whether a recorded history of a gallery is linearizable: whether some order of its operations, each between its call and its reply, explains every reply.
#
# The model is a gallery as a client sees it: elements, each absent (0) or with one version (a number of its own for each vector that was ever written), and the sequence
# number, which every operation that changes something raises by one.
#
# The search goes through the calls and replies in the order of time. A configuration is (elements, sequence number, operations under way that have taken effect). When a
# reply comes, every configuration in which its operation has not taken effect yet is led on by operations that are under way until it has; what cannot be led there is dropped.
# A history of which no configuration is left is not linearizable. An operation that only reads takes effect as soon as a configuration agrees with its reply: it changes nothing,
# so waiting gains nothing. What replies say of sequence numbers is used ahead: a configuration that contradicts a later reply is not followed. An operation without a reply may take effect until it expires (a restart of the daemon), or never.


import bisect
import math


class TooComplex(Exception):
    """The search met more configurations than it may: no verdict."""


class Op:
    """One operation. .begin and .end are of one monotonic clock; .end None: no reply came. .after: an operation of the same client that must take effect first (a pipeline)."""

    changes = False

    def __init__(self, client, begin, end, result=None, sequence=None, after=None, expires=None):
        self.client = client
        self.begin = begin
        self.end = end
        self.result = result      # None where .end is None
        self.sequence = sequence  # that the reply named, or None
        self.after = after
        self.expires = expires    # without a reply: from when on it cannot take effect any more; None: at the end of the history

    def step(self, state, sequence):
        """(state, sequence) after it, or None: it cannot take effect here with its reply."""
        raise NotImplementedError

    def says(self):
        return ""

    def __repr__(self):
        reply = "no reply" if self.end is None else "-> %r%s" % (self.result, "" if self.sequence is None else " @%d" % self.sequence)
        return "client %d [%s, %s] %s %s %s" % (self.client, self.begin, self.end, type(self).__name__, self.says(), reply)


class Put(Op):
    """Gives elements new versions, all at once. .result: whether it is known, for a single element, that it was new (1) or replaced (0)."""

    changes = True

    def __init__(self, client, begin, end, puts, **more):
        super().__init__(client, begin, end, **more)
        self.puts = tuple(puts)  # (element, version)

    def step(self, state, sequence):
        if self.sequence is not None and sequence + 1 != self.sequence:
            return None
        if self.result is not None and len(self.puts) == 1 and (state[self.puts[0][0]] == 0) != (self.result == 1):
            return None
        after = list(state)
        for element, version in self.puts:
            after[element] = version
        return tuple(after), sequence + 1

    def says(self):
        return repr(self.puts)


class Remove(Op):
    """.result: 1 it was there, 0 it was not, None not known. A removal of nothing is no operation of the gallery."""

    changes = True

    def __init__(self, client, begin, end, element, **more):
        super().__init__(client, begin, end, **more)
        self.element = element

    def step(self, state, sequence):
        there = state[self.element] != 0
        if self.result is not None and there != (self.result == 1):
            return None
        if not there:
            return state, sequence
        if self.sequence is not None and sequence + 1 != self.sequence:
            return None
        return state[: self.element] + (0,) + state[self.element + 1 :], sequence + 1

    def says(self):
        return repr(self.element)


class Read(Op):
    """What only reads: agrees(state) says whether the reply is right in that state."""

    def agrees(self, state):
        raise NotImplementedError

    def step(self, state, sequence):
        if self.sequence is not None and sequence != self.sequence:
            return None
        return (state, sequence) if self.agrees(state) else None


class Member(Read):
    def __init__(self, client, begin, end, element, **more):
        super().__init__(client, begin, end, **more)
        self.element = element

    def agrees(self, state):
        return (state[self.element] != 0) == bool(self.result)

    def says(self):
        return repr(self.element)


class Version(Read):
    """.result: the element's version, 0 absent."""

    def __init__(self, client, begin, end, element, **more):
        super().__init__(client, begin, end, **more)
        self.element = element

    def agrees(self, state):
        return state[self.element] == self.result

    def says(self):
        return repr(self.element)


class Count(Read):
    def agrees(self, state):
        return sum(version != 0 for version in state) == self.result


class Search(Read):
    """.result: versions, best first, at most .k. .rank[version]: a smaller one is better."""

    def __init__(self, client, begin, end, k, rank, **more):
        super().__init__(client, begin, end, **more)
        self.k = k
        self.rank = rank

    def agrees(self, state):
        present = [version for version in state if version]
        if len(self.result) != min(self.k, len(present)):
            return False
        rank = self.rank
        return sorted(present, key=lambda version: rank[version])[: self.k] == list(self.result)

    def says(self):
        return "k=%d" % self.k


class SearchNear(Read):
    """
    A search by an element's own vector: .result is None where there was no such element, else (element, score), best first. .score(version, version) is what two versions score;
    scores that differ by no more than .slack count as equal.
    """

    def __init__(self, client, begin, end, element, k, score, slack=4e-7, **more):
        super().__init__(client, begin, end, **more)
        self.element = element
        self.k = k
        self.score = score
        self.slack = slack
        self.judged = {}

    def agrees(self, state):
        if state not in self.judged:
            self.judged[state] = self.judge(state)
        return self.judged[state]

    def judge(self, state):
        own = state[self.element]
        if not own or self.result is None:
            return not own and self.result is None
        scores = {element: self.score(own, version) for element, version in enumerate(state) if version}
        found = [element for element, _ in self.result]
        if len(found) != min(self.k, len(scores)) or len(set(found)) != len(found) or not set(found) <= set(scores):
            return False
        right = all(abs(scores[element] - score) <= self.slack for element, score in self.result)
        best = sorted(scores.values(), reverse=True)
        return right and all(abs(scores[element] - best[place]) <= self.slack for place, element in enumerate(found))

    def says(self):
        return "element=%d k=%d" % (self.element, self.k)


class Verdict:
    def __init__(self, ok, blame=None, configurations=(), pending=(), most=0):
        self.ok = ok
        self.blame = blame                  # the operation whose reply nothing explains
        self.configurations = configurations  # before it
        self.pending = pending
        self.most = most                    # configurations at one time

    def __str__(self):
        if self.ok:
            return "linearizable (%d configurations at most)" % self.most
        text = "nothing explains: %r\nof %d configurations before it, the first:" % (self.blame, len(self.configurations))
        for state, sequence, done in self.configurations[:4]:
            text += "\n  sequence %s, elements %s, of those under way done: %s" % (sequence, state, bin(done))
        text += "\nunder way then:"
        for bit, op in self.pending:
            text += "\n  bit %d: %r" % (bit, op)
        return text


BEGIN, END, EXPIRE = 0, 1, 2


class _Search:
    def __init__(self, ops, state, sequence, most):
        # What is known of a sequence number: the operation that made it, and the searches that saw it. There is one state to each, so this holds at any time.
        self.made, self.seen, self.judged = {}, {}, {}
        for op in ops:
            if op.end is not None and op.sequence is not None:
                (self.made if op.changes else self.seen).setdefault(op.sequence, []).append(op)
        self.before = {op.after for op in ops}
        self.last = None        # the operation whose reply is the last event of all, if it tells the whole state
        self.goals, self.goal_numbers, self.ways, self.begun = {}, [], {}, set()
        self.future = math.inf  # the least sequence number that a search yet to begin will see
        self.configurations = {(tuple(state), sequence, 0)}
        self.pending = {}  # op -> its bit
        self.free = []
        self.bits = 0
        self.most = most
        self.seen_most = 1

    def ready(self, op, done):
        after = op.after
        return after is None or after not in self.pending or done & self.pending[after]

    def settle(self, configuration, reads):
        """Lets every read that agrees take effect."""
        state, sequence, done = configuration
        again = True
        while again:
            again = False
            for op, bit in reads:
                if not done & bit and self.ready(op, done) and op.step(state, sequence):
                    done |= bit
                    again = True
        return state, sequence, done

    def begin(self, op):
        if self.free:
            bit = self.free.pop()
        else:
            bit = 1 << self.bits
            self.bits += 1
        self.pending[op] = bit
        self.begun.add(op)
        if not op.changes:
            self.configurations = {self.settle(c, [(op, bit)]) for c in self.configurations}

    def possible(self, op, state, sequence):
        """Whether @op may have made this state of that number, by all that is known of it."""
        if sequence > self.future or any(other is not op for other in self.made.get(sequence, ())):
            return False
        key = (state, sequence)
        if key not in self.judged:
            self.judged[key] = all(read.agrees(state) for read in self.seen.get(sequence, ()))
        return self.judged[key]

    def aim(self, ops, state):
        """Remembers the whole states that are known, by their sequence numbers: searches that found fewer than they asked for. Each version was written to one element by one operation."""
        of = {version: (element, None) for element, version in enumerate(state) if version}
        for op in ops:
            of.update((version, (element, op)) for element, version in getattr(op, "puts", ()))
        for op in ops:
            if not isinstance(op, Search) or op.end is None or op.sequence is None or len(op.result) >= op.k or not all(v in of for v in op.result):
                continue
            goal = [(0, None)] * len(state)
            for version in op.result:
                element, writer = of[version]
                goal[element] = version, writer
            self.goals[op.sequence] = goal
        self.goal_numbers = sorted(self.goals)
        last = max((o for o in ops if o.end is not None), key=lambda o: o.end, default=None)
        if isinstance(last, Search) and last.sequence in self.goals and not any(o.begin > last.begin for o in ops):
            self.last = last

    def missing(self, state, sequence):
        """(how many operations at least, which of them are known) are between here and the next whole state that is known; None: none is."""
        key = (state, sequence)
        if key not in self.ways:
            place = bisect.bisect_left(self.goal_numbers, sequence)
            self.ways[key] = None
            if place < len(self.goal_numbers):
                number = self.goal_numbers[place]
                wanted = [w for version, w in zip(state, self.goals[number]) if version != w[0]]
                writers = {writer for version, writer in wanted if version}
                self.ways[key] = number - sequence - len(writers) - sum(not version for version, _ in wanted), writers
        return self.ways[key]

    def hopeless(self, state, sequence, done):
        """Whether the next whole state that is known cannot be reached: too few numbers are left, or a version that is needed was written already, and is gone."""
        way = self.missing(state, sequence)
        if way is None:
            return False
        left, writers = way
        if left < 0:
            return True
        for writer in writers:
            if writer in self.pending:
                if done & self.pending[writer]:
                    return True
            elif writer is None or writer in self.begun:
                return True
        return False

    def lead(self, op):
        """The configurations that can be reached in which @op has taken effect, last of all or earlier; its bit is cleared in them. Of the last operation one will do."""
        bit = self.pending[op]
        reads = [(o, b) for o, b in self.pending.items() if not o.changes]
        writes = [(o, b) for o, b in self.pending.items() if o.changes]
        ends = sorted((o.sequence, b) for o, b in reads if o.sequence is not None and o.end is not None)
        left, visited, stack = set(), set(), list(self.configurations)
        while stack:
            configuration = stack.pop()
            if configuration in visited:
                continue
            visited.add(configuration)
            if len(visited) > self.most:
                raise TooComplex("more than %d configurations at %r" % (self.most, op))
            state, sequence, done = configuration
            if done & bit:
                left.add((state, sequence, done & ~bit))
                if op is self.last:
                    break
                continue
            if self.hopeless(state, sequence, done):
                continue
            # Beyond what a search under way saw nothing can follow.
            most = next((number for number, its in ends if not done & its), math.inf)
            for other, its in writes:
                if done & its or not self.ready(other, done):
                    continue
                after = other.step(state, sequence)
                if other.end is None and after == (state, sequence) and other not in self.before:
                    continue  # without a reply, without effect, and nothing waits for it: as well never
                if after and (after[1] == sequence or (after[1] <= most and self.possible(other, *after))):
                    stack.append(self.settle((after[0], after[1], done | its), reads))
        self.seen_most = max(self.seen_most, len(visited))
        return left

    def end(self, op):
        """Its reply has come. False: no configuration is left."""
        left = self.lead(op)
        if left:
            self.go_on(op, left)
        return bool(left)

    def expire(self, op):
        """It has taken effect, or never will."""
        bit = self.pending[op]
        self.go_on(op, self.lead(op) | {c for c in self.configurations if not c[2] & bit})

    def go_on(self, op, configurations):
        self.free.append(self.pending.pop(op))
        # What came after it in its pipeline may read now.
        reads = [(o, b) for o, b in self.pending.items() if not o.changes]
        self.configurations = {self.settle(c, reads) for c in configurations}


def check(ops, state, sequence, most=1000000):
    """Whether the history @ops, begun with @state (a version or 0 for each element) at @sequence, is linearizable. TooComplex: more than @most configurations."""
    events = []
    for place, op in enumerate(ops):
        events.append((op.begin, BEGIN, place, op))
        if op.end is not None:
            events.append((op.end, END, place, op))
        elif op.expires is not None:
            events.append((op.expires, EXPIRE, place, op))
    events.sort(key=lambda event: event[:3])
    least = math.inf
    future = {}
    for _, kind, _, op in reversed(events):
        if kind == BEGIN:
            future[op] = least
            if not op.changes and op.end is not None and op.sequence is not None:
                least = min(least, op.sequence)
    search = _Search(ops, state, sequence, most)
    search.aim(ops, state)
    for _, kind, _, op in events:
        if kind == BEGIN:
            search.future = future[op]
            search.begin(op)
        elif kind == EXPIRE:
            search.expire(op)
        elif not search.end(op):
            pending = [(bit.bit_length() - 1, other) for other, bit in search.pending.items()]
            return Verdict(False, op, list(search.configurations), pending, search.seen_most)
    return Verdict(True, most=search.seen_most)
