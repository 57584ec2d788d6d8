/* SPDX-License-Identifier: MIT */
/* What the files of the gallery stage share: its state in memory, and how files are read, written and replaced. Grouped by file. */
#ifndef LINEUP_GALLERY_FILES_H
#define LINEUP_GALLERY_FILES_H

#include <pthread.h>

#include "gallery.h"
#include "io.h"
#include "pool.h"

enum {
	LINEUP_GALLERY_ROWS_TARGET = 1 << 20, /* rows of a segment that this library writes or merges to */
	LINEUP_GALLERY_CHUNK_ROWS = 480, /* of the journal's rows in memory, a part each */
	LINEUP_GALLERY_PIECE_BYTES = 4 << 20, /* of reading, writing and wiping */
	LINEUP_GALLERY_READ_TRIES = 50, /* of a reader whom a writer overtakes */
	LINEUP_GALLERY_NAME_BYTES = 32, /* of a file's name in the directory */
};

/*
 * Why something failed, for whoever knows whether to say it: a reader that a writer overtook starts over in silence. Functions that
 * take a fault set it whenever they return an error, and log nothing themselves.
 */
struct lineup_fault {
	char text[512];
};

/* files.c: the directory */

struct lineup_files {
	struct lineup_ctx *ctx;
	int dir;
	struct lineup_pace *pace; /* NULL: as fast as can be */
};

/* pace.c: work that lets others go first */

/* For one thread. */
struct lineup_pace {
	uint64_t bytes_per_second; /* 0: no limit */
	lineup_progress_fn *progress; /* may be NULL */
	void *progress_arg;
	uint64_t done, total; /* for it */
	double due; /* when what was done is within the limit */
	bool stopped;
};

double lineup_pace_now(void); /* seconds, of a clock that never jumps */
/* @bytes were read or written: sleeps as the limit says. -ECANCELED: .progress said so, now or before. Takes NULL. */
int lineup_pace_spend(struct lineup_pace *pace, uint64_t bytes);

/* Sets the text and returns @err. */
int lineup_fault_set(struct lineup_fault *fault, int err, const char *format, ...) LINEUP_PRINTF(3, 4);
/* "NAME: cannot VERB: strerror" */
int lineup_fault_io(struct lineup_fault *fault, int err, const char *name, const char *verb);

void lineup_files_name(char name[LINEUP_GALLERY_NAME_BYTES], const char *kind, uint32_t generation);
int lineup_files_open(const struct lineup_files *files, const char *name, int flags, int *fd, struct lineup_fault *fault);
void lineup_files_close(const struct lineup_files *files, int fd); /* takes -1 */
/* The whole of a file; *@data is the caller's to free. Files larger than @size_max are refused. */
int lineup_files_read(const struct lineup_files *files, const char *name, uint64_t size_max, void **data, size_t *size,
		      struct lineup_fault *fault);
/* Makes a new file of @data and syncs it (not the directory); on failure it is gone again. */
int lineup_files_write(const struct lineup_files *files, const char *name, const void *data, size_t size,
		       struct lineup_fault *fault);
int lineup_files_sync(const struct lineup_files *files, struct lineup_fault *fault); /* the directory */
/*
 * Overwrites a file with zeros, syncs and unlinks it. -EBUSY: someone still reads it, nothing was done. A file that is not there is
 * success.
 */
int lineup_files_wipe(const struct lineup_files *files, const char *name);
/*
 * Wipes what @keep does not want of the files whose names are ours, MANIFEST.new among them (@kind is the name). *@held counts those still read by
 * others, and those that .pace left.
 */
int lineup_files_sweep(const struct lineup_files *files, bool (*keep)(void *arg, const char *kind, uint32_t generation), void *arg,
		       uint32_t *held, struct lineup_fault *fault);
/* Whether the directory holds nothing but files a creation that was cut off leaves. -EEXIST: it holds more. */
int lineup_files_unused(const struct lineup_files *files, struct lineup_fault *fault);
bool lineup_files_zero(const void *data, size_t size);

/* table.c: names, operations and history */

