/* SPDX-License-Identifier: MIT */
/*
 * The whole public interface of liblineup, in the order of its stages: context, capture, extractor, probe (vectors, subjects),
 * gallery, search.
 */
#ifndef LINEUP_H
#define LINEUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * Conventions, for every function unless its comment says otherwise:
 *
 * - It returns 0, or a negative errno value. Results leave through the last pointers, which are untouched on failure.
 * - What went wrong is said once, as one line of text, through the context's log callback before the function returns.
 * - Option structs start with their own size: set .size = sizeof(the struct) and zero the rest. Zero means "the default", so
 *   that a struct can grow without a new function. A larger size than the library knows is refused with -E2BIG unless every
 *   byte it does not know is zero.
 * - *_destroy, *_close and *_abort accept NULL.
 * - An object may be used by one thread at a time, and by different threads one after the other. A context may be used by
 *   all threads at once. A gallery opened for reading may be shared by any number of searchers, each in its own thread.
 * - The library never prints, exits, aborts or installs a signal handler, and starts no process but an extractor's.
 * - Text is UTF-8. Times are seconds since 1970-01-01T00:00:00Z. Sizes are bytes.
 */

#define LINEUP_VERSION_MAJOR 0
#define LINEUP_VERSION_MINOR 1
#define LINEUP_VERSION_PATCH 0

/* Limits. What passes one of them is refused with -EINVAL or -E2BIG and a message that names the limit. */
enum {
	LINEUP_DIM_MAX = 4096,           /* components of a template */
	LINEUP_SUBJECT_BYTES_MAX = 64,   /* bytes of a subject id, without the NUL */
	LINEUP_MODEL_BYTES_MAX = 64,     /* bytes of a model id, without the NUL */
	LINEUP_LISTS_MAX = 64,           /* named lists of one gallery */
	LINEUP_LIST_NAME_BYTES_MAX = 32, /* bytes of a list's name, without the NUL; of [A-Za-z0-9_.-] */
	LINEUP_K_MAX = 4096,             /* candidates per probe */
	LINEUP_PROBES_MAX = 1024,        /* probes that share one pass over the gallery; more make more passes */
	LINEUP_THREADS_MAX = 256,
	LINEUP_DIGEST_BYTES = 32,
	LINEUP_OP_ID_BYTES = 16,
};

/* ---- context ---------------------------------------------------------------------------------------------------------- */

enum lineup_log_level {
	LINEUP_LOG_ERROR = 0,   /* why a call failed */
	LINEUP_LOG_WARNING = 1, /* the call works, in a lesser way; said once per context and cause */
	LINEUP_LOG_INFO = 2,
};

/* Receives one line without a newline; @message is valid during the call only. May be called from any thread. */
typedef void lineup_log_fn(void *arg, enum lineup_log_level level, const char *message);

/*
 * Told of progress now and then, from the thread that made the call. @done of @total, in the unit the call names; @total is 0
 * while unknown. Returning false asks the call to stop: it undoes what it began and returns -ECANCELED.
 */
typedef bool lineup_progress_fn(void *arg, uint64_t done, uint64_t total);

struct lineup_ctx_options {
	uint32_t size;
	uint32_t reserved; /* zero */
	lineup_log_fn *log; /* NULL: messages are dropped */
	void *log_arg;
};

struct lineup_ctx;

/* Creates a context; @options may be NULL. Errors: -ENOMEM, -E2BIG. It must outlive every object made with it. */
int lineup_ctx_create(const struct lineup_ctx_options *options, struct lineup_ctx **ctx);
void lineup_ctx_destroy(struct lineup_ctx *ctx);

#define LINEUP_FORMAT_VERSION 1u /* of galleries, that this library writes */

/* "0.1.0"; static. */
const char *lineup_version(void);

/* ---- capture: frames, and devices that fill them ------------------------------------------------------------------------- */

struct lineup_frames; /* a pool of frames */
struct lineup_frame;  /* pinned memory of one image, as a dma-buf where there is such a thing */

enum lineup_frames_kind {
	LINEUP_FRAMES_AUTO = 0,    /* the first of the following that this machine has, with a warning if it is not the first */
	LINEUP_FRAMES_MODULE = 1,  /* lineup.ko, /dev/lineup: reserved up front, wiped on return, under a quota, near a NUMA node */
	LINEUP_FRAMES_UDMABUF = 2, /* a memfd that /dev/udmabuf makes a dma-buf */
	LINEUP_FRAMES_HEAP = 3,    /* /dev/dma_heap/system; its mappings cannot be read into by O_DIRECT or io_uring */
	LINEUP_FRAMES_MEMORY = 4,  /* a memfd: no dma-buf, so no device fills it; never taken by a capture */
	LINEUP_FRAMES_DEVICE = 5,  /* the V4L2 device's own buffers; only lineup_capture_open makes them */
};

enum lineup_frames_flags {
	LINEUP_FRAMES_CONTIGUOUS = 1 << 0, /* each frame one run of physical memory; the following need the module */
	LINEUP_FRAMES_UNCACHED = 1 << 1,   /* write-combined: slow for the CPU to read */
	LINEUP_FRAMES_SHMEM = 1 << 2,      /* so that Linux 6.1 registers them as io_uring buffers */
	LINEUP_FRAMES_SYNC_CHECK = 1 << 3, /* accesses outside a bracket are counted; slow, for development */
	LINEUP_FRAMES_ON_NODE = 1 << 4,    /* use .node */
};

struct lineup_frames_options {
	uint32_t size;
	enum lineup_frames_kind kind;
	uint64_t frame_bytes;  /* required; rounded up to whole pages */
	uint32_t count;        /* 0: 8 */
	uint32_t flags;        /* enum lineup_frames_flags */
	int32_t node;          /* NUMA node */
	uint32_t dma_bits;     /* address bits that the devices reach; 0: 64. Less has MODULE only: others lie where they lie */
};

/*
 * Reserves the frames. The message names what was refused, and by what. Errors: -EINVAL, -E2BIG (limits), -ENOTSUP (this kind
 * is not on this machine, or has not these flags), -EACCES, -EDQUOT (the user's RLIMIT_MEMLOCK), -ENOMEM (the module's
 * max_bytes, the memory cgroup, memory).
 */
int lineup_frames_create(struct lineup_ctx *ctx, const struct lineup_frames_options *options, struct lineup_frames **frames);
/* All its frames must have been put. Who else has a descriptor of a frame keeps that frame alive. */
void lineup_frames_destroy(struct lineup_frames *frames);
enum lineup_frames_kind lineup_frames_kind(const struct lineup_frames *frames);
/* "lineup.ko", "udmabuf", "dma-heap", "memfd", "device"; static. */
const char *lineup_frames_kind_name(enum lineup_frames_kind kind);

