// SPDX-License-Identifier: MIT
// The bed of the share tests: asking, waiting, and what the oracle says of it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "share_bed.h"

static pthread_mutex_t answers = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static uint64_t orders;

static void done(void *arg, const struct lineup_share_answer *answer)
{
	struct asked *a = arg;

	a->err = answer->err;
	snprintf(a->message, sizeof(a->message), "%s", answer->message ? answer->message : "");
	a->rows = answer->rows;
	a->k = answer->k;
	a->facts = answer->facts;
	a->probes_most = answer->probes_most;
	if (!answer->err) {
		a->candidates = calloc(answer->rows * answer->k + 1, sizeof(*a->candidates));
		a->counts = calloc(answer->rows + 1, sizeof(*a->counts));
		memcpy(a->candidates, answer->candidates, answer->rows * answer->k * sizeof(*a->candidates));
		memcpy(a->counts, answer->counts, answer->rows * sizeof(*a->counts));
	}
	pthread_mutex_lock(&answers);
	a->order = ++orders;
	atomic_fetch_add(&a->calls, 1);
	atomic_store(&a->ended, true);
	pthread_cond_broadcast(&answered);
	pthread_mutex_unlock(&answers);
}

void asked_init(struct asked *a, const struct probes *probes, uint64_t first, uint64_t count, const struct lineup_search_options *options)
{
	memset(a, 0, sizeof(*a));
	a->probes = probes;
	a->first = first;
	a->query = (struct lineup_share_query){
		.size = sizeof(a->query), .priority = LINEUP_PRIORITY_DEFAULT, .options = *options, .done = done, .arg = a,
		.probes = { rows_at(&probes->matrix, first), count, probes->matrix.dim, LINEUP_FLOAT32 },
	};
	if (!a->query.options.now)
		a->query.options.now = 1000;
}

int asked_submit(struct asked *a, struct lineup_share *share)
{
	return lineup_share_submit(share, &a->query, &a->ticket);
}

void asked_wait(struct asked *a)
{
	pthread_mutex_lock(&answers);
	while (!atomic_load(&a->ended))
		pthread_cond_wait(&answered, &answers);
	pthread_mutex_unlock(&answers);
}

void asked_fini(struct asked *a)
{
	free(a->candidates);
	free(a->counts);
	free(a->subjects);
	free(a->allowed);
	a->allowed = NULL;
	a->candidates = NULL;
	a->counts = NULL;
	a->subjects = NULL;
}

/* The oracle knows names, not numbers. */
static int number_of(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record)
{
	uint32_t *number = arg;

	(void)segment;
	(void)row;
	*number = record->subject;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

void asked_only(struct bed *bed, struct asked *a, const char *const *allowed, uint32_t count)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(bed->gallery);

	assert_non_null(snapshot);
	a->query.subjects_numbers = snapshot->subject_next;
	a->subjects = calloc(snapshot->subject_next / 8 + 1, 1);
	a->query.subjects = a->subjects;
	a->allowed = calloc(count + 1, sizeof(*a->allowed));
	a->allowed_count = count;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t number = UINT32_MAX;

		snprintf(a->allowed[i], sizeof(a->allowed[i]), "%s", allowed[i]);
		assert_int_equal(lineup_snapshot_subject(snapshot, allowed[i], number_of, &number), 0);
		if (number != UINT32_MAX)
			a->subjects[number / 8] |= (uint8_t)(1 << number % 8);
	}
	qsort(a->allowed, count, sizeof(*a->allowed), by_name);
	lineup_snapshot_put(snapshot);
}

static bool allows(const struct asked *a, const char *name)
{
	return !a->query.subjects || bsearch(name, a->allowed, a->allowed_count, sizeof(*a->allowed), by_name);
}

/* The oracle's answer, thinned by the bitmap: which takes all of a subject or nothing, so that it may come last. */
static uint32_t pick(const struct bed *bed, const struct asked *a, uint64_t row, struct lineup_candidate *want)
{
	struct lineup_search_options options = a->query.options;
	uint32_t count, kept = 0;

	if (a->query.subjects)
		options.k = (uint32_t)bed->oracle.count;
	count = oracle_pick(&bed->oracle, &a->probes->rankings[a->first + row], a->facts.sequence, &options, want);
	for (uint32_t i = 0; i < count && kept < a->query.options.k; i++)
		if (allows(a, want[i].subject))
			want[kept++] = want[i];
	return kept;
}

