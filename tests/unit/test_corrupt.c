// SPDX-License-Identifier: MIT
// No wrong byte anywhere in a gallery passes: each is flipped, files are cut and lengthened, exchanged, and of a newer version.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "victim.h"
#include "under_sanitizer.h"

/* As a writer, who must not take it for less than it is. -EBADMSG is for the first fault met, 0 for one that only check finds. */
static void writer_refuses(struct victim *s, const struct victim_file *f, size_t offset)
{
	struct lineup_gallery *gallery;
	int err = victim_open(s, LINEUP_GALLERY_WRITE, &gallery);
	char why[LEDGER_WHY_BYTES];

	if (!err) {
		const char *differs = ledger_differs(&s->history[SETUP], gallery, s->digest[SETUP], why);

		lineup_gallery_close(gallery);
		REQUIRE(s, !differs || !strncmp(f->name, "segment", 7), "%s offset %zu: a writer opens it: %s", f->name, offset, differs);
	}
}

/* ---- flipped bytes ------------------------------------------------------------------------------------------------------ */

static uint64_t flip_file(struct victim *s, const struct victim_file *f, bool full, size_t stride)
{
	uint64_t flips = 0;

	for (size_t i = 0; i < f->size; i += stride) {
		uint8_t byte = f->data[i] ^ (uint8_t)(1 + (i * 37 + 11) % 255);
		int err;

		if (!victim_worth(f, i, full))
			continue;
		victim_write(f, &byte, 1, i);
		err = victim_detect(s);
		REQUIRE(s, err == -EBADMSG || (err == -ENOTSUP && victim_in_version(f, i)), "%s: byte %zu of %zu flipped (%02x to %02x): %d", f->name,
			i, f->size, f->data[i], byte, err);
		REQUIRE(s, victim_names(s, f), "%s: byte %zu: the message names another file", f->name, i);
		if (i % 97 == 0)
			writer_refuses(s, f, i);
		victim_write(f, &f->data[i], 1, i);
		flips++;
	}
	return flips;
}

static void flip_everywhere(enum lineup_store store, size_t stride)
{
	bool full = getenv("LINEUP_TEST_FULL") != NULL;
	uint64_t flips = 0, bytes = 0;
	struct victim s;

	victim_begin(&s, store);
	assert_int_equal(victim_detect(&s), 0);
	victim_find(&s, "MANIFEST");
	victim_find(&s, "segment");
	victim_find(&s, "deleted");
	victim_find(&s, "journal");
	for (size_t i = 0; i < s.files; i++) {
		flips += flip_file(&s, &s.file[i], full, full ? 1 : UNDER_SANITIZER ? 7 * stride : stride);
		bytes += s.file[i].size;
	}
	assert_int_equal(victim_detect(&s), 0);
	print_message("             %llu of %llu bytes in %zu files\n", (unsigned long long)flips, (unsigned long long)bytes, s.files);
	victim_end(&s);
}

static void every_flipped_byte_is_found_float32(void **state)
{
	(void)state;
	flip_everywhere(LINEUP_STORE_FLOAT32, 1);
}

static void every_flipped_byte_is_found_float16(void **state)
{
	(void)state;
	flip_everywhere(LINEUP_STORE_FLOAT16, 5); /* an odd number meets every place of an array in turn */
}

/* ---- cut and lengthened ------------------------------------------------------------------------------------------------- */

static void cut_file(struct victim *s, const struct victim_file *f)
{
	for (size_t size = 0; size < f->size; size += size + 1 == f->size || size < 300 ? 1 : (f->size - size > 700 ? 509 : 1)) {
		int err;

		assert_int_equal(truncate(f->path, (off_t)size), 0);
		err = victim_detect(s);
		REQUIRE(s, err == -EBADMSG, "%s cut to %zu of %zu bytes: %d", f->name, size, f->size, err);
		REQUIRE(s, victim_names(s, f), "%s cut: the message names another file", f->name);
		victim_restore(f);
	}
}

static void a_cut_file_is_found(void **state)
{
	struct victim s;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	for (size_t i = 0; i < s.files; i++)
		if (strncmp(s.file[i].name, "journal", 7))
			cut_file(&s, &s.file[i]);
	assert_int_equal(victim_detect(&s), 0);
	victim_end(&s);
}

