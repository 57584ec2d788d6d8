// SPDX-License-Identifier: MIT
// The in-band format: each condition of validity broken alone, where blocks may stand, and the plug-in that reads them in its
// process.
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture.h"
#include "inband.h"
#include "inband_bed.h"
#include "search_bed.h"

enum { COUNT = 3, DIM = 5, ENTRY = 24 + 4 * DIM, BYTES = 96 + COUNT * ENTRY + 4 };

static const uint8_t digest[32] = { 1, 2, 3 };

static const char *read_block(const uint8_t *block, uint64_t size)
{
	struct lineup_inband b;

	return lineup_inband_read(block, size, 0, &b);
}

static void a_valid_block_reads_as_it_was_written(void **state)
{
	uint8_t block[BYTES];
	struct lineup_inband b;

	(void)state;
	inband_make(block, COUNT, DIM, digest);
	assert_null(lineup_inband_read(block, BYTES, 0, &b));
	assert_int_equal(b.header.count, COUNT);
	assert_int_equal(b.header.dim, DIM);
	assert_memory_equal(b.header.model_digest, digest, 32);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct lineup_inband_entry e;
		float v[DIM];

		lineup_inband_entry(&b, i, &e, v);
		assert_true(e.x == (float)i && e.y == (float)(2 * i) && e.width == 10 && e.height == 20 &&
			    e.quality == (float)(i + 1) / 256);
		for (uint32_t d = 0; d < DIM; d++)
			assert_true(v[d] == (float)(1 + i + d));
	}
}

static void no_entries_are_valid_too(void **state)
{
	uint8_t block[100];

	(void)state;
	inband_make(block, 0, 4096, digest);
	assert_int_equal(inband_crc(block, 0), 0);
	assert_null(read_block(block, 100));
}

static void every_flipped_bit_is_found(void **state)
{
	uint8_t block[BYTES];

	(void)state;
	inband_make(block, COUNT, DIM, digest);
	for (uint32_t bit = 0; bit < 8 * BYTES; bit++) {
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!read_block(block, BYTES))
			fail_msg("bit %u", bit);
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_null(read_block(block, BYTES));
}

static void every_shorter_frame_is_refused(void **state)
{
	uint8_t block[BYTES];

	(void)state;
	inband_make(block, COUNT, DIM, digest);
	for (uint32_t size = 0; size < BYTES; size++)
		assert_non_null(read_block(block, size));
}

/* The CRCs are right in each of these; one condition is not. */
static void each_condition_is_looked_at(void **state)
{
	static const struct {
		uint32_t at, value;
		const char *text;
	} numbers[] = {
		{ 8, 2 | 96 << 16, "another version" },   { 8, 1 | 97 << 16, "does not have" },    { 28, 1, "does not have" },
		{ 88, 1, "does not have" },               { 12, BYTES + 1, "do not follow" },      { 16, 257, "more than 256" },
		{ 16, COUNT - 1, "do not follow" },       { 20, 0, "dimension" },                  { 20, 4097, "dimension" },
		{ 24, ENTRY + 4, "do not follow" },       { 80, 0, "pixels" },                     { 84, 65537, "pixels" },
		{ 96 + 20, 1, "does not have" },          { 24, 0, "do not follow" },
	};
	static const struct {
		uint32_t at;
		float value;
		const char *text;
	} floats[] = {
		{ 96, NAN, "box" },            { 96, -1, "box" },              { 96, 631, "box" },
		{ 96 + 4, 461, "box" },        { 96 + 8, 0, "box" },
		{ 96 + 8, INFINITY, "box" },   { 96 + 12, -20, "box" },        { 96 + 16, NAN, "quality" },
		{ 96 + 16, 1.5f, "quality" },
		{ 96 + 16, -0.5f, "quality" }, { 96 + 24, NAN, "not finite" }, { 96 + ENTRY + 24 + 16, -INFINITY, "not finite" },
	};
	uint8_t block[BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		inband_make(block, COUNT, DIM, digest);
		inband_put(block + numbers[i].at, numbers[i].value);
		inband_seal(block, COUNT, DIM);
		if (!read_block(block, BYTES) || !strstr(read_block(block, BYTES), numbers[i].text))
			fail_msg("number %zu: %s", i, read_block(block, BYTES) ? read_block(block, BYTES) : "accepted");
	}
	for (size_t i = 0; i < ARRAY_SIZE(floats); i++) {
		inband_make(block, COUNT, DIM, digest);
		inband_put_float(block + floats[i].at, floats[i].value);
		inband_seal(block, COUNT, DIM);
		if (!read_block(block, BYTES) || !strstr(read_block(block, BYTES), floats[i].text))
			fail_msg("float %zu: %s", i, read_block(block, BYTES) ? read_block(block, BYTES) : "accepted");
	}
	inband_make(block, COUNT, DIM, digest);
	memset(block + 96 + 2 * ENTRY + 24, 0, 4 * DIM);
	inband_seal(block, COUNT, DIM);
	assert_string_equal(read_block(block, BYTES), "a vector of only zeros");
}

