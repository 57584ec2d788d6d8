// SPDX-License-Identifier: MIT
// Maintenance: stopped at every question, overtaken, and beside threads that write, read and search all the while.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "faulty_io.h"
#include "gallery.h"
#include "ledger.h"
#include "under_sanitizer.h"

enum { DIM = 8, PAIRS = 24, GROUPS = UNDER_SANITIZER ? 150 : 600, READERS = 2, SWEEPS_MAX = 3000 };

struct bed {
	char base[PATH_MAX], path[PATH_MAX + 32];
	struct lineup_io quick;
	struct ledger_log log;
	pthread_mutex_t log_lock;
	struct lineup_ctx *ctx;
	struct lineup_gallery *gallery;
	struct ledger model;
};

static int quick_sync(void *arg, int fd)
{
	(void)arg;
	(void)fd;
	return 0;
}

static void log_line(void *arg, enum lineup_log_level level, const char *message)
{
	struct bed *b = arg;

	pthread_mutex_lock(&b->log_lock);
	ledger_log_line(&b->log, level, message);
	pthread_mutex_unlock(&b->log_lock);
}

static int set_up(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	struct lineup_ctx_options options = { .size = sizeof(options), .log = log_line };
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = DIM };
	struct lineup_gallery_options open = { .size = sizeof(open), .flags = LINEUP_GALLERY_WRITE | LINEUP_GALLERY_MAINTAINED };

	assert_non_null(b);
	options.log_arg = b;
	pthread_mutex_init(&b->log_lock, NULL);
	faulty_directory(b->base, true);
	snprintf(b->path, sizeof(b->path), "%s/gallery", b->base);
	assert_int_equal(lineup_ctx_create(&options, &b->ctx), 0);
	b->quick = lineup_io_system;
	b->quick.fdatasync = b->quick.fsync = quick_sync;
	b->ctx->io = &b->quick;
	b->ctx->journal_seal_bytes = 6000;
	b->ctx->record_bytes_max = 6000;
	b->ctx->spill_rows_min = 48;
	assert_int_equal(lineup_gallery_create(b->ctx, b->path, &create, &b->gallery), 0);
	lineup_gallery_close(b->gallery);
	assert_int_equal(lineup_gallery_open(b->ctx, b->path, &open, &b->gallery), 0);
	ledger_init(&b->model, DIM, LINEUP_STORE_FLOAT32, 0);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *b = *state;

	lineup_gallery_close(b->gallery);
	lineup_ctx_destroy(b->ctx);
	pthread_mutex_destroy(&b->log_lock);
	ledger_fini(&b->model);
	faulty_remove(b->base);
	free(b);
	return 0;
}

static void require_rows(struct bed *b)
{
	char why[LEDGER_WHY_BYTES];
	const char *differs = ledger_differs(&b->model, b->gallery, NULL, why);

	if (differs)
		fail_msg("%s", differs);
	assert_int_equal(lineup_gallery_check(b->gallery, NULL, NULL), 0);
}

static void require_model(struct bed *b)
{
	char why[LEDGER_WHY_BYTES];
	const char *differs;

	require_rows(b);
	differs = ledger_stray(b->path, why);
	if (differs)
		fail_msg("%s", differs);
}

static void run(struct bed *b, const struct ledger_op *op)
{
	char why[LEDGER_WHY_BYTES];
	const char *differs = ledger_both(&b->model, b->gallery, op, why);

	if (differs)
		fail_msg("%s", differs);
}

static struct ledger_op enrol(uint64_t id, uint32_t rows)
{
	return (struct ledger_op) { .kind = LEDGER_ENROL, .id = id, .seed = id * 31, .rows = rows, .named = true, .listed = id % 2 };
}

/* Several segments, deleted rows in them, and a journal with rows and deletions. */
static void furnish(struct bed *b)
{
	for (uint64_t id = 1; id <= 12; id++) {
		struct ledger_op op = enrol(id, id % 4 ? 12 : 70);
		struct ledger_op deletion = { .kind = LEDGER_DELETE_TEMPLATE, .id = 100 + id };

		deletion.template_id = b->model.template_next / 2;
		run(b, &op);
		run(b, &deletion);
	}
}

/* ---- questions ---------------------------------------------------------------------------------------------------------- */

struct questions {
	struct bed *bed;
	uint64_t asked;
	uint64_t stop_at;    /* the question that is answered with no; 0: none */
	uint64_t compact_at; /* the question at which the writer compacts */
	int again;           /* what a second maintenance returns */
};