/* From a hash to numbers; several may share one. */
struct lineup_table {
	struct lineup_table_slot {
		uint64_t hash;
		uint32_t value_plus_1; /* 0: empty */
	} * slot;
	uint64_t mask;
	uint64_t count;
};

int lineup_table_reserve(struct lineup_table *table, uint64_t more); /* so that adding @more cannot fail */
void lineup_table_add(struct lineup_table *table, uint64_t hash, uint32_t value);
/* Walks the values of @hash; *@cursor begins at 0. */
bool lineup_table_next(const struct lineup_table *table, uint64_t hash, uint64_t *cursor, uint32_t *value);
void lineup_table_clear(struct lineup_table *table); /* forgets the entries, keeps the memory */
void lineup_table_fini(struct lineup_table *table);

uint64_t lineup_name_hash(const char *name, size_t size);
uint64_t lineup_op_hash(const uint8_t op_id[LINEUP_OP_ID_BYTES]);
const char *lineup_op_name(uint32_t kind); /* "an enrolment" */

/* The digest of the history, as gallery.h defines it; content is hashed as it comes. */
struct lineup_history {
	unsigned char state[512] __attribute__((aligned(64))); /* crypto_generichash_state */
};
void lineup_history_begin(struct lineup_history *history);
void lineup_history_record(struct lineup_history *history, const struct lineup_shape *shape, const struct disk_list *lists,
			   const struct disk_record *record);
void lineup_history_ids(struct lineup_history *history, const uint64_t *ids, uint64_t count);
/* @digest: before in, after out. */
void lineup_history_end(struct lineup_history *history, const struct disk_op *op, uint8_t digest[LINEUP_DIGEST_BYTES]);
void lineup_history_origin(const struct disk_manifest *manifest, uint8_t digest[LINEUP_DIGEST_BYTES]);

/* manifest.c */

struct lineup_manifest {
	struct disk_manifest head;
	struct disk_list list[LINEUP_LISTS_MAX];
	struct disk_manifest_segment *segment; /* [LINEUP_SEGMENTS_MAX] */
};

int lineup_manifest_parse(const void *data, size_t size, struct lineup_manifest *manifest, struct lineup_fault *fault);
void lineup_manifest_fini(struct lineup_manifest *manifest); /* takes a zeroed one */
/* -ENOENT without a fault's text: there is none. */
int lineup_manifest_read(const struct lineup_files *files, void **data, size_t *size, struct lineup_fault *fault);
/*
 * Counts the revision up and makes it the gallery's MANIFEST. *@renamed: the new one is in place though it may not survive a power
 * cut, so that nothing it names, and nothing the old one names, may be removed.
 */
int lineup_manifest_replace(const struct lineup_files *files, struct lineup_manifest *manifest, bool *renamed,
			    struct lineup_fault *fault);
/* The names must be distinct, well formed and zero-filled. */
bool lineup_manifest_lists_valid(const struct disk_list *list, uint32_t lists);

/* pages.c: sorted regions of a segment */

int lineup_pages_write(const struct lineup_files *files, int fd, uint64_t offset, const void *entries, size_t entry_bytes,
		       uint64_t count, uint64_t *end);
/* Bytes that a region of @count entries takes. */
uint64_t lineup_pages_bytes(size_t entry_bytes, uint64_t count);
const char *lineup_pages_verify(const struct disk_page *page, size_t entry_bytes, uint64_t count,
				uint64_t index); /* NULL, or why not */

/* A reader that remembers its place: keys looked up in ascending order cost little each. */
struct lineup_pages {
	const struct lineup_segment *segment;
	struct lineup_ctx *ctx;
	uint64_t offset;
	uint64_t count; /* entries */
	size_t entry_bytes;
	int (*compare)(const void *entry, const void *key);
	uint64_t loaded; /* the page's index; UINT64_MAX: none */
	uint64_t place; /* the page of the last key */
	struct disk_page page;
};

void lineup_pages_index(struct lineup_pages *pages, struct lineup_ctx *ctx,
			const struct lineup_segment *segment); /* key: uint64_t */