/* Takes a free frame. -EAGAIN, silently: there is none. -ENODEV: the pool was revoked. */
int lineup_frame_take(struct lineup_frames *frames, struct lineup_frame **frame);
/* Gives a frame back; NULL is nothing. Its mapping and its descriptor, unless duplicated, are gone with it. */
void lineup_frame_put(struct lineup_frame *frame);
/* Its descriptor, borrowed: a dma-buf, or a memfd with LINEUP_FRAMES_MEMORY; -1: it has none. */
int lineup_frame_fd(const struct lineup_frame *frame);
uint64_t lineup_frame_bytes(const struct lineup_frame *frame);
/* Maps it, once: the mapping stays until the put. What the frame holds stays out of core dumps. -ENODEV: revoked. */
int lineup_frame_map(struct lineup_frame *frame, void **data);

enum lineup_frame_access { LINEUP_FRAME_READ = 1, LINEUP_FRAME_WRITE = 2 };

/*
 * A bracket around each access by the CPU through a mapping; @access is what is done in it. -ENODEV: revoked, a mapping raises
 * SIGBUS.
 */
int lineup_frame_begin(struct lineup_frame *frame, uint32_t access);
int lineup_frame_end(struct lineup_frame *frame, uint32_t access);

/*
 * Imports the frame into the DRM device open as @drm (PRIME); the caller closes *@handle with lineup_frame_drm_close. -ENOTSUP:
 * this build is without libdrm, the frame is no dma-buf, or the device imports none.
 */
int lineup_frame_drm(struct lineup_frame *frame, int drm, uint32_t *handle);
void lineup_frame_drm_close(int drm, uint32_t handle);
/* Whether this build has it: "yes", or why not; static. */
const char *lineup_frame_drm_support(void);

/* A pool of lineup.ko, whoever made it. */
struct lineup_frames_info {
	uint64_t id;
	uint64_t frame_bytes;
	uint64_t bytes;          /* charged for it now */
	uint32_t frames;         /* at creation: free + out + held_back + freed + lost */
	uint32_t frames_free;
	uint32_t frames_out;
	uint32_t frames_held_back; /* given back, but somebody still has their pages pinned */
	uint32_t frames_freed;   /* of a closed or revoked pool */
	uint32_t frames_lost;
	uint32_t flags;          /* enum lineup_frames_flags */
	int32_t node;            /* -1: any */
	uint32_t dma_bits;
	uint32_t uid;            /* who made it */
	uint32_t pid;            /* 0: not visible, or gone */
	bool closed, revoked;
	bool heap;               /* of /dev/dma_heap/lineup, or a driver's */
	char command[16];        /* the process's name then */
	uint64_t gets, returns, revokes, sync_violations;
};

/* Charges and limits of lineup.ko, now. */
struct lineup_frames_quota {
	uint64_t bytes, bytes_max;           /* of the module */
	uint64_t user_bytes;                 /* of these, the caller's user's */
	uint64_t user_locked_bytes;          /* of this user, io_uring's and others' included */
	uint64_t user_bytes_max;             /* RLIMIT_MEMLOCK; UINT64_MAX: no limit */
	uint32_t pools, frames_out, frames_held_back;
	uint64_t refused_user, refused_module, refused_memory; /* pools, since the module was loaded */
	uint64_t gets, returns, revokes, sync_violations;
};

/*
 * Tells the quota, then calls @each for every pool that the caller may see, until it returns non-zero, which is then returned.
 * Both structs are valid during the call. -ENOTSUP: the module is not loaded; -EACCES: the user is not in the group lineup.
 */
int lineup_frames_list(struct lineup_ctx *ctx, struct lineup_frames_quota *quota,
		       int (*each)(void *arg, const struct lineup_frames_info *info), void *arg);

struct lineup_capture;

struct lineup_capture_options {
	uint32_t size;
	/* AUTO: MODULE, UDMABUF, HEAP, DEVICE: the first that machine and device take, with a warning if it is not the first. */
	enum lineup_frames_kind kind;
	uint32_t fourcc;       /* V4L2 pixel format; 0: as the device is set. One that the device has not is refused */
	uint32_t width, height; /* 0: as the device is set. The device may choose the nearest it has */
	uint32_t buffers;      /* 2 to 32; 0: 4 */
	uint32_t flags;        /* enum lineup_frames_flags for the pool */
	int32_t node;
	uint32_t dma_bits;
	uint32_t frame_bytes;  /* "edu" only: 0: 16 KiB, a multiple of 4096 */
	const char *seed;      /* "edu" only: a file that the card's memory is filled with first; NULL: as it is */
};

/*
 * Opens the V4L2 device @path (a video capture node, one plane), or the module's sample card if @path is "edu", agrees on a
 * format and a pool of frames, and starts. Errors: those of lineup_frames_create; -ENOENT, -EACCES, -EBUSY (somebody else
 * captures), -ENODEV (no such device), -ENOTSUP (it cannot capture, not in this format, not into such frames).
 */
int lineup_capture_open(struct lineup_ctx *ctx, const char *path, const struct lineup_capture_options *options,
			struct lineup_capture **capture);
/* Frames still taken are gone with it. */
void lineup_capture_close(struct lineup_capture *capture);

struct lineup_capture_info {
	char driver[16], card[32]; /* as the device tells them */
	enum lineup_frames_kind kind;
	uint32_t fourcc, width, height;
	uint32_t stride;       /* bytes from line to line; 0: there is none (compressed) */
	uint32_t buffers;
	uint64_t frame_bytes;  /* of an image at most */
};

void lineup_capture_info(const struct lineup_capture *capture, struct lineup_capture_info *info);

enum lineup_shot_flags {
	LINEUP_SHOT_DAMAGED = 1 << 0, /* the device says that the image is damaged */
	LINEUP_SHOT_SHORT = 1 << 1,   /* it holds fewer bytes than an image has, or more than the frame */
};

/* A frame with an image in it. */
struct lineup_shot {
	struct lineup_frame *frame; /* borrowed until lineup_capture_give */
	uint32_t index;
	uint32_t flags;        /* enum lineup_shot_flags */
	uint32_t fourcc, width, height, stride;
	uint64_t bytes;        /* of the image, at most lineup_frame_bytes */
	uint64_t timestamp_ns; /* CLOCK_MONOTONIC, when it was captured */
	uint64_t sequence;     /* counted by the device; a gap is frames it had to drop */
	uint64_t dropped;      /* since the shot before: the size of the gap */
};

