// SPDX-License-Identifier: MIT
// An open gallery: its snapshot, what it tells about itself, and the one place where its journal is written.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gallery_files.h"

int lineup_gallery_fail(const struct lineup_gallery *gallery, int err, const struct lineup_fault *fault)
{
	return lineup_fail(gallery->ctx, err, "gallery %s: %s", gallery->path, fault->text);
}

int lineup_gallery_enter(struct lineup_gallery *g)
{
	bool busy;

	if (g->lock < 0)
		return lineup_fail(g->ctx, -EBADF, "gallery %s: is open for reading only", g->path);
	pthread_mutex_lock(&g->mutex);
	while (g->held)
		pthread_cond_wait(&g->turn, &g->mutex);
	busy = g->busy;
	if (!g->refused)
		g->busy = true;
	pthread_mutex_unlock(&g->mutex);
	if (g->refused)
		return lineup_fail(g->ctx, -EIO, "gallery %s: no more is written after %s; recover it, or open it again", g->path, g->refused);
	return busy ? lineup_fail(g->ctx, -EBUSY, "gallery %s: an enrolment or a group is under way", g->path) : 0;
}

void lineup_gallery_leave(struct lineup_gallery *g)
{
	pthread_mutex_lock(&g->mutex);
	g->busy = false;
	pthread_cond_broadcast(&g->turn);
	pthread_mutex_unlock(&g->mutex);
}

const char *lineup_gallery_refuses(const struct lineup_gallery *gallery)
{
	return gallery->refused;
}

/*
 * Takes back what a failed append left behind @size bytes. Where that fails too, or a sync has failed, nobody knows what is on the
 * disk: then only reading it again tells.
 */
static void cut_journal(struct lineup_gallery *g, uint64_t size, bool sync_failed)
{
	const struct lineup_io *io = g->ctx->io;
	int err = io->ftruncate(g->ctx->io_arg, g->journal, (off_t)size);

	if (!err)
		err = io->fdatasync(g->ctx->io_arg, g->journal);
	if (err || sync_failed)
		g->refused = "a failed write of the journal";
}

int lineup_gallery_append(struct lineup_gallery *g, const void *frames, size_t size, struct lineup_fault *fault)
{
	uint64_t offset = g->state.journal.frames * LINEUP_FRAME_BYTES;
	char name[LINEUP_GALLERY_NAME_BYTES];
	int err;

	lineup_files_name(name, "journal", g->state.manifest.head.journal);
	err = lineup_io_write(g->ctx, g->journal, frames, size, offset);
	if (err) {
		cut_journal(g, offset, false);
		return lineup_fault_io(fault, err, name, "write");
	}
	err = g->ctx->io->fdatasync(g->ctx->io_arg, g->journal);
	if (err) {
		cut_journal(g, offset, true);
		return lineup_fault_io(fault, err, name, "sync");
	}
	return 0;
}

void lineup_gallery_changed(struct lineup_gallery *gallery)
{
	lineup_snapshot_put(gallery->snapshot);
	gallery->snapshot = NULL;
}

struct lineup_snapshot *lineup_gallery_snapshot(struct lineup_gallery *gallery)
{
	struct lineup_snapshot *snapshot;

	pthread_mutex_lock(&gallery->mutex);
	if (!gallery->snapshot && lineup_state_snapshot(&gallery->state, gallery->ctx, &gallery->snapshot))
		lineup_fail(gallery->ctx, -ENOMEM, "gallery %s: no memory for a snapshot", gallery->path);
	snapshot = gallery->snapshot;
	if (snapshot)
		atomic_fetch_add(&snapshot->references, 1);
	pthread_mutex_unlock(&gallery->mutex);
	return snapshot;
}

static void nap(void)
{
	struct timespec t = { .tv_nsec = 1000000 };

	nanosleep(&t, NULL);
}

