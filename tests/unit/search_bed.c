// SPDX-License-Identifier: MIT
// The bed of the search tests: chance, messages, galleries beside their oracles, comparison, child processes.
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "search_bed.h"

/* ---- chance ---- */

uint64_t test_seed(void)
{
	const char *text = getenv("LINEUP_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 20240917;
}

double test_scale(void)
{
	const char *text = getenv("LINEUP_TEST_SCALE");
	double scale = text ? strtod(text, NULL) : 0;

	return scale > 0 ? scale : test_sanitized() ? 0.1 : 1;
}

uint64_t test_scaled(uint64_t n, uint64_t least)
{
	uint64_t scaled = (uint64_t)((double)n * test_scale());

	return scaled > least ? scaled : least;
}

bool test_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
	return true;
#endif
#endif
	return false;
}

uint64_t rng_u64(struct rng *rng) /* splitmix64 */
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint32_t rng_below(struct rng *rng, uint32_t n)
{
	return (uint32_t)((rng_u64(rng) >> 32) * n >> 32);
}

double rng_unit(struct rng *rng)
{
	return (double)(rng_u64(rng) >> 11) * 0x1p-53;
}

double rng_normal(struct rng *rng)
{
	return sqrt(-2 * log(1 - rng_unit(rng))) * cos(2 * M_PI * rng_unit(rng));
}

struct lineup_matrix rows_alloc(uint64_t rows, uint32_t dim, enum lineup_dtype dtype)
{
	struct lineup_matrix m = { .rows = rows, .dim = dim, .dtype = dtype };

	m.data = calloc(rows * dim + 1, dtype == LINEUP_FLOAT64 ? sizeof(double) : sizeof(float));
	assert_non_null(m.data);
	return m;
}

struct lineup_matrix rows_random(struct rng *rng, uint64_t rows, uint32_t dim)
{
	struct lineup_matrix m = rows_alloc(rows, dim, LINEUP_FLOAT32);

	for (uint64_t i = 0; i < rows * dim; i++)
		rows_at(&m, 0)[i] = (float)rng_normal(rng);
	return m;
}

void rows_free(struct lineup_matrix *m)
{
	free((void *)(uintptr_t)m->data);
	m->data = NULL;
}

/* ---- the library's messages ---- */

void messages_log(void *arg, enum lineup_log_level level, const char *message)
{
	struct messages *m = arg;

	pthread_mutex_lock(&m->lock);
	if (level == LINEUP_LOG_ERROR)
		m->errors++;
	else if (level == LINEUP_LOG_WARNING)
		m->warnings++;
	if (level == LINEUP_LOG_ERROR)
		snprintf(m->error, sizeof(m->error), "%s", message);
	if (level != LINEUP_LOG_INFO && m->count < MESSAGES_MAX)
		snprintf(m->text[m->count++], sizeof(m->text[0]), "%s", message);
	pthread_mutex_unlock(&m->lock);
}

void messages_clear(struct messages *m)
{
	pthread_mutex_lock(&m->lock);
	m->errors = m->warnings = m->count = 0;
	m->error[0] = 0;
	pthread_mutex_unlock(&m->lock);
}

uint32_t messages_with(struct messages *m, const char *text)
{
	uint32_t count = 0;

	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->count; i++)
		count += strstr(m->text[i], text) != NULL;
	pthread_mutex_unlock(&m->lock);
	return count;
}

/* ---- a gallery and its oracle ---- */

const char *test_tmp(void)
{
	const char *tmp = getenv("TMPDIR");

	return tmp && *tmp ? tmp : "/tmp";
}

