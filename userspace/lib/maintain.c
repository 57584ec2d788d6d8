// SPDX-License-Identifier: MIT
// Maintenance beside the thread that writes: the journal sealed, deleted rows dropped, small segments merged, with short holds only.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gallery_files.h"

/*
 * Two kinds of steps, each whole in itself. What is written comes from what was there at the first of two short holds; the second one puts it in place.
 *
 *	seal	The journal's operations up to the first hold become a segment. Those that come meanwhile are copied into the new journal, in rounds,
 *		and applied to the new state, as reading the files would; the second hold copies the last of them.
 *	merge	A run of neighbouring segments becomes one, without the rows that MANIFEST says are deleted. Those that the journal deletes stay,
 *		since it will be read again. What a seal by the writer has told MANIFEST meanwhile goes into a deleted-file of the new segment.
 *
 * A step that finds other files at its second hold than it took at the first, as the writer has compacted the gallery, is undone and tried again.
 */

enum {
	TRIES = 8,
	ROUNDS = 64,
	ROUND_BYTES_MIN = 128 << 10, /* less is left for the hold */
	ROUND_BYTES_MAX = 2 * LINEUP_RECORD_BYTES_MAX,
	WAIT_NS = 5000000,
	IOPRIO_WHO_PROCESS = 1,
	IDLE_PRIORITY = 3 << 13, /* IOPRIO_CLASS_IDLE */
	OVERTAKEN = 1,           /* of a step: other files are there by now */
};

struct maintain {
	struct lineup_gallery *g;
	struct lineup_maintain_options options;
	struct lineup_maintain_result result;
	struct lineup_pace pace;
	struct lineup_fault fault;
	double held_since;
	int priority; /* for I/O, as it was; negative: unknown */
};

/* ---- I/O priority ------------------------------------------------------------------------------------------------------- */

/* Of this thread; where the kernel has no such thing, or forbids it, work goes on as it is. */
static void priority_find(struct maintain *m)
{
	m->priority = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
}

static void priority_set(const struct maintain *m, bool idle)
{
	if (m->priority >= 0)
		syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, idle ? IDLE_PRIORITY : m->priority);
}

/* ---- holds -------------------------------------------------------------------------------------------------------------- */

static void release(struct maintain *m)
{
	struct lineup_gallery *g = m->g;

	pthread_mutex_lock(&g->mutex);
	g->held = false;
	pthread_cond_broadcast(&g->turn);
	pthread_mutex_unlock(&g->mutex);
	m->result.seconds_held += lineup_pace_now() - m->held_since;
	priority_set(m, true);
}

/* Waits until no operation is under way, and lets none begin. */
static int hold(struct maintain *m)
{
	struct lineup_gallery *g = m->g;
	bool busy = true, refused;
	int err = 0;

	priority_set(m, false); /* whoever waits for this waits for its I/O */
	m->held_since = lineup_pace_now();
	pthread_mutex_lock(&g->mutex);
	g->held = true;
	while (busy && !err) {
		struct timespec until;

		busy = g->busy;
		if (!busy)
			break;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += WAIT_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&g->turn, &g->mutex, &until);
		pthread_mutex_unlock(&g->mutex);
		err = lineup_pace_spend(&m->pace, 0);
		pthread_mutex_lock(&g->mutex);
	}
	refused = g->refused;
	pthread_mutex_unlock(&g->mutex);
	if (err)
		err = lineup_fault_set(&m->fault, err, "stopped");
	else if (refused)
		err = lineup_fault_set(&m->fault, -EROFS, "no more is written after %s", g->refused);
	if (err)
		release(m);
	return err;
}

/* Files that are being made are not swept away by the writer. */
static void set_making(struct maintain *m, bool making)
{
	struct lineup_gallery *g = m->g;

	pthread_mutex_lock(&g->mutex);
	if (g->generation_next < g->state.manifest.head.generation_next)
		g->generation_next = g->state.manifest.head.generation_next;
	g->making = making ? g->generation_next : 0;
	pthread_mutex_unlock(&g->mutex);
}

