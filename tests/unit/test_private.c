// SPDX-License-Identifier: MIT
// Probes leave no trace: not in memory after a search, not in a core dump during one.
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "needles.h"
#include "probe.h"

enum { DIM = 512, PROBES = 8, K = 5, ROWS = 12000, CHUNK = 1 << 20 };

/* What only the test itself may hold of the probes: mapped on its own, never scanned, never dumped. */
struct vault {
	float probes[PROBES * DIM];
	double doubles[PROBES * DIM];
	float stored[DIM];
	int8_t codes[DIM];
	uint8_t chunk[CHUNK + NEEDLE_BYTES];
};

static struct vault *vault;

static void nothing_is_left(const char *after)
{
	struct found found = needles_find();

	if (found.places)
		fail_msg("after %s: %s", after, found.where[0] ? found.where : "found in memory that is not dumped");
}

/* ---- probes and a gallery without them ---- */

struct fixture {
	struct bed *bed;
	struct backends backends;
	struct lineup_matrix probes;  /* in the vault */
	struct lineup_matrix doubles; /* likewise, the same probes */
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rng rng = { test_seed() };
	struct lineup_matrix rows;
	uint8_t packed[NEEDLE_BYTES];
	float scale, resid;

	assert_non_null(f);
	/* Shared, so that it is not joined to any other mapping. */
	vault = mmap(NULL, sizeof(*vault), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(vault != MAP_FAILED);
	assert_int_equal(madvise(vault, sizeof(*vault), MADV_DONTDUMP), 0);
	/* One probe eight times: a tile of eight then holds each four codes eight times over. */
	for (uint32_t i = 0; i < DIM; i++) {
		float value = (float)rng_normal(&rng) / 5;

		for (uint32_t p = 0; p < PROBES; p++) {
			vault->probes[p * DIM + i] = value;
			vault->doubles[p * DIM + i] = (double)value * (1 + 1e-9);
		}
	}
	vault->doubles[0] = 0.75; /* the largest: scaling to [0.5, 1) changes nothing */
	f->probes = (struct lineup_matrix){ vault->probes, PROBES, DIM, LINEUP_FLOAT32 };
	f->doubles = (struct lineup_matrix){ vault->doubles, PROBES, DIM, LINEUP_FLOAT64 };
	needles_begin(vault, sizeof(*vault));
	needle_add("the probe as given", vault->probes + 40, 32);
	needle_add("the float64 probe as given", vault->doubles + 40, 32);
	oracle_normalise(&f->probes, 0, vault->stored);
	needle_add("the normalised probe", vault->stored + 40, 32);
	lineup_probe_quantise(vault->stored, DIM, vault->codes, &scale, &resid);
	needle_add("the probe's codes", vault->codes + 40, 32);
	for (uint32_t i = 0; i < NEEDLE_BYTES; i++)
		packed[i] = (uint8_t)vault->codes[40 + i / 32 * 4 + i % 4];
	needle_add("the probe's packed codes", packed, NEEDLE_BYTES);
	explicit_bzero(packed, sizeof(packed));
	oracle_normalise(&f->doubles, 1, vault->stored);
	needle_add("the normalised float64 probe", vault->stored + 40, 32);
	backends_here(&f->backends);
	f->bed = bed_open(DIM, LINEUP_STORE_FLOAT32);
	f->bed->story = "private";
	rows = rows_random(&rng, ROWS, DIM);
	bed_enrol(f->bed, &rows, 0, ROWS - 20, NULL, NULL, NULL);
	bed_enrol(f->bed, &rows, ROWS - 20, 20, (const char *[20]){ "a", "a", "a", "a", "a", "a", "a", "a", "a", "a",
								    "a", "a", "a", "a", "a", "a", "a", "a", "a", "a" },
		  NULL, NULL);
	rows_free(&rows);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	bed_close(f->bed);
	free(f);
	needles_end();
	munmap(vault, sizeof(*vault));
	return 0;
}

static int search(struct fixture *f, const struct lineup_search_setup *setup, const struct lineup_matrix *probes)
{
	struct lineup_searcher *searcher = bed_searcher(f->bed, setup);
	struct lineup_candidate candidates[PROBES * K];
	uint32_t counts[PROBES];
	int err = lineup_search(searcher, probes, &OPTIONS(.k = K), candidates, counts, NULL);

	nothing_is_left("the search");
	lineup_searcher_destroy(searcher);
	nothing_is_left("destroying the searcher");
	return err;
}

/* ---- tests ---- */

static void the_scan_finds_a_copy(void **state)
{
	uint8_t *copy = malloc(4096);
	struct found found;

	(void)state;
	assert_non_null(copy);
	nothing_is_left("nothing");
	for (uint32_t n = 0; n < needle_count(); n++) {
		memset(copy, 0, 4096);
		needle_copy(n, copy + 1000);
		found = needles_find();
		assert_int_equal(found.places, 1);
		assert_int_equal(found.undumped, 0);
	}
	explicit_bzero(copy, 4096);
	free(copy);
	nothing_is_left("erasing it");
}

static void no_copy_of_a_probe_is_left_after_a_search(void **state)
{
	static const uint32_t candidates[] = { 0, 1 };
	struct fixture *f = *state;

	for (uint32_t i = 0; i < f->backends.count * 4; i++) {
		struct lineup_search_setup setup = SETUP(.backend = f->backends.name[i / 4], .threads = i % 2 ? 3 : 1,
							 .stream_bytes = 4 << 20, .candidates_max = candidates[i / 2 % 2],
							 .residency = i % 4 == 1 || i % 4 == 2 ? LINEUP_RESIDENT : LINEUP_STREAMED);

		assert_int_equal(search(f, &setup, &f->probes), 0);
		assert_int_equal(search(f, &setup, &f->doubles), 0);
	}
}

static void no_copy_is_left_after_a_search_of_several_passes(void **state)
{
	assert_int_equal(
		search(*state, &SETUP(.threads = 2, .probes_max = 1, .stream_bytes = 4 << 20), &((struct fixture *)*state)->probes),
		0);
}

static bool stop(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	return false;
}

static void no_copy_is_left_after_a_search_that_is_stopped(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(search(f, &SETUP(.threads = 1, .stream_bytes = 4 << 20, .residency = LINEUP_STREAMED, .progress = stop),
				&f->probes),
			 -ECANCELED);
}

static void no_copy_is_left_after_a_search_that_is_refused(void **state)
{
	struct fixture *f = *state;

	vault->probes[(PROBES - 1) * DIM + 7] = NAN;
	vault->doubles[(PROBES - 1) * DIM + 7] = INFINITY;
	assert_int_equal(search(f, &SETUP(.threads = 1, .stream_bytes = 4 << 20), &f->probes), -EINVAL);
	assert_int_equal(search(f, &SETUP(.threads = 1, .stream_bytes = 4 << 20), &f->doubles), -EINVAL);
	assert_int_equal(search(f, &SETUP(.threads = 1, .probes_max = 1, .stream_bytes = 4 << 20), &f->probes), -EINVAL);
	vault->probes[(PROBES - 1) * DIM + 7] = 0;
	vault->doubles[(PROBES - 1) * DIM + 7] = 0;
}

static void no_copy_is_left_after_a_verification(void **state)
{
	struct fixture *f = *state;
	struct lineup_candidate candidates[PROBES];

	assert_int_equal(lineup_verify(f->bed->gallery, &f->probes, "a", 1000, candidates), 0);
	nothing_is_left("verification");
	assert_int_equal(lineup_verify(f->bed->gallery, &f->doubles, "a", 1000, candidates), 0);
	nothing_is_left("verification of float64 probes");
	assert_int_equal(lineup_verify(f->bed->gallery, &f->probes, "nobody", 1000, candidates), -ENOENT);
	nothing_is_left("a verification that fails");
}

/* What the callback sees while the probes are in use. */
struct watch {
	uint32_t calls;
	struct found found;
};

static bool watch(void *arg, uint64_t done, uint64_t total)
{
	struct watch *w = arg;

	(void)done;
	(void)total;
	if (!w->calls++)
		w->found = needles_find();
	return true;
}

static void what_holds_a_probe_during_a_search_is_left_out_of_core_dumps(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 2 * f->backends.count; i++) {
		struct watch w = { 0 };
		struct lineup_search_setup setup = SETUP(.backend = f->backends.name[i / 2], .threads = 1, .stream_bytes = 4 << 20,
							 .residency = LINEUP_STREAMED, .progress = watch, .progress_arg = &w);

		assert_int_equal(search(f, &setup, i % 2 ? &f->doubles : &f->probes), 0);
		assert_true(w.calls > 0);
		assert_true(w.found.places > 0);
		if (w.found.undumped != w.found.places)
			fail_msg("a core dump would hold %s", w.found.where);
	}
}