bool asked_is_wrong(const struct bed *bed, const struct asked *a, char *why, size_t why_size)
{
	uint64_t room = bed->oracle.count > a->query.options.k ? bed->oracle.count : a->query.options.k;
	struct lineup_candidate *want = calloc(room + 1, sizeof(*want));
	bool wrong = a->err != 0;

	if (a->err)
		snprintf(why, why_size, "%s: %s", strerror(-a->err), a->message);
	for (uint64_t i = 0; i < a->query.probes.rows && !wrong; i++) {
		uint32_t count = pick(bed, a, i, want);
		size_t n = (size_t)snprintf(why, why_size, "probe %" PRIu64 " of state %" PRIu64 ": ", a->first + i, a->facts.sequence);

		wrong = candidates_differ(want, count, a->candidates + i * a->k, a->counts[i], why + n, why_size - n);
	}
	free(want);
	return wrong;
}

void asked_check(struct bed *bed, const struct asked *a)
{
	char why[512];

	assert_int_equal(atomic_load(&a->calls), 1);
	if (!asked_is_wrong(bed, a, why, sizeof(why)))
		return;
	fail_msg("seed %" PRIu64 ": %s: rows %" PRIu64 ", dim %u: %s\n  k %u, per %d, flags %u, threshold %a, lists %" PRIx64 ", now %" PRId64
		 ", subjects %d", test_seed(), bed->story, bed->oracle.count, bed->oracle.dim, why, a->query.options.k, a->query.options.per,
		 a->query.options.flags, (double)a->query.options.threshold, a->query.options.lists, a->query.options.now,
		 a->query.subjects != NULL);
}

struct lineup_share *bed_share(struct bed *bed, struct lineup_crew *crew, const struct lineup_share_setup *setup)
{
	struct lineup_share *share;
	int err = lineup_share_create(crew, bed->gallery, setup, &share);

	if (err)
		fail_msg("%s: share_create: %s; %s", bed->story, strerror(-err), bed->messages.error);
	return share;
}

/* ---- a gallery and queries that have everything ---- */

enum { SUBJECTS = 700 };

struct bed *share_town(struct rng *rng, uint32_t dim, uint64_t rows)
{
	struct bed *bed = bed_open(dim, LINEUP_STORE_FLOAT32);
	struct lineup_matrix m = rows_random(rng, rows, dim);
	char (*text)[12] = calloc(rows, sizeof(*text));
	const char **names = calloc(rows, sizeof(*names));
	uint64_t *lists = calloc(rows, sizeof(*lists)), first = 0;
	int64_t *expires = calloc(rows, sizeof(*expires));

	assert_true(text && names && lists && expires);
	for (uint64_t i = 0; i < rows; i++) {
		snprintf(text[i], sizeof(text[i]), "s%u", rng_below(rng, SUBJECTS));
		names[i] = text[i];
		lists[i] = 1 + rng_below(rng, 7);
		expires[i] = rng_below(rng, 4) ? 0 : 500 + rng_below(rng, 1000);
	}
	while (first < rows) {
		uint64_t count = rows - first < rows / 5 ? rows - first : rows / 5;

		bed->ctx->record_bytes_max = rows - first > rows / 5 ? 6000 : 0; /* a segment each, but for the last, which the journal takes */
		bed_enrol(bed, &m, first, count, names + first, lists + first, expires + first);
		first += count;
	}
	bed->ctx->record_bytes_max = 0;
	for (uint32_t i = 0; i < 20; i++)
		if (bed->oracle.rows[i * 31 % rows].until == UINT64_MAX)
			bed_delete_template(bed, bed->oracle.rows[i * 31 % rows].id);
	bed_delete_subject(bed, "s7");
	free(expires);
	free(lists);
	free(names);
	free(text);
	rows_free(&m);
	return bed;
}

struct lineup_search_options share_options(struct rng *rng)
{
	static const uint32_t ks[] = { 1, 3, 10, 200 };

	return OPTIONS(.k = ks[rng_below(rng, 4)], .per = (enum lineup_search_per)rng_below(rng, 2), .lists = rng_below(rng, 3),
		       .flags = rng_below(rng, 2) ? LINEUP_SEARCH_THRESHOLD : 0, .threshold = (float)(0.1 * rng_unit(rng)),
		       .now = rng_below(rng, 2) ? 1000 : 1);
}

void share_subjects(struct rng *rng, struct bed *bed, struct asked *a)
{
	static char text[200][12];
	const char *names[200];

	if (rng_below(rng, 3))
		return;
	for (uint32_t i = 0; i < 200; i++) {
		snprintf(text[i], sizeof(text[i]), "s%u", rng_below(rng, SUBJECTS));
		names[i] = text[i];
	}
	asked_only(bed, a, names, 200);
}