void directory_remove(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char name[600];
		struct stat st;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (!lstat(name, &st) && S_ISDIR(st.st_mode))
			directory_remove(name);
		else
			unlink(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

struct bed *bed_open_in(const char *parent, uint32_t dim, enum lineup_store store)
{
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = dim, .store = store, .model = "test" };
	struct lineup_ctx_options options = { .size = sizeof(options), .log = messages_log };
	struct bed *bed = calloc(1, sizeof(*bed));

	assert_non_null(bed);
	snprintf(bed->dir, sizeof(bed->dir), "%s/lineup-search-XXXXXX", parent);
	if (!mkdtemp(bed->dir))
		fail_msg("%s: no directory can be made there", bed->dir);
	snprintf(bed->path, sizeof(bed->path), "%s/gallery", bed->dir);
	pthread_mutex_init(&bed->messages.lock, NULL);
	options.log_arg = &bed->messages;
	assert_int_equal(lineup_ctx_create(&options, &bed->ctx), 0);
	assert_int_equal(lineup_gallery_create(bed->ctx, bed->path, &create, &bed->gallery), 0);
	oracle_init(&bed->oracle, dim, store);
	bed->story = "";
	return bed;
}

struct bed *bed_open(uint32_t dim, enum lineup_store store)
{
	return bed_open_in(test_tmp(), dim, store);
}

void bed_close(struct bed *bed)
{
	lineup_gallery_close(bed->gallery);
	lineup_ctx_destroy(bed->ctx);
	oracle_fini(&bed->oracle);
	directory_remove(bed->dir);
	pthread_mutex_destroy(&bed->messages.lock);
	free(bed);
}

static void must(struct bed *bed, int err, const char *what)
{
	if (err)
		fail_msg("%s: %s: %s; %s", bed->story, what, strerror(-err),
			 bed->messages.count ? bed->messages.text[0] : "no message");
}

void bed_enrol(struct bed *bed, const struct lineup_matrix *m, uint64_t first, uint64_t count, const char *const *names,
	       const uint64_t *lists, const int64_t *expires)
{
	size_t value = m->dtype == LINEUP_FLOAT64 ? sizeof(double) : sizeof(float);
	struct lineup_enrol_batch batch = {
		.vectors = { (const char *)m->data + first * m->dim * value, count, m->dim, m->dtype },
		.subjects = names, .lists = lists, .expires = expires,
	};
	struct lineup_enrol_options options = { .size = sizeof(options) };
	struct lineup_enrol_result result;
	struct lineup_enrol *enrol;

	must(bed, lineup_enrol_begin(bed->gallery, &options, &enrol), "enrol_begin");
	for (uint32_t i = 0; lists && i < LINEUP_LISTS_MAX; i++) { /* bit i is the list named i */
		char name[8];
		uint64_t mask;

		snprintf(name, sizeof(name), "%u", i);
		must(bed, lineup_enrol_list(enrol, name, &mask), "enrol_list");
		assert_true(mask == 1ULL << i);
	}
	must(bed, lineup_enrol_add(enrol, &batch), "enrol_add");
	must(bed, lineup_enrol_commit(enrol, &result), "enrol_commit");
	assert_true(result.sequence == bed->sequence + 1);
	assert_true(result.template_first >= bed->template_next);
	bed->sequence = result.sequence;
	bed->template_next = result.template_first + count;
	for (uint64_t i = 0; i < count; i++) {
		char own[24];

		snprintf(own, sizeof(own), "%" PRIu64, result.template_first + i);
		oracle_add(&bed->oracle, m, first + i, result.template_first + i, names ? names[i] : own, lists ? lists[i] : 0,
			   expires ? expires[i] : 0, bed->sequence);
	}
}

static void bed_delete(struct bed *bed, const struct lineup_delete_options *options, uint64_t rows)
{
	struct lineup_delete_result result;

	must(bed, lineup_gallery_delete(bed->gallery, options, &result), "delete");
	assert_true(result.rows == rows);
	assert_true(result.sequence == bed->sequence);
}

void bed_delete_subject(struct bed *bed, const char *name)
{
	struct lineup_delete_options options = { .size = sizeof(options), .what = LINEUP_DELETE_SUBJECT, .subject = name };

	bed_delete(bed, &options, oracle_delete_subject(&bed->oracle, name, ++bed->sequence));
}

void bed_delete_template(struct bed *bed, uint64_t id)
{
	struct lineup_delete_options options = { .size = sizeof(options), .what = LINEUP_DELETE_TEMPLATE, .template_id = id };

	bed_delete(bed, &options, oracle_delete_template(&bed->oracle, id, ++bed->sequence));
}

void bed_compact(struct bed *bed)
{
	must(bed, lineup_gallery_compact(bed->gallery, NULL, NULL, NULL), "compact");
}

void bed_reopen(struct bed *bed)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = LINEUP_GALLERY_WRITE };

	lineup_gallery_close(bed->gallery);
	bed->gallery = NULL;
	must(bed, lineup_gallery_open(bed->ctx, bed->path, &options, &bed->gallery), "open");
}

