// SPDX-License-Identifier: MIT
/*
 * Random operations by several processes, each result compared with a model that knows only what the ABI says.
 *
 * One process draws the operations and keeps the model; four workers carry them out, one at a time, so that a seed is a history
 * that can be run again: LINEUP_SEED=n LINEUP_OPERATIONS=n ./model. Workers hold pools, frames and mappings in slots, pass
 * descriptors to each other, exit, and are killed. What the kernel does a moment later (a frame that returns) is waited for
 * before the next operation.
 */
#include <setjmp.h>
#include <signal.h>
#include "common.h"

enum { WORKERS = 4, POOLS = 24, USES = 256, POOL_SLOTS = 3, FRAME_SLOTS = 6, MAP_SLOTS = 4, PAGES_MAX = 16, FRAMES_MAX = 4 };

enum operation {
	CREATE, POOL_CLOSE, POOL_PASS, POOL_REVOKE, GET, FRAME_CLOSE, FRAME_PASS, FRAME_REVOKE, FRAME_INFO, MAP, UNMAP, WRITE,
	VERIFY, SYNC, WORKER_EXIT, WORKER_KILL, OPERATIONS,
	RECEIVE_POOL, RECEIVE_FRAME	/* the second half of a pass */
};

static const char *const names[] = {
	"create", "pool close", "pool pass", "pool revoke", "get", "frame close", "frame pass", "frame revoke", "frame info", "map",
	"unmap", "write", "verify", "sync", "exit", "kill", "", "receive pool", "receive frame"
};

/* How often each is drawn. */
static const unsigned int weights[OPERATIONS] = {
	[CREATE] = 6, [POOL_CLOSE] = 3, [POOL_PASS] = 3, [POOL_REVOKE] = 1, [GET] = 18, [FRAME_CLOSE] = 14, [FRAME_PASS] = 10,
	[FRAME_REVOKE] = 3, [FRAME_INFO] = 6, [MAP] = 14, [UNMAP] = 10, [WRITE] = 10, [VERIFY] = 14, [SYNC] = 5, [WORKER_EXIT] = 1,
	[WORKER_KILL] = 1
};

struct request {
	enum operation op;
	uint32_t slot;
	uint32_t map_slot;
	uint32_t seed;		/* 0: zeroes */
	uint64_t id;
	struct lineup_pool_create create;
};

struct reply {
	int err;
	uint32_t index;
	uint64_t id;
	uint64_t pool;
	uint32_t state;
};

/* ---- a worker ----------------------------------------------------------------------------------------------------------- */

static sigjmp_buf caught;

static void on_bus(int signal)
{
	siglongjmp(caught, signal);
}

struct mapping {
	uint8_t *at;
	size_t bytes;
	int fd;			/* its own copy, for brackets; closed at unmap */
};

struct hands {
	int any;		/* of /dev/lineup, without a pool */
	int pool[POOL_SLOTS];
	int frame[FRAME_SLOTS];
	struct mapping mapping[MAP_SLOTS];
};

/* Writes or verifies all of a mapping in a bracket: -EBUS if the memory is gone, -EILSEQ if it is not what it should be. */
#define EBUS 1000

static int use_mapping(struct mapping *m, bool write, uint32_t seed)
{
	volatile int begun = sync_begin(m->fd, DMA_BUF_SYNC_RW);
	volatile int err = 0;

	if (!sigsetjmp(caught, 1)) {
		if (write)
			fill(m->at, seed, m->bytes);
		else
			err = (seed ? differs(m->at, seed, m->bytes) : not_zero(m->at, m->bytes)) == -1 ? 0 : -EILSEQ;
	} else {
		err = -EBUS;
	}
	if (!begun && sync_end(m->fd, DMA_BUF_SYNC_RW))
		return -EPROTO;
	/* the two ways to notice must agree */
	return (begun == -ENODEV) == (err == -EBUS) ? err : -EPROTO;
}

static void work_map(struct hands *hands, const struct request *q, struct reply *a)
{
	struct mapping *m = &hands->mapping[q->map_slot];

	m->bytes = lseek(hands->frame[q->slot], 0, SEEK_END);
	m->at = map(hands->frame[q->slot], m->bytes, 0);
	a->err = m->at == MAP_FAILED ? -errno : 0;
	if (!a->err)
		m->fd = fcntl(hands->frame[q->slot], F_DUPFD_CLOEXEC, 0);
}