void lineup_pages_ops(struct lineup_pages *pages, struct lineup_ctx *ctx, const struct lineup_segment *segment); /* key: op_id */
/* *@position: of the first entry not less than @key, or count. */
int lineup_pages_seek(struct lineup_pages *pages, const void *key, uint64_t *position, struct lineup_fault *fault);
/* Valid until the next call. */
int lineup_pages_entry(struct lineup_pages *pages, uint64_t position, const void **entry, struct lineup_fault *fault);

/* segment.c: parts of a state */

/* A segment's open file, or up to LINEUP_GALLERY_CHUNK_ROWS of the journal's rows. Shared by states and snapshots. */
struct lineup_part {
	atomic_uint references;
	struct lineup_ctx *ctx;
	uint32_t header_crc;
	struct lineup_segment segment; /* deleted is NULL: snapshots set it in their copies */
};

/* Which rows of a part are deleted. Shared; who changes it has it alone (lineup_bits_own). */
struct lineup_bits {
	atomic_uint references;
	uint64_t count;
	uint8_t bits[];
};

int lineup_segment_parse(const void *data, size_t size, const struct disk_manifest *manifest,
			 const struct disk_manifest_segment *entry, struct lineup_segment *segment, struct lineup_fault *fault);
int lineup_part_open(const struct lineup_files *files, const char *path, const struct disk_manifest *manifest,
		     const struct disk_manifest_segment *entry, struct lineup_part **part, struct lineup_fault *fault);
int lineup_part_memory(struct lineup_ctx *ctx, const char *path, const struct disk_manifest *manifest, uint32_t generation,
		       struct lineup_part **part);
/* A copy of the first @rows rows of a chunk, with blocks ended. */
int lineup_part_copy(const struct lineup_part *part, uint64_t rows, struct lineup_part **copy);
void lineup_part_cut(struct lineup_part *part, uint64_t rows); /* takes rows of a chunk back: all but @rows */
/* Appends rows to a chunk in memory that has room. */
void lineup_part_append(struct lineup_part *part, const struct disk_record *record);
struct lineup_part *lineup_part_get(struct lineup_part *part);
void lineup_part_put(struct lineup_part *part); /* takes NULL */
void lineup_bits_put(struct lineup_bits *bits); /* takes NULL */
/* Makes *@bits the caller's alone, and not NULL. */
int lineup_bits_own(struct lineup_bits **bits, uint64_t rows);

/* Reads and verifies records [first, first + count) of a part; with its template ids inside the segment's range. */
int lineup_segment_records(struct lineup_ctx *ctx, const struct lineup_segment *segment, uint64_t first, uint64_t count,
			   void *records, struct lineup_fault *fault);
/* *@row: the one with @template_id; -ENOENT without a fault's text: none. */
int lineup_segment_find(struct lineup_ctx *ctx, const struct lineup_segment *segment, uint64_t template_id, uint64_t *row,
			struct lineup_fault *fault);

/* segment_write.c */

enum { LINEUP_GALLERY_THREADS = 8 };

/* Threads for what is computed row by row; NULL where there would be one only, or none can be had. */
struct lineup_pool *lineup_gallery_pool(void);

struct lineup_segment_writer {
	const struct lineup_files *files;
	struct lineup_pool *pool; /* to quantise with; NULL: alone. Borrowed */
	struct disk_segment header;
	struct lineup_shape shape;
	uint64_t capacity; /* rows */
	char name[LINEUP_GALLERY_NAME_BYTES];
	int fd;
	uint8_t *block; /* blocks being filled, pages */
	uint64_t blocks_max;
	uint64_t block_fill; /* rows in them */
	struct disk_index_entry *index;
	uint64_t index_capacity;
};

/* @capacity: rows it may get at most; it may get fewer, at the price of a hole in the file. */
int lineup_segment_create(struct lineup_segment_writer *writer, const struct lineup_files *files,
			  const struct disk_manifest *manifest, uint32_t generation, uint64_t capacity, struct lineup_fault *fault);
/* Records as they go into the file: numbered, named and with their crc. @hashes: of the names. Uses the writer's pool. */
int lineup_segment_put(struct lineup_segment_writer *writer, const void *records, const uint64_t *hashes, uint64_t rows,
		       struct lineup_fault *fault);