static void a_block_stands_first_or_behind_the_image(void **state)
{
	enum { IMAGE = 1000, BEHIND = 1024 };
	uint8_t frame[BEHIND + BYTES];
	struct lineup_inband b;

	(void)state;
	memset(frame, 0, sizeof(frame));
	inband_make(frame + BEHIND, COUNT, DIM, digest);
	assert_null(lineup_inband_read(frame, sizeof(frame), IMAGE, &b));
	assert_ptr_equal(b.entries, frame + BEHIND + 96);
	assert_non_null(lineup_inband_read(frame, sizeof(frame), IMAGE - 64, &b));
	assert_non_null(lineup_inband_read(frame, sizeof(frame), 0, &b));
	/* Only inside the frame, whatever is said of the image. */
	assert_non_null(lineup_inband_read(frame, sizeof(frame), sizeof(frame), &b));
	assert_non_null(lineup_inband_read(frame, sizeof(frame), UINT64_MAX, &b));
	inband_make(frame, 1, DIM, digest);
	assert_null(lineup_inband_read(frame, sizeof(frame), IMAGE, &b));
	assert_ptr_equal(b.entries, frame + 96);
}

/* ---- the plug-in ---- */

static void the_plugin_delivers_what_the_card_did(void **state)
{
	enum { WIDTH = 320, HEIGHT = 60, MAX = 2 }; /* the card's image is twice as wide and eight times as high */
	struct messages messages = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct lineup_ctx_options context = { .size = sizeof(context), .log = messages_log, .log_arg = &messages };
	struct lineup_frames_options pool = {
		.size = sizeof(pool), .kind = LINEUP_FRAMES_MEMORY, .frame_bytes = WIDTH * HEIGHT, .count = 1
	};
	struct lineup_extractor_options o = { .size = sizeof(o), .dim = DIM, .path = "inband", .templates_max = MAX };
	struct lineup_shot shot = { .width = WIDTH, .height = HEIGHT, .stride = WIDTH, .bytes = WIDTH * HEIGHT };
	char directory[PATH_MAX + 16] = "";
	struct lineup_extraction x;
	struct lineup_extractor *e;
	struct lineup_frames *frames;
	struct lineup_ctx *ctx;
	uint8_t *data;

	(void)state;
	if (strcmp(lineup_extractor_support(), "yes"))
		skip();
	assert_true(readlink("/proc/self/exe", directory, PATH_MAX) > 0);
	for (int i = 0; i < 3; i++)
		*strrchr(directory, '/') = 0;
	strcat(directory, "/extractors");
	o.directory = directory;
	memcpy(o.model_digest, digest, 32);
	assert_int_equal(lineup_ctx_create(&context, &ctx), 0);
	assert_int_equal(lineup_frames_create(ctx, &pool, &frames), 0);
	assert_int_equal(lineup_frame_take(frames, &shot.frame), 0);
	assert_int_equal(lineup_frame_map(shot.frame, (void **)&data), 0);
	assert_int_equal(lineup_extractor_create(ctx, &o, &e), 0);

	/* Three templates where there is room for two: the best two, by quality, which rises. */
	inband_make(data, COUNT, DIM, digest);
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_DONE);
	assert_int_equal(x.count, MAX);
	assert_true(x.vectors[0] == 3 && x.vectors[DIM] == 2);
	assert_true(x.faces[0].x == 1 && x.faces[0].y == 0.5f && x.faces[0].width == 5 && x.faces[0].height == 2.5f);

	inband_make(data, 0, DIM, digest);
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_true(x.fate == LINEUP_FATE_DONE && x.count == 0);

	memset(data, 0, WIDTH * HEIGHT);
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_REFUSED);

	inband_make(data, 1, DIM + 1, digest);
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_MODEL);
	inband_make(data, 1, DIM, (const uint8_t[32]){ 1, 2, 4 });
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_MODEL);

	inband_make(data, 2, DIM, digest);
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_true(x.fate == LINEUP_FATE_DONE && x.count == 2 && x.vectors[0] == 1 && x.vectors[DIM] == 2);
	lineup_extractor_destroy(e);
	lineup_frame_put(shot.frame);
	lineup_frames_destroy(frames);
	lineup_ctx_destroy(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_valid_block_reads_as_it_was_written),
		cmocka_unit_test(no_entries_are_valid_too),
		cmocka_unit_test(every_flipped_bit_is_found),
		cmocka_unit_test(every_shorter_frame_is_refused),
		cmocka_unit_test(each_condition_is_looked_at),
		cmocka_unit_test(a_block_stands_first_or_behind_the_image),
		cmocka_unit_test(the_plugin_delivers_what_the_card_did),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