static void work(struct hands *hands, int socket, const struct request *q, struct reply *a)
{
	struct mapping *m = &hands->mapping[q->map_slot % MAP_SLOTS];
	struct lineup_frame_info info;

	switch (q->op) {
	case CREATE:
		hands->pool[q->slot] = lineup_open();
		a->err = call(hands->pool[q->slot], LINEUP_IOC_POOL_CREATE, &q->create);
		a->pool = q->create.pool;
		break;
	case POOL_CLOSE:
		close(hands->pool[q->slot]);
		break;
	case POOL_PASS:
		fd_send(socket, hands->pool[q->slot]);
		break;
	case RECEIVE_POOL:
		hands->pool[q->slot] = fd_receive(socket);
		break;
	case POOL_REVOKE:
		a->err = pool_revoke(hands->pool[q->slot]);
		break;
	case GET:
		a->err = frame_new(hands->pool[q->slot], &a->id, &a->index);
		hands->frame[q->map_slot] = a->err;
		a->err = a->err < 0 ? a->err : 0;
		break;
	case FRAME_CLOSE:
		close(hands->frame[q->slot]);
		break;
	case FRAME_PASS:
		fd_send(socket, hands->frame[q->slot]);
		break;
	case RECEIVE_FRAME:
		hands->frame[q->slot] = fd_receive(socket);
		break;
	case FRAME_REVOKE:
		a->err = frame_revoke(hands->pool[q->slot], q->id);
		break;
	case FRAME_INFO:
		a->err = frame_info(hands->any, hands->frame[q->slot], &info);
		*a = (struct reply){ a->err, info.index, info.frame, info.pool, info.state };
		break;
	case MAP:
		work_map(hands, q, a);
		break;
	case UNMAP:
		munmap(m->at, m->bytes);
		close(m->fd);
		break;
	case WRITE:
	case VERIFY:
		a->err = use_mapping(m, q->op == WRITE, q->seed);
		break;
	case SYNC:
		a->err = sync_begin(hands->frame[q->slot], DMA_BUF_SYNC_READ);
		if (!a->err)
			a->err = sync_end(hands->frame[q->slot], DMA_BUF_SYNC_READ);
		break;
	default:
		_exit(0);
	}
}

static void worker(int socket)
{
	static struct hands hands;
	struct request q;

	hands.any = lineup_open();
	signal(SIGBUS, on_bus);
	while (recv(socket, &q, sizeof(q), 0) == sizeof(q)) {
		struct reply a = { 0 };

		work(&hands, socket, &q, &a);
		if (send(socket, &a, sizeof(a), 0) != sizeof(a))
			break;
	}
	_exit(0);
}

/* ---- the model ---------------------------------------------------------------------------------------------------------- */

struct pool {
	uint64_t id;		/* 0: no pool here */
	uint32_t flags, frames, pages, descriptors;
	bool revoked;
	uint32_t freed, lost, revokes, gets, returns;
	uint32_t revokes_maybe;	/* see model_worker_gone() */
};

struct use {
	uint64_t id;		/* 0: no frame here */
	struct pool *pool;
	uint32_t index, holders, seed;
	bool revoked;
};

struct place {
	struct pool *pool[POOL_SLOTS];
	struct use *frame[FRAME_SLOTS];
	struct use *mapping[MAP_SLOTS];
	pid_t pid;
	int socket;
};

static struct pool pools[POOLS];
static struct use uses[USES];
static struct place places[WORKERS];
static uint64_t random_state, ids_max, operations_done;
static int any;
static bool has_write_combine;
static char failure[512];

/* splitmix64: small, and the same everywhere. */
static uint64_t draw(uint64_t below)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
}

#define FAIL(...) (snprintf(failure, sizeof(failure), __VA_ARGS__), false)

static uint32_t frames_out(const struct pool *pool)
{
	uint32_t n = 0;

	for (int i = 0; i < USES; i++)
		n += uses[i].id && uses[i].pool == pool;
	return n;
}

static uint32_t frames_free(const struct pool *pool)
{
	return pool->frames - frames_out(pool) - pool->freed - pool->lost;
}