/* Wipes what @manifest, in place since this hold began, no longer names. To be called after it. */
static void sweep(struct maintain *m, const struct lineup_manifest *manifest, uint64_t below)
{
	struct lineup_kept kept = { .manifest = manifest, .below = below, .beside = true };
	struct lineup_files files = m->g->files;
	struct lineup_fault fault;
	uint32_t held = 0;

	files.pace = &m->pace;
	if (lineup_gallery_sweep_but(&files, &kept, &held, &fault))
		lineup_warn(m->g->ctx, "gallery %s: old files stay: %s", m->g->path, fault.text);
	m->result.files_held = held;
}

static uint64_t seal_bytes(const struct lineup_gallery *g)
{
	return g->ctx->journal_seal_bytes ?: LINEUP_JOURNAL_SEAL_BYTES;
}

/* ---- seal --------------------------------------------------------------------------------------------------------------- */

struct seal {
	struct maintain *m;
	struct lineup_state taken; /* at the first hold */
	struct lineup_state next;
	struct lineup_change change;
	struct lineup_replay replay; /* of .next */
	int old_journal;
	int journal;
	uint64_t copied; /* frames of the old journal */
	/* of a round */
	uint8_t *data;
	size_t size;
};

static int copy_record(void *arg, const struct lineup_journal_item *item, struct lineup_fault *fault)
{
	struct seal *s = arg;
	struct lineup_state *next = &s->next;
	size_t bytes = lineup_journal_bytes(item->record);
	int err = lineup_state_replay(&s->replay, item, fault);

	if (err)
		return err;
	/* Frames of a record that is whole take as much as they took. */
	lineup_journal_frames(item->record, item->lists, item->content, next->manifest.head.journal,
			      next->journal.frames + s->size / LINEUP_FRAME_BYTES, next->journal.batch + 1, s->data + s->size);
	s->size += bytes;
	return 0;
}

/* Copies records up to frame @end of the old journal, not too many, into the new one, and syncs it. */
static int copy_round(struct seal *s, uint64_t end)
{
	struct lineup_gallery *g = s->m->g;
	struct lineup_fault *fault = &s->m->fault;
	struct lineup_state *next = &s->next;
	uint64_t left = (end - s->copied) * LINEUP_FRAME_BYTES, copied = s->copied;
	size_t size = left < ROUND_BYTES_MAX ? left : ROUND_BYTES_MAX;
	uint8_t *old = malloc(size + 1);
	char name[LINEUP_GALLERY_NAME_BYTES];
	int err;

	lineup_files_name(name, "journal", s->taken.manifest.head.journal);
	s->data = calloc(1, size + 1);
	s->size = 0;
	err = old && s->data ? lineup_io_read(g->ctx, s->old_journal, old, size, s->copied * LINEUP_FRAME_BYTES) : -ENOMEM;
	if (err)
		lineup_fault_io(fault, err, name, "read");
	if (!err)
		err = lineup_journal_part(old, size, s->copied, &s->taken.manifest.head, next->sequence, next->shape.record_bytes,
					  copy_record, s, &copied, fault);
	if (!err && copied == s->copied)
		err = lineup_fault_set(fault, -EBADMSG, "%s: a record does not end", name);
	if (!err) {
		lineup_files_name(name, "journal", next->manifest.head.journal);
		err = lineup_io_write(g->ctx, s->journal, s->data, s->size, next->journal.frames * LINEUP_FRAME_BYTES);
		if (!err)
			err = g->ctx->io->fdatasync(g->ctx->io_arg, s->journal);
		if (err)
			lineup_fault_io(fault, err, name, "write");
	}
	if (!err) {
		next->journal.frames += s->size / LINEUP_FRAME_BYTES;
		next->journal.batch++;
		s->copied = copied;
		s->m->result.bytes_written += s->size;
	}
	if (old)
		explicit_bzero(old, size);
	if (s->data)
		explicit_bzero(s->data, size);
	free(old);
	free(s->data);
	return err;
}