static void an_appended_byte_is_found(void **state)
{
	static const uint8_t garbage[4096] = { 1, 2, 3 };
	static const size_t sizes[] = { 1, 512, 4096 };
	struct victim s;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	for (size_t i = 0; i < s.files; i++)
		for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
			const struct victim_file *f = &s.file[i];
			int err;

			/* What does not fill a frame is the end of a write that was cut off. */
			if (sizes[k] < LINEUP_FRAME_BYTES && !strncmp(f->name, "journal", 7))
				continue;
			victim_write(f, garbage, sizes[k], f->size);
			err = victim_detect(&s);
			REQUIRE(&s, err == -EBADMSG, "%s with %zu more bytes: %d", f->name, sizes[k], err);
			REQUIRE(&s, victim_names(&s, f), "%s: the message names another file", f->name);
			victim_restore(f);
		}
	assert_int_equal(victim_detect(&s), 0);
	victim_end(&s);
}

static void a_missing_file_is_found(void **state)
{
	struct victim s;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	for (size_t i = 0; i < s.files; i++) {
		const struct victim_file *f = &s.file[i];
		char aside[PATH_MAX + 160];
		bool manifest = !strcmp(f->name, "MANIFEST");
		int err;

		snprintf(aside, sizeof(aside), "%s/aside", s.base);
		assert_int_equal(rename(f->path, aside), 0);
		err = victim_detect(&s);
		REQUIRE(&s, err == (manifest ? -ENOENT : -EBADMSG), "%s is missing: %d", f->name, err);
		REQUIRE(&s, manifest || victim_names(&s, f), "%s: the message names another file", f->name);
		assert_int_equal(rename(aside, f->path), 0);
	}
	assert_int_equal(victim_detect(&s), 0);
	victim_end(&s);
}

/* ---- the journal's end -------------------------------------------------------------------------------------------------- */

/* 0..SETUP: the state of the history that opens; -1: it is refused. */
static int state_opened(struct victim *s, uint32_t flags, const char *what, size_t at)
{
	struct lineup_gallery *gallery;
	int err, found = -1;

	ledger_log_clear(&s->log);
	err = victim_open(s, flags, &gallery);
	REQUIRE(s, !err || err == -EBADMSG, "%s at %zu: open: %d", what, at, err);
	if (err)
		return -1;
	err = lineup_gallery_check(gallery, NULL, NULL);
	REQUIRE(s, !err, "%s at %zu: opens, but check: %d", what, at, err);
	for (int i = 0; i <= SETUP; i++) {
		char why[LEDGER_WHY_BYTES];

		if (!ledger_differs(&s->history[i], gallery, s->digest[i], why))
			found = i;
	}
	lineup_gallery_close(gallery);
	REQUIRE(s, found >= 0, "%s at %zu: a state that never was", what, at);
	return found;
}

static uint32_t frame_batch(const struct victim_file *f, size_t frame)
{
	struct disk_frame disk;

	memcpy(&disk, f->data + frame * LINEUP_FRAME_BYTES, sizeof(disk));
	return disk.batch;
}

/* A cut journal is one of a crash: what is there opens, in whole operations, and a writer says that it cuts an end off. */
static void a_cut_journal_opens_at_a_whole_operation_or_not_at_all(void **state)
{
	struct victim s;
	const struct victim_file *f;
	int previous = 0, state_at;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	f = victim_find(&s, "journal");
	assert_int_equal(f->size % LINEUP_FRAME_BYTES, 0);
	for (size_t size = 0; size <= f->size; size += size % LINEUP_FRAME_BYTES < 2 ? 1 : 51) { /* meets all multiples: 2 + 10 * 51 */
		assert_int_equal(truncate(f->path, (off_t)size), 0);
		state_at = state_opened(&s, 0, "a journal cut", size);
		REQUIRE(&s, size >= LINEUP_FRAME_BYTES || state_at < 0, "a journal of %zu bytes opens", size);
		REQUIRE(&s, size % LINEUP_FRAME_BYTES || size < LINEUP_FRAME_BYTES || state_at >= 0, "a journal of %zu bytes is refused", size);
		REQUIRE(&s, state_at < 0 || state_at >= previous, "a longer journal holds less");
		if (state_at > previous)
			previous = state_at;
		if (state_at >= 0) {
			size_t frames = size / LINEUP_FRAME_BYTES;
			struct disk_frame last;

			memcpy(&last, f->data + (frames - 1) * LINEUP_FRAME_BYTES, sizeof(last));
			assert_int_equal(state_opened(&s, LINEUP_GALLERY_WRITE, "a journal cut, a writer", size), state_at);
			REQUIRE(&s, s.log.warnings == (size % LINEUP_FRAME_BYTES || (frames > 1 && !(last.flags & LINEUP_FRAME_LAST))),
				"a journal of %zu bytes: %u warnings", size, s.log.warnings);
			assert_int_equal(state_opened(&s, LINEUP_GALLERY_WRITE, "a journal cut, the next writer", size), state_at);
			REQUIRE(&s, !s.log.warnings, "the end is cut off twice");
		}
		victim_restore(f);
	}
	assert_int_equal(previous, SETUP);
	victim_end(&s);
}