/* The free frames of a pool without an owner, or revoked, are freed; without frames and without owner it is no more. */
static void pool_settle(struct pool *pool)
{
	if (pool->revoked || !pool->descriptors)
		pool->freed += frames_free(pool);
	if (!pool->descriptors && !frames_out(pool))
		pool->id = 0;
}

static void use_put(struct use *use)
{
	struct pool *pool = use->pool;

	if (--use->holders)
		return;
	use->id = 0;
	pool->returns++;
	if (use->revoked && pool->flags & LINEUP_POOL_SHMEM && !pool->revoked && pool->descriptors)
		pool->lost++;
	pool_settle(pool);
}

static void model_pool_revoke(struct pool *pool)
{
	if (pool->revoked)
		return;
	pool->revoked = true;
	for (int i = 0; i < USES; i++) {
		if (uses[i].id && uses[i].pool == pool && !uses[i].revoked) {
			uses[i].revoked = true;
			pool->revokes++;
		}
	}
	pool_settle(pool);
}

static void pool_put(struct pool *pool, bool killed)
{
	if (--pool->descriptors)
		return;
	if (killed)
		model_pool_revoke(pool);
	if (pool->lost) {
		pool->freed += pool->lost;
		pool->lost = 0;
	}
	pool_settle(pool);
}

/*
 * Everything a worker had goes; a killed one takes the pools with it whose last descriptor it had. In which order is the kernel's
 * business: a frame that only this worker had may be revoked just before it comes back, or not.
 */
static void model_worker_gone(struct place *place, bool killed)
{
	for (int i = 0; killed && i < FRAME_SLOTS; i++)
		if (place->frame[i] && !place->frame[i]->revoked)
			place->frame[i]->pool->revokes_maybe++;
	for (int i = 0; killed && i < MAP_SLOTS; i++)
		if (place->mapping[i] && !place->mapping[i]->revoked)
			place->mapping[i]->pool->revokes_maybe++;
	for (int i = 0; i < FRAME_SLOTS; i++)
		if (place->frame[i])
			use_put(place->frame[i]);
	for (int i = 0; i < MAP_SLOTS; i++)
		if (place->mapping[i])
			use_put(place->mapping[i]);
	for (int i = 0; i < POOL_SLOTS; i++)
		if (place->pool[i])
			pool_put(place->pool[i], killed);
	memset(place->pool, 0, sizeof(place->pool));
	memset(place->frame, 0, sizeof(place->frame));
	memset(place->mapping, 0, sizeof(place->mapping));
}

/* ---- comparing ---------------------------------------------------------------------------------------------------------- */

static bool pool_is_as_modelled(const struct pool *pool, struct lineup_pool_info *info)
{
	return info->frames == pool->frames && info->frames_free == frames_free(pool) && info->frames_out == frames_out(pool) &&
	       !info->frames_held_back && info->frames_freed == pool->freed && info->frames_lost == pool->lost &&
	       info->gets == pool->gets && info->returns == pool->returns && info->revokes >= pool->revokes &&
	       info->revokes <= pool->revokes + pool->revokes_maybe &&
	       info->pool_flags == pool->flags && info->frame_bytes == pool->pages * PAGE &&
	       info->bytes == (uint64_t)(pool->frames - pool->freed) * pool->pages * PAGE &&
	       info->state == ((pool->descriptors ? 0 : LINEUP_POOL_CLOSED) | (pool->revoked ? LINEUP_POOL_REVOKED : 0));
}

static bool fail_pool(const struct pool *pool, int err, const struct lineup_pool_info *info)
{
	char model[192];

	snprintf(model, sizeof(model), "free %u out %u freed %u lost %u gets %u returns %u revokes %u descriptors %u",
		 frames_free(pool), frames_out(pool), pool->freed, pool->lost, pool->gets, pool->returns, pool->revokes, pool->descriptors);
	return FAIL("pool %llu: err %d; kernel free %u out %u held back %u freed %u lost %u gets %u returns %u revokes %u state %x; "
		    "model %s", (unsigned long long)pool->id, err, info->frames_free, info->frames_out, info->frames_held_back,
		    info->frames_freed, info->frames_lost, (unsigned int)info->gets, (unsigned int)info->returns,
		    (unsigned int)info->revokes, info->state,
		    model);
}

