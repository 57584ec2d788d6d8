// SPDX-License-Identifier: MIT
// No wrong byte anywhere in a gallery passes: each is flipped, files are cut and lengthened, exchanged, and of a newer version.
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "faulty_io.h"
#include "gallery.h"
#include "ledger.h"

enum { DIM = 5, FILES_MAX = 16, SETUP = 9, SPARSE = 61 };

struct file {
	char name[64];
	char path[PATH_MAX + 128];
	uint8_t *data;
	size_t size;
};

struct stage {
	char base[PATH_MAX];
	char path[PATH_MAX + 32];
	struct file file[FILES_MAX];
	size_t files;
	struct ledger_log log;
	struct lineup_ctx *ctx;
	struct ledger history[SETUP + 1]; /* after each operation */
	uint8_t digest[SETUP + 1][LINEUP_DIGEST_BYTES];
};

#define REQUIRE(s, condition, ...)                                                                                            \
	do {                                                                                                                  \
		if (!(condition)) {                                                                                           \
			print_error(__VA_ARGS__);                                                                             \
			print_error("\nlog:\n%s", (s)->log.text);                                                             \
			fail();                                                                                               \
		}                                                                                                             \
	} while (0)

/* A reader that doubts what it reads waits a little and looks again. Thousands of readers here have nothing to wait for. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)time;
	(void)left;
	return 0;
}

static struct ledger_op enrol(uint64_t id, uint32_t rows)
{
	return (struct ledger_op) {
		.kind = LEDGER_ENROL, .id = id, .seed = id * 31, .rows = rows, .named = id % 4 != 0, .listed = id % 2,
		.expiring = id % 3 == 0,
	};
}

static int open_flags(struct stage *s, uint32_t flags, struct lineup_gallery **gallery)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = flags };

	return lineup_gallery_open(s->ctx, s->path, &options, gallery);
}

static void files_load(struct stage *s)
{
	DIR *dir = opendir(s->path);

	assert_non_null(dir);
	for (struct dirent *d; (d = readdir(dir));) {
		struct file *f = &s->file[s->files];
		struct stat st;
		int fd;

		if (d->d_name[0] == '.' || !strcmp(d->d_name, "lock"))
			continue;
		assert_true(s->files++ < FILES_MAX);
		snprintf(f->name, sizeof(f->name), "%.60s", d->d_name);
		snprintf(f->path, sizeof(f->path), "%s/%.60s", s->path, d->d_name);
		fd = open(f->path, O_RDONLY | O_CLOEXEC);
		assert_int_equal(fstat(fd, &st), 0);
		f->size = (size_t)st.st_size;
		f->data = malloc(f->size + 1);
		assert_non_null(f->data);
		assert_int_equal(read(fd, f->data, f->size), f->size);
		close(fd);
	}
	closedir(dir);
}

/* Two segments, a deleted-file, and a journal with enrolments and a deletion. */
static void stage_begin(struct stage *s, enum lineup_store store)
{
	const struct ledger_op setup[SETUP] = {
		enrol(1, 60), { .kind = LEDGER_DELETE_TEMPLATE, .id = 2, .template_id = 7 }, enrol(3, 3),
		{ .kind = LEDGER_DELETE_TEMPLATE, .id = 4, .template_id = 9 }, enrol(5, 50), enrol(6, 2), enrol(7, 9),
		{ .kind = LEDGER_DELETE_TEMPLATE, .id = 8, .template_id = 20 }, enrol(9, 4),
	};
	struct lineup_ctx_options options = { .size = sizeof(options), .log = ledger_log_line, .log_arg = &s->log };
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = DIM, .model = "model-1", .store = store };
	struct lineup_gallery *gallery;
	struct lineup_gallery_info info;

	memset(s, 0, sizeof(*s));
	faulty_directory(s->base, false);
	snprintf(s->path, sizeof(s->path), "%s/gallery", s->base);
	assert_int_equal(lineup_ctx_create(&options, &s->ctx), 0);
	s->ctx->record_bytes_max = 3500;
	s->ctx->spill_rows_min = 48;
	assert_int_equal(lineup_gallery_create(s->ctx, s->path, &create, &gallery), 0);
	lineup_gallery_info(gallery, &info);
	ledger_init(&s->history[0], DIM, store, info.templates_next);
	memcpy(s->digest[0], info.digest, sizeof(info.digest));
	for (int i = 0; i < SETUP; i++) {
		char why[LEDGER_WHY_BYTES];
		const char *differs;

		ledger_copy(&s->history[i + 1], &s->history[i]);
		differs = ledger_both(&s->history[i + 1], gallery, &setup[i], why);
		REQUIRE(s, !differs, "setting up: %s", differs);
		lineup_gallery_info(gallery, &info);
		memcpy(s->digest[i + 1], info.digest, sizeof(info.digest));
	}
	assert_true(info.segments >= 1 && info.journal_templates);
	lineup_gallery_close(gallery);
	files_load(s);
}