/* Where the old journal ends, and whether it still is the gallery's. */
static bool journal_end(struct seal *s, uint64_t *end)
{
	struct lineup_gallery *g = s->m->g;
	bool same;

	pthread_mutex_lock(&g->mutex);
	same = g->state.manifest.head.revision == s->taken.manifest.head.revision;
	*end = g->state.journal.frames;
	pthread_mutex_unlock(&g->mutex);
	return same;
}

/* Beside the writer, so that little is left for the hold. Not paced: it must be faster than he is. */
static int copy_rounds(struct seal *s)
{
	uint64_t least = seal_bytes(s->m->g) / 8 < ROUND_BYTES_MIN ? seal_bytes(s->m->g) / 8 : ROUND_BYTES_MIN;
	int err = 0;

	for (int i = 0; !err && i < ROUNDS; i++) {
		uint64_t end;

		if (lineup_pace_spend(&s->m->pace, 0))
			return lineup_fault_set(&s->m->fault, -ECANCELED, "stopped");
		if (!journal_end(s, &end))
			return OVERTAKEN;
		if ((end - s->copied) * LINEUP_FRAME_BYTES < least)
			break;
		err = copy_round(s, end);
		/* A writer who compacts wipes the journal while it is read. */
		if (err && !journal_end(s, &end))
			err = OVERTAKEN;
	}
	return err;
}

static int seal_write(struct seal *s)
{
	struct maintain *m = s->m;
	struct lineup_change *change = &s->change;
	int err = lineup_change_from(change, m->g, &s->taken, &m->fault);

	if (err)
		return err;
	change->files.pace = &m->pace;
	m->pace.total = change->total = s->taken.journal_rows;
	err = lineup_change_seal(change, &m->fault);
	priority_set(m, false); /* no slower than the writer */
	if (!err)
		err = lineup_change_prepare(change, &s->next, &s->journal, &m->fault);
	if (!err && lineup_lookup_init(&s->replay.lookup, m->g->ctx, &s->next))
		err = lineup_fault_set(&m->fault, -ENOMEM, "no memory to seal its journal");
	s->replay.state = &s->next;
	s->replay.ctx = m->g->ctx;
	s->replay.path = m->g->path;
	for (uint32_t i = 0; i < change->manifest.head.segments; i++)
		if (change->manifest.segment[i].generation >= m->g->making)
			m->result.bytes_written += change->manifest.segment[i].file_bytes;
	return err ? err : copy_rounds(s);
}

/* With the gallery held: the rest of the journal, the MANIFEST, and the new state. */
static int seal_install(struct seal *s, uint64_t *below)
{
	struct lineup_gallery *g = s->m->g;
	struct lineup_fault *fault = &s->m->fault;
	uint64_t end;
	int err = 0;

	if (!journal_end(s, &end))
		return OVERTAKEN;
	while (!err && end > s->copied)
		err = copy_round(s, end);
	if (!err && (s->next.sequence != g->state.sequence || memcmp(s->next.digest, g->state.digest, sizeof(s->next.digest))))
		err = lineup_fault_set(fault, -EBADMSG, "its journal does not say what was committed");
	if (!err)
		err = lineup_change_replace(&s->change, fault);
	if (err)
		return err;
	s->next.manifest.head = s->change.manifest.head;
	lineup_gallery_install(g, &s->next, s->journal); /* owns both from here */
	memset(&s->next, 0, sizeof(s->next));
	s->journal = -1;
	*below = s->change.manifest.head.generation_next;
	return 0;
}