/* Every pool is as the model says, soon; and no other pool exists. */
static bool all_as_modelled(void)
{
	struct lineup_pool_info info = { 0 };

	for (struct pool *pool = pools; pool < pools + POOLS; pool++) {
		int err = -ENOENT;

		for (int ms = 0; pool->id && ms < WAIT_MS; ms++) {
			err = pool_info(any, pool->id, &info);
			if (!err && pool_is_as_modelled(pool, &info)) {
				pool->revokes = info.revokes;
				pool->revokes_maybe = 0;
				break;
			}
			usleep(1000);
			err = err ? err : -EDOM;
		}
		if (pool->id && err)
			return fail_pool(pool, err, &info);
	}
	return true;
}

static unsigned int pools_modelled(void)
{
	unsigned int n = 0;

	for (int i = 0; i < POOLS; i++)
		n += pools[i].id != 0;
	return n;
}

static bool totals_as_modelled(void)
{
	struct lineup_stats stats = { 0 };

	for (int ms = 0; ms < WAIT_MS; ms++) {
		if (!stats_get(any, &stats) && stats.pools == pools_modelled())
			return true;
		usleep(1000);
	}
	return FAIL("%u pools exist, %u should", stats.pools, pools_modelled());
}

/* ---- operations --------------------------------------------------------------------------------------------------------- */

static bool worker_begin(struct place *place)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return false;
	place->pid = fork();
	if (!place->pid) {
		/* the sockets of the others are not ours to keep open */
		for (int i = 0; i < WORKERS; i++)
			if (places[i].socket > 0)
				close(places[i].socket);
		close(pair[0]);
		worker(pair[1]);
	}
	close(pair[1]);
	place->socket = pair[0];
	return place->pid > 0;
}

static struct reply ask(struct place *place, const struct request *q)
{
	struct reply a = { .err = -EPIPE };

	if (send(place->socket, q, sizeof(*q), 0) == sizeof(*q) && recv(place->socket, &a, sizeof(a), 0) != sizeof(a))
		a.err = -EPIPE;
	return a;
}

static bool expect(const struct request *q, const struct reply *a, int err)
{
	return a->err == err ? true : FAIL("%s: %d, should be %d", names[q->op], a->err, err);
}

static bool do_create(struct place *place, uint32_t slot)
{
	static const uint32_t flags[] = {
		0, 0, LINEUP_POOL_CONTIGUOUS, LINEUP_POOL_SHMEM, LINEUP_POOL_SYNC_CHECK, LINEUP_POOL_WRITE_COMBINE
	};
	struct request q = { .op = CREATE, .slot = slot };
	struct pool *pool = pools;
	struct reply a;

	while (pool < pools + POOLS && pool->id)
		pool++;
	if (pool == pools + POOLS || place->pool[slot])
		return true;
	*pool = (struct pool){ .flags = flags[draw(6)], .frames = 1 + draw(FRAMES_MAX), .pages = 1 + draw(PAGES_MAX),
			       .descriptors = 1 };
	if (pool->flags == LINEUP_POOL_WRITE_COMBINE && !has_write_combine)
		pool->flags = 0;
	q.create = (struct lineup_pool_create){ .frame_bytes = pool->pages * PAGE - draw(PAGE), .frames = pool->frames,
						.flags = pool->flags, .node = -1 };
	a = ask(place, &q);
	if (!expect(&q, &a, 0))
		return false;
	if (a.pool <= ids_max)
		return FAIL("pool id %llu was used before", (unsigned long long)a.pool);
	ids_max = a.pool;
	pool->id = a.pool;
	place->pool[slot] = pool;
	return true;
}

static bool do_get(struct place *place, uint32_t slot, uint32_t to)
{
	struct request q = { .op = GET, .slot = slot, .map_slot = to };
	struct pool *pool = place->pool[slot];
	struct use *use = uses;
	struct reply a;

	if (!pool || place->frame[to])
		return true;
	while (use->id)
		use++;
	a = ask(place, &q);
	if (pool->revoked)
		return expect(&q, &a, -ENODEV);
	if (!frames_free(pool))
		return expect(&q, &a, -EAGAIN);
	if (!expect(&q, &a, 0))
		return false;
	for (int i = 0; i < USES; i++)
		if (uses[i].id && (uses[i].id == a.id || (uses[i].pool == pool && uses[i].index == a.index)))
			return FAIL("frame %llu, index %u, is out already", (unsigned long long)a.id, a.index);
	if (a.index >= pool->frames)
		return FAIL("index %u of %u", a.index, pool->frames);
	*use = (struct use){ .id = a.id, .pool = pool, .index = a.index, .holders = 1 };
	place->frame[to] = use;
	pool->gets++;
	return true;
}

