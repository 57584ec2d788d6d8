// SPDX-License-Identifier: MIT
// 1:1 answers are the oracle's: the best template of a subject that is there and not expired.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search_bed.h"

enum { NOW = 1700000000 };

/* Compares the answers for all of @matrix with the oracle's; @err 0 or -ENOENT is what the oracle must find as well. */
static void check_verify(struct bed *bed, const struct lineup_matrix *matrix, const char *subject, int64_t now, int err)
{
	struct lineup_candidate *have = calloc(matrix->rows + 1, sizeof(*have)),
				*before = calloc(matrix->rows + 1, sizeof(*before)), want;
	float *stored = calloc(matrix->dim, sizeof(*stored));
	char why[400];

	assert_true(have && before && stored);
	memset(have, 0xa5, matrix->rows * sizeof(*have));
	memset(before, 0xa5, matrix->rows * sizeof(*before));
	messages_clear(&bed->messages);
	assert_int_equal(lineup_verify(bed->gallery, matrix, subject, now, have), err);
	for (uint64_t i = 0; i < matrix->rows; i++) {
		uint32_t found;

		oracle_normalise(matrix, i, stored);
		found = oracle_verify(&bed->oracle, stored, bed->sequence, subject, now, &want);
		assert_int_equal(found, err ? 0 : 1);
		if (!err && candidates_differ(&want, 1, &have[i], 1, why, sizeof(why)))
			fail_msg("seed %llu: subject %s, now %lld, probe %u: %s", (unsigned long long)test_seed(), subject,
				 (long long)now, (unsigned int)i, why);
	}
	if (err) {
		assert_memory_equal(have, before, matrix->rows * sizeof(*have));
		assert_int_equal(bed->messages.errors, 1);
		assert_true(messages_with(&bed->messages, subject) == 1);
	}
	free(stored);
	free(before);
	free(have);
}

/* 1200 rows of subjects "s0" to "s99", the first 1100 in segments; expiries around NOW. */
static struct bed *bed_of_subjects(uint32_t dim, enum lineup_store store, struct lineup_matrix *rows)
{
	static const int64_t expiries[] = { 0, 0, NOW - 1, NOW, NOW + 1 };
	struct rng rng = { test_seed() + dim };
	struct bed *bed = bed_open(dim, store);
	static char text[1200][8];
	static const char *names[1200];
	static int64_t expires[1200];

	*rows = rows_random(&rng, 1200, dim);
	for (uint32_t i = 0; i < 1200; i++) {
		snprintf(text[i], sizeof(text[i]), "s%u", rng_below(&rng, 100));
		names[i] = text[i];
		expires[i] = expiries[rng_below(&rng, ARRAY_SIZE(expiries))];
	}
	bed->ctx->record_bytes_max = 64 << 10;
	bed_enrol(bed, rows, 0, 700, names, NULL, expires);
	bed_enrol(bed, rows, 700, 400, names + 700, NULL, expires + 700);
	bed->ctx->record_bytes_max = 0;
	bed_enrol(bed, rows, 1100, 100, names + 1100, NULL, expires + 1100);
	return bed;
}

static void every_subject(uint32_t dim, enum lineup_store store)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows, probes = rows_random(&rng, 11, dim);
	struct bed *bed = bed_of_subjects(dim, store, &rows);
	float *stored = calloc(dim, sizeof(*stored));

	assert_non_null(stored);
	for (uint32_t i = 0; i < 100; i++) {
		struct lineup_candidate best;
		char name[8];

		/* All templates of a subject may have expired. */
		snprintf(name, sizeof(name), "s%u", i);
		check_verify(bed, &probes, name, NOW,
			     oracle_verify(&bed->oracle, stored, bed->sequence, name, NOW, &best) ? 0 : -ENOENT);
	}
	free(stored);
	bed_close(bed);
	rows_free(&rows);
	rows_free(&probes);
}

static void every_subject_is_verified_by_its_best_template(void **state)
{
	(void)state;
	every_subject(1, LINEUP_STORE_FLOAT32);
	every_subject(130, LINEUP_STORE_FLOAT32);
	every_subject(130, LINEUP_STORE_FLOAT16);
}

static void expiry_counts_to_the_second(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows, probes = rows_random(&rng, 3, 16);
	struct bed *bed = bed_of_subjects(16, LINEUP_STORE_FLOAT32, &rows);
	const char *one[] = { "mortal" };

	(void)state;
	for (int64_t now = NOW - 2; now <= NOW + 2; now++)
		check_verify(bed, &probes, "s7", now, 0);
	bed_enrol(bed, &rows, 0, 1, one, NULL, &(int64_t){ NOW });
	check_verify(bed, &probes, "mortal", NOW - 1, 0);
	check_verify(bed, &probes, "mortal", NOW, -ENOENT);
	/* By the clock it has been dead since 2023. */
	assert_int_equal(lineup_verify(bed->gallery, &probes, "mortal", 0, (struct lineup_candidate[3]){ 0 }), -ENOENT);
	bed_close(bed);
	rows_free(&rows);
	rows_free(&probes);
}