static int seal_once(struct maintain *m)
{
	struct seal s = { .m = m, .old_journal = -1, .journal = -1 };
	struct lineup_gallery *g = m->g;
	char name[LINEUP_GALLERY_NAME_BYTES];
	uint64_t below = 0;
	int err = hold(m);

	if (err)
		return err;
	lineup_files_name(name, "journal", g->state.manifest.head.journal);
	err = lineup_state_freeze(&g->state, &s.taken, &m->fault);
	if (!err)
		err = lineup_files_open(&g->files, name, O_RDONLY, &s.old_journal, &m->fault);
	s.copied = g->state.journal.frames;
	set_making(m, true);
	release(m);
	if (!err)
		err = seal_write(&s);
	if (!err)
		err = hold(m);
	if (!err) {
		err = seal_install(&s, &below);
		release(m);
	}
	lineup_lookup_fini(&s.replay.lookup);
	lineup_state_fini(&s.next);
	lineup_files_close(&g->files, s.journal);
	lineup_files_close(&g->files, s.old_journal);
	lineup_state_fini(&s.taken); /* it holds what is to be wiped */
	if (!err) {
		m->result.sealed = true;
		m->result.rows_dropped += s.change.rows_dropped;
		sweep(m, &s.change.manifest, below);
	}
	lineup_change_fini(&s.change);
	set_making(m, false);
	return err;
}

/* ---- merge -------------------------------------------------------------------------------------------------------------- */

/* A run of segments, as MANIFEST described it at the first hold. */
struct merge {
	struct maintain *m;
	uint32_t first, count;
	struct lineup_state taken; /* the run alone, with what MANIFEST says is deleted */
	struct lineup_change change;
	struct disk_manifest_segment entry; /* the new segment; .generation 0: there is none */
	struct lineup_part *part;
	uint32_t at; /* the run's place at the second hold */
};

static uint64_t rows_live(const struct disk_manifest_segment *e)
{
	return e->rows - e->rows_deleted;
}

/* The longest run at the end whose merging keeps the sizes apart, as a binary counter's digits. */
static bool plan_tail(const struct lineup_manifest *m, uint32_t *first, uint32_t *count)
{
	uint32_t at = m->head.segments;
	uint64_t rows;

	if (at < 2)
		return false;
	rows = rows_live(&m->segment[--at]);
	while (at && rows_live(&m->segment[at - 1]) <= rows && rows + rows_live(&m->segment[at - 1]) <= LINEUP_GALLERY_ROWS_TARGET)
		rows += rows_live(&m->segment[--at]);
	*first = at;
	*count = m->head.segments - at;
	return *count > 1;
}

/* The first run from template @from on with deleted rows; with @all, or that is smaller than it need be. */
static bool plan_deleted(const struct lineup_manifest *m, uint64_t from, bool all, uint32_t *first, uint32_t *count)
{
	for (uint32_t i = 0; i < m->head.segments;) {
		uint64_t rows = rows_live(&m->segment[i]);
		uint32_t end = i + 1;

		if (m->segment[i].template_first < from || !(all || m->segment[i].rows_deleted)) {
			i++;
			continue;
		}
		while (end < m->head.segments && (all || m->segment[end].rows_deleted) &&
		       rows + rows_live(&m->segment[end]) <= LINEUP_GALLERY_ROWS_TARGET)
			rows += rows_live(&m->segment[end++]);
		*first = i;
		*count = end - i;
		if (end > i + 1 || m->segment[i].rows_deleted)
			return true;
		i = end;
	}
	return false;
}

/* With the gallery held. */
static int merge_take(struct merge *merge)
{
	struct lineup_gallery *g = merge->m->g;
	struct lineup_state *t = &merge->taken;
	int err = 0;

	memset(t, 0, sizeof(*t));
	t->manifest.head = g->state.manifest.head;
	t->manifest.head.segments = merge->count;
	t->manifest.segment = calloc(LINEUP_SEGMENTS_MAX, sizeof(*t->manifest.segment));
	t->slot = calloc(merge->count, sizeof(*t->slot));
	if (!t->slot || !t->manifest.segment)
		return lineup_fault_set(&merge->m->fault, -ENOMEM, "no memory to write a segment");
	t->slots_max = merge->count;
	for (uint32_t i = 0; !err && i < merge->count; i++) {
		t->manifest.segment[i] = g->state.manifest.segment[merge->first + i];
		t->slot[i].part = lineup_part_get(g->state.slot[merge->first + i].part);
		t->slots++;
		err = lineup_state_sealed(&g->files, &g->state, merge->first + i, &t->slot[i].bits, &merge->m->fault);
	}
	return err;
}

