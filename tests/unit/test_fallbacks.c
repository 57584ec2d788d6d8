// SPDX-License-Identifier: MIT
// What the system may forbid: io_uring, locked memory, O_DIRECT, huge pages. Each is told once and changes no answer.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "search_bed.h"

enum { DIM = 256, ROWS = 12000, PROBES = 2, K = 5, SKIPPED = 77 };

/* A gallery that several children search, each with a context of its own. */
struct fixture {
	struct bed *bed;
	struct lineup_matrix rows;
	struct lineup_matrix probe_rows;
	struct probes probes;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rng rng = { test_seed() };

	assert_non_null(f);
	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->rows = rows_random(&rng, ROWS, DIM);
	f->probe_rows = rows_random(&rng, PROBES, DIM);
	bed_enrol(f->bed, &f->rows, 0, ROWS - 5, NULL, NULL, NULL);
	bed_enrol(f->bed, &f->rows, ROWS - 5, 5, NULL, NULL, NULL);
	probes_init(&f->probes, f->bed, &f->probe_rows);
	/* The children open it themselves. */
	lineup_gallery_close(f->bed->gallery);
	f->bed->gallery = NULL;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	probes_fini(&f->probes);
	rows_free(&f->probe_rows);
	rows_free(&f->rows);
	bed_close(f->bed);
	free(f);
	return 0;
}

/* What a child forbids itself, and what it must hear of it. */
struct ban {
	struct fixture *fixture;
	int (*forbid)(void);   /* 0, or SKIPPED */
	const struct lineup_io *io;
	enum lineup_residency residency;
	const char *warning;   /* part of the one warning there must be */
	const char *reads_by;  /* facts.io */
};

static int wrong_answers(struct fixture *f, const struct lineup_candidate *candidates, const uint32_t *counts)
{
	for (uint32_t p = 0; p < PROBES; p++) {
		struct lineup_candidate want[K];
		uint32_t count = oracle_pick(&f->bed->oracle, &f->probes.rankings[p], f->bed->sequence,
					     &OPTIONS(.k = K, .now = 1000), want);
		char why[400];

		if (candidates_differ(want, count, candidates + p * K, counts[p], why, sizeof(why))) {
			fprintf(stderr, "probe %u: %s\n", p, why);
			return 1;
		}
	}
	return 0;
}

static int search_once(struct ban *ban, struct lineup_gallery *gallery)
{
	struct lineup_search_setup setup = SETUP(.threads = 2, .residency = ban->residency, .stream_bytes = 4 << 20);
	struct lineup_candidate candidates[PROBES * K];
	struct lineup_search_facts facts;
	struct lineup_searcher *searcher;
	uint32_t counts[PROBES];

	if (CHILD_WRONG(lineup_searcher_create(gallery, &setup, &searcher) == 0))
		return 1;
	if (CHILD_WRONG(lineup_search(searcher, &ban->fixture->probe_rows, &OPTIONS(.k = K), candidates, counts, &facts) == 0))
		return 1;
	lineup_searcher_destroy(searcher);
	if (CHILD_WRONG(!ban->reads_by || !strcmp(facts.io, ban->reads_by)))
		return 1;
	return wrong_answers(ban->fixture, candidates, counts);
}

/* Two searchers one after the other: the warning must come once for both. */
static int search_banned(void *arg)
{
	static struct messages messages = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct lineup_ctx_options options = { .size = sizeof(options), .log = messages_log, .log_arg = &messages };
	struct ban *ban = arg;
	struct lineup_gallery *gallery;
	struct lineup_ctx *ctx;
	int status = ban->forbid ? ban->forbid() : 0;

	if (status)
		return status;
	if (CHILD_WRONG(lineup_ctx_create(&options, &ctx) == 0))
		return 1;
	if (ban->io)
		ctx->io = ban->io;
	status = CHILD_WRONG(lineup_gallery_open(ctx, ban->fixture->bed->path, NULL, &gallery) == 0);
	for (uint32_t i = 0; !status && i < 2; i++)
		status = search_once(ban, gallery);
	if (!status && ban->warning)
		status = CHILD_WRONG(messages_with(&messages, ban->warning) == 1);
	if (!status && ban->warning)
		status = CHILD_WRONG(messages.warnings == 1);
	for (uint32_t i = 0; status && i < messages.count; i++)
		fprintf(stderr, "said: %s\n", messages.text[i]);
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	return status;
}

static void search_under(struct ban *ban, const char *what)
{
	int status = in_child(search_banned, ban);

	if (status == SKIPPED) {
		print_message("skipped: %s cannot be forbidden here\n", what);
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- io_uring ---- */

/* Makes system call @nr, with its third argument @third unless that is 0, fail with @error. */
static int forbid_call(uint32_t nr, uint32_t third, uint32_t error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, third, 0, third ? 1 : 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))
		return SKIPPED;
	return 0;
}

static int forbid_uring_eperm(void)
{
	return forbid_call(SYS_io_uring_setup, 0, EPERM);
}

static int forbid_uring_enosys(void)
{
	return forbid_call(SYS_io_uring_setup, 0, ENOSYS);
}