static void a_subject_that_is_not_there_is_not_found(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows, probes = rows_random(&rng, 2, 16);
	struct bed *bed = bed_of_subjects(16, LINEUP_STORE_FLOAT32, &rows);

	(void)state;
	check_verify(bed, &probes, "s", NOW, -ENOENT);
	check_verify(bed, &probes, "s100", NOW, -ENOENT);
	bed_delete_subject(bed, "s5");
	check_verify(bed, &probes, "s5", NOW, -ENOENT);
	bed_compact(bed);
	check_verify(bed, &probes, "s5", NOW, -ENOENT);
	check_verify(bed, &probes, "s6", NOW, 0);
	bed_close(bed);
	rows_free(&rows);
	rows_free(&probes);
}

static void deleted_templates_do_not_count(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows, probes = rows_random(&rng, 1, 16);
	struct bed *bed = bed_of_subjects(16, LINEUP_STORE_FLOAT32, &rows);
	float stored[16];
	struct lineup_candidate best;
	uint32_t deleted = 0;

	(void)state;
	oracle_normalise(&probes, 0, stored);
	while (oracle_verify(&bed->oracle, stored, bed->sequence, "s3", 1, &best)) {
		check_verify(bed, &probes, "s3", 1, 0);
		bed_delete_template(bed, best.template_id);
		deleted++;
	}
	assert_true(deleted > 3);
	check_verify(bed, &probes, "s3", 1, -ENOENT);
	bed_close(bed);
	rows_free(&rows);
	rows_free(&probes);
}

static void equal_templates_go_to_the_lower_id(void **state)
{
	struct bed *bed = bed_open(5, LINEUP_STORE_FLOAT32);
	struct lineup_matrix rows = rows_alloc(60, 5, LINEUP_FLOAT32);
	const char *names[60];

	(void)state;
	for (uint32_t i = 0; i < 60; i++) {
		for (uint32_t j = 0; j < 5; j++)
			rows_at(&rows, i)[j] = 1 + (float)(j * (i % 2));
		names[i] = i % 3 ? "a" : "b";
	}
	bed_enrol(bed, &rows, 0, 60, names, NULL, NULL);
	check_verify(bed, &rows, "a", NOW, 0);
	check_verify(bed, &rows, "b", NOW, 0);
	bed_close(bed);
	rows_free(&rows);
}

static void more_probes_than_share_a_pass_are_verified(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows, probes = rows_random(&rng, LINEUP_PROBES_MAX + 77, 16);
	struct bed *bed = bed_of_subjects(16, LINEUP_STORE_FLOAT32, &rows);

	(void)state;
	check_verify(bed, &probes, "s9", NOW, 0);
	check_verify(bed, &probes, "t9", NOW, -ENOENT);
	bed_close(bed);
	rows_free(&rows);
	rows_free(&probes);
}

static void float64_probes_are_verified(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows, probes = rows_alloc(9, 16, LINEUP_FLOAT64);
	struct bed *bed = bed_of_subjects(16, LINEUP_STORE_FLOAT32, &rows);

	(void)state;
	for (uint32_t i = 0; i < 9 * 16; i++)
		((double *)(uintptr_t)probes.data)[i] = rng_normal(&rng) * pow(10, (int)(i / 16) * 60 - 240);
	check_verify(bed, &probes, "s9", NOW, 0);
	bed_close(bed);
	rows_free(&rows);
	rows_free(&probes);
}

/* Refused with one message that says @reason, and no answer. */
static void refused(struct bed *bed, const struct lineup_matrix *probes, const char *subject, const char *reason)
{
	struct lineup_candidate have[4], before[4];

	memset(have, 0xa5, sizeof(have));
	memset(before, 0xa5, sizeof(before));
	messages_clear(&bed->messages);
	assert_int_equal(lineup_verify(bed->gallery, probes, subject, NOW, have), -EINVAL);
	assert_int_equal(bed->messages.errors, 1);
	if (!messages_with(&bed->messages, reason))
		fail_msg("the message does not say \"%s\": %s", reason, bed->messages.text[0]);
	assert_memory_equal(have, before, sizeof(before));
}

static void wrong_arguments_are_refused(void **state)
{
	struct rng rng = { test_seed() };
	struct lineup_matrix rows, probes = rows_random(&rng, 4, 16), other;
	struct bed *bed = bed_of_subjects(16, LINEUP_STORE_FLOAT32, &rows);
	char name[LINEUP_SUBJECT_BYTES_MAX + 2];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	refused(bed, &probes, name, "subject");
	refused(bed, &probes, "", "subject");
	refused(bed, &probes, "a\nb", "subject");
	other = probes;
	other.dim = 15;
	refused(bed, &other, "s1", "15");
	other = probes;
	other.dtype = (enum lineup_dtype)9;
	refused(bed, &other, "s1", "9");
	rows_at(&probes, 2)[3] = NAN;
	refused(bed, &probes, "s1", "NaN");
	assert_true(messages_with(&bed->messages, "2") == 1);
	bed_close(bed);
	rows_free(&rows);
	rows_free(&probes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_subject_is_verified_by_its_best_template),
		cmocka_unit_test(expiry_counts_to_the_second),
		cmocka_unit_test(a_subject_that_is_not_there_is_not_found),
		cmocka_unit_test(deleted_templates_do_not_count),
		cmocka_unit_test(equal_templates_go_to_the_lower_id),
		cmocka_unit_test(more_probes_than_share_a_pass_are_verified),
		cmocka_unit_test(float64_probes_are_verified),
		cmocka_unit_test(wrong_arguments_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