/* A frame that is not there is the end of the journal only if nothing that was acknowledged later is behind it. */
static void a_hole_in_the_journal_is_found(void **state)
{
	static const uint8_t zeros[LINEUP_FRAME_BYTES];
	struct victim s;
	const struct victim_file *f;
	size_t frames;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	f = victim_find(&s, "journal");
	frames = f->size / LINEUP_FRAME_BYTES;
	assert_true(frames > 5 && frame_batch(f, frames - 1) > frame_batch(f, 1));
	for (size_t i = 0; i < frames; i++) {
		bool newest = i && frame_batch(f, i) == frame_batch(f, frames - 1);
		int found;

		victim_write(f, zeros, sizeof(zeros), i * LINEUP_FRAME_BYTES);
		found = state_opened(&s, 0, "a journal with a hole", i);
		REQUIRE(&s, found == (newest ? SETUP - 1 : -1), "frame %zu of %zu is zero: state %d", i, frames, found);
		if (!newest)
			assert_int_equal(state_opened(&s, LINEUP_GALLERY_WRITE, "a hole, a writer", i), -1);
		victim_write(f, f->data + i * LINEUP_FRAME_BYTES, LINEUP_FRAME_BYTES, i * LINEUP_FRAME_BYTES);
	}
	assert_int_equal(victim_detect(&s), 0);
	victim_end(&s);
}

static void frames_in_another_order_are_found(void **state)
{
	struct victim s;
	const struct victim_file *f;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	f = victim_find(&s, "journal");
	for (size_t i = 0; i + 1 < f->size / LINEUP_FRAME_BYTES; i++) {
		const uint8_t *a = f->data + i * LINEUP_FRAME_BYTES, *b = a + LINEUP_FRAME_BYTES;

		victim_write(f, b, LINEUP_FRAME_BYTES, i * LINEUP_FRAME_BYTES);
		victim_write(f, a, LINEUP_FRAME_BYTES, (i + 1) * LINEUP_FRAME_BYTES);
		assert_int_equal(victim_detect(&s), -EBADMSG);
		victim_restore(f);
	}
	assert_int_equal(victim_detect(&s), 0);
	victim_end(&s);
}

/* Zeros, and what does not fill a frame. */
static void a_write_that_did_not_happen_leaves_the_journal_as_it_was(void **state)
{
	static const uint8_t zeros[4096], piece[] = { 1, 2, 3 };
	const struct { const void *data; size_t size; } tails[] = { { zeros, sizeof(zeros) }, { zeros, 3 }, { piece, sizeof(piece) } };
	struct victim s;
	const struct victim_file *f;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	f = victim_find(&s, "journal");
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		victim_write(f, tails[i].data, tails[i].size, f->size);
		assert_int_equal(state_opened(&s, 0, "a tail", i), SETUP);
		assert_int_equal(state_opened(&s, LINEUP_GALLERY_WRITE, "a tail, a writer", i), SETUP);
		assert_int_equal(state_opened(&s, 0, "a tail, after the writer", i), SETUP);
		victim_restore(f);
	}
	victim_end(&s);
}

/* ---- files of others ---------------------------------------------------------------------------------------------------- */

