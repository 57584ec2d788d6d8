// SPDX-License-Identifier: MIT
// A gallery's life in one process: rows go in through the journal and in bulk, come out again, are deleted and compacted.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gallery.h"

enum { DIM = 64 };

static char last_message[1024];
static char directory[64];

static void keep_message(void *arg, enum lineup_log_level level, const char *message)
{
	(void)arg;
	(void)level;
	snprintf(last_message, sizeof(last_message), "%s", message);
}

static struct lineup_ctx *context(void)
{
	struct lineup_ctx_options options = { .size = sizeof(options), .log = keep_message };
	struct lineup_ctx *ctx = NULL;

	assert_int_equal(lineup_ctx_create(&options, &ctx), 0);
	return ctx;
}

static int make_directory(void **state)
{
	*state = NULL;
	snprintf(directory, sizeof(directory), "/tmp/lineup-gallery-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	return rmdir(directory);
}

static int remove_directory(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static struct lineup_gallery *create(struct lineup_ctx *ctx, enum lineup_store store)
{
	struct lineup_gallery_create_options options = { .size = sizeof(options), .dim = DIM, .store = store, .model = "test" };
	struct lineup_gallery *g = NULL;

	assert_int_equal(lineup_gallery_create(ctx, directory, &options, &g), 0);
	return g;
}

static struct lineup_gallery *reopen(struct lineup_ctx *ctx, uint32_t flags)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = flags };
	struct lineup_gallery *g = NULL;
	int err = lineup_gallery_open(ctx, directory, &options, &g);

	if (err)
		print_error("%s\n", last_message);
	assert_int_equal(err, 0);
	return g;
}

static float component(uint64_t row, uint32_t i)
{
	uint64_t x = (row * DIM + i + 1) * 0x9e3779b97f4a7c15u;

	x ^= x >> 29;
	return (float)(int32_t)(x * 0xbf58476d1ce4e5b9u >> 32) / 0x1p31f;
}

/* Rows first, first + 1 ... named by @names (subject n of them: "s<n>"), or by themselves. */
static struct lineup_enrol_result enrol(struct lineup_gallery *g, uint64_t first, uint64_t rows, uint64_t names, uint64_t batch)
{
	struct lineup_enrol_result result;
	struct lineup_enrol *e = NULL;
	float *data = malloc(batch * DIM * sizeof(*data));
	char (*name)[32] = malloc(batch * sizeof(*name));
	const char **subjects = malloc(batch * sizeof(*subjects));
	int err;

	assert_int_equal(lineup_enrol_begin(g, NULL, &e), 0);
	for (uint64_t done = 0; done < rows; done += batch) {
		uint64_t n = rows - done < batch ? rows - done : batch;
		struct lineup_enrol_batch b = { .vectors = { data, n, DIM, LINEUP_FLOAT32 }, .subjects = names ? subjects : NULL };

		for (uint64_t i = 0; i < n; i++) {
			for (uint32_t c = 0; c < DIM; c++)
				data[i * DIM + c] = component(first + done + i, c);
			snprintf(name[i], sizeof(name[i]), "s%llu", (unsigned long long)((first + done + i) % (names ? names : 1)));
			subjects[i] = name[i];
		}
		err = lineup_enrol_add(e, &b);
		if (err)
			print_error("%s\n", last_message);
		assert_int_equal(err, 0);
	}
	err = lineup_enrol_commit(e, &result);
	if (err)
		print_error("%s\n", last_message);
	assert_int_equal(err, 0);
	free(data);
	free(name);
	free(subjects);
	return result;
}

struct seen {
	uint64_t rows;
	uint64_t names;
	uint64_t id;
};

static int see(void *arg, const struct lineup_template *t)
{
	struct seen *seen = arg;
	char name[32];
	double dot = 0, norm = 0;

	snprintf(name, sizeof(name), seen->names ? "s%llu" : "%llu",
		 (unsigned long long)(seen->names ? t->id % seen->names : t->id));
	assert_string_equal(t->subject, name);
	assert_true(!seen->rows || t->id > seen->id);
	for (uint32_t c = 0; c < DIM; c++) {
		double x = (double)component(t->id, c);

		dot += x * (double)t->vector[c];
		norm += x * x;
	}
	assert_true(dot * dot / norm > 0.999 && dot * dot / norm < 1.001);
	seen->id = t->id;
	seen->rows++;
	return 0;
}

static void assert_holds(struct lineup_gallery *g, uint64_t rows, uint64_t names)
{
	struct seen seen = { .names = names };
	int err = lineup_gallery_read(g, see, &seen);

	if (err)
		print_error("%s\n", last_message);
	assert_int_equal(err, 0);
	assert_int_equal(seen.rows, rows);
}