/* Whether MANIFEST is no longer what it was. */
static bool overtaken(const struct lineup_files *files, const void *data, size_t size)
{
	struct lineup_fault ignored;
	void *now = NULL;
	size_t now_size = 0;
	bool changed;

	if (lineup_manifest_read(files, &now, &now_size, &ignored))
		return false;
	changed = now_size != size || memcmp(now, data, size);
	free(now);
	return changed;
}

int lineup_gallery_load(const struct lineup_files *files, const char *path, const struct lineup_state *old,
			struct lineup_state *state, struct lineup_fault *fault)
{
	enum { DOUBTS = 5 }; /* a record that is being written looks corrupt for a moment */
	void *data = NULL, *copy = NULL;
	size_t size = 0;
	int err = -EAGAIN;

	for (int try = 0, doubts = 0; try < LINEUP_GALLERY_READ_TRIES; try++) {
		err = lineup_manifest_read(files, &data, &size, fault);
		if (err == -ENOENT)
			return lineup_fault_set(fault, err, "there is no MANIFEST: this is not a gallery");
		if (err)
			return err;
		copy = malloc(size + 1);
		if (!copy) {
			free(data);
			return lineup_fault_set(fault, -ENOMEM, "no memory to open it");
		}
		memcpy(copy, data, size);
		err = lineup_state_load(files, path, data, size, old, state, fault);
		if (overtaken(files, copy, size)) {
			if (!err)
				lineup_state_fini(state);
			err = lineup_fault_set(fault, -EAGAIN, "it changes faster than it can be read");
		} else if (!err || (err != -EWOULDBLOCK && (err != -EBADMSG || ++doubts == DOUBTS))) {
			free(copy);
			return err;
		}
		free(copy);
		nap();
	}
	return err;
}

/* Whether the files still say what @state says; an error is a no. */
static bool is_current(const struct lineup_gallery *g)
{
	const struct lineup_state *s = &g->state;
	char name[LINEUP_GALLERY_NAME_BYTES];
	struct lineup_fault ignored;
	uint8_t frame[LINEUP_FRAME_BYTES];
	int fd = -1, err;

	lineup_files_name(name, "journal", s->manifest.head.journal);
	if (overtaken(&g->files, s->manifest_data, s->manifest_size) || lineup_files_open(&g->files, name, 0, &fd, &ignored))
		return false;
	err = lineup_io_read(g->ctx, fd, frame, sizeof(frame), s->journal.frames * LINEUP_FRAME_BYTES);
	lineup_files_close(&g->files, fd);
	/* MANIFEST last: had it changed after the first look, the journal read could be an old one. */
	return err == -ENODATA && !overtaken(&g->files, s->manifest_data, s->manifest_size);
}

int lineup_gallery_refresh(struct lineup_gallery *g)
{
	struct lineup_state state, old;
	struct lineup_snapshot *snapshot = NULL;
	struct lineup_fault fault;
	int err;

	if (g->lock >= 0 || is_current(g))
		return 0;
	err = lineup_gallery_load(&g->files, g->path, &g->state, &state, &fault);
	if (err)
		return lineup_gallery_fail(g, err, &fault);
	if (lineup_state_snapshot(&state, g->ctx, &snapshot)) {
		lineup_state_fini(&state);
		return lineup_fail(g->ctx, -ENOMEM, "gallery %s: no memory for a snapshot", g->path);
	}
	pthread_mutex_lock(&g->mutex);
	lineup_gallery_changed(g);
	g->snapshot = snapshot;
	old = g->state;
	g->state = state;
	pthread_mutex_unlock(&g->mutex);
	lineup_state_fini(&old);
	return 0;
}

/* For functions that change nothing but the mutex. */
static void lock(const struct lineup_gallery *gallery)
{
	pthread_mutex_lock((pthread_mutex_t *)&gallery->mutex);
}

static void unlock(const struct lineup_gallery *gallery)
{
	pthread_mutex_unlock((pthread_mutex_t *)&gallery->mutex);
}