static bool do_pass(struct place *from, struct place *to, bool frame, uint32_t slot, uint32_t to_slot)
{
	struct request q = { .op = frame ? FRAME_PASS : POOL_PASS, .slot = slot }, r = { .slot = to_slot };
	struct reply a;
	int fd;

	if (from == to || (frame ? !from->frame[slot] || to->frame[to_slot] : !from->pool[slot] || to->pool[to_slot]))
		return true;
	r.op = frame ? RECEIVE_FRAME : RECEIVE_POOL;
	if (send(from->socket, &q, sizeof(q), 0) != sizeof(q))
		return FAIL("a worker is gone");
	fd = fd_receive(from->socket);
	if (fd < 0 || recv(from->socket, &a, sizeof(a), 0) != sizeof(a))
		return FAIL("nothing was passed");
	if (send(to->socket, &r, sizeof(r), 0) != sizeof(r))
		return FAIL("a worker is gone");
	fd_send(to->socket, fd);
	close(fd);
	if (recv(to->socket, &a, sizeof(a), 0) != sizeof(a))
		return FAIL("nothing was received");
	if (frame) {
		to->frame[to_slot] = from->frame[slot];
		to->frame[to_slot]->holders++;
	} else {
		to->pool[to_slot] = from->pool[slot];
		to->pool[to_slot]->descriptors++;
	}
	return true;
}

/* Any id: of a frame that is out, of this pool or another, or one that was never given. */
static bool do_frame_revoke(struct place *place, uint32_t slot)
{
	struct use *use = &uses[draw(16)];
	struct request q = { .op = FRAME_REVOKE, .slot = slot, .id = use->id };
	struct pool *pool = place->pool[slot];
	struct reply a;

	if (!pool)
		return true;
	a = ask(place, &q);
	if (!use->id || use->pool != pool)
		return expect(&q, &a, -ENOENT);
	pool->revokes += !use->revoked;
	use->revoked = true;
	return expect(&q, &a, 0);
}

static bool do_frame(struct place *place, enum operation op, uint32_t slot, uint32_t map_slot)
{
	struct request q = { .op = op, .slot = slot, .map_slot = map_slot };
	struct use *use = place->frame[slot];
	struct reply a;

	if (!use || (op == MAP && place->mapping[map_slot]))
		return true;
	a = ask(place, &q);
	switch (op) {
	case FRAME_CLOSE:
		place->frame[slot] = NULL;
		use_put(use);
		break;
	case MAP:
		if (use->revoked)
			return expect(&q, &a, -ENODEV);
		place->mapping[map_slot] = use;
		use->holders++;
		break;
	case SYNC:
		return expect(&q, &a, use->revoked ? -ENODEV : 0);
	case FRAME_INFO:
		if (a.id != use->id || a.pool != use->pool->id || a.index != use->index ||
		    a.state != use->revoked * LINEUP_FRAME_REVOKED)
			return FAIL("info: frame %llu, should be %llu", (unsigned long long)a.id, (unsigned long long)use->id);
		break;
	default:
		break;
	}
	return expect(&q, &a, 0);
}

static bool do_mapping(struct place *place, enum operation op, uint32_t map_slot)
{
	struct request q = { .op = op, .map_slot = map_slot };
	struct use *use = place->mapping[map_slot];
	struct reply a;

	if (!use)
		return true;
	q.seed = op == WRITE ? 1 + draw(1 << 30) : use->seed;
	a = ask(place, &q);
	if (op == UNMAP) {
		place->mapping[map_slot] = NULL;
		use_put(use);
		return expect(&q, &a, 0);
	}
	if (op == WRITE && !use->revoked)
		use->seed = q.seed;
	return expect(&q, &a, use->revoked ? -EBUS : 0);
}

static bool do_pool(struct place *place, enum operation op, uint32_t slot)
{
	struct request q = { .op = op, .slot = slot };
	struct pool *pool = place->pool[slot];
	struct reply a;

	if (!pool)
		return true;
	a = ask(place, &q);
	if (op == POOL_REVOKE) {
		model_pool_revoke(pool);
	} else {
		place->pool[slot] = NULL;
		pool_put(pool, false);
	}
	return expect(&q, &a, 0);
}