void bed_segment_path(const struct bed *bed, char *path, size_t size)
{
	DIR *dir = opendir(bed->path);
	struct dirent *entry;

	*path = 0;
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (!*path && !strncmp(entry->d_name, "segment-", 8))
			snprintf(path, size, "%s/%s", bed->path, entry->d_name);
	closedir(dir);
	assert_true(*path);
}

void file_flip(const char *path, uint64_t offset)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	byte ^= 0x04;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

/* ---- searching ---- */

static void backend_each(void *arg, const char *name, const char *why_not)
{
	static const char *said[BACKENDS_MAX];
	struct backends *b = arg;
	uint32_t i = 0;

	if (!why_not) {
		assert_true(b->count < BACKENDS_MAX);
		b->name[b->count++] = name;
		return;
	}
	while (i < BACKENDS_MAX && said[i] && strcmp(said[i], name))
		i++;
	if (i < BACKENDS_MAX && !said[i]) {
		said[i] = name;
		print_message("not tested: backend %s: %s\n", name, why_not);
	}
}

void backends_here(struct backends *backends)
{
	backends->count = 0;
	lineup_backends(backend_each, backends);
	assert_true(backends->count > 0);
}

void probes_init(struct probes *p, const struct bed *bed, const struct lineup_matrix *matrix)
{
	p->matrix = *matrix;
	p->stored = calloc(matrix->rows * matrix->dim + 1, sizeof(float));
	p->rankings = calloc(matrix->rows + 1, sizeof(*p->rankings));
	assert_true(p->stored && p->rankings);
	for (uint64_t i = 0; i < matrix->rows; i++)
		oracle_normalise(matrix, i, p->stored + i * matrix->dim);
	probes_update(p, bed);
}

void probes_update(struct probes *p, const struct bed *bed)
{
	for (uint64_t i = 0; i < p->matrix.rows; i++)
		oracle_rank(&bed->oracle, p->stored + i * p->matrix.dim, &p->rankings[i]);
}

void probes_fini(struct probes *p)
{
	for (uint64_t i = 0; i < p->matrix.rows; i++)
		oracle_ranking_fini(&p->rankings[i]);
	free(p->rankings);
	free(p->stored);
}

struct lineup_searcher *bed_searcher(struct bed *bed, const struct lineup_search_setup *setup)
{
	struct lineup_searcher *searcher = NULL;

	must(bed, lineup_searcher_create(bed->gallery, setup, &searcher), "searcher_create");
	return searcher;
}

bool candidates_differ(const struct lineup_candidate *want, uint32_t want_count, const struct lineup_candidate *have,
		       uint32_t have_count, char *why, size_t why_size)
{
	uint32_t both = want_count < have_count ? want_count : have_count;

	for (uint32_t i = 0; i < both; i++) {
		const struct lineup_candidate *w = &want[i], *h = &have[i];

		if (w->template_id == h->template_id && !memcmp(&w->score, &h->score, sizeof(float)) &&
		    !strcmp(w->subject, h->subject))
			continue;
		snprintf(why, why_size, "rank %u: template %" PRIu64 " of %s with %a, not %" PRIu64 " of %s with %a", i + 1,
			 h->template_id, h->subject, (double)h->score, w->template_id, w->subject, (double)w->score);
		return true;
	}
	if (want_count != have_count)
		snprintf(why, why_size, "%u candidates, not %u", have_count, want_count);
	return want_count != have_count;
}

static void check_facts(const struct bed *bed, const struct lineup_search_setup *setup, const struct probes *probes,
			const struct lineup_search_facts *facts)
{
	uint32_t share = setup->probes_max ? setup->probes_max : LINEUP_PROBES_MAX;

	assert_true(facts->sequence == bed->sequence);
	assert_true(facts->rows >= oracle_live(&bed->oracle, bed->sequence) && facts->rows <= bed->oracle.count);
	assert_true(facts->passes == (probes->matrix.rows + share - 1) / share);
	assert_true(facts->rows_scanned == facts->rows * facts->passes);
	if (setup->threads)
		assert_int_equal(facts->threads, setup->threads);
	if (setup->backend && !strcmp(setup->backend, "vulkan")) /* its best variant, whichever that is */
		assert_true(!strncmp(facts->backend, "vulkan-", 7));
	else if (setup->backend)
		assert_string_equal(facts->backend, setup->backend);
	if (setup->residency != LINEUP_RESIDENCY_AUTO)
		assert_true(facts->resident == (setup->residency == LINEUP_RESIDENT));
	if (facts->resident)
		assert_true(facts->bytes_read == 0);
}