static int merge_write(struct merge *merge)
{
	struct maintain *m = merge->m;
	struct lineup_change *change = &merge->change;
	int err = lineup_change_from(change, m->g, &merge->taken, &m->fault);

	if (err)
		return err;
	change->files.pace = &m->pace;
	for (uint32_t i = 0; i < merge->count; i++)
		change->total += merge->taken.manifest.segment[i].rows;
	m->pace.total = change->total;
	err = lineup_change_rewrite(change, 0, merge->count, false, &m->fault);
	if (err || !change->manifest.head.segments)
		return err;
	merge->entry = change->manifest.segment[0];
	m->result.bytes_written += merge->entry.file_bytes;
	return lineup_part_open(&m->g->files, m->g->path, &change->manifest.head, &merge->entry, &merge->part, &m->fault);
}

/* Where the run is now; false: it is not there any more. */
static bool merge_find(struct merge *merge)
{
	const struct lineup_manifest *now = &merge->m->g->state.manifest, *taken = &merge->taken.manifest;
	uint32_t at = 0;

	while (at < now->head.segments && now->segment[at].generation != taken->segment[0].generation)
		at++;
	if (merge->count > now->head.segments - at)
		return false;
	for (uint32_t i = 0; i < merge->count; i++)
		if (now->segment[at + i].generation != taken->segment[i].generation)
			return false;
	merge->at = at;
	return true;
}

static bool is_set(const struct lineup_bits *bits, uint64_t row)
{
	return bits && bits->bits[row / 8] >> row % 8 & 1;
}

/* The rows of @now, of run's segment @i, that the new segment has from row *@row on. */
static int carry_bits(const struct merge *merge, uint32_t i, const struct lineup_bits *now, uint64_t *row, struct lineup_bits **bits)
{
	const struct lineup_bits *then = merge->taken.slot[i].bits;
	uint64_t rows = merge->taken.manifest.segment[i].rows;

	if (now && (!then || now->count > then->count) && lineup_bits_own(bits, merge->entry.rows))
		return -ENOMEM;
	for (uint64_t r = 0; r < rows; r++) {
		if (is_set(then, r))
			continue;
		if (is_set(now, r)) {
			(*bits)->bits[*row / 8] |= (uint8_t)(1 << *row % 8);
			(*bits)->count++;
		}
		++*row;
	}
	return 0;
}

/* What was deleted in the run since it was taken: all of it, and what MANIFEST knows. */
static int merge_carry(struct merge *merge, struct lineup_bits **all, struct lineup_bits **sealed)
{
	struct lineup_gallery *g = merge->m->g;
	uint64_t row_all = 0, row_sealed = 0;
	int err = 0;

	for (uint32_t i = 0; !err && i < merge->count; i++) {
		struct lineup_bits *now = NULL;

		err = lineup_state_sealed(&g->files, &g->state, merge->at + i, &now, &merge->m->fault);
		if (!err && (carry_bits(merge, i, g->state.slot[merge->at + i].bits, &row_all, all) ||
			     carry_bits(merge, i, now, &row_sealed, sealed)))
			err = lineup_fault_set(&merge->m->fault, -ENOMEM, "no memory for deleted rows");
		lineup_bits_put(now);
	}
	return err;
}

/* The gallery's MANIFEST with the new segment in place of the run. */
static void merge_manifest(struct merge *merge)
{
	const struct lineup_manifest *now = &merge->m->g->state.manifest;
	struct lineup_manifest *m = &merge->change.manifest;
	struct disk_manifest_segment *segment = m->segment;
	uint64_t generation_next = m->head.generation_next;
	uint32_t n = 0;

	*m = *now;
	m->segment = segment;
	if (m->head.generation_next < generation_next)
		m->head.generation_next = generation_next;
	for (uint32_t i = 0; i < now->head.segments; i++) {
		if (i == merge->at && merge->entry.generation)
			segment[n++] = merge->entry;
		if (i < merge->at || i >= merge->at + merge->count)
			segment[n++] = now->segment[i];
	}
	m->head.segments = n;
}