static bool do_worker(struct place *place, bool killed)
{
	struct request q = { .op = WORKER_EXIT };

	if (killed)
		kill(place->pid, SIGKILL);
	else if (send(place->socket, &q, sizeof(q), 0) != sizeof(q))
		return FAIL("a worker is gone");
	if (child_end(place->pid) != (killed ? 256 + SIGKILL : 0))
		return FAIL("a worker did not end as it should");
	close(place->socket);
	place->socket = 0;
	model_worker_gone(place, killed);
	return worker_begin(place) ? true : FAIL("no new worker");
}

static bool step(void)
{
	struct place *place = &places[draw(WORKERS)], *other = &places[draw(WORKERS)];
	uint32_t pool = draw(POOL_SLOTS), frame = draw(FRAME_SLOTS), mapping = draw(MAP_SLOTS), to = draw(FRAME_SLOTS);
	unsigned int sum = 0, at;
	enum operation op = 0;

	for (int i = 0; i < OPERATIONS; i++)
		sum += weights[i];
	at = draw(sum);
	while (at >= weights[op])
		at -= weights[op++];
	switch (op) {
	case CREATE:
		return do_create(place, pool);
	case GET:
		return do_get(place, pool, frame);
	case POOL_PASS:
		return do_pass(place, other, false, pool, to % POOL_SLOTS);
	case FRAME_PASS:
		return do_pass(place, other, true, frame, to);
	case FRAME_REVOKE:
		return do_frame_revoke(place, pool);
	case POOL_CLOSE:
	case POOL_REVOKE:
		return do_pool(place, op, pool);
	case FRAME_CLOSE:
	case FRAME_INFO:
	case MAP:
	case SYNC:
		return do_frame(place, op, frame, mapping);
	case UNMAP:
	case WRITE:
	case VERIFY:
		return do_mapping(place, op, mapping);
	case WORKER_EXIT:
	case WORKER_KILL:
		/* rarely, or nothing would ever grow */
		return draw(4) ? true : do_worker(place, op == WORKER_KILL);
	default:
		return FAIL("no operation %d", op);
	}
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	return getenv(name) ? strtoull(getenv(name), NULL, 0) : otherwise;
}

static bool write_combine_works(void)
{
	int pool = pool_new(PAGE, 1, LINEUP_POOL_WRITE_COMBINE);

	close(pool);
	return pool != -EOPNOTSUPP;
}

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 1200

TEST(random_operations_do_what_the_model_does)
{
	uint64_t seed = setting("LINEUP_SEED", 1), operations = setting("LINEUP_OPERATIONS", 10000);
	struct lineup_stats stats;

	random_state = seed;
	any = lineup_open();
	ASSERT_GE(any, 0);
	ASSERT_EQ(stats_get(any, &stats), 0);
	ASSERT_EQ(stats.pools, 0);
	has_write_combine = write_combine_works();
	for (int i = 0; i < WORKERS; i++) {
		ASSERT_TRUE(worker_begin(&places[i]));
	}
	while (operations_done < operations) {
		bool ok = step() && all_as_modelled() && (operations_done % 16 || totals_as_modelled());

		operations_done++;
		ASSERT_TRUE(ok) TH_LOG("LINEUP_SEED=%llu LINEUP_OPERATIONS=%llu: %s", (unsigned long long)seed,
				       (unsigned long long)operations_done, failure);
	}
	for (int i = 0; i < WORKERS; i++) {
		ASSERT_TRUE(do_worker(&places[i], false)) TH_LOG("%s", failure);
	}
	ASSERT_TRUE(totals_as_modelled()) TH_LOG("%s", failure);
	EXPECT_EQ(pools_modelled(), 0);
	ASSERT_EQ(stats_get(any, &stats), 0);
	EXPECT_EQ(stats.bytes, 0);
	EXPECT_EQ(stats.frames_out, 0);
	EXPECT_EQ(stats.frames_held_back, 0);
	TH_LOG("seed %llu: %llu operations, %llu pools", (unsigned long long)seed, (unsigned long long)operations_done,
	       (unsigned long long)ids_max);
}

TEST_HARNESS_MAIN