static const struct lineup_search_options *timed(const struct lineup_search_options *options, struct lineup_search_options *copy)
{
	if (options->now)
		return options;
	*copy = *options;
	copy->now = 1000;
	return copy;
}

void bed_search(struct bed *bed, struct lineup_searcher *searcher, const struct lineup_search_setup *setup,
		const struct probes *probes, const struct lineup_search_options *user)
{
	struct lineup_search_options copy;
	const struct lineup_search_options *options = timed(user, &copy);
	uint64_t rows = probes->matrix.rows;
	struct lineup_candidate *have = calloc(rows * options->k + 1, sizeof(*have));
	struct lineup_candidate *want = calloc(options->k, sizeof(*want));
	uint32_t *counts = calloc(rows + 1, sizeof(*counts));
	struct lineup_search_facts facts = { 0 };

	assert_true(have && want && counts);
	must(bed, lineup_search(searcher, &probes->matrix, options, have, counts, &facts), "search");
	for (uint64_t i = 0; i < rows; i++) {
		uint32_t count = oracle_pick(&bed->oracle, &probes->rankings[i], bed->sequence, options, want);
		char why[400];

		if (!candidates_differ(want, count, have + i * options->k, counts[i], why, sizeof(why)))
			continue;
		fail_msg("seed %" PRIu64 ": %s: rows %" PRIu64 ", dim %u, probe %" PRIu64 " of %" PRIu64 ": %s\n"
			 "  backend %s, threads %u, residency %d, stream_bytes %u, candidates_max %u, probes_max %u, k_max %u\n"
			 "  k %u, per %d, flags %u, threshold %a, lists %" PRIx64 ", now %" PRId64, test_seed(), bed->story,
			 bed->oracle.count, bed->oracle.dim, i, rows, why, facts.backend, setup->threads, setup->residency,
			 setup->stream_bytes, setup->candidates_max, setup->probes_max, setup->k_max, options->k, options->per,
			 options->flags, (double)options->threshold, options->lists, options->now);
	}
	check_facts(bed, setup, probes, &facts);
	bed->facts = facts;
	free(counts);
	free(want);
	free(have);
}

void bed_check(struct bed *bed, const struct lineup_search_setup *setup, const struct probes *probes,
	       const struct lineup_search_options *options)
{
	struct lineup_searcher *searcher = bed_searcher(bed, setup);

	bed_search(bed, searcher, setup, probes, options);
	lineup_searcher_destroy(searcher);
}

void bed_doubt(struct bed *bed, const struct probes *probes, uint32_t probe, const struct lineup_search_options *user)
{
	struct lineup_search_options copy;
	const struct lineup_search_options *options = timed(user, &copy);
	const float *stored = probes->stored + (uint64_t)probe * probes->matrix.dim;
	struct lineup_candidate *want = calloc(options->k, sizeof(*want));
	const char *doubt;
	uint32_t count;

	assert_non_null(want);
	count = oracle_pick(&bed->oracle, &probes->rankings[probe], bed->sequence, options, want);
	doubt = oracle_doubt(&bed->oracle, stored, bed->sequence, options, want, count);
	if (!doubt)
		doubt = oracle_doubt_normalised(&probes->matrix, probe, stored);
	if (doubt)
		fail_msg("seed %" PRIu64 ": %s: probe %u: %s", test_seed(), bed->story, probe, doubt);
	free(want);
}

/*
 * liburing maps and unmaps its rings by system calls that tsan does not see: two searchers' rings that had one address one after the other
 * look to it like one ring without a lock. What the stream itself does stays under watch.
 */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:uring_submit\nrace:uring_wait\n";
}

/* ---- a process of its own ---- */

int in_child(int (*body)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(body(arg));
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool child_wrong(bool wrong, const char *file, int line, const char *text)
{
	if (wrong)
		fprintf(stderr, "%s:%d: not true: %s\n", file, line, text);
	return wrong;
}