static void a_forbidden_io_uring_gives_way_to_pread(void **state)
{
	search_under(&(struct ban){ .fixture = *state,
				    .forbid = forbid_uring_eperm,
				    .residency = LINEUP_STREAMED,
				    .warning = "io_uring",
				    .reads_by = "pread" },
		     "io_uring");
}

static void a_kernel_without_io_uring_gives_way_to_pread(void **state)
{
	search_under(&(struct ban){ .fixture = *state,
				    .forbid = forbid_uring_enosys,
				    .residency = LINEUP_STREAMED,
				    .warning = "io_uring",
				    .reads_by = "pread" },
		     "io_uring");
}

static void a_resident_load_without_io_uring_works(void **state)
{
	search_under(&(struct ban){ .fixture = *state,
				    .forbid = forbid_uring_eperm,
				    .residency = LINEUP_RESIDENT,
				    .warning = "io_uring",
				    .reads_by = "memory" },
		     "io_uring");
}

static int forbid_uring_enter(void)
{
	return forbid_call(SYS_io_uring_enter, 0, EPERM);
}

/* A filter may let a ring be made and refuse its use: an error, not a hang. */
static int search_with_dead_ring(void *arg)
{
	struct fixture *f = arg;
	struct lineup_search_setup setup = SETUP(.threads = 2, .residency = LINEUP_STREAMED, .stream_bytes = 4 << 20);
	struct lineup_candidate candidates[PROBES * K];
	struct lineup_gallery *gallery;
	struct lineup_searcher *searcher;
	struct lineup_ctx *ctx;
	uint32_t counts[PROBES];
	int err;

	if (forbid_uring_enter())
		return SKIPPED;
	if (CHILD_WRONG(lineup_ctx_create(NULL, &ctx) == 0) ||
	    CHILD_WRONG(lineup_gallery_open(ctx, f->bed->path, NULL, &gallery) == 0))
		return 1;
	err = lineup_searcher_create(gallery, &setup, &searcher);
	if (CHILD_WRONG(err == 0))
		return 1;
	err = lineup_search(searcher, &f->probe_rows, &OPTIONS(.k = K), candidates, counts, NULL);
	/* Falling back at the first failure would be as good. */
	if (err == 0)
		return wrong_answers(f, candidates, counts);
	return CHILD_WRONG(err == -EPERM);
}

static void a_ring_that_may_not_be_entered_is_an_error(void **state)
{
	int status = in_child(search_with_dead_ring, *state);

	if (status == SKIPPED) {
		print_message("skipped: io_uring_enter cannot be forbidden here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- locked memory ---- */

/* No locked memory at all, not even for root. */
static int forbid_locking(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	void *page;

	if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 0, 0 }) || syscall(SYS_capget, &header, data))
		return SKIPPED;
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	data[0].permitted &= ~(1u << CAP_IPC_LOCK);
	if (syscall(SYS_capset, &header, data))
		return SKIPPED;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* A sanitizer or an emulator may swallow mlock. */
	return page == MAP_FAILED || !mlock(page, 4096) ? SKIPPED : 0;
}

/* Two things cannot be had then: the probes' lock and registered buffers. Each is told once. */
static int search_unlocked(void *arg)
{
	static struct messages messages = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct lineup_ctx_options options = { .size = sizeof(options), .log = messages_log, .log_arg = &messages };
	struct ban ban = { .fixture = arg, .residency = LINEUP_STREAMED };
	struct lineup_gallery *gallery;
	struct lineup_ctx *ctx;
	int status = forbid_locking();

	if (status)
		return status;
	if (CHILD_WRONG(lineup_ctx_create(&options, &ctx) == 0))
		return 1;
	status = CHILD_WRONG(lineup_gallery_open(ctx, ban.fixture->bed->path, NULL, &gallery) == 0);
	for (uint32_t i = 0; !status && i < 2; i++)
		status = search_once(&ban, gallery);
	if (!status)
		status = CHILD_WRONG(messages_with(&messages, "swap") == 1);
	/* Buffers, or the whole ring where the kernel accounts that as well. */
	if (!status)
		status = CHILD_WRONG(messages_with(&messages, "buffers of") + messages_with(&messages, "io_uring is not") == 1);
	if (!status)
		status = CHILD_WRONG(messages.warnings == 2);
	for (uint32_t i = 0; status && i < messages.count; i++)
		fprintf(stderr, "said: %s\n", messages.text[i]);
	lineup_gallery_close(gallery);
	lineup_ctx_destroy(ctx);
	return status;
}