static void info_sizes(const struct lineup_state *s, struct lineup_gallery_info *info)
{
	const struct disk_manifest *head = &s->manifest.head;
	uint64_t rows = 0, deleted = 0;

	info->bytes = sizeof(*head) + head->lists * sizeof(struct disk_list) +
		      head->segments * sizeof(struct disk_manifest_segment) + s->journal.frames * LINEUP_FRAME_BYTES;
	for (uint32_t i = 0; i < s->slots; i++) {
		const struct lineup_segment *seg = &s->slot[i].part->segment;

		rows += seg->rows;
		deleted += s->slot[i].bits ? s->slot[i].bits->count : 0;
		info->scan_bytes += seg->block_count * seg->shape.block_bytes;
		info->bytes += seg->file_bytes;
		if (i < head->segments && s->manifest.segment[i].deleted_generation)
			info->bytes += sizeof(struct disk_deleted) + (seg->rows + 7) / 8;
	}
	info->templates = rows - deleted;
	info->templates_deleted = deleted;
}

void lineup_gallery_info(const struct lineup_gallery *gallery, struct lineup_gallery_info *info)
{
	const struct lineup_state *s = &gallery->state;
	const struct disk_manifest *head = &s->manifest.head;

	memset(info, 0, sizeof(*info));
	lock(gallery); /* against maintenance */
	info->dim = head->dim;
	info->store = head->store;
	memcpy(info->model, head->model, sizeof(head->model));
	memcpy(info->model_digest, head->model_digest, sizeof(info->model_digest));
	memcpy(info->digest, s->digest, sizeof(info->digest));
	info->sequence = s->sequence;
	info->subjects = s->subjects;
	info->templates_next = s->template_next;
	info->segments = head->segments;
	info->lists = s->lists;
	for (uint32_t i = 0; i < s->lists; i++)
		memcpy(info->list[i], s->list[i].name, sizeof(s->list[i].name));
	info->journal_bytes = s->journal.frames * LINEUP_FRAME_BYTES;
	info->journal_templates = s->journal_rows;
	info->format = head->version;
	info_sizes(s, info);
	unlock(gallery);
}

int lineup_gallery_list(const struct lineup_gallery *gallery, const char *name, uint64_t *mask)
{
	const struct lineup_state *s = &gallery->state;
	uint64_t bit = 0;

	lock(gallery);
	for (uint32_t i = 0; !bit && i < s->lists; i++)
		if (!strncmp(s->list[i].name, name, sizeof(s->list[i].name)) && strlen(name) <= sizeof(s->list[i].name))
			bit = (uint64_t)1 << i;
	unlock(gallery);
	if (bit)
		*mask = bit;
	return bit ? 0 : lineup_fail(gallery->ctx, -ENOENT, "gallery %s: has no list \"%s\"", gallery->path, name);
}

static int read_rows(const struct lineup_segment *s, const uint8_t *records, uint64_t first, uint64_t count, float *buffer,
		     int (*each)(void *arg, const struct lineup_template *t), void *arg)
{
	int err = 0;

	for (uint64_t i = 0; !err && i < count; i++) {
		const struct disk_record *r = (const void *)(records + i * s->shape.record_bytes);
		struct lineup_template t = {
			.id = r->template_id, .lists = r->lists, .expires = r->expires, .subject_number = r->subject
		};

		if (lineup_segment_row_deleted(s, first + i))
			continue;
		memcpy(t.subject, r->name, r->name_bytes);
		t.vector = lineup_record_vector(&s->shape, r, buffer);
		err = each(arg, &t);
	}
	return err;
}