static bool question(void *arg, uint64_t done, uint64_t total)
{
	struct questions *q = arg;

	(void)done;
	(void)total;
	q->asked++;
	if (q->asked == 1) {
		struct lineup_maintain_options options = { .size = sizeof(options) };

		q->again = lineup_gallery_maintain(q->bed->gallery, &options, NULL);
	}
	if (q->asked == q->compact_at)
		assert_int_equal(lineup_gallery_compact(q->bed->gallery, NULL, NULL, NULL), 0);
	return q->asked != q->stop_at;
}

static int maintain(struct questions *q, uint32_t compact, struct lineup_maintain_result *result)
{
	struct lineup_maintain_options options = {
		.size = sizeof(options), .compact = compact, .progress = question, .progress_arg = q, .bytes_per_second = 1 << 30,
	};

	return lineup_gallery_maintain(q->bed->gallery, &options, result);
}

static void stopped_at_any_question_it_leaves_nothing(void **state)
{
	struct bed *b = *state;
	int err = -ECANCELED;
	bool changed = false;
	uint64_t at;

	furnish(b);
	for (at = 1; err; at++) {
		struct questions q = { .bed = b, .stop_at = at };
		struct lineup_gallery_info before, after;

		lineup_gallery_info(b->gallery, &before);
		err = maintain(&q, 2, NULL);
		assert_int_equal(q.again, -EBUSY);
		if (err)
			assert_int_equal(err, -ECANCELED);
		lineup_gallery_info(b->gallery, &after);
		assert_memory_equal(before.digest, after.digest, sizeof(before.digest));
		/* Once a step is done, stopping the next one leaves what it replaced to a later sweep. */
		changed |= before.bytes != after.bytes;
		if (changed)
			require_rows(b);
		else
			require_model(b);
	}
	assert_true(at > 4);
	/* The last one was stopped at its sweep. */
	assert_int_equal(maintain(&(struct questions) { .bed = b }, 2, NULL), 0);
	require_model(b);
}

static void a_compaction_overtakes_it_at_any_question(void **state)
{
	struct bed *b = *state;
	uint64_t id = 1000, asked = 1;

	for (uint64_t at = 1; at <= asked; at++) {
		struct questions q = { .bed = b, .compact_at = at };
		struct ledger_op op = enrol(id++, 20), deletion = { .kind = LEDGER_DELETE_TEMPLATE, .id = id++ };

		if (at == 1)
			furnish(b);
		run(b, &op);
		deletion.template_id = b->model.template_next - 5;
		run(b, &deletion);
		assert_int_equal(maintain(&q, 1, NULL), 0);
		if (at == 1)
			asked = q.asked < 20 ? q.asked : 20;
		require_model(b);
	}
	assert_true(asked > 1);
}

static void commits_leave_the_journal_to_it(void **state)
{
	struct bed *b = *state;
	struct lineup_gallery_state now;
	struct lineup_maintain_result result;
	struct questions q = { .bed = b };
	uint64_t id = 1;

	do {
		struct ledger_op op = enrol(id++, 5);

		run(b, &op);
		lineup_gallery_now(b->gallery, &now);
	} while (!now.segments);
	/* Four times the limit before this commit sealed. */
	assert_in_range(id, 24000 / 1024, 24000 / 1024 + 3);
	for (int i = 0; i < 12; i++) {
		struct ledger_op op = enrol(id++, 5);

		run(b, &op);
	}
	lineup_gallery_now(b->gallery, &now);
	assert_int_equal(now.segments, 1);
	assert_true(now.journal_bytes > 6000);
	assert_int_equal(maintain(&q, 0, &result), 0);
	assert_true(result.sealed);
	assert_int_equal(result.rows_dropped, 0);
	assert_true(result.bytes_written > now.journal_templates * DIM * 4);
	lineup_gallery_now(b->gallery, &now);
	assert_int_equal(now.journal_templates, 0);
	assert_int_equal(maintain(&q, 0, &result), 0);
	assert_false(result.sealed || result.compacted);
	require_model(b);
}

static void who_only_reads_cannot_maintain(void **state)
{
	struct bed *b = *state;
	struct lineup_gallery_options open = { .size = sizeof(open) };
	struct lineup_maintain_options options = { .size = sizeof(options), .compact = 3 };
	struct lineup_gallery *reader;

	assert_int_equal(lineup_gallery_maintain(b->gallery, &options, NULL), -EINVAL);
	options.compact = 0;
	assert_int_equal(lineup_gallery_open(b->ctx, b->path, &open, &reader), 0);
	assert_int_equal(lineup_gallery_maintain(reader, &options, NULL), -EBADF);
	assert_int_equal(lineup_gallery_recover(reader), -EBADF);
	lineup_gallery_close(reader);
	open.flags = LINEUP_GALLERY_MAINTAINED;
	assert_int_equal(lineup_gallery_open(b->ctx, b->path, &open, &reader), -EINVAL);
	assert_int_equal(lineup_gallery_recover(b->gallery), 0);
}