static void no_locked_memory_is_told_once_for_each_use(void **state)
{
	int status = in_child(search_unlocked, *state);

	if (status == SKIPPED) {
		print_message("skipped: locking memory cannot be forbidden here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- O_DIRECT ---- */

static int open_without_direct(void *arg, int dir, const char *name, int flags, mode_t mode)
{
	return flags & O_DIRECT ? -EINVAL : lineup_io_system.open(arg, dir, name, flags, mode);
}

static void no_o_direct_reads_through_the_page_cache(void **state)
{
	struct lineup_io io = lineup_io_system;

	io.open = open_without_direct;
	search_under(&(struct ban){ .fixture = *state,
				    .io = &io,
				    .residency = LINEUP_STREAMED,
				    .warning = "O_DIRECT",
				    .reads_by = "io_uring" },
		     "O_DIRECT");
}

static void a_gallery_in_shared_memory_is_searched(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows = rows_random(&rng, 4000, DIM);
	struct probes probes;
	struct bed *bed;

	(void)state;
	if (access("/dev/shm", W_OK)) {
		print_message("skipped: /dev/shm cannot be written\n");
		rows_free(&rows);
		skip();
	}
	bed = bed_open_in("/dev/shm", DIM, LINEUP_STORE_FLOAT32);
	bed->ctx->record_bytes_max = 1 << 20;
	bed_enrol(bed, &rows, 0, 4000, NULL, NULL, NULL);
	rows.rows = 3;
	probes_init(&probes, bed, &rows);
	for (int residency = 0; residency < 3; residency++)
		bed_check(bed, &SETUP(.residency = (enum lineup_residency)residency), &probes, &OPTIONS(.k = K));
	probes_fini(&probes);
	bed_close(bed);
	rows_free(&rows);
}

/* ---- huge pages ---- */

/* As a kernel built without them. */
static int forbid_huge_pages(void)
{
	return forbid_call(SYS_madvise, MADV_HUGEPAGE, EINVAL);
}

static int switch_off_huge_pages(void)
{
	return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

static void huge_pages_switched_off_are_told_once(void **state)
{
	search_under(&(struct ban){ .fixture = *state,
				    .forbid = switch_off_huge_pages,
				    .residency = LINEUP_RESIDENT,
				    .warning = "huge pages",
				    .reads_by = "memory" },
		     "madvise");
}

static void no_huge_pages_is_told_once(void **state)
{
	search_under(&(struct ban){ .fixture = *state,
				    .forbid = forbid_huge_pages,
				    .residency = LINEUP_RESIDENT,
				    .warning = "huge pages",
				    .reads_by = "memory" },
		     "madvise");
}

/* ---- memory ---- */

/* Room for a ring and the probes, but not for the codes. */
static int search_cramped(void *arg)
{
	struct ban ban = { .fixture = arg, .residency = LINEUP_RESIDENCY_AUTO };
	struct lineup_search_setup setup = SETUP(.threads = 1, .probes_max = 1, .stream_bytes = 4 << 20, .memory_max = 1ULL << 50);
	struct lineup_candidate candidates[PROBES * K];
	struct lineup_search_facts facts;
	struct lineup_gallery *gallery;
	struct lineup_searcher *searcher;
	struct lineup_ctx *ctx;
	uint32_t counts[PROBES];
	unsigned long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "re");

	if (!statm || fscanf(statm, "%lu", &pages) != 1)
		return SKIPPED;
	fclose(statm);
	if (CHILD_WRONG(lineup_ctx_create(NULL, &ctx) == 0) ||
	    CHILD_WRONG(lineup_gallery_open(ctx, ban.fixture->bed->path, NULL, &gallery) == 0))
		return 1;
	if (CHILD_WRONG(lineup_searcher_create(gallery, &setup, &searcher) == 0))
		return 1;
	statm = fopen("/proc/self/statm", "re");
	if (!statm || fscanf(statm, "%lu", &pages) != 1)
		return SKIPPED;
	fclose(statm);
	if (setrlimit(RLIMIT_AS, &(struct rlimit){ pages * 4096 + (1 << 20), RLIM_INFINITY }))
		return SKIPPED;
	if (CHILD_WRONG(lineup_search(searcher, &ban.fixture->probe_rows, &OPTIONS(.k = K), candidates, counts, &facts) == 0))
		return 1;
	if (CHILD_WRONG(!facts.resident))
		return 1;
	return wrong_answers(ban.fixture, candidates, counts);
}

static void a_gallery_stays_streamed_where_memory_cannot_be_had(void **state)
{
	int status;

	if (test_sanitized()) {
		print_message("skipped: a sanitizer needs all the address space\n");
		skip();
	}
	status = in_child(search_cramped, *state);
	if (status == SKIPPED) {
		print_message("skipped: the address space cannot be limited here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_forbidden_io_uring_gives_way_to_pread),
		cmocka_unit_test(a_kernel_without_io_uring_gives_way_to_pread),
		cmocka_unit_test(a_resident_load_without_io_uring_works),
		cmocka_unit_test(a_ring_that_may_not_be_entered_is_an_error),
		cmocka_unit_test(no_locked_memory_is_told_once_for_each_use),
		cmocka_unit_test(no_o_direct_reads_through_the_page_cache),
		cmocka_unit_test(a_gallery_in_shared_memory_is_searched),
		cmocka_unit_test(no_huge_pages_is_told_once),
		cmocka_unit_test(huge_pages_switched_off_are_told_once),
		cmocka_unit_test(a_gallery_stays_streamed_where_memory_cannot_be_had),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