static struct lineup_gallery_info info_of(struct lineup_gallery *g)
{
	struct lineup_gallery_info info;

	lineup_gallery_info(g, &info);
	return info;
}

static void assert_sound(struct lineup_gallery *g)
{
	int err = lineup_gallery_check(g, NULL, NULL);

	if (err)
		print_error("%s\n", last_message);
	assert_int_equal(err, 0);
}

static void rows_of_the_journal_survive_a_reopen(void **state)
{
	struct lineup_ctx *ctx = context();
	struct lineup_gallery *g = create(ctx, LINEUP_STORE_FLOAT32);
	struct lineup_gallery_info before;

	(void)state;
	for (int i = 0; i < 30; i++)
		enrol(g, (uint64_t)i * 50, 50, 7, 50);
	before = info_of(g);
	assert_holds(g, 1500, 7);
	lineup_gallery_close(g);
	g = reopen(ctx, 0);
	assert_holds(g, 1500, 7);
	assert_int_equal(info_of(g).subjects, 7);
	assert_int_equal(info_of(g).sequence, 30);
	assert_memory_equal(info_of(g).digest, before.digest, sizeof(before.digest));
	assert_sound(g);
	lineup_gallery_close(g);
	lineup_ctx_destroy(ctx);
}

static void rows_in_bulk_are_the_same_history_as_in_the_journal(void **state)
{
	struct lineup_ctx *ctx = context();
	struct lineup_gallery *g = create(ctx, LINEUP_STORE_FLOAT16);

	(void)state;
	enrol(g, 0, 1000, 60000, 100);
	enrol(g, 1000, 199000, 60000, 7777);
	assert_holds(g, 200000, 60000);
	assert_int_equal(info_of(g).subjects, 60000);
	assert_int_equal(info_of(g).sequence, 2);
	lineup_gallery_close(g);
	g = reopen(ctx, LINEUP_GALLERY_WRITE);
	assert_holds(g, 200000, 60000);
	enrol(g, 200000, 10, 60000, 10);
	assert_int_equal(info_of(g).subjects, 60000);
	assert_sound(g);
	lineup_gallery_close(g);
	lineup_ctx_destroy(ctx);
}

static void deleted_rows_are_gone_and_stay_gone(void **state)
{
	struct lineup_ctx *ctx = context();
	struct lineup_gallery *g = create(ctx, LINEUP_STORE_FLOAT32), *reader;
	struct lineup_delete_options options = { .size = sizeof(options), .what = LINEUP_DELETE_SUBJECT, .subject = "s3" };
	struct lineup_delete_result result;
	struct lineup_compact_result compacted;
	struct lineup_gallery_info before;

	(void)state;
	enrol(g, 0, 50000, 100, 1000);
	enrol(g, 50000, 1000, 100, 1000);
	reader = reopen(ctx, 0);
	assert_int_equal(lineup_gallery_delete(g, &options, &result), 0);
	assert_int_equal(result.rows, 510);
	assert_int_equal(lineup_gallery_delete(g, &options, &result), -ENOENT);
	options.what = LINEUP_DELETE_TEMPLATE;
	options.template_id = 77;
	assert_int_equal(lineup_gallery_delete(g, &options, &result), 0);
	options.template_id = 50077;
	assert_int_equal(lineup_gallery_delete(g, &options, &result), 0);
	assert_int_equal(lineup_gallery_delete(g, &options, &result), -ENOENT);
	assert_int_equal(info_of(g).subjects, 99);
	assert_holds(g, 50488, 100);
	assert_holds(reader, 51000, 100);
	assert_sound(g);
	before = info_of(g);
	assert_int_equal(lineup_gallery_compact(g, NULL, NULL, &compacted), 0);
	assert_int_equal(compacted.rows_dropped, 512);
	assert_true(compacted.files_held > 0);
	assert_holds(g, 50488, 100);
	assert_holds(reader, 51000, 100);
	assert_int_equal(lineup_gallery_refresh(reader), 0);
	assert_holds(reader, 50488, 100);
	assert_memory_equal(info_of(reader).digest, before.digest, sizeof(before.digest));
	assert_sound(reader);
	lineup_gallery_close(reader);
	assert_int_equal(lineup_gallery_compact(g, NULL, NULL, &compacted), 0);
	assert_int_equal(compacted.files_held, 0);
	lineup_gallery_close(g);
	g = reopen(ctx, LINEUP_GALLERY_WRITE);
	assert_holds(g, 50488, 100);
	options.template_id = 40000;
	assert_int_equal(lineup_gallery_delete(g, &options, &result), 0);
	assert_holds(g, 50487, 100);
	lineup_gallery_close(g);
	lineup_ctx_destroy(ctx);
}