/* ---- threads ------------------------------------------------------------------------------------------------------------ */

/*
 * Each group replaces the two subjects of one pair by templates that carry the group's number as their expiry. Whoever reads sees both of a pair with
 * the same number, or neither, and never a smaller number than before. Now and then a pair is deleted.
 */
struct traffic {
	struct bed *bed;
	atomic_bool stop;
	atomic_ulong committed; /* groups */
	atomic_ulong shown[PAIRS]; /* the newest number that was acknowledged, or 0 */
	atomic_ulong reads, maintenances;
	char subject[PAIRS][2][24];
};

static void write_group(struct traffic *t, unsigned long number)
{
	struct bed *b = t->bed;
	uint32_t pair = (uint32_t)(number * 7 % PAIRS);
	const char *subjects[2] = { t->subject[pair][0], t->subject[pair][1] };
	struct lineup_group_options options = { .size = sizeof(options), .flags = LINEUP_GROUP_REPLACE };
	int64_t expires[2] = { (int64_t)number, (int64_t)number };
	float vectors[2 * DIM] = { 0 };
	struct lineup_enrol_batch batch = { .vectors = { vectors, 2, DIM, LINEUP_FLOAT32 }, .subjects = subjects, .expires = expires };
	struct lineup_gallery_info info;
	struct lineup_group *group;

	vectors[pair % DIM] = vectors[DIM + (pair + 1) % DIM] = 1;
	lineup_gallery_info(b->gallery, &info);
	assert_true(info.templates <= 2 * PAIRS);
	assert_true(lineup_group_rows_max(b->gallery) > 10);
	assert_int_equal(lineup_group_begin(b->gallery, &group), 0);
	if (number % 5 == 0) {
		for (int i = 0; i < 2; i++) {
			struct lineup_delete_options deletion = { .size = sizeof(deletion), .what = LINEUP_DELETE_SUBJECT };
			int err;

			deletion.subject = subjects[i];
			err = lineup_group_delete(group, &deletion, NULL);
			assert_true(!err || err == -ENOENT);
		}
		/* Before the commit: from here on it may be gone. */
		atomic_store(&t->shown[pair], 0);
	} else {
		assert_int_equal(lineup_group_enrol(group, &options, &batch, NULL), 0);
	}
	assert_int_equal(lineup_group_commit(group), 0);
	if (number % 5)
		atomic_store(&t->shown[pair], number);
	atomic_store(&t->committed, number);
}

static void *write_thread(void *arg)
{
	struct traffic *t = arg;

	for (unsigned long number = 1; number <= GROUPS || (!atomic_load(&t->maintenances) && number < 100 * GROUPS); number++)
		write_group(t, number);
	atomic_store(&t->stop, true);
	return NULL;
}

static void *maintain_thread(void *arg)
{
	struct traffic *t = arg;

	for (uint32_t i = 0; !atomic_load(&t->stop); i++) {
		struct lineup_maintain_options options = { .size = sizeof(options), .compact = i % 3 };

		assert_int_equal(lineup_gallery_maintain(t->bed->gallery, &options, NULL), 0);
		atomic_fetch_add(&t->maintenances, 1);
	}
	return NULL;
}

struct seen {
	struct traffic *traffic;
	int64_t number[PAIRS][2];
	bool wrong;
};

static int see(void *arg, const struct lineup_template *template)
{
	struct seen *s = arg;
	unsigned int pair, half;

	s->wrong |= sscanf(template->subject, "pair-%u-%u", &pair, &half) != 2 || pair >= PAIRS || half > 1 || s->number[pair][half];
	if (!s->wrong)
		s->number[pair][half] = template->expires;
	return s->wrong;
}

/* All pairs in one state. */
static void read_all(struct traffic *t)
{
	struct seen s = { .traffic = t };
	unsigned long least[PAIRS];

	for (uint32_t i = 0; i < PAIRS; i++)
		least[i] = atomic_load(&t->shown[i]);
	assert_int_equal(lineup_gallery_read(t->bed->gallery, see, &s), 0);
	assert_false(s.wrong);
	for (uint32_t i = 0; i < PAIRS; i++) {
		assert_int_equal(s.number[i][0], s.number[i][1]);
		/* Unless it has been deleted meanwhile, or a newer one is there. */
		if (least[i] && s.number[i][0] < (int64_t)least[i])
			assert_true(!s.number[i][0] && atomic_load(&t->shown[i]) != least[i]);
	}
}

static int count_one(void *arg, const struct lineup_template *t)
{
	(void)t;
	++*(uint32_t *)arg;
	return 0;
}