/* ---- a real core file ---- */

enum { MARKER_BYTES = 32 };

/* In ordinary memory: what a core dump must hold, so that the absence of the rest means something. */
static volatile char marker[MARKER_BYTES + 1];

static bool die(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	abort();
}

static _Noreturn void search_and_die(struct fixture *f)
{
	struct lineup_search_setup setup = SETUP(.threads = 1, .stream_bytes = 4 << 20, .residency = LINEUP_STREAMED,
						 .progress = die);
	struct lineup_candidate candidates[PROBES * K];
	struct lineup_searcher *searcher;
	uint32_t counts[PROBES];

	for (uint32_t i = 0; i < MARKER_BYTES; i++)
		marker[i] = "abcdefghijklmnopqrstuvwxyzABCDEF"[i] ^ 1;
	if (setrlimit(RLIMIT_CORE, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }) || chdir(f->bed->dir))
		_exit(1);
	if (lineup_searcher_create(f->bed->gallery, &setup, &searcher))
		_exit(2);
	lineup_search(searcher, &f->probes, &OPTIONS(.k = K), candidates, counts, NULL);
	_exit(3);
}

/* Why no core file will lie in the working directory, or NULL. */
static const char *no_core(void)
{
	static char pattern[256];
	struct rlimit limit;
	FILE *f = fopen("/proc/sys/kernel/core_pattern", "re");

	if (test_sanitized())
		return "a sanitizer turns core dumps off";
	if (!f || !fgets(pattern, sizeof(pattern), f))
		pattern[0] = '|';
	if (f)
		fclose(f);
	if (pattern[0] == '|' || strchr(pattern, '/'))
		return "core_pattern sends core files elsewhere";
	if (getrlimit(RLIMIT_CORE, &limit) || (limit.rlim_max != RLIM_INFINITY && geteuid()))
		return "the limit of core files is too low";
	return NULL;
}