/*
 * Waits up to @timeout_ms for the next image. -ETIMEDOUT and -EINTR (a signal came), silently: nothing has changed. -ENODEV:
 * the device is gone. -EBUSY: all frames are taken. After any other error, and after -ENODEV, only the close is left.
 */
int lineup_capture_take(struct lineup_capture *capture, uint32_t timeout_ms, struct lineup_shot *shot);
/* Gives the shot's frame back to the device. Errors as above. */
int lineup_capture_give(struct lineup_capture *capture, const struct lineup_shot *shot);

/* ---- extractor: plug-ins that find templates in frames ------------------------------------------------------------------- */

enum { LINEUP_EXTRACTOR_TEMPLATES_MAX = 256 }; /* of one frame */

struct lineup_extractor_options {
	uint32_t size;
	uint32_t dim;               /* components that a template must have; required */
	uint8_t model_digest[LINEUP_DIGEST_BYTES]; /* that it must come from (struct lineup_gallery_info); required */
	const char *path;           /* of the plug-in (lineup-extractor.h); a name without '/' is one in .directory. Required */
	const char *config;         /* text for the plug-in; NULL: "" */
	const char *directory;      /* of lineup-extract and the plug-ins that come with lineup; NULL: where they were installed */
	uint32_t deadline_ms;       /* for one frame; 0: 1000 */
	uint32_t start_ms;          /* for a start; 0: 30000 */
	uint32_t templates_max;     /* of a frame; 0: 64; at most LINEUP_EXTRACTOR_TEMPLATES_MAX */
	uint32_t reserved;          /* zero */
	uint64_t memory_max;        /* address space of the process; 0: 4 GiB */
	/* Told how many ms a start or a frame has been waited for, of how many at most, each 250 ms and when a signal comes. */
	lineup_progress_fn *progress;
	void *progress_arg;
};

struct lineup_extractor;

/*
 * Starts the plug-in in a process of its own, which has no network, no files, no other processes and no more memory than it is
 * given; it ends with the thread that made the extractor, which is the one that uses it. Errors: -EINVAL; -ENOENT, -EACCES;
 * -ENOTSUP: this build has no extractors, the plug-in is of another ABI, or has another model or dimension; -EIO: it crashed or
 * failed as it started; -ETIMEDOUT; -ECANCELED, silently: .progress wanted that.
 */
int lineup_extractor_create(struct lineup_ctx *ctx, const struct lineup_extractor_options *options,
			    struct lineup_extractor **extractor);
void lineup_extractor_destroy(struct lineup_extractor *extractor);

/* What became of a frame. */
enum lineup_fate {
	LINEUP_FATE_DONE = 0,
	LINEUP_FATE_DAMAGED = 1,     /* a shot that says so itself was not given to the plug-in */
	LINEUP_FATE_SHORT = 2,
	LINEUP_FATE_REFUSED = 3,     /* the plug-in says that it can do nothing with it */
	LINEUP_FATE_CRASHED = 4,
	LINEUP_FATE_HUNG = 5,        /* no answer within the deadline: the process was killed */
	LINEUP_FATE_RUBBISH = 6,     /* an answer that cannot be true */
	LINEUP_FATE_MODEL = 7,       /* templates of another model or dimension */
	LINEUP_FATE_NOT_STARTED = 8, /* after one of the above the plug-in did not start again */
	LINEUP_FATES = 9,
};

/* "damaged", "crashed", ...; static. */
const char *lineup_fate_name(enum lineup_fate fate);

struct lineup_face {
	float x, y, width, height; /* in pixels, within the image */
	float quality;             /* 0 to 1 */
};

struct lineup_extraction {
	enum lineup_fate fate;
	uint32_t count;           /* templates; 0 unless fate is LINEUP_FATE_DONE */
	uint32_t dim;
	const float *vectors;     /* [count][dim]: finite, none of only zeros; not normalised */
	const struct lineup_face *faces; /* [count] */
};

/*
 * Hands @shot to the plug-in and waits for its answer. What the plug-in does wrong costs this frame: 0 is returned,
 * @extraction->fate tells what it was, and each kind is warned of once. A process that crashed, hung or answered rubbish is
 * replaced when the next frame comes. @extraction stays valid until the next call; lineup_extractor_erase overwrites its
 * templates. Errors: -EIO after the plug-in failed to start five times in a row, -ENODEV (the frame was revoked), -ENOMEM,
 * -ECANCELED (.progress wanted that; the process was killed, and is replaced when the next frame comes).
 */
int lineup_extractor_run(struct lineup_extractor *extractor, const struct lineup_shot *shot, struct lineup_extraction *extraction);
void lineup_extractor_erase(struct lineup_extractor *extractor);
/* Its process, for tests and monitors; 0: it has none at the moment. */
int lineup_extractor_pid(const struct lineup_extractor *extractor);
/* Whether this build has extractors: "yes", or why not; static. */
const char *lineup_extractor_support(void);

/* ---- probe: vectors and subjects from files ------------------------------------------------------------------------------ */

enum lineup_dtype {
	LINEUP_FLOAT32 = 0,
	LINEUP_FLOAT64 = 1,
};

/*
 * A block of vectors in the caller's memory: rows x dim values of @dtype, row after row, without gaps. They need not have
 * length 1: wherever vectors enter the library each is divided by its Euclidean norm (float64) and rounded to float32 once.
 * A row with a NaN, an infinity or only zeros is refused with -EINVAL.
 */
struct lineup_matrix {
	const void *data;
	uint64_t rows;
	uint32_t dim;
	enum lineup_dtype dtype;
};

struct lineup_vectors;

/*
 * Opens a file of vectors for reading from front to back: .npy 1.0 to 3.0 (float16, float32, float64, little or big endian;
 * 2-D, C order), .fvecs or .bvecs, told apart by the name's ending; "-" reads standard input, told apart by its first bytes
 * (.npy) or else taken for .fvecs. The buffers behind it are kept out of core dumps and erased when it is closed.
 * Errors: -ENOENT, -EACCES ..., -EINVAL (not such a file: the message names file and reason).
 */
int lineup_vectors_open(struct lineup_ctx *ctx, const char *path, struct lineup_vectors **vectors);
/* As lineup_vectors_open, from memory, which is borrowed until the close. @name is used in messages and for its ending. */
int lineup_vectors_open_memory(struct lineup_ctx *ctx, const char *name, const void *data, size_t size,
			       struct lineup_vectors **vectors);