static void *read_thread(void *arg)
{
	struct traffic *t = arg;
	uint64_t sequence = 0;

	for (uint32_t i = 0; !atomic_load(&t->stop); i++) {
		struct lineup_gallery_state now;
		struct lineup_candidate candidate;
		float probe[DIM] = { 1, 2, 3 };
		struct lineup_matrix probes = { probe, 1, DIM, LINEUP_FLOAT32 };
		uint32_t count = 0;
		int err;

		lineup_gallery_now(t->bed->gallery, &now);
		assert_true(now.sequence >= sequence);
		sequence = now.sequence;
		assert_true(now.templates <= now.rows);
		read_all(t);
		err = lineup_gallery_subject(t->bed->gallery, t->subject[i % PAIRS][i / PAIRS % 2], count_one, &count);
		assert_true(count == (err ? 0 : 1) && (!err || err == -ENOENT));
		err = lineup_gallery_row(t->bed->gallery, i * 7919 % (now.rows + 1), count_one, &count);
		assert_true(!err || err == -ENOENT);
		err = lineup_verify(t->bed->gallery, &probes, t->subject[i % PAIRS][0], 1, &candidate);
		assert_true(!err || err == -ENOENT);
		atomic_fetch_add(&t->reads, 1);
	}
	return NULL;
}

static void *search_thread(void *arg)
{
	struct traffic *t = arg;

	while (!atomic_load(&t->stop)) {
		struct lineup_search_setup setup = { .size = sizeof(setup), .threads = 1, .backend = "scalar", .residency = LINEUP_STREAMED };
		struct lineup_search_options options = { .size = sizeof(options), .k = 2 * PAIRS, .now = 1 };
		struct lineup_candidate candidates[2 * PAIRS];
		struct lineup_search_facts facts;
		float probe[DIM] = { 1, 1, 1, 1, 1, 1, 1, 1 };
		struct lineup_matrix probes = { probe, 1, DIM, LINEUP_FLOAT32 };
		unsigned long committed = atomic_load(&t->committed);
		struct lineup_searcher *searcher;
		uint32_t count;

		assert_int_equal(lineup_searcher_create(t->bed->gallery, &setup, &searcher), 0);
		assert_int_equal(lineup_search(searcher, &probes, &options, candidates, &count, &facts), 0);
		assert_int_equal(count % 2, 0);
		assert_true(facts.sequence >= committed / 2);
		lineup_searcher_destroy(searcher);
	}
	return NULL;
}

static void writing_reading_searching_and_maintaining_go_on_together(void **state)
{
	struct bed *b = *state;
	struct traffic t = { .bed = b };
	pthread_t thread[3 + READERS];
	char why[LEDGER_WHY_BYTES];
	struct lineup_gallery_options open = { .size = sizeof(open) };

	for (uint32_t i = 0; i < PAIRS; i++)
		for (int half = 0; half < 2; half++)
			snprintf(t.subject[i][half], sizeof(t.subject[i][half]), "pair-%u-%d", i, half);
	assert_int_equal(pthread_create(&thread[0], NULL, write_thread, &t), 0);
	assert_int_equal(pthread_create(&thread[1], NULL, maintain_thread, &t), 0);
	assert_int_equal(pthread_create(&thread[2], NULL, search_thread, &t), 0);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&thread[3 + i], NULL, read_thread, &t), 0);
	for (size_t i = 0; i < ARRAY_SIZE(thread); i++)
		pthread_join(thread[i], NULL);
	read_all(&t);
	assert_int_equal(lineup_gallery_check(b->gallery, NULL, NULL), 0);
	/* What searches held is swept by a later one; the kernel closes the files of an io_uring some time after the io_uring. */
	for (int i = 0; i < SWEEPS_MAX; i++) {
		assert_int_equal(maintain(&(struct questions) { .bed = b }, 0, NULL), 0);
		if (!ledger_stray(b->path, why))
			break;
		usleep(10000);
	}
	if (ledger_stray(b->path, why))
		fail_msg("%s", why);
	print_message("             %lu groups, %lu maintenances, %lu reads\n", atomic_load(&t.committed), atomic_load(&t.maintenances),
		      atomic_load(&t.reads));
	assert_true(t.maintenances > 0);
	lineup_gallery_close(b->gallery);
	assert_int_equal(lineup_gallery_open(b->ctx, b->path, &open, &b->gallery), 0);
	read_all(&t);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(stopped_at_any_question_it_leaves_nothing),
		CASE(a_compaction_overtakes_it_at_any_question),
		CASE(commits_leave_the_journal_to_it),
		CASE(who_only_reads_cannot_maintain),
		CASE(writing_reading_searching_and_maintaining_go_on_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