static void stage_end(struct stage *s)
{
	for (size_t i = 0; i < s->files; i++)
		free(s->file[i].data);
	for (int i = 0; i <= SETUP; i++)
		ledger_fini(&s->history[i]);
	lineup_ctx_destroy(s->ctx);
	faulty_remove(s->base);
}

static struct file *find(struct stage *s, const char *kind)
{
	for (size_t i = 0; i < s->files; i++)
		if (!strncmp(s->file[i].name, kind, strlen(kind)))
			return &s->file[i];
	REQUIRE(s, false, "the gallery has no %s file", kind);
	return NULL;
}

static void write_at(const struct file *f, const void *data, size_t size, size_t offset)
{
	int fd = open(f->path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, (off_t)offset), size);
	close(fd);
}

static void restore(const struct file *f)
{
	assert_int_equal(truncate(f->path, (off_t)f->size), 0);
	write_at(f, f->data, f->size, 0);
}

/* What opening and checking says; 0: all is well. */
static int detect(struct stage *s)
{
	struct lineup_gallery *gallery;
	int err;

	ledger_log_clear(&s->log);
	err = open_flags(s, 0, &gallery);
	if (!err) {
		err = lineup_gallery_check(gallery, NULL, NULL);
		lineup_gallery_close(gallery);
	}
	REQUIRE(s, !err || s->log.errors == 1, "error %d, and %u messages", err, s->log.errors);
	return err;
}

static bool names(const struct stage *s, const struct file *f)
{
	return strstr(s->log.text, f->name) != NULL;
}

/* As a writer, who must not take it for less than it is. -EBADMSG is for the first fault met, 0 for one that only check finds. */
static void writer_refuses(struct stage *s, const struct file *f, size_t offset)
{
	struct lineup_gallery *gallery;
	int err = open_flags(s, LINEUP_GALLERY_WRITE, &gallery);
	char why[LEDGER_WHY_BYTES];

	if (!err) {
		const char *differs = ledger_differs(&s->history[SETUP], gallery, s->digest[SETUP], why);

		lineup_gallery_close(gallery);
		REQUIRE(s, !differs || !strncmp(f->name, "segment", 7), "%s offset %zu: a writer opens it: %s", f->name, offset, differs);
	}
}

/* ---- flipped bytes ------------------------------------------------------------------------------------------------------ */

static bool in_version(const struct file *f, size_t offset)
{
	size_t at = offsetof(struct disk_manifest, version);

	if (!strncmp(f->name, "journal", 7))
		at = offsetof(struct disk_frame, payload) + offsetof(struct disk_journal, version);
	return offset >= at && offset < at + 4;
}

/* Every byte that says something; of long runs of zeros (padding) a sample, all of them with LINEUP_TEST_FULL. */
static bool worth(const struct file *f, size_t offset, bool full)
{
	size_t near = 40;

	if (full || offset % SPARSE == 0)
		return true;
	for (size_t i = offset < near ? 0 : offset - near; i < offset + 8 && i < f->size; i++)
		if (f->data[i] != f->data[offset] || (f->data[i] && f->data[i] != 128))
			return true;
	return offset % 512 < 16 || offset % 4096 > 4080;
}