static void a_long_journal_becomes_a_segment(void **state)
{
	struct lineup_ctx *ctx = context();
	struct lineup_gallery *g = create(ctx, LINEUP_STORE_FLOAT32);
	struct lineup_enrol_result r = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 60; i++)
		r = enrol(g, i * 5000, 5000, 1000, 5000);
	assert_int_equal(r.sequence, 60);
	assert_true(info_of(g).segments >= 1 && info_of(g).segments < 6);
	assert_true(info_of(g).journal_bytes <= LINEUP_JOURNAL_SEAL_BYTES);
	assert_int_equal(info_of(g).subjects, 1000);
	assert_holds(g, 300000, 1000);
	assert_sound(g);
	lineup_gallery_close(g);
	lineup_ctx_destroy(ctx);
}

/* One row more than a record of the journal holds, then as many as it holds. */
static void an_enrolment_too_long_for_a_record_becomes_a_segment(void **state)
{
	struct lineup_ctx *ctx = context();
	struct lineup_gallery *g = create(ctx, LINEUP_STORE_FLOAT32);
	uint32_t record_bytes = sizeof(struct disk_record) + DIM * sizeof(float);
	uint64_t most = (LINEUP_RECORD_BYTES_MAX - sizeof(struct disk_journal_record) - LINEUP_LISTS_MAX * sizeof(struct disk_list)) / record_bytes;
	float *data = calloc(most + 1, DIM * sizeof(*data));

	(void)state;
	assert_non_null(data);
	for (uint64_t i = 0; i < (most + 1) * DIM; i++)
		data[i] = component(i / DIM, i % DIM);
	for (uint64_t rows = most + 1; rows >= most; rows--) {
		struct lineup_enrol_batch batch = { .vectors = { data, rows, DIM, LINEUP_FLOAT32 } };
		struct lineup_enrol *e = NULL;

		assert_int_equal(lineup_enrol_begin(g, NULL, &e), 0);
		assert_int_equal(lineup_enrol_add(e, &batch), 0);
		assert_int_equal(lineup_enrol_commit(e, NULL), 0);
		assert_int_equal(info_of(g).journal_templates, rows == most ? most : 0);
		assert_int_equal(info_of(g).segments, 1);
	}
	assert_int_equal(info_of(g).templates, 2 * most + 1);
	assert_int_equal(lineup_gallery_check(g, NULL, NULL), 0);
	lineup_gallery_close(g);
	free(data);
	lineup_ctx_destroy(ctx);
}

static void a_repeated_op_id_changes_nothing(void **state)
{
	struct lineup_ctx *ctx = context();
	struct lineup_gallery *g = create(ctx, LINEUP_STORE_FLOAT32);
	struct lineup_enrol_options options = { .size = sizeof(options), .op_id = { 1, 2, 3 } };
	float data[DIM] = { 1 };
	struct lineup_enrol_batch batch = { .vectors = { data, 1, DIM, LINEUP_FLOAT32 } };

	(void)state;
	for (int round = 0; round < 3; round++) {
		struct lineup_enrol_result result;
		struct lineup_enrol *e = NULL;

		assert_int_equal(lineup_enrol_begin(g, &options, &e), 0);
		assert_int_equal(lineup_enrol_add(e, &batch), 0);
		assert_int_equal(lineup_enrol_commit(e, &result), 0);
		assert_int_equal(result.sequence, 1);
		assert_int_equal(result.rows, 1);
		assert_int_equal(result.repeated, round > 0);
		if (round == 1)
			assert_int_equal(lineup_gallery_compact(g, NULL, NULL, NULL), 0);
	}
	assert_int_equal(info_of(g).templates, 1);
	lineup_gallery_close(g);
	lineup_ctx_destroy(ctx);
}

static void a_second_writer_is_refused_by_the_holders_name(void **state)
{
	struct lineup_ctx *ctx = context();
	struct lineup_gallery *g = create(ctx, LINEUP_STORE_FLOAT32), *second = NULL;
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = LINEUP_GALLERY_WRITE };
	char pid[32];

	(void)state;
	assert_int_equal(lineup_gallery_open(ctx, directory, &options, &second), -EBUSY);
	snprintf(pid, sizeof(pid), "process %ld ", (long)getpid());
	assert_non_null(strstr(last_message, pid));
	lineup_gallery_close(g);
	lineup_ctx_destroy(ctx);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(rows_of_the_journal_survive_a_reopen),
		CASE(rows_in_bulk_are_the_same_history_as_in_the_journal),
		CASE(deleted_rows_are_gone_and_stay_gone),
		CASE(a_long_journal_becomes_a_segment),
		CASE(an_enrolment_too_long_for_a_record_becomes_a_segment),
		CASE(a_repeated_op_id_changes_nothing),
		CASE(a_second_writer_is_refused_by_the_holders_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
