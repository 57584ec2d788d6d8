// SPDX-License-Identifier: MIT
// The gallery that the tests of corruption break.
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "faulty_io.h"
#include "victim.h"

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

int victim_open(struct victim *s, uint32_t flags, struct lineup_gallery **gallery)
{
	struct lineup_gallery_options options = { .size = sizeof(options), .flags = flags };

	return lineup_gallery_open(s->ctx, s->path, &options, gallery);
}

static void files_load(struct victim *s)
{
	DIR *dir = opendir(s->path);

	assert_non_null(dir);
	for (struct dirent *d; (d = readdir(dir));) {
		struct victim_file *f = &s->file[s->files];
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

void victim_begin(struct victim *s, enum lineup_store store)
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

void victim_end(struct victim *s)
{
	for (size_t i = 0; i < s->files; i++)
		free(s->file[i].data);
	for (int i = 0; i <= SETUP; i++)
		ledger_fini(&s->history[i]);
	lineup_ctx_destroy(s->ctx);
	faulty_remove(s->base);
}

struct victim_file *victim_find(struct victim *s, const char *kind)
{
	for (size_t i = 0; i < s->files; i++)
		if (!strncmp(s->file[i].name, kind, strlen(kind)))
			return &s->file[i];
	REQUIRE(s, false, "the gallery has no %s file", kind);
	return NULL;
}

void victim_write(const struct victim_file *f, const void *data, size_t size, size_t offset)
{
	int fd = open(f->path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, (off_t)offset), size);
	close(fd);
}

void victim_restore(const struct victim_file *f)
{
	assert_int_equal(truncate(f->path, (off_t)f->size), 0);
	victim_write(f, f->data, f->size, 0);
}

int victim_detect(struct victim *s)
{
	struct lineup_gallery *gallery;
	int err;

	ledger_log_clear(&s->log);
	err = victim_open(s, 0, &gallery);
	if (!err) {
		err = lineup_gallery_check(gallery, NULL, NULL);
		lineup_gallery_close(gallery);
	}
	REQUIRE(s, !err || s->log.errors == 1, "error %d, and %u messages", err, s->log.errors);
	return err;
}

bool victim_names(const struct victim *s, const struct victim_file *f)
{
	return strstr(s->log.text, f->name) != NULL;
}

bool victim_in_version(const struct victim_file *f, size_t offset)
{
	size_t at = offsetof(struct disk_manifest, version);

	if (!strncmp(f->name, "journal", 7))
		at = offsetof(struct disk_frame, payload) + offsetof(struct disk_journal, version);
	return offset >= at && offset < at + 4;
}

bool victim_worth(const struct victim_file *f, size_t offset, bool full)
{
	size_t near = 40;

	if (full || offset % SPARSE == 0)
		return true;
	for (size_t i = offset < near ? 0 : offset - near; i < offset + 8 && i < f->size; i++)
		if (f->data[i] != f->data[offset] || (f->data[i] && f->data[i] != 128))
			return true;
	return offset % 512 < 16 || offset % 4096 > 4080;
}