static uint64_t flip_file(struct stage *s, const struct file *f, bool full, size_t stride)
{
	uint64_t flips = 0;

	for (size_t i = 0; i < f->size; i += stride) {
		uint8_t byte = f->data[i] ^ (uint8_t)(1 + (i * 37 + 11) % 255);
		int err;

		if (!worth(f, i, full))
			continue;
		write_at(f, &byte, 1, i);
		err = detect(s);
		REQUIRE(s, err == -EBADMSG || (err == -ENOTSUP && in_version(f, i)), "%s: byte %zu of %zu flipped (%02x to %02x): %d", f->name,
			i, f->size, f->data[i], byte, err);
		REQUIRE(s, names(s, f), "%s: byte %zu: the message names another file", f->name, i);
		if (i % 97 == 0)
			writer_refuses(s, f, i);
		write_at(f, &f->data[i], 1, i);
		flips++;
	}
	return flips;
}

static void flip_everywhere(enum lineup_store store, size_t stride)
{
	bool full = getenv("LINEUP_TEST_FULL") != NULL;
	uint64_t flips = 0, bytes = 0;
	struct stage s;

	stage_begin(&s, store);
	assert_int_equal(detect(&s), 0);
	find(&s, "MANIFEST");
	find(&s, "segment");
	find(&s, "deleted");
	find(&s, "journal");
	for (size_t i = 0; i < s.files; i++) {
		flips += flip_file(&s, &s.file[i], full, full ? 1 : stride);
		bytes += s.file[i].size;
	}
	assert_int_equal(detect(&s), 0);
	print_message("             %llu of %llu bytes in %zu files\n", (unsigned long long)flips, (unsigned long long)bytes, s.files);
	stage_end(&s);
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

/* ---- wrong bytes under right checksums ---------------------------------------------------------------------------------- */

static void put_crc(uint8_t *data, size_t crc_at, size_t from, size_t size)
{
	uint32_t crc;

	memset(data + crc_at, 0, sizeof(crc));
	crc = lineup_crc32c(0, data + from, size - from);
	memcpy(data + crc_at, &crc, sizeof(crc));
}

/* Of a segment whose header says @h, all checksums. */
static void seal_segment(uint8_t *data, const struct disk_segment *h)
{
	for (uint64_t i = 0; i < h->block_count; i++)
		put_crc(data + LINEUP_PAGE_BYTES + i * h->block_bytes, offsetof(struct disk_block, crc),
			offsetof(struct disk_block, generation), h->block_bytes);
	for (uint64_t i = 0; i < h->rows; i++)
		put_crc(data + h->records_offset + i * h->record_bytes, 0, 4, h->record_bytes);
	for (uint64_t at = h->index_offset; at < h->file_bytes; at += LINEUP_PAGE_BYTES)
		put_crc(data + at, 0, 4, LINEUP_PAGE_BYTES);
	put_crc(data, offsetof(struct disk_segment, crc), 0, LINEUP_PAGE_BYTES);
}

/* MANIFEST with the header's new checksum. */
static void seal_manifest(struct stage *s, uint32_t generation, uint32_t header_crc)
{
	const struct file *f = find(s, "MANIFEST");
	uint8_t *data = malloc(f->size);
	struct disk_manifest head;

	assert_non_null(data);
	memcpy(data, f->data, f->size);
	memcpy(&head, data, sizeof(head));
	for (uint32_t i = 0; i < head.segments; i++) {
		uint8_t *entry = data + sizeof(head) + head.lists * sizeof(struct disk_list) + i * sizeof(struct disk_manifest_segment);
		struct disk_manifest_segment segment;

		memcpy(&segment, entry, sizeof(segment));
		if (segment.generation == generation)
			segment.header_crc = header_crc;
		memcpy(entry, &segment, sizeof(segment));
	}
	put_crc(data, offsetof(struct disk_manifest, crc), 0, f->size);
	write_at(f, data, f->size, 0);
	free(data);
}

static bool within(size_t at, size_t from, size_t bytes)
{
	return at >= from && at < from + bytes;
}

/*
 * Whether a wrong byte here contradicts something else. The vectors themselves, the numbers of operations long past, and what only
 * counts upwards do not, nor do the checksums, which are made right again.
 */
static bool segment_contradicts(const struct disk_segment *h, size_t at)
{
	if (at < LINEUP_PAGE_BYTES)
		return !within(at, offsetof(struct disk_segment, crc), 4);
	if (at < h->records_offset) {
		size_t in = (at - LINEUP_PAGE_BYTES) % h->block_bytes;

		return !within(in, offsetof(struct disk_block, crc), 4);
	}
	if (at < h->index_offset) {
		size_t in = (at - h->records_offset) % h->record_bytes;

		if (at >= h->records_offset + h->rows * h->record_bytes)
			return true;
		return in >= 4 && !within(in, sizeof(struct disk_record), (h->store ? 2u : 4u) * h->dim);
	}
	if (at < h->ops_offset)
		return (at - h->index_offset) % LINEUP_PAGE_BYTES >= 4;
	at = (at - h->ops_offset) % LINEUP_PAGE_BYTES;
	if (at < 4)
		return false;
	if (at < offsetof(struct disk_page, data) || at >= offsetof(struct disk_page, data) + h->ops * sizeof(struct disk_op))
		return true;
	return (at - offsetof(struct disk_page, data)) % sizeof(struct disk_op) >= offsetof(struct disk_op, kind);
}

static uint64_t forge_segment(struct stage *s, const struct file *f, size_t stride)
{
	uint8_t *data = malloc(f->size);
	struct disk_segment h, now;
	uint64_t forged = 0;

	assert_non_null(data);
	memcpy(&h, f->data, sizeof(h));
	for (size_t i = 0; i < f->size; i += stride) {
		int err;

		if (!worth(f, i, false) || !segment_contradicts(&h, i))
			continue;
		memcpy(data, f->data, f->size);
		data[i] ^= (uint8_t)(1 + (i * 37 + 11) % 255);
		seal_segment(data, &h);
		memcpy(&now, data, sizeof(now));
		seal_manifest(s, h.generation, now.crc);
		write_at(f, data, f->size, 0);
		err = detect(s);
		REQUIRE(s, err == -EBADMSG || (err == -ENOTSUP && in_version(f, i)),
			"%s: byte %zu of %zu (blocks 4096, records %llu, index %llu, ops %llu) wrong under right checksums: %d", f->name, i,
			f->size, (unsigned long long)h.records_offset, (unsigned long long)h.index_offset,
			(unsigned long long)h.ops_offset, err);
		forged++;
	}
	restore(f);
	restore(find(s, "MANIFEST"));
	free(data);
	return forged;
}

static bool whole_contradicts(const struct file *f, size_t at)
{
	struct disk_manifest head;

	if (within(at, offsetof(struct disk_manifest, crc), 4))
		return false;
	if (!strncmp(f->name, "deleted", 7))
		return true;
	memcpy(&head, f->data, sizeof(head));
	if (within(at, sizeof(head), head.lists * sizeof(struct disk_list)))
		return false;
	return !within(at, offsetof(struct disk_manifest, revision), 16); /* and generation_next */
}

/* MANIFEST and the deleted-file: one checksum for all. */
static uint64_t forge_whole(struct stage *s, const struct file *f)
{
	uint8_t *data = malloc(f->size);
	uint64_t forged = 0;

	assert_non_null(data);
	for (size_t i = 0; i < f->size; i++) {
		int err;

		if (!whole_contradicts(f, i))
			continue;
		memcpy(data, f->data, f->size);
		data[i] ^= (uint8_t)(1 + (i * 37 + 11) % 255);
		put_crc(data, offsetof(struct disk_manifest, crc), 0, f->size);
		write_at(f, data, f->size, 0);
		err = detect(s);
		REQUIRE(s, err == -EBADMSG || (err == -ENOTSUP && in_version(f, i)), "%s: byte %zu of %zu wrong under right checksums: %d",
			f->name, i, f->size, err);
		forged++;
	}
	restore(f);
	free(data);
	return forged;
}

static void forge_everywhere(enum lineup_store store, size_t stride)
{
	uint64_t forged = 0;
	struct stage s;

	stage_begin(&s, store);
	for (size_t i = 0; i < s.files; i++) {
		const struct file *f = &s.file[i];

		if (!strncmp(f->name, "segment", 7))
			forged += forge_segment(&s, f, getenv("LINEUP_TEST_FULL") ? 1 : stride);
		else if (strncmp(f->name, "journal", 7))
			forged += forge_whole(&s, f);
	}
	assert_int_equal(detect(&s), 0);
	print_message("             %llu bytes\n", (unsigned long long)forged);
	stage_end(&s);
}

static void what_contradicts_itself_is_found_under_right_checksums(void **state)
{
	(void)state;
	forge_everywhere(LINEUP_STORE_FLOAT32, 3);
	forge_everywhere(LINEUP_STORE_FLOAT16, 5);
}

/* The bound of a score stands on the length of what is stored; a NaN would be worse. */
static void a_vector_that_is_not_of_length_1_is_found(void **state)
{
	static const uint32_t values[] = { 0x7fc00000, 0x7f800000, 0x40000000 }; /* NaN, infinity, 2 */
	struct stage s;
	const struct file *f;
	struct disk_segment h;
	uint8_t *data;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	f = find(&s, "segment");
	memcpy(&h, f->data, sizeof(h));
	data = malloc(f->size);
	assert_non_null(data);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		memcpy(data, f->data, f->size);
		memcpy(data + h.records_offset + sizeof(struct disk_record) + 4, &values[i], sizeof(values[i]));
		seal_segment(data, &h);
		write_at(f, data, f->size, 0);
		assert_int_equal(detect(&s), -EBADMSG);
		REQUIRE(&s, strstr(s.log.text, "length 1"), "found for another reason");
	}
	free(data);
	stage_end(&s);
}