void lineup_vectors_close(struct lineup_vectors *vectors);
/* Components per row, and how lineup_vectors_read delivers them (float16 and bytes are widened to float32, exactly). */
uint32_t lineup_vectors_dim(const struct lineup_vectors *vectors);
enum lineup_dtype lineup_vectors_dtype(const struct lineup_vectors *vectors);
/* Rows in the file, or UINT64_MAX where only its end will tell (a pipe of .fvecs). */
uint64_t lineup_vectors_rows(const struct lineup_vectors *vectors);
/*
 * Reads up to @rows_max next rows into @data, [rows_max][dim] of the dtype above. *@rows is 0 at the end of the file. Every row is
 * checked: a truncated row, a NaN, an infinity, only zeros, a second dimension: -EINVAL, the message names file, row and reason.
 */
int lineup_vectors_read(struct lineup_vectors *vectors, void *data, uint64_t rows_max, uint64_t *rows);

/* One line of a subjects file. */
struct lineup_subject {
	char name[LINEUP_SUBJECT_BYTES_MAX + 1];
	int64_t expires;  /* 0: never */
	uint32_t lists;   /* how many names follow */
	char list[LINEUP_LISTS_MAX][LINEUP_LIST_NAME_BYTES_MAX + 1];
};

struct lineup_subjects;

/*
 * Opens a CSV file (RFC 4180) with the header subject[,lists][,expires]; other columns are ignored, in any order. lists: names
 * separated by ';' (or, in a quoted field, ','). expires: as lineup_time_parse reads it. "-" reads standard input.
 */
int lineup_subjects_open(struct lineup_ctx *ctx, const char *path, struct lineup_subjects **subjects);
int lineup_subjects_open_memory(struct lineup_ctx *ctx, const char *name, const void *data, size_t size,
				struct lineup_subjects **subjects);
void lineup_subjects_close(struct lineup_subjects *subjects);
/* Reads the next row. *@more is false at the end of the file. -EINVAL names file, line and reason. */
int lineup_subjects_read(struct lineup_subjects *subjects, struct lineup_subject *subject, bool *more);

/* Whether @name may be a subject id: 1 to 64 bytes of UTF-8 without control characters; and a list name; 0 or -EINVAL, silently. */
int lineup_subject_check(const char *name);
int lineup_list_check(const char *name);
/*
 * Reads a time: YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ, a number of seconds since 1970, +Nd, +Nh, +Nm or +Ns after @now; "" and "never"
 * are 0. -EINVAL, silently, for anything else, and for a date or a span that comes to 0: it would read as never.
 */
int lineup_time_parse(const char *text, int64_t now, int64_t *time);

/* ---- gallery ---------------------------------------------------------------------------------------------------------- */

struct lineup_gallery;

enum lineup_store {
	LINEUP_STORE_FLOAT32 = 0,
	LINEUP_STORE_FLOAT16 = 1, /* templates are rounded to float16 when enrolled; scores are exact for what was stored */
};

struct lineup_gallery_create_options {
	uint32_t size;
	uint32_t dim;             /* 1 to LINEUP_DIM_MAX; required */
	const char *model;        /* id of the model the templates come from; NULL: "unspecified" */
	enum lineup_store store;
	uint32_t reserved;        /* zero */
};

enum lineup_gallery_flags {
	LINEUP_GALLERY_WRITE = 1 << 0, /* enrol, delete, compact: takes the gallery's only writer lock, held until close */
	/*
	 * With WRITE: the journal is sealed by lineup_gallery_maintain only, which another thread calls. A commit that would make
	 * the journal longer than four times the length at which it is sealed (64 MiB) seals it by itself all the same. Nor do
	 * commits merge segments.
	 */
	LINEUP_GALLERY_MAINTAINED = 1 << 1,
};

struct lineup_gallery_options {
	uint32_t size;
	uint32_t flags;    /* enum lineup_gallery_flags */
	const char *model; /* NULL: any; else a gallery of another model is refused with -EMEDIUMTYPE */
};

/*
 * Creates an empty gallery in the new directory @path and opens it for writing. On failure nothing is left behind.
 * Errors: -EEXIST, -EINVAL, -ENOSPC, -EIO ...
 */
int lineup_gallery_create(struct lineup_ctx *ctx, const char *path, const struct lineup_gallery_create_options *options,
			  struct lineup_gallery **gallery);

/*
 * Opens a gallery. Reading sees the state committed at this moment, whatever writers do later (lineup_gallery_refresh moves on).
 * Errors: -ENOENT; -EBUSY another writer has it (the message names it); -EBADMSG a checksum, a size or a field is wrong (the
 * message names file, offset and reason); -ENOTSUP written by a newer format version; -EMEDIUMTYPE another model.
 * A torn end of the journal, from a crash during an operation that was never acknowledged, is cut off by a writer, with a warning.
 */
int lineup_gallery_open(struct lineup_ctx *ctx, const char *path, const struct lineup_gallery_options *options,
			struct lineup_gallery **gallery);
void lineup_gallery_close(struct lineup_gallery *gallery);

/*
 * Moves a gallery opened for reading to the state committed now; on failure it stays where it was. Searchers made from it keep
 * theirs.
 */
int lineup_gallery_refresh(struct lineup_gallery *gallery);

struct lineup_gallery_info {
	uint32_t dim;
	enum lineup_store store;
	char model[LINEUP_MODEL_BYTES_MAX + 1];
	uint8_t model_digest[LINEUP_DIGEST_BYTES]; /* BLAKE2b-256 of the model id */
	uint8_t digest[LINEUP_DIGEST_BYTES]; /* of the history of operations up to sequence; equal histories, equal digests */
	uint64_t sequence;        /* of the newest operation; they are numbered 1, 2, 3 ... in the order of commitment */
	uint64_t templates;       /* that a search can find, expired ones included */
	uint64_t templates_deleted; /* still on disk, until compaction */
	uint64_t subjects;        /* with at least one template */
	uint64_t templates_next;  /* the id the next template gets; ids are never used twice */
	uint32_t segments;
	uint32_t lists;
	char list[LINEUP_LISTS_MAX][LINEUP_LIST_NAME_BYTES_MAX + 1];
	uint64_t journal_bytes;
	uint64_t journal_templates;
	uint64_t bytes;           /* of all files */
	uint64_t scan_bytes;      /* that one pass of a search reads */
	uint32_t format;          /* version of the format */
};