/* The same in memory. @all is the state's from here. */
static void merge_state(struct merge *merge, struct lineup_bits *all, bool changed)
{
	struct lineup_gallery *g = merge->m->g;
	struct lineup_state *s = &g->state;
	const struct lineup_manifest *m = &merge->change.manifest;
	uint32_t put = merge->entry.generation ? 1 : 0, gone = merge->count - put;

	pthread_mutex_lock(&g->mutex);
	lineup_gallery_changed(g);
	for (uint32_t i = 0; i < merge->count; i++) {
		lineup_part_put(s->slot[merge->at + i].part);
		lineup_bits_put(s->slot[merge->at + i].bits);
	}
	if (put)
		s->slot[merge->at] = (struct lineup_slot){ .part = merge->part, .bits = all, .bits_changed = changed };
	/* Chunks that wait for rows lie behind the slots in use. */
	memmove(&s->slot[merge->at + put], &s->slot[merge->at + merge->count],
		(s->slots_max - merge->at - merge->count) * sizeof(*s->slot));
	memset(&s->slot[s->slots_max - gone], 0, gone * sizeof(*s->slot));
	s->slots -= gone;
	s->manifest.head = m->head;
	memcpy(s->manifest.segment, m->segment, m->head.segments * sizeof(*m->segment));
	free(s->manifest_data);
	s->manifest_data = NULL;
	pthread_mutex_unlock(&g->mutex);
	merge->part = NULL;
}

/* With the gallery held. */
static int merge_install(struct merge *merge, uint64_t *below)
{
	struct lineup_fault *fault = &merge->m->fault;
	struct lineup_bits *all = NULL, *sealed = NULL;
	int err;

	if (!merge_find(merge))
		return OVERTAKEN;
	err = merge_carry(merge, &all, &sealed);
	if (!err && sealed)
		err = lineup_change_deleted(&merge->change, sealed, &merge->entry, fault);
	if (!err) {
		merge_manifest(merge);
		err = lineup_change_replace(&merge->change, fault);
	}
	if (err) {
		lineup_bits_put(all);
	} else {
		merge_state(merge, all, all && (!sealed || all->count > sealed->count));
		*below = merge->change.manifest.head.generation_next;
	}
	lineup_bits_put(sealed);
	return err;
}

/* What is to be merged, by the state there is while the gallery is held. */
typedef bool plan_fn(struct maintain *m, uint64_t from, uint32_t *first, uint32_t *count);

static bool tail(struct maintain *m, uint64_t from, uint32_t *first, uint32_t *count)
{
	(void)from;
	return plan_tail(&m->g->state.manifest, first, count);
}

static bool deleted(struct maintain *m, uint64_t from, uint32_t *first, uint32_t *count)
{
	return plan_deleted(&m->g->state.manifest, from, m->options.compact == 2, first, count);
}