/* ---- cut and lengthened ------------------------------------------------------------------------------------------------- */

static void cut_file(struct stage *s, const struct file *f)
{
	for (size_t size = 0; size < f->size; size += size + 1 == f->size || size < 300 ? 1 : (f->size - size > 700 ? 509 : 1)) {
		int err;

		assert_int_equal(truncate(f->path, (off_t)size), 0);
		err = detect(s);
		REQUIRE(s, err == -EBADMSG, "%s cut to %zu of %zu bytes: %d", f->name, size, f->size, err);
		REQUIRE(s, names(s, f), "%s cut: the message names another file", f->name);
		restore(f);
	}
}

static void a_cut_file_is_found(void **state)
{
	struct stage s;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	for (size_t i = 0; i < s.files; i++)
		if (strncmp(s.file[i].name, "journal", 7))
			cut_file(&s, &s.file[i]);
	assert_int_equal(detect(&s), 0);
	stage_end(&s);
}

static void an_appended_byte_is_found(void **state)
{
	static const uint8_t garbage[4096] = { 1, 2, 3 };
	static const size_t sizes[] = { 1, 512, 4096 };
	struct stage s;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	for (size_t i = 0; i < s.files; i++)
		for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
			const struct file *f = &s.file[i];
			int err;

			/* What does not fill a frame is the end of a write that was cut off. */
			if (sizes[k] < LINEUP_FRAME_BYTES && !strncmp(f->name, "journal", 7))
				continue;
			write_at(f, garbage, sizes[k], f->size);
			err = detect(&s);
			REQUIRE(&s, err == -EBADMSG, "%s with %zu more bytes: %d", f->name, sizes[k], err);
			REQUIRE(&s, names(&s, f), "%s: the message names another file", f->name);
			restore(f);
		}
	assert_int_equal(detect(&s), 0);
	stage_end(&s);
}