/* By the thread that writes, if one does; while it has a group open, with what is in that. Others: lineup_gallery_now. */
void lineup_gallery_info(const struct lineup_gallery *gallery, struct lineup_gallery_info *info);

/* The bit of the list @name in this gallery, as used in masks; -ENOENT with a message if it has none such. */
int lineup_gallery_list(const struct lineup_gallery *gallery, const char *name, uint64_t *mask);

/*
 * An enrolment: begin, add any number of times, commit. All its rows are one operation, there after commit returns 0 (which is
 * after it is durable) and absent otherwise. One enrolment at a time per gallery, which must be open for writing.
 */
struct lineup_enrol;

struct lineup_enrol_options {
	uint32_t size;
	uint32_t reserved;                   /* zero */
	uint8_t op_id[LINEUP_OP_ID_BYTES];   /* all zero: a random one. An id the gallery has seen makes the enrolment a no-op */
};

struct lineup_enrol_batch {
	struct lineup_matrix vectors;
	/*
	 * [rows]; NULL: each row a subject of its own, named by its template id in decimal (if a subject of that name has templates
	 * already, lineup_enrol_add or lineup_enrol_commit fails with -EEXIST: give names).
	 */
	const char *const *subjects;
	const uint64_t *lists;       /* [rows] masks; NULL: on no list */
	const int64_t *expires;      /* [rows]; NULL: never; 0: never */
};

struct lineup_enrol_result {
	uint64_t sequence;       /* of this operation */
	uint64_t template_first; /* the rows got template_first, template_first + 1, ... in the order they were added */
	uint64_t rows;
	uint8_t op_id[LINEUP_OP_ID_BYTES];
	bool repeated;           /* the op_id had been enrolled before: this is that operation's result, nothing changed */
	bool existed;            /* the first row's subject had templates before; of lineup_group_enrol, false if repeated */
	uint32_t subject_number; /* of the first row's subject; of lineup_group_enrol, 0 if repeated */
};

int lineup_enrol_begin(struct lineup_gallery *gallery, const struct lineup_enrol_options *options, struct lineup_enrol **enrol);
/* The bit for the list @name, which comes into being with the commit if the gallery has none such. -ENOSPC: no 65th list. */
int lineup_enrol_list(struct lineup_enrol *enrol, const char *name, uint64_t *mask);
/*
 * Borrows @batch during the call. A bad row is refused (-EINVAL, naming it), and with it the whole batch; the enrolment stays
 * usable.
 */
int lineup_enrol_add(struct lineup_enrol *enrol, const struct lineup_enrol_batch *batch);
/*
 * Ends the enrolment, whatever it returns. @result may be NULL. An enrolment of no rows is refused with -EINVAL. After an -EIO from
 * the last sync nobody can know what the disk holds: the gallery refuses further changes, and lineup_gallery_recover, or opening it
 * again, tells; repeating the enrolment with its op_id is safe either way. The same holds for lineup_gallery_delete and
 * lineup_gallery_compact.
 */
int lineup_enrol_commit(struct lineup_enrol *enrol, struct lineup_enrol_result *result);
void lineup_enrol_abort(struct lineup_enrol *enrol);

enum lineup_delete_what {
	LINEUP_DELETE_SUBJECT = 1,  /* all its templates */
	LINEUP_DELETE_TEMPLATE = 2,
};

struct lineup_delete_options {
	uint32_t size;
	enum lineup_delete_what what;
	const char *subject;
	uint64_t template_id;
	uint8_t op_id[LINEUP_OP_ID_BYTES]; /* as for enrolment */
};

struct lineup_delete_result {
	uint64_t sequence;
	uint64_t rows; /* templates that were deleted */
	uint8_t op_id[LINEUP_OP_ID_BYTES];
	bool repeated;
	bool last;     /* their subject has no template any more */
	uint32_t subject_number; /* it had; 0 if repeated */
	char subject[LINEUP_SUBJECT_BYTES_MAX + 1]; /* whose they were; "" if repeated */
};

/* One atomic operation, durable when it returns 0. -ENOENT: no such subject or template. @result may be NULL. */
int lineup_gallery_delete(struct lineup_gallery *gallery, const struct lineup_delete_options *options,
			  struct lineup_delete_result *result);

struct lineup_compact_result {
	uint64_t rows_dropped;  /* deleted templates that left the files */
	uint64_t bytes_before;
	uint64_t bytes_after;
	uint32_t files_held;    /* old files that other processes still read: overwritten and removed by the next writer or compaction */
};

/*
 * Rewrites the gallery without its deleted templates, overwrites the old files and removes them. Ids, order, digest and sequence
 * stay. @progress (may be NULL) is told rows. @result may be NULL.
 */
int lineup_gallery_compact(struct lineup_gallery *gallery, lineup_progress_fn *progress, void *progress_arg,
			   struct lineup_compact_result *result);

/*
 * Operations that become durable together: begin, any number of enrolments and deletions, commit. Each is an operation of its own,
 * with its op_id, its sequence number and its place in the history, and each is atomic; together they cost one write and one sync.
 * What is added to a group sees what was added before; nobody else sees any of it before the commit has returned 0. A refused
 * operation (bad row, unknown subject) changes nothing, and the group goes on. One group or enrolment at a time per gallery, which
 * must be open for writing.
 */
struct lineup_group;

enum { LINEUP_GROUP_OPERATIONS_MAX = 4096 };

enum lineup_group_flags {
	LINEUP_GROUP_REPLACE = 1 << 0, /* the same operation deletes the templates that the batch's subjects had before it; .subjects is required */
};

struct lineup_group_options {
	uint32_t size;
	uint32_t flags;                      /* enum lineup_group_flags */
	uint8_t op_id[LINEUP_OP_ID_BYTES];   /* as for lineup_enrol_begin */
};

int lineup_group_begin(struct lineup_gallery *gallery, struct lineup_group **group);
/*
 * As lineup_enrol_list; *@mask is for the next lineup_group_enrol. A new list comes into being with that, or not at all if it is
 * refused or repeated.
 */
int lineup_group_list(struct lineup_group *group, const char *name, uint64_t *mask);
/*
 * Adds an enrolment of at most as many rows as fit a record of the journal (lineup_group_rows_max); more: -E2BIG, use lineup_enrol.
 * Errors otherwise as lineup_enrol_add and lineup_enrol_commit. -ENOBUFS, silently: the group is full, commit it. @result may be
 * NULL; what it says holds once the commit has returned 0.
 */