/* The one file in @dir. */
static void core_path(const char *dir, char *path, size_t size)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	*path = 0;
	assert_non_null(d);
	while ((entry = readdir(d)))
		if (entry->d_type == DT_REG)
			snprintf(path, size, "%s/%s", dir, entry->d_name);
	closedir(d);
}

static void a_core_file_holds_nothing_of_a_probe(void **state)
{
	struct fixture *f = *state;
	const char *why = no_core();
	const char *needle = NULL;
	bool marked = false;
	char path[600];
	int status, fd;
	uint64_t at = 0;
	ssize_t n;
	pid_t pid;

	if (why) {
		print_message("skipped: %s\n", why);
		skip();
	}
	fflush(stdout);
	pid = fork();
	if (!pid)
		search_and_die(f);
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_true(WCOREDUMP(status));
	core_path(f->bed->dir, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	while ((n = pread(fd, vault->chunk, sizeof(vault->chunk), (off_t)at)) > 0) {
		if (!needle)
			needle = needle_in(vault->chunk, (size_t)n);
		for (ssize_t i = 0; i + MARKER_BYTES <= n && !marked; i += 4) {
			marked = true;
			for (uint32_t j = 0; j < MARKER_BYTES && marked; j++)
				marked = vault->chunk[i + j] == ("abcdefghijklmnopqrstuvwxyzABCDEF"[j] ^ 1);
		}
		at += CHUNK;
	}
	close(fd);
	unlink(path);
	assert_true(marked);
	if (needle)
		fail_msg("the core file holds %s", needle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_scan_finds_a_copy),
		cmocka_unit_test(no_copy_of_a_probe_is_left_after_a_search),
		cmocka_unit_test(no_copy_is_left_after_a_search_of_several_passes),
		cmocka_unit_test(no_copy_is_left_after_a_search_that_is_stopped),
		cmocka_unit_test(no_copy_is_left_after_a_search_that_is_refused),
		cmocka_unit_test(no_copy_is_left_after_a_verification),
		cmocka_unit_test(what_holds_a_probe_during_a_search_is_left_out_of_core_dumps),
		cmocka_unit_test(a_core_file_holds_nothing_of_a_probe),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