/* Writes the rest, syncs and closes. @ops are sorted in place. */
int lineup_segment_finish(struct lineup_segment_writer *writer, struct disk_op *ops, uint64_t ops_count, uint64_t template_next,
			  struct disk_manifest_segment *entry, struct lineup_fault *fault);
void lineup_segment_fini(struct lineup_segment_writer *writer); /* frees; wipes a file that was not finished; takes a zeroed one */

/* journal.c */

struct lineup_journal_end {
	uint64_t frames; /* up to the end of the last complete record */
	uint64_t last; /* first frame of that record's batch */
	uint32_t batch; /* of that record */
	bool torn; /* there is something behind it */
};

/* A record from the journal, in one piece. */
struct lineup_journal_item {
	const struct disk_journal_record *record;
	const struct disk_list *lists;
	const void *content; /* records or template ids */
	uint64_t frame; /* for messages */
};

int lineup_journal_parse(const void *data, size_t size, const struct disk_manifest *manifest, uint32_t record_bytes,
			 int (*each)(void *arg, const struct lineup_journal_item *item, struct lineup_fault *fault), void *arg,
			 struct lineup_journal_end *end, struct lineup_fault *fault);
/*
 * Likewise for frames of @manifest's journal in @data, from frame @first on: records that follow operation @sequence, of which the last may be cut off.
 * *@next: the frame where it begins, or the end.
 */
int lineup_journal_part(const void *data, size_t size, uint64_t first, const struct disk_manifest *manifest, uint64_t sequence,
			uint32_t record_bytes,
			int (*each)(void *arg, const struct lineup_journal_item *item, struct lineup_fault *fault), void *arg,
			uint64_t *next, struct lineup_fault *fault);
size_t lineup_journal_bytes(const struct disk_journal_record *record); /* of its frames */
/* Frames of a record whose pieces are @record, @lists and @content, into @data, zeroed. Frame numbers begin at @frame. */
void lineup_journal_frames(const struct disk_journal_record *record, const struct disk_list *lists, const void *content,
			   uint32_t generation, uint64_t frame, uint32_t batch, void *data);
int lineup_journal_create(const struct lineup_files *files, const struct disk_manifest *manifest, uint32_t generation,
			  uint64_t sequence, struct lineup_fault *fault);

/* state.c: what the files say */

struct lineup_slot {
	struct lineup_part *part;
	struct lineup_bits *bits; /* NULL: none deleted */
	bool bits_changed; /* since the deleted-file was written */
	/* while the state is marked, and since a row of this slot was deleted: what there was before */
	bool staged;
	bool bits_changed_before;
	struct lineup_bits *bits_before;
};

/* What a state goes back to, and what others see of it, while operations are in it that are not durable. */
struct lineup_mark {
	uint64_t journal_rows;
	uint64_t ops;
	uint64_t sequence;
	uint64_t template_next;
	uint64_t subjects;
	uint32_t subject_next;
	uint32_t lists;
	uint32_t slots;
	uint8_t digest[LINEUP_DIGEST_BYTES];
};

struct lineup_state {
	struct lineup_manifest manifest;
	struct lineup_shape shape; /* of chunks */
	void *manifest_data; /* as read; NULL in a writer after its own replacement */
	size_t manifest_size;
	struct lineup_slot *slot; /* the manifest's segments, then chunks of the journal's rows; the last chunk grows */
	uint32_t slots;
	uint32_t slots_max;
	struct lineup_journal_end journal;
	uint64_t journal_rows;
	struct disk_op *op; /* the journal's operations */
	uint64_t ops;
	uint64_t ops_max;
	struct lineup_table op_table; /* by op_id */
	struct lineup_table name_table; /* the journal's rows by name */
	/* after the journal's operations */
	uint64_t sequence;
	uint64_t template_next;
	uint64_t subjects;
	uint32_t subject_next;
	uint32_t lists;
	struct disk_list list[LINEUP_LISTS_MAX];
	uint8_t digest[LINEUP_DIGEST_BYTES];
	bool marked;
	struct lineup_mark mark;
};