int lineup_group_enrol(struct lineup_group *group, const struct lineup_group_options *options, const struct lineup_enrol_batch *batch,
		       struct lineup_enrol_result *result);
uint64_t lineup_group_rows_max(const struct lineup_gallery *gallery);
/* Errors as lineup_gallery_delete, and -ENOBUFS as above. */
int lineup_group_delete(struct lineup_group *group, const struct lineup_delete_options *options, struct lineup_delete_result *result);
/* Operations in it that will change the gallery. */
uint32_t lineup_group_operations(const struct lineup_group *group);
/*
 * Ends the group, whatever it returns: all its operations are durable and visible, or, after an error, none is acknowledged. Errors
 * and what they mean as lineup_enrol_commit. An empty group is a success that does nothing.
 */
int lineup_group_commit(struct lineup_group *group);
void lineup_group_abort(struct lineup_group *group);

struct lineup_maintain_options {
	uint32_t size;
	/*
	 * 0: seal the journal once it is long, and merge small segments; 1: and drop deleted rows, where there are any; 2: as 1,
	 * but seal whatever there is and merge all that is smaller than it need be.
	 */
	uint32_t compact;
	uint64_t bytes_per_second; /* of reading and writing, at most, but for what is committed meanwhile, which is copied at once; 0: no limit */
	/*
	 * Told rows of the step that is under way, some hundred times a second, though not while files are synced or an index is
	 * sorted. False: that step is undone and -ECANCELED returned; steps before it stay. May be NULL.
	 */
	lineup_progress_fn *progress;
	void *progress_arg;
};

struct lineup_maintain_result {
	bool sealed, compacted;
	uint64_t rows_dropped;
	uint64_t bytes_written;
	double seconds;
	double seconds_held;     /* of it, while operations had to wait, or it for one that was under way */
	uint32_t files_held;     /* old files that searches or other processes still read, or that a late stop left: for the next maintenance */
};

/*
 * Seals and compacts while another thread goes on with enrolments, deletions and groups, and any number with searches: only the
 * last step, which takes over what was done meanwhile and replaces the MANIFEST, holds operations up. The one function that may be
 * called beside the thread that writes to @gallery; one call at a time. Errors as lineup_gallery_compact; a gallery that refuses
 * changes: -EROFS. @result may be NULL.
 */
int lineup_gallery_maintain(struct lineup_gallery *gallery, const struct lineup_maintain_options *options, struct lineup_maintain_result *result);

/* Why the gallery, open for writing, refuses changes (static text), or NULL. Any thread. */
const char *lineup_gallery_refuses(const struct lineup_gallery *gallery);
/*
 * After a failed write or sync, in place: reads from the disk what it holds, as opening it again would, and takes changes again.
 * Snapshots and searchers keep their state. On failure it goes on refusing. By the thread that writes, no lineup_gallery_maintain
 * running.
 */
int lineup_gallery_recover(struct lineup_gallery *gallery);

/* The state as of the last commit: what a search that starts now sees. Any thread, at any time. */
struct lineup_gallery_state {
	uint64_t sequence;
	uint64_t templates;
	uint64_t subjects;
	uint64_t rows;           /* with deleted ones that are on disk */
	uint64_t subject_numbers; /* given so far: one more than the largest */
	uint32_t segments;
	uint32_t lists;
	uint64_t journal_bytes;
	uint64_t journal_templates;
};

void lineup_gallery_now(struct lineup_gallery *gallery, struct lineup_gallery_state *state);

/*
 * Reads and verifies every byte of the gallery: checksums, padding, order, counts, and that codes, columns and indexes follow
 * from the records. -EBADMSG at the first fault, which the message names. @progress is told bytes.
 */
int lineup_gallery_check(struct lineup_gallery *gallery, lineup_progress_fn *progress, void *progress_arg);

/* One template as stored, for lineup_gallery_read. */
struct lineup_template {
	uint64_t id;
	uint64_t lists;
	int64_t expires;
	char subject[LINEUP_SUBJECT_BYTES_MAX + 1];
	const float *vector; /* [dim]; valid during the callback */
	uint32_t subject_number; /* the subject's, as long as it has templates; less than the gallery's .subject_numbers then */
};

/* Calls @each for every template that is not deleted, in the order of ids, until it returns non-zero, which is then returned. */
int lineup_gallery_read(struct lineup_gallery *gallery, int (*each)(void *arg, const struct lineup_template *t), void *arg);
/*
 * Likewise for the templates of @subject; -ENOENT, silently: it has none. Expired ones count. Any thread, beside the one that
 * writes: sees the last commit.
 */
int lineup_gallery_subject(struct lineup_gallery *gallery, const char *subject, int (*each)(void *arg, const struct lineup_template *t), void *arg);
/*
 * Likewise for the one template that is row @row of the .rows of lineup_gallery_now, in the order of ids; -ENOENT, silently: it is
 * deleted, or @row is not less than .rows by now. For picking at random.
 */
int lineup_gallery_row(struct lineup_gallery *gallery, uint64_t row, int (*each)(void *arg, const struct lineup_template *t), void *arg);

/* ---- devices ---------------------------------------------------------------------------------------------------------- */

enum lineup_device_type {
	LINEUP_DEVICE_OTHER = 0,
	LINEUP_DEVICE_INTEGRATED = 1,
	LINEUP_DEVICE_DISCRETE = 2,
	LINEUP_DEVICE_VIRTUAL = 3,
	LINEUP_DEVICE_SOFTWARE = 4, /* a CPU in a GPU's clothes, for tests */
};

enum { LINEUP_DEVICES_MAX = 64, LINEUP_DEVICE_VARIANTS = 5 };

/* A Vulkan device. */
struct lineup_device {
	uint32_t index;          /* as the .devices of a searcher name it; GPUs come before software devices */
	enum lineup_device_type type;
	char name[256];
	char driver[256];        /* name and version, as the driver tells them */
	char vulkan[16];         /* version of the API, "1.3.230" */
	uint8_t uuid[16];
	char pci[16];            /* "0000:c1:00.0", or "" */
	char node[32];           /* "/dev/dri/renderD128", or "" */
	int32_t numa_node;       /* -1: unknown */
	uint64_t memory_bytes;   /* device-local */
	uint64_t memory_available;
	const char *why_not;     /* NULL, or what it lacks for any variant; static */
	/* With LINEUP_DEVICES_PROBE: */
	const char *variant;     /* that searches use; NULL: none */
	struct {
		const char *name;  /* static */
		char why_not[120]; /* "": it can run */
	} variants[LINEUP_DEVICE_VARIANTS];
	/* With LINEUP_DEVICES_MEASURE; 0 where it cannot be measured. Per second: */
	double read_bytes;       /* of device memory */
	double multiply_adds;    /* int8, of the variant above, from registers */
	double upload_bytes;     /* from host memory */
};