int lineup_gallery_read(struct lineup_gallery *gallery, int (*each)(void *arg, const struct lineup_template *t), void *arg)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(gallery);
	uint8_t *records = malloc(LINEUP_GALLERY_PIECE_BYTES);
	float *buffer = malloc(LINEUP_DIM_MAX * sizeof(*buffer));
	struct lineup_fault fault;
	int err = 0;

	if (!snapshot) {
		err = -ENOMEM;
		goto out;
	}
	if (!records || !buffer) {
		err = lineup_fail(gallery->ctx, -ENOMEM, "gallery %s: no memory to read it", gallery->path);
		goto out;
	}
	for (uint32_t i = 0; !err && i < snapshot->segment_count; i++) {
		const struct lineup_segment *s = &snapshot->segments[i];
		uint64_t piece = LINEUP_GALLERY_PIECE_BYTES / s->shape.record_bytes;

		for (uint64_t first = 0; !err && first < s->rows; first += piece) {
			uint64_t count = s->rows - first < piece ? s->rows - first : piece;

			err = lineup_segment_records(gallery->ctx, s, first, count, records, &fault);
			if (err)
				lineup_gallery_fail(gallery, err, &fault);
			else
				err = read_rows(s, records, first, count, buffer, each, arg);
		}
	}
out:
	lineup_snapshot_put(snapshot);
	free(records);
	free(buffer);
	return err;
}

struct reading {
	int (*each)(void *arg, const struct lineup_template *t);
	void *arg;
	float *buffer;
	uint64_t found;
};

static int read_one(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record)
{
	struct reading *r = arg;

	r->found += !lineup_segment_row_deleted(segment, row);
	return read_rows(segment, (const uint8_t *)record, row, 1, r->buffer, r->each, r->arg);
}

int lineup_gallery_subject(struct lineup_gallery *gallery, const char *subject,
			   int (*each)(void *arg, const struct lineup_template *t), void *arg)
{
	float buffer[LINEUP_DIM_MAX];
	struct reading r = { .each = each, .arg = arg, .buffer = buffer };
	struct lineup_snapshot *snapshot;
	int err;

	if (lineup_subject_check(subject))
		return lineup_fail(gallery->ctx, -EINVAL, "gallery %s: a subject is 1 to %d bytes of UTF-8 without controls", gallery->path,
				   LINEUP_SUBJECT_BYTES_MAX);
	snapshot = lineup_gallery_snapshot(gallery);
	if (!snapshot)
		return -ENOMEM;
	err = lineup_snapshot_subject(snapshot, subject, read_one, &r);
	lineup_snapshot_put(snapshot);
	return !err && !r.found ? -ENOENT : err;
}

int lineup_gallery_row(struct lineup_gallery *gallery, uint64_t row, int (*each)(void *arg, const struct lineup_template *t), void *arg)
{
	struct lineup_snapshot *snapshot = lineup_gallery_snapshot(gallery);
	const struct lineup_segment *s;
	float buffer[LINEUP_DIM_MAX];
	struct disk_record *record;
	uint32_t i = 0;
	int err = -ENOENT;

	if (!snapshot)
		return -ENOMEM;
	while (i < snapshot->segment_count && row >= snapshot->segments[i].rows)
		row -= snapshot->segments[i++].rows;
	s = &snapshot->segments[i];
	if (i < snapshot->segment_count && !lineup_segment_row_deleted(s, row)) {
		record = malloc(s->shape.record_bytes);
		err = record ? lineup_segment_record(gallery->ctx, s, row, record) :
			       lineup_fail(gallery->ctx, -ENOMEM, "gallery %s: no memory to read it", gallery->path);
		if (!err)
			err = read_rows(s, (const uint8_t *)record, row, 1, buffer, each, arg);
		free(record);
	}
	lineup_snapshot_put(snapshot);
	return err;
}

void lineup_gallery_now(struct lineup_gallery *gallery, struct lineup_gallery_state *state)
{
	pthread_mutex_lock(&gallery->mutex);
	lineup_state_now(&gallery->state, state);
	pthread_mutex_unlock(&gallery->mutex);
}