/* Rows that an operation deletes: slot << 32 | row, ascending, and so are their template ids. */
struct lineup_places {
	uint64_t *place;
	uint64_t *id;
	uint64_t count;
	uint64_t max;
};

/* Reads all that the MANIFEST in @data names; takes @data. Parts of @old (may be NULL) that are the same are shared. */
int lineup_state_load(const struct lineup_files *files, const char *path, void *data, size_t size, const struct lineup_state *old,
		      struct lineup_state *state, struct lineup_fault *fault);
void lineup_state_fini(struct lineup_state *state); /* takes a zeroed one */
/* Takes what @manifest and @old give: parts and bits are shared with @old where the generation is the same, opened where not. */
int lineup_state_follow(const struct lineup_files *files, const char *path, const struct lineup_manifest *manifest,
			const struct lineup_state *old, struct lineup_state *state, struct lineup_fault *fault);
/* Memory for an operation of @rows new rows, so that applying it cannot fail. */
int lineup_state_reserve(struct lineup_state *state, struct lineup_ctx *ctx, const char *path, uint64_t rows);
int lineup_places_add(struct lineup_places *places, uint64_t place, uint64_t id);
void lineup_places_sort(struct lineup_places *places);
void lineup_places_fini(struct lineup_places *places); /* takes a zeroed one */
/* Adds the row of template @id; -ENOENT without a fault's text: there is none, or it is deleted. */
int lineup_state_locate(const struct lineup_state *state, struct lineup_ctx *ctx, uint64_t id, struct lineup_places *places,
			struct lineup_fault *fault);
/* Makes the deleted rows of their slots the state's alone, so that deleting cannot fail. */
int lineup_state_own(struct lineup_state *state, const struct lineup_places *places);
/* Moves the state on by an operation of any kind. @places: what it deletes, reserved and owned before. */
void lineup_state_apply(struct lineup_state *state, const struct lineup_journal_item *item, const struct lineup_places *places);
/* What is applied from here on can be taken back, and is not in snapshots. */
void lineup_state_mark(struct lineup_state *state);
void lineup_state_keep(struct lineup_state *state); /* the mark goes, what was applied stays */
void lineup_state_undo(struct lineup_state *state); /* all goes back to the mark; cannot fail */
/* What others may see: all three as of the mark, if there is one. */
struct lineup_mark lineup_state_seen(const struct lineup_state *state);
void lineup_state_now(const struct lineup_state *state, struct lineup_gallery_state *now);
int lineup_state_snapshot(const struct lineup_state *state, struct lineup_ctx *ctx, struct lineup_snapshot **snapshot);
/* What a shorter history of the same gallery holds, with all that it needs its own: parts and deleted rows shared, the last chunk copied. */
int lineup_state_freeze(const struct lineup_state *state, struct lineup_state *frozen, struct lineup_fault *fault);
/* Deleted rows of segment @i by MANIFEST alone, without the journal's; the caller puts. */
int lineup_state_sealed(const struct lineup_files *files, const struct lineup_state *state, uint32_t i, struct lineup_bits **bits,
			struct lineup_fault *fault);
/* *@found: an operation with this id, in *@op. */
int lineup_state_op(const struct lineup_state *state, struct lineup_ctx *ctx, const uint8_t op_id[LINEUP_OP_ID_BYTES],
		    struct disk_op *op, bool *found, struct lineup_fault *fault);

/* lookup.c: subjects by name */

struct lineup_lookup_result {
	uint32_t subject;
	bool found;
	bool live; /* a row of it is not deleted */
};

/* Looks names up in a state; ascending hashes are cheap. */
struct lineup_lookup {
	const struct lineup_state *state;
	struct lineup_ctx *ctx;
	struct lineup_pages *pages; /* [segments] */
	struct disk_record *record; /* scratch */
};

/* Records of a journal, applied to a state whose operations they follow. */
struct lineup_replay {
	struct lineup_state *state;
	struct lineup_ctx *ctx;
	const char *path;
	struct lineup_lookup lookup; /* of the state */
};