enum lineup_devices_flags {
	LINEUP_DEVICES_PROBE = 1 << 0,   /* opens each: compiles the variants and runs their self-tests */
	LINEUP_DEVICES_MEASURE = 1 << 1, /* and measures rates, a second each; implies the former */
};

/*
 * Calls @each for every Vulkan device, in the order of indexes. None at all is no error: *@why_none (may be NULL) then says why
 * (static), else it is NULL. The struct is valid during the call. -ENOMEM, -EINVAL (unknown flags).
 */
int lineup_devices(struct lineup_ctx *ctx, uint32_t flags, void (*each)(void *arg, const struct lineup_device *device), void *arg,
		   const char **why_none);

/* A device's part of a gallery that is searched on it and others. */
struct lineup_device_share {
	uint64_t rows;           /* deleted ones that still take part in a pass included */
	uint64_t bytes;          /* in device memory, if they were all there */
	uint64_t rows_kept;      /* that stay there from one search to the next; the others stream */
	uint64_t bytes_kept;
};

/*
 * How @gallery would be shared out among @devices, 1 to LINEUP_DEVICES_MAX, of which device i has memory[i] bytes for rows:
 * arithmetic, no device is asked. A device that has small buffers only may keep a little more or less. @shares is [devices].
 * -EINVAL, -ENOMEM; -ENOTSUP: built without Vulkan, or more rows than GPUs take.
 */
int lineup_gallery_shares(struct lineup_gallery *gallery, uint32_t devices, const uint64_t *memory, struct lineup_device_share *shares);

/* ---- search ----------------------------------------------------------------------------------------------------------- */

enum lineup_residency {
	LINEUP_RESIDENCY_AUTO = 0, /* resident once a second pass is needed and the memory is there; streamed until then */
	LINEUP_RESIDENT = 1,       /* codes in memory before the first search; -ENOMEM if they do not fit in memory_max */
	LINEUP_STREAMED = 2,       /* every pass reads the disk; memory does not grow with the gallery */
};

struct lineup_search_setup {
	uint32_t size;
	uint32_t threads;        /* 0: one per CPU this process may use */
	/*
	 * NULL or "auto": GPUs if there are any that are no software devices, else the fastest for this CPU. "scalar", "avx2",
	 * "avx512", "neon": -ENOTSUP where the CPU has it not. "vulkan": the best variant of each GPU, or "vulkan-scalar",
	 * "vulkan-dot", "vulkan-coopmat", "vulkan-coopmat-nv", "vulkan-emulated" (a test's); -ENODEV without a Vulkan device,
	 * -ENOTSUP where it lacks what the variant needs. A GPU that fails during a search is opened once more, then the CPU takes
	 * over, with the same answers and a warning.
	 */
	const char *backend;
	enum lineup_residency residency;
	uint32_t probes_max;     /* that share a pass; 0: LINEUP_PROBES_MAX */
	uint64_t memory_max;     /* for a resident gallery; 0: 80 % of the memory available */
	uint32_t stream_bytes;   /* of the ring of blocks; 0: 32 MiB */
	uint32_t k_max;          /* largest k that will be asked; 0: 128 */
	uint32_t candidates_max; /* rows per probe that wait for re-ranking; 0: chosen. When they are full they are re-ranked early */
	uint32_t reserved;       /* zero */
	lineup_progress_fn *progress; /* of a load and of each pass, in bytes */
	void *progress_arg;
	/*
	 * GPUs for the Vulkan backends, separated by commas: an index of lineup_devices, a UUID, a PCI address ("0000:c1:00.0" or
	 * "c1:00.0"). Named more than once, a GPU serves as several. NULL or "auto": all that are no software devices. The gallery
	 * is shared out among them.
	 */
	const char *devices;
	uint64_t device_memory_max; /* for rows kept in each GPU's memory; 0: 80 % of what is available there */
};

struct lineup_searcher;

/*
 * Makes a searcher over the gallery's present state and allocates all that a search needs. The state is kept even when @gallery is
 * refreshed or closed. Errors: -ENOMEM, -ENOTSUP (backend), -EBADMSG, -EIO (resident load).
 */
int lineup_searcher_create(struct lineup_gallery *gallery, const struct lineup_search_setup *setup, struct lineup_searcher **searcher);
void lineup_searcher_destroy(struct lineup_searcher *searcher);

enum lineup_search_per {
	LINEUP_PER_SUBJECT = 0,  /* the k best distinct subjects, each by its best template */
	LINEUP_PER_TEMPLATE = 1, /* the k best templates */
};

enum lineup_search_flags {
	LINEUP_SEARCH_THRESHOLD = 1 << 0, /* use .threshold */
};

struct lineup_search_options {
	uint32_t size;
	uint32_t flags;     /* enum lineup_search_flags */
	uint32_t k;         /* 1 to k_max */
	enum lineup_search_per per;
	float threshold;    /* candidates score at least this */
	uint32_t reserved;  /* zero */
	uint64_t lists;     /* mask: templates on any of these lists; 0: all templates */
	int64_t now;        /* templates with 0 < expires <= now do not match; 0: the clock */
};

struct lineup_candidate {
	uint64_t template_id;
	float score; /* cosine */
	char subject[LINEUP_SUBJECT_BYTES_MAX + 1];
};

/* What a search did. Rows are counted once per pass, comparisons once per probe as well. */
struct lineup_search_facts {
	uint8_t gallery_digest[LINEUP_DIGEST_BYTES];
	uint64_t sequence;       /* the state that was searched */
	uint64_t rows;           /* templates in that state, as stored: deleted ones that still take part in a pass included */
	uint64_t rows_scanned;   /* over all passes */
	uint64_t rows_reranked;  /* over all probes */
	uint64_t bytes_read;     /* from disk by the passes; 0 when resident */
	uint32_t passes;
	uint32_t threads;
	bool resident;
	const char *backend;     /* static */
	const char *io;          /* "memory", "io_uring", "pread"; static */
	double seconds;          /* from call to return */
	double seconds_scan;     /* of it, the passes */
	double seconds_rerank;   /* of it, the re-ranking after the passes */
	/* With a Vulkan backend; else zero and NULL. */
	uint32_t devices;        /* GPUs that shared the search */
	uint32_t overflows;      /* chunks scanned again in halves, since more rows survived than there was room for */
	uint64_t rows_on_device; /* kept in device memory after the search: the next one need not read them */
	uint64_t bytes_on_device;
	uint64_t bytes_uploaded; /* to the devices, by the passes */
	const char *staging;     /* how blocks got there: "imported", "driver", "copied"; static */
};