static void files_of_another_gallery_are_found(void **state)
{
	struct victim s, other;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	victim_begin(&other, LINEUP_STORE_FLOAT32);
	assert_int_equal(s.files, other.files);
	for (size_t i = 0; i < s.files; i++) {
		const struct victim_file *f = &s.file[i], *foreign = victim_find(&other, f->name);
		int err;

		assert_int_equal(truncate(f->path, 0), 0);
		victim_write(f, foreign->data, foreign->size, 0);
		err = victim_detect(&s);
		REQUIRE(&s, err == -EBADMSG, "%s of another gallery: %d", f->name, err);
		victim_restore(f);
	}
	victim_end(&other);
	victim_end(&s);
}

/* ---- newer versions ----------------------------------------------------------------------------------------------------- */

static void put32(uint8_t *p, uint32_t value)
{
	memcpy(p, &value, sizeof(value));
}

/* With the right checksum and with the old one: a newer version may well compute it otherwise. */
static void newer(struct victim *s, const char *kind, size_t crc_bytes)
{
	const struct victim_file *f = victim_find(s, kind);
	uint8_t *data = malloc(f->size);
	size_t version = offsetof(struct disk_manifest, version), crc = offsetof(struct disk_manifest, crc);
	int err;

	assert_non_null(data);
	memcpy(data, f->data, f->size);
	put32(data + version, LINEUP_FORMAT_VERSION + 1);
	victim_write(f, data, f->size, 0);
	err = victim_detect(s);
	REQUIRE(s, err == -ENOTSUP, "%s of a newer version: %d", f->name, err);
	REQUIRE(s, victim_names(s, f), "%s: the message names another file", f->name);
	put32(data + crc, 0);
	put32(data + crc, lineup_crc32c(0, data, crc_bytes ? crc_bytes : f->size));
	victim_write(f, data, f->size, 0);
	err = victim_detect(s);
	REQUIRE(s, err == -ENOTSUP, "%s of a newer version, checksum right: %d", f->name, err);
	put32(data + version, 0);
	victim_write(f, data, f->size, 0);
	err = victim_detect(s);
	REQUIRE(s, err == -EBADMSG, "%s of version 0: %d", f->name, err);
	victim_restore(f);
	free(data);
}

static void a_newer_version_is_not_read(void **state)
{
	struct victim s;

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	newer(&s, "MANIFEST", 0);
	newer(&s, "segment", LINEUP_PAGE_BYTES);
	newer(&s, "deleted", 0);
	assert_int_equal(victim_detect(&s), 0);
	victim_end(&s);
}

static void a_newer_journal_is_not_read(void **state)
{
	struct victim s;
	const struct victim_file *f;
	struct disk_frame frame;
	struct disk_journal head;
	uint32_t seed[3] = { 0 };

	(void)state;
	victim_begin(&s, LINEUP_STORE_FLOAT32);
	f = victim_find(&s, "journal");
	memcpy(&frame, f->data, sizeof(frame));
	memcpy(&head, frame.payload, sizeof(head));
	head.version++;
	memcpy(frame.payload, &head, sizeof(head));
	victim_write(f, &frame, sizeof(frame), 0);
	assert_int_equal(victim_detect(&s), -ENOTSUP);
	assert_true(victim_names(&s, f));
	seed[0] = head.generation;
	frame.crc = lineup_crc32c(lineup_crc32c(0, seed, sizeof(seed)), (const uint8_t *)&frame + 4, sizeof(frame) - 4);
	victim_write(f, &frame, sizeof(frame), 0);
	assert_int_equal(victim_detect(&s), -ENOTSUP);
	victim_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flipped_byte_is_found_float32),
		cmocka_unit_test(every_flipped_byte_is_found_float16),
		cmocka_unit_test(a_cut_file_is_found),
		cmocka_unit_test(an_appended_byte_is_found),
		cmocka_unit_test(a_missing_file_is_found),
		cmocka_unit_test(a_cut_journal_opens_at_a_whole_operation_or_not_at_all),
		cmocka_unit_test(a_hole_in_the_journal_is_found),
		cmocka_unit_test(frames_in_another_order_are_found),
		cmocka_unit_test(a_write_that_did_not_happen_leaves_the_journal_as_it_was),
		cmocka_unit_test(files_of_another_gallery_are_found),
		cmocka_unit_test(a_newer_version_is_not_read),
		cmocka_unit_test(a_newer_journal_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