/* *@from: past the run that was merged. *@any: there was one. */
static int merge_once(struct maintain *m, plan_fn *plan, uint64_t *from, bool *any)
{
	struct merge merge = { .m = m };
	uint64_t below = 0, last = 0;
	int err = hold(m);

	if (err)
		return err;
	*any = plan(m, *from, &merge.first, &merge.count);
	if (*any)
		err = merge_take(&merge);
	if (*any && !err)
		last = merge.taken.manifest.segment[merge.count - 1].template_last;
	set_making(m, true);
	release(m);
	if (*any && !err)
		err = merge_write(&merge);
	if (*any && !err) {
		err = hold(m);
		if (!err) {
			err = merge_install(&merge, &below);
			release(m);
		}
		if (!err) {
			m->result.compacted = true;
			m->result.rows_dropped += merge.change.rows_dropped;
			*from = last + 1;
			lineup_state_fini(&merge.taken); /* it holds what is to be wiped */
			sweep(m, &merge.change.manifest, below);
		}
	}
	lineup_part_put(merge.part);
	lineup_change_fini(&merge.change);
	set_making(m, false);
	lineup_state_fini(&merge.taken);
	return err;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */

static int merge_all(struct maintain *m, plan_fn *plan)
{
	uint64_t from = 0;
	uint32_t tries = 0;
	bool any = true;
	int err = 0;

	while (!err && any) {
		err = merge_once(m, plan, &from, &any);
		if (err == OVERTAKEN)
			err = ++tries < TRIES ? 0 : lineup_fault_set(&m->fault, -EBUSY, "its files are replaced all the time");
	}
	return err;
}

/* Whether the journal is long, or must be sealed since it holds deletions that are to be made final. */
static int seal_wanted(struct maintain *m, bool *wanted)
{
	const struct lineup_state *s = &m->g->state;
	int err = hold(m);

	if (err)
		return err;
	*wanted = s->ops && (m->options.compact == 2 || s->journal.frames * LINEUP_FRAME_BYTES > seal_bytes(m->g));
	for (uint32_t i = 0; s->ops && m->options.compact && i < s->slots; i++)
		*wanted |= s->slot[i].bits_changed;
	release(m);
	return 0;
}

/* What readers held before, and what a writer left who found a step under way. */
static int sweep_all(struct maintain *m)
{
	struct lineup_manifest manifest;
	uint64_t below;
	int err = hold(m);

	if (err)
		return err;
	manifest = m->g->state.manifest;
	manifest.segment = calloc(manifest.head.segments + 1, sizeof(*manifest.segment));
	if (manifest.segment)
		memcpy(manifest.segment, m->g->state.manifest.segment, manifest.head.segments * sizeof(*manifest.segment));
	set_making(m, true);
	below = m->g->making;
	set_making(m, false);
	release(m);
	if (!manifest.segment)
		return lineup_fault_set(&m->fault, -ENOMEM, "no memory to remove old files");
	sweep(m, &manifest, below);
	free(manifest.segment);
	return 0;
}

static int run(struct maintain *m)
{
	bool wanted = false;
	int err = seal_wanted(m, &wanted);

	for (uint32_t tries = 0; !err && wanted;) {
		err = seal_once(m);
		wanted = err == OVERTAKEN;
		if (err == OVERTAKEN)
			err = ++tries < TRIES ? seal_wanted(m, &wanted) :
						lineup_fault_set(&m->fault, -EBUSY, "its files are replaced all the time");
	}
	if (!err && m->options.compact)
		err = merge_all(m, deleted);
	if (!err)
		err = merge_all(m, tail);
	return err ? err : sweep_all(m);
}

static int check_options(struct lineup_gallery *g, const struct lineup_maintain_options *opt)
{
	if (opt->compact > 2)
		return lineup_fail(g->ctx, -EINVAL, "lineup_maintain_options: compact is %u, not 0, 1 or 2", opt->compact);
	if (g->lock < 0)
		return lineup_fail(g->ctx, -EBADF, "gallery %s: is open for reading only", g->path);
	return 0;
}

int lineup_gallery_maintain(struct lineup_gallery *g, const struct lineup_maintain_options *options, struct lineup_maintain_result *result)
{
	struct maintain m = { .g = g };
	double begun = lineup_pace_now();
	bool busy;
	int err = lineup_options_copy(g->ctx, "lineup_maintain_options", &m.options, sizeof(m.options), options);

	if (!err)
		err = check_options(g, &m.options);
	if (err)
		return err;
	pthread_mutex_lock(&g->mutex);
	busy = g->maintaining;
	g->maintaining = true;
	pthread_mutex_unlock(&g->mutex);
	if (busy)
		return lineup_fail(g->ctx, -EBUSY, "gallery %s: is being maintained already", g->path);
	m.pace = (struct lineup_pace){ .bytes_per_second = m.options.bytes_per_second,
				       .progress = m.options.progress,
				       .progress_arg = m.options.progress_arg };
	priority_find(&m);
	err = run(&m);
	priority_set(&m, false);
	pthread_mutex_lock(&g->mutex);
	g->maintaining = false;
	pthread_mutex_unlock(&g->mutex);
	if (err)
		return lineup_gallery_fail(g, err, &m.fault);
	m.result.seconds = lineup_pace_now() - begun;
	if (result)
		*result = m.result;
	return 0;
}