static void a_missing_file_is_found(void **state)
{
	struct stage s;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	for (size_t i = 0; i < s.files; i++) {
		const struct file *f = &s.file[i];
		char aside[PATH_MAX + 160];
		bool manifest = !strcmp(f->name, "MANIFEST");
		int err;

		snprintf(aside, sizeof(aside), "%s/aside", s.base);
		assert_int_equal(rename(f->path, aside), 0);
		err = detect(&s);
		REQUIRE(&s, err == (manifest ? -ENOENT : -EBADMSG), "%s is missing: %d", f->name, err);
		REQUIRE(&s, manifest || names(&s, f), "%s: the message names another file", f->name);
		assert_int_equal(rename(aside, f->path), 0);
	}
	assert_int_equal(detect(&s), 0);
	stage_end(&s);
}

/* ---- the journal's end -------------------------------------------------------------------------------------------------- */

/* 0..SETUP: the state of the history that opens; -1: it is refused. */
static int state_opened(struct stage *s, uint32_t flags, const char *what, size_t at)
{
	struct lineup_gallery *gallery;
	int err, found = -1;

	ledger_log_clear(&s->log);
	err = open_flags(s, flags, &gallery);
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

static uint32_t frame_batch(const struct file *f, size_t frame)
{
	struct disk_frame disk;

	memcpy(&disk, f->data + frame * LINEUP_FRAME_BYTES, sizeof(disk));
	return disk.batch;
}

/* A cut journal is one of a crash: what is there opens, in whole operations, and a writer says that it cuts an end off. */
static void a_cut_journal_opens_at_a_whole_operation_or_not_at_all(void **state)
{
	struct stage s;
	const struct file *f;
	int previous = 0, state_at;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	f = find(&s, "journal");
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
		restore(f);
	}
	assert_int_equal(previous, SETUP);
	stage_end(&s);
}