/* Checks and applies a record; for lineup_journal_parse, @arg: struct lineup_replay. */
int lineup_state_replay(void *arg, const struct lineup_journal_item *item, struct lineup_fault *fault);

int lineup_lookup_init(struct lineup_lookup *lookup, struct lineup_ctx *ctx, const struct lineup_state *state);
void lineup_lookup_fini(struct lineup_lookup *lookup); /* takes a zeroed one */
int lineup_lookup_name(struct lineup_lookup *lookup, uint64_t hash, const char *name, size_t size,
		       struct lineup_lookup_result *result, struct lineup_fault *fault);
/* In one segment on disk. *@live only looks at @bits. */
int lineup_lookup_segment(struct lineup_pages *pages, const struct lineup_bits *bits, struct disk_record *scratch, uint64_t hash,
			  const char *name, size_t size, struct lineup_lookup_result *result, struct lineup_fault *fault);
/* Adds a subject's rows that are not deleted. */
int lineup_lookup_live(struct lineup_lookup *lookup, uint64_t hash, const char *name, size_t size, struct lineup_places *places,
		       struct lineup_fault *fault);
/* All rows of a subject, deleted ones included, as lineup_snapshot_subject. */
int lineup_lookup_rows(struct lineup_ctx *ctx, const struct lineup_segment *segment, const char *name, size_t size,
		       int (*each)(void *arg, const struct lineup_segment *segment, uint64_t row, const struct disk_record *record),
		       void *arg, struct lineup_fault *fault);

/* stage.c: operations that are in the state, and not yet durable */

struct lineup_stage {
	uint8_t *data; /* frames of their records */
	size_t size;
	size_t size_max;
	uint32_t operations;
};

/* Adds an operation: its record, as lineup_journal_frames takes it, and the rows that it deletes (may be NULL). On failure the others stay. */
int lineup_stage_add(struct lineup_gallery *gallery, const struct disk_journal_record *record, const struct disk_list *lists,
		     const void *content, const struct lineup_places *places, struct lineup_fault *fault);
/* Makes all of them durable, or takes them back. */
int lineup_stage_commit(struct lineup_gallery *gallery, struct lineup_fault *fault);
void lineup_stage_undo(struct lineup_gallery *gallery);

/* delete.c */

/* One more operation among those that are staged; logs. Whoever calls has entered the gallery. */
int lineup_delete_stage(struct lineup_gallery *gallery, struct lineup_lookup *lookup, const struct lineup_delete_options *options,
			struct lineup_delete_result *result);

/* gallery.c */

struct lineup_gallery {
	struct lineup_ctx *ctx;
	struct lineup_files files;
	char *path;
	int lock; /* -1: a reader */
	int journal; /* a writer's */
	bool maintained; /* LINEUP_GALLERY_MAINTAINED */
	uint32_t record_bytes; /* of its records, always */
	_Atomic(const char *) refused; /* why nothing more is written; NULL */
	struct lineup_stage stage;
	/*
	 * The thread that writes reads .state without .mutex; it changes it with .mutex held, as others may be making a snapshot. Who writes has
	 * .busy from lineup_gallery_enter to lineup_gallery_leave.
	 */
	struct lineup_state state;
	pthread_mutex_t mutex; /* of the state against others, and of what follows */
	pthread_cond_t turn; /* .busy or .held has ended */
	bool busy;
	bool held; /* maintenance has the state, who writes waits */
	bool maintaining;
	uint64_t making; /* files of this generation and later ones are maintenance's; 0: none is */
	uint64_t generation_next; /* that no file of this process has; less than MANIFEST's: that one counts */
	struct lineup_snapshot *snapshot; /* of the state; NULL: to be made */
};

