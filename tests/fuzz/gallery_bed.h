/* SPDX-License-Identifier: MIT */
/* What the fuzzers of the gallery's files share: a small gallery in memory whose files are exchanged for fuzzed ones. */
#ifndef GALLERY_BED_H
#define GALLERY_BED_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gallery.h"
#include "io.h"

enum { BED_DIM = 5, BED_FILE_BYTES_MAX = 1 << 16 };

struct bed {
	char path[64];
	struct lineup_ctx *ctx;
	struct disk_manifest manifest; /* of the good gallery */
	struct disk_manifest_segment segment; /* its only one */
};

/* A reader that doubts what it reads waits a little and looks again; here it has nothing to wait for. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)time;
	(void)left;
	return 0;
}

static struct lineup_io bed_io;

static int bed_sync(void *arg, int fd)
{
	(void)arg;
	(void)fd;
	return 0;
}

static void bed_need(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static void bed_enrol(struct lineup_gallery *gallery, uint32_t rows)
{
	struct lineup_enrol_options options = { .size = sizeof(options), .op_id = { (uint8_t)rows, 1 } };
	struct lineup_enrol *enrol;

	bed_need(!lineup_enrol_begin(gallery, &options, &enrol), "enrol");
	for (uint32_t i = 0; i < rows; i++) {
		float vector[BED_DIM] = { 1, (float)i, 3, -(float)i, (float)rows };
		char name[32];
		const char *subject = name;
		uint64_t mask;
		int64_t expires = i % 3;
		struct lineup_enrol_batch batch = { { vector, 1, BED_DIM, LINEUP_FLOAT32 }, &subject, &mask, &expires };

		snprintf(name, sizeof(name), "subject-%u", i % 7);
		bed_need(!lineup_enrol_list(enrol, i % 2 ? "one" : "two", &mask), "list");
		bed_need(!lineup_enrol_add(enrol, &batch), "add");
	}
	bed_need(!lineup_enrol_commit(enrol, NULL), "commit");
}

static void bed_delete(struct lineup_gallery *gallery, uint64_t template_id)
{
	struct lineup_delete_options options = {
		.size = sizeof(options), .what = LINEUP_DELETE_TEMPLATE, .template_id = template_id, .op_id = { (uint8_t)template_id, 2 },
	};

	bed_need(!lineup_gallery_delete(gallery, &options, NULL), "delete");
}

static void bed_file(const struct bed *bed, const char *name, const void *data, size_t size)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", bed->path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bed_need(fd >= 0 && write(fd, data, size) == (ssize_t)size, path);
	close(fd);
}

static void bed_remove(void);
static struct bed bed_only;

/* One segment, with ops; a journal with rows and deletions. Made once, in a directory of its own that goes at exit. */
static struct bed *bed_make(void)
{
	struct lineup_gallery_create_options create = { .size = sizeof(create), .dim = BED_DIM, .model = "model-1" };
	struct bed *bed = &bed_only;
	struct lineup_gallery *gallery;
	char path[512];
	int fd;

	if (bed->ctx)
		return bed;
	snprintf(bed->path, sizeof(bed->path), "%s/lineup-fuzz-%d", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (int)getpid());
	bed_io = lineup_io_system;
	bed_io.fdatasync = bed_io.fsync = bed_sync;
	bed_need(!lineup_ctx_create(NULL, &bed->ctx), "ctx");
	bed->ctx->io = &bed_io;
	bed->ctx->record_bytes_max = 4000;
	bed->ctx->spill_rows_min = 48;
	atexit(bed_remove);
	bed_need(!lineup_gallery_create(bed->ctx, bed->path, &create, &gallery), "create");
	bed_enrol(gallery, 50);
	bed_enrol(gallery, 4);
	bed_delete(gallery, 8);
	bed_enrol(gallery, 3);
	lineup_gallery_close(gallery);
	snprintf(path, sizeof(path), "%s/MANIFEST", bed->path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	bed_need(fd >= 0 && read(fd, &bed->manifest, sizeof(bed->manifest)) == sizeof(bed->manifest) && bed->manifest.segments == 1 &&
		 pread(fd, &bed->segment, sizeof(bed->segment),
		       (off_t)(sizeof(bed->manifest) + bed->manifest.lists * sizeof(struct disk_list))) == sizeof(bed->segment), path);
	close(fd);
	return bed;
}

static void bed_remove(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", bed_only.path);
	if (system(command))
		perror(command);
	lineup_ctx_destroy(bed_only.ctx);
}

static int bed_template(void *arg, const struct lineup_template *t)
{
	float *sum = arg;

	for (uint32_t i = 0; i < BED_DIM; i++)
		*sum += t->vector[i];
	*sum += (float)strlen(t->subject);
	return 0;
}

static int bed_row(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record)
{
	(void)record;
	*(uint64_t *)arg += row + lineup_segment_row_deleted(segment, row);
	return 0;
}

/* Everything that reads, as far as it gets. What passes the check must then be readable to the end. */
static void bed_read(struct bed *bed)
{
	struct lineup_gallery_options options = { .size = sizeof(options) };
	struct lineup_gallery *gallery;
	struct lineup_snapshot *snapshot;
	uint64_t rows = 0;
	float sum = 0;
	int err, check;

	if (lineup_gallery_open(bed->ctx, bed->path, &options, &gallery))
		return;
	check = lineup_gallery_check(gallery, NULL, NULL);
	err = lineup_gallery_read(gallery, bed_template, &sum);
	if (!check && err)
		abort();
	snapshot = lineup_gallery_snapshot(gallery);
	if (snapshot) {
		for (int i = 0; i < 8; i++) {
			char name[32];

			snprintf(name, sizeof(name), "subject-%d", i);
			err = lineup_snapshot_subject(snapshot, name, bed_row, &rows);
			if (!check && err)
				abort();
		}
		lineup_snapshot_put(snapshot);
	}
	if (!check && lineup_gallery_subject(gallery, "subject-1", bed_template, &sum) == -EBADMSG)
		abort();
	for (uint64_t row = 0; !check && row < 64; row += 9)
		if (lineup_gallery_row(gallery, row, bed_template, &sum) == -EBADMSG)
			abort();
	lineup_gallery_close(gallery);
}

/* A writer goes on with what he has found; only the journal changes. */
static inline void bed_write(struct lineup_gallery *gallery)
{
	struct lineup_group_options options = { .size = sizeof(options), .flags = LINEUP_GROUP_REPLACE };
	float vector[BED_DIM] = { 5, 4, 3, 2, 1 };
	const char *subject = "subject-2";
	struct lineup_enrol_batch batch = { { vector, 1, BED_DIM, LINEUP_FLOAT32 }, &subject, NULL, NULL };
	struct lineup_group *group;

	if (lineup_group_begin(gallery, &group))
		return;
	lineup_group_enrol(group, &options, &batch, NULL);
	lineup_group_commit(group);
}

#endif