/* A frame that is not there is the end of the journal only if nothing that was acknowledged later is behind it. */
static void a_hole_in_the_journal_is_found(void **state)
{
	static const uint8_t zeros[LINEUP_FRAME_BYTES];
	struct stage s;
	const struct file *f;
	size_t frames;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	f = find(&s, "journal");
	frames = f->size / LINEUP_FRAME_BYTES;
	assert_true(frames > 5 && frame_batch(f, frames - 1) > frame_batch(f, 1));
	for (size_t i = 0; i < frames; i++) {
		bool newest = i && frame_batch(f, i) == frame_batch(f, frames - 1);
		int found;

		write_at(f, zeros, sizeof(zeros), i * LINEUP_FRAME_BYTES);
		found = state_opened(&s, 0, "a journal with a hole", i);
		REQUIRE(&s, found == (newest ? SETUP - 1 : -1), "frame %zu of %zu is zero: state %d", i, frames, found);
		if (!newest)
			assert_int_equal(state_opened(&s, LINEUP_GALLERY_WRITE, "a hole, a writer", i), -1);
		write_at(f, f->data + i * LINEUP_FRAME_BYTES, LINEUP_FRAME_BYTES, i * LINEUP_FRAME_BYTES);
	}
	assert_int_equal(detect(&s), 0);
	stage_end(&s);
}

static void frames_in_another_order_are_found(void **state)
{
	struct stage s;
	const struct file *f;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	f = find(&s, "journal");
	for (size_t i = 0; i + 1 < f->size / LINEUP_FRAME_BYTES; i++) {
		const uint8_t *a = f->data + i * LINEUP_FRAME_BYTES, *b = a + LINEUP_FRAME_BYTES;

		write_at(f, b, LINEUP_FRAME_BYTES, i * LINEUP_FRAME_BYTES);
		write_at(f, a, LINEUP_FRAME_BYTES, (i + 1) * LINEUP_FRAME_BYTES);
		assert_int_equal(detect(&s), -EBADMSG);
		restore(f);
	}
	assert_int_equal(detect(&s), 0);
	stage_end(&s);
}

/* Zeros, and what does not fill a frame. */
static void a_write_that_did_not_happen_leaves_the_journal_as_it_was(void **state)
{
	static const uint8_t zeros[4096], piece[] = { 1, 2, 3 };
	const struct { const void *data; size_t size; } tails[] = { { zeros, sizeof(zeros) }, { zeros, 3 }, { piece, sizeof(piece) } };
	struct stage s;
	const struct file *f;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	f = find(&s, "journal");
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		write_at(f, tails[i].data, tails[i].size, f->size);
		assert_int_equal(state_opened(&s, 0, "a tail", i), SETUP);
		assert_int_equal(state_opened(&s, LINEUP_GALLERY_WRITE, "a tail, a writer", i), SETUP);
		assert_int_equal(state_opened(&s, 0, "a tail, after the writer", i), SETUP);
		restore(f);
	}
	stage_end(&s);
}