/* Logs "gallery PATH: " and the fault. */
int lineup_gallery_fail(const struct lineup_gallery *gallery, int err, const struct lineup_fault *fault);
/* Begins a change; 0, or logs why @gallery cannot be written to now. */
int lineup_gallery_enter(struct lineup_gallery *gallery);
void lineup_gallery_leave(struct lineup_gallery *gallery);
/* Writes frames of one batch at the end of the journal and syncs them. */
int lineup_gallery_append(struct lineup_gallery *gallery, const void *frames, size_t size, struct lineup_fault *fault);
void lineup_gallery_changed(struct lineup_gallery *gallery); /* with the mutex held: the snapshot is old */
/* Reads the state that is committed now, as a reader does. */
int lineup_gallery_load(const struct lineup_files *files, const char *path, const struct lineup_state *old,
			struct lineup_state *state, struct lineup_fault *fault);

/* change.c: replacing files */

struct lineup_change {
	struct lineup_gallery *gallery;
	const struct lineup_state *state; /* what there is */
	struct lineup_files files; /* the gallery's; with a pace if it is made beside the writer */
	uint64_t unsynced; /* bytes of the segment being written */
	struct lineup_manifest manifest; /* the new one */
	char (*made)[LINEUP_GALLERY_NAME_BYTES]; /* files to remove if it fails */
	uint32_t mades;
	uint32_t mades_max;
	bool renamed;
	lineup_progress_fn *progress; /* of rows, may be NULL */
	void *progress_arg;
	uint64_t done, total;
	uint64_t rows_dropped;
};

/* Of the gallery's state, or of another one that stays as it is until the end. */
int lineup_change_begin(struct lineup_change *change, struct lineup_gallery *gallery, struct lineup_fault *fault);
int lineup_change_from(struct lineup_change *change, struct lineup_gallery *gallery, const struct lineup_state *state,
		       struct lineup_fault *fault);
uint32_t lineup_change_generation(struct lineup_change *change);
int lineup_change_made(struct lineup_change *change, const char *name, struct lineup_fault *fault);
int lineup_change_segment(struct lineup_change *change, const struct disk_manifest_segment *entry, struct lineup_fault *fault);
/* Slots [first, end), and the journal's operations if they reach its rows, as one new segment; none if there is nothing to keep. */
int lineup_change_rewrite(struct lineup_change *change, uint32_t first, uint32_t end, bool journal, struct lineup_fault *fault);
/* A deleted-file for the segment of @entry, which then names it. */
int lineup_change_deleted(struct lineup_change *change, const struct lineup_bits *bits, struct disk_manifest_segment *entry,
			  struct lineup_fault *fault);
/* Puts the journal, and small segments before it, into a new segment; what is deleted in other segments, into new files. */
int lineup_change_seal(struct lineup_change *change, struct lineup_fault *fault);
/* As seal, and rewrites every segment that has deleted rows or is small. */
int lineup_change_compact(struct lineup_change *change, struct lineup_fault *fault);
/* A new journal, open, and the state after the change; both the caller's, also on failure. */
int lineup_change_prepare(struct lineup_change *change, struct lineup_state *state, int *journal, struct lineup_fault *fault);
int lineup_change_replace(struct lineup_change *change, struct lineup_fault *fault); /* the MANIFEST */
/* Makes it so. Old files are wiped; *@held of them are still read. */
int lineup_change_commit(struct lineup_change *change, uint32_t *held, struct lineup_fault *fault);
void lineup_change_fini(struct lineup_change *change); /* removes what was made if it was not committed; takes a zeroed one */
/* Seals if the journal has grown long; a failure is a warning. */
void lineup_gallery_seal(struct lineup_gallery *gallery);
/* @state and the file @journal become the gallery's, in place of those it has. */
void lineup_gallery_install(struct lineup_gallery *gallery, struct lineup_state *state, int journal);
/* What a sweep leaves alone. */
struct lineup_kept {
	const struct lineup_manifest *manifest; /* what it names */
	uint64_t below; /* files of this generation or a later one */
	bool beside; /* the writer, who may have a MANIFEST.new */
};

int lineup_gallery_sweep_but(const struct lineup_files *files, struct lineup_kept *kept, uint32_t *held, struct lineup_fault *fault);
/* Wipes files that MANIFEST does not name, but those that maintenance is making. */
int lineup_gallery_sweep(struct lineup_gallery *gallery, uint32_t *held, struct lineup_fault *fault);

#endif