/*
 * Finds the best candidates for each of @probes. @candidates is [probes->rows][options->k], best first; @counts[i] says how many
 * probe i has: fewer than k where the gallery has no more above the threshold. @facts may be NULL. Probes are copied into memory
 * kept out of core dumps, and every copy is erased before the return. The result is a function of the gallery's state, the probe
 * and the options only: score descending, then template id ascending. Errors: -EINVAL (dimension, NaN, k: named), -EBADMSG, -EIO,
 * -ECANCELED; there is no partial answer: after a failure in a pass every count is 0, and what @candidates holds means nothing.
 */
int lineup_search(struct lineup_searcher *searcher, const struct lineup_matrix *probes, const struct lineup_search_options *options,
		  struct lineup_candidate *candidates, uint32_t *counts, struct lineup_search_facts *facts);

/* ---- share: scans that many searches share -------------------------------------------------------------------------- */

enum { LINEUP_PRIORITY_MAX = 9, LINEUP_PRIORITY_DEFAULT = 5 };

/* Threads that scan for any number of galleries. */
struct lineup_crew;

/* @threads 0: one per CPU this process may use. -ENOMEM, -EAGAIN, -EINVAL. It outlives every share made with it. */
int lineup_crew_create(struct lineup_ctx *ctx, uint32_t threads, struct lineup_crew **crew);
void lineup_crew_destroy(struct lineup_crew *crew);
uint32_t lineup_crew_threads(const struct lineup_crew *crew);

struct lineup_share_setup {
	uint32_t size;
	uint32_t probes_max;     /* that scan together; 0: 256; at most LINEUP_PROBES_MAX */
	uint32_t waiting_max;    /* probes that may wait for room among them; 0: 4096 */
	uint32_t reserved;       /* zero */
	const char *backend;     /* these as in struct lineup_search_setup */
	enum lineup_residency residency;
	uint32_t stream_bytes;
	uint64_t memory_max;
	uint32_t k_max;          /* 0: LINEUP_K_MAX */
	uint32_t candidates_max;
	const char *devices;
	uint64_t device_memory_max;
};

/*
 * A scan over one gallery that goes round for as long as there are probes: a probe joins at the next block, sees every block of the
 * state that was committed when it was submitted, and leaves. On GPUs probes join between passes. Several galleries' shares take
 * turns on their crew.
 */
struct lineup_share;

/* Borrows both. @gallery may be open for writing: other threads go on using it. Errors: as lineup_searcher_create. */
int lineup_share_create(struct lineup_crew *crew, struct lineup_gallery *gallery, const struct lineup_share_setup *setup, struct lineup_share **share);
/* Every query that has not ended ends with -ECANCELED first. */
void lineup_share_destroy(struct lineup_share *share);

struct lineup_share_answer {
	int err;                 /* 0, -ECANCELED, -EBADMSG, -EIO, -ENOMEM, -ETIMEDOUT (.wait_ms_max) */
	const char *message;     /* of the error, or NULL */
	const struct lineup_candidate *candidates; /* [rows][k] */
	const uint32_t *counts;  /* [rows]; NULL after an error */
	uint64_t rows;
	uint32_t k;
	struct lineup_search_facts facts; /* .seconds: from submission; .seconds_scan: from the first block */
	uint32_t probes_most;    /* that scanned together with these, these included */
};

struct lineup_share_query {
	uint32_t size;
	uint32_t priority;       /* 0 to LINEUP_PRIORITY_MAX, which goes first; waiting probes of equal priority take turns by .client */
	uint64_t client;
	struct lineup_matrix probes; /* copied, in memory kept out of core dumps */
	struct lineup_search_options options; /* .size set */
	/*
	 * Only subjects whose number's bit is set match, bit n % 8 of byte n / 8; numbers not less than .subjects_numbers do not.
	 * Borrowed until the end. NULL: all.
	 */
	const uint8_t *subjects;
	uint64_t subjects_numbers;
	uint32_t wait_ms_max;    /* for room in the scan; 0: any time */
	uint32_t reserved;
	/*
	 * Called once, from a thread of the crew, or from lineup_share_destroy; the answer is valid during the call and erased
	 * after it. Must not block.
	 */
	void (*done)(void *arg, const struct lineup_share_answer *answer);
	void *arg;
};

/*
 * Any thread. -EBUSY, silently: waiting_max probes wait already, or these would be more; -EINVAL, -ENOMEM: logged. After an error
 * .done is not called. *@ticket (may be NULL) names the query for lineup_share_cancel.
 */
int lineup_share_submit(struct lineup_share *share, const struct lineup_share_query *query, uint64_t *ticket);
/* The query ends soon with -ECANCELED, unless it has ended. Any thread. */
void lineup_share_cancel(struct lineup_share *share, uint64_t ticket);

struct lineup_share_stats {
	uint64_t queries, probes, refused, cancelled, failed; /* since it was made */
	uint32_t waiting, scanning; /* probes, now */
	uint64_t bytes_scanned, bytes_read, rows_scanned, comparisons, rows_reranked;
	uint64_t revolutions;    /* times round, or passes on GPUs */
	double seconds_busy;     /* while there were probes */
	uint64_t resident_bytes;
	bool resident;           /* all of it */
	const char *backend, *io; /* static */
	uint32_t devices;
};

void lineup_share_stats(struct lineup_share *share, struct lineup_share_stats *stats);

/*
 * 1:1: the score of each of @probes against its best template of @subject that is not expired at @now (0: the clock), read from the
 * index without a pass over the gallery. @candidates is [probes->rows]. -ENOENT: the gallery has no such subject, or only expired
 * templates. What @candidates holds after a failure means nothing.
 */
int lineup_verify(struct lineup_gallery *gallery, const struct lineup_matrix *probes, const char *subject, int64_t now,
		  struct lineup_candidate *candidates);

/*
 * The backends this build has, one call for each, "scalar" first, "vulkan" last: its name, and why it cannot run here (NULL: it
 * can, and its self-test passed; for Vulkan: there is a device that is not a software one, see lineup_devices).
 */
void lineup_backends(void (*each)(void *arg, const char *name, const char *why_not), void *arg);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