/* ---- files of others ---------------------------------------------------------------------------------------------------- */

static void files_of_another_gallery_are_found(void **state)
{
	struct stage s, other;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	stage_begin(&other, LINEUP_STORE_FLOAT32);
	assert_int_equal(s.files, other.files);
	for (size_t i = 0; i < s.files; i++) {
		const struct file *f = &s.file[i], *foreign = find(&other, f->name);
		int err;

		assert_int_equal(truncate(f->path, 0), 0);
		write_at(f, foreign->data, foreign->size, 0);
		err = detect(&s);
		REQUIRE(&s, err == -EBADMSG, "%s of another gallery: %d", f->name, err);
		restore(f);
	}
	stage_end(&other);
	stage_end(&s);
}

/* ---- newer versions ----------------------------------------------------------------------------------------------------- */

static void put32(uint8_t *p, uint32_t value)
{
	memcpy(p, &value, sizeof(value));
}

/* With the right checksum and with the old one: a newer version may well compute it otherwise. */
static void newer(struct stage *s, const char *kind, size_t crc_bytes)
{
	const struct file *f = find(s, kind);
	uint8_t *data = malloc(f->size);
	size_t version = offsetof(struct disk_manifest, version), crc = offsetof(struct disk_manifest, crc);
	int err;

	assert_non_null(data);
	memcpy(data, f->data, f->size);
	put32(data + version, LINEUP_FORMAT_VERSION + 1);
	write_at(f, data, f->size, 0);
	err = detect(s);
	REQUIRE(s, err == -ENOTSUP, "%s of a newer version: %d", f->name, err);
	REQUIRE(s, names(s, f), "%s: the message names another file", f->name);
	put32(data + crc, 0);
	put32(data + crc, lineup_crc32c(0, data, crc_bytes ? crc_bytes : f->size));
	write_at(f, data, f->size, 0);
	err = detect(s);
	REQUIRE(s, err == -ENOTSUP, "%s of a newer version, checksum right: %d", f->name, err);
	put32(data + version, 0);
	write_at(f, data, f->size, 0);
	err = detect(s);
	REQUIRE(s, err == -EBADMSG, "%s of version 0: %d", f->name, err);
	restore(f);
	free(data);
}

static void a_newer_version_is_not_read(void **state)
{
	struct stage s;

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	newer(&s, "MANIFEST", 0);
	newer(&s, "segment", LINEUP_PAGE_BYTES);
	newer(&s, "deleted", 0);
	assert_int_equal(detect(&s), 0);
	stage_end(&s);
}

static void a_newer_journal_is_not_read(void **state)
{
	struct stage s;
	const struct file *f;
	struct disk_frame frame;
	struct disk_journal head;
	uint32_t seed[3] = { 0 };

	(void)state;
	stage_begin(&s, LINEUP_STORE_FLOAT32);
	f = find(&s, "journal");
	memcpy(&frame, f->data, sizeof(frame));
	memcpy(&head, frame.payload, sizeof(head));
	head.version++;
	memcpy(frame.payload, &head, sizeof(head));
	write_at(f, &frame, sizeof(frame), 0);
	assert_int_equal(detect(&s), -ENOTSUP);
	assert_true(names(&s, f));
	seed[0] = head.generation;
	frame.crc = lineup_crc32c(lineup_crc32c(0, seed, sizeof(seed)), (const uint8_t *)&frame + 4, sizeof(frame) - 4);
	write_at(f, &frame, sizeof(frame), 0);
	assert_int_equal(detect(&s), -ENOTSUP);
	stage_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flipped_byte_is_found_float32),
		cmocka_unit_test(every_flipped_byte_is_found_float16),
		cmocka_unit_test(what_contradicts_itself_is_found_under_right_checksums),
		cmocka_unit_test(a_vector_that_is_not_of_length_1_is_found),
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
