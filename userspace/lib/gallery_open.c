// SPDX-License-Identifier: MIT
// Creating, opening and closing a gallery, and the lock that keeps its writer alone.
#include <fcntl.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "gallery_files.h"

enum { HOLDER_BYTES = 256 };

static struct lineup_gallery *gallery_new(struct lineup_ctx *ctx, const char *path)
{
	pthread_condattr_t monotonic;
	struct lineup_gallery *g;

	if (sodium_init() < 0)
		return NULL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->ctx = ctx;
	g->files = (struct lineup_files){ .ctx = ctx, .dir = -1 };
	g->lock = g->journal = -1;
	g->path = strdup(path);
	if (!g->path) {
		free(g);
		return NULL;
	}
	pthread_mutex_init(&g->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&g->turn, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return g;
}

void lineup_gallery_close(struct lineup_gallery *g)
{
	if (!g)
		return;
	lineup_snapshot_put(g->snapshot);
	lineup_state_fini(&g->state);
	lineup_files_close(&g->files, g->journal);
	/* Not by the close alone: a child that was forked shares the lock. */
	if (g->lock >= 0)
		g->ctx->io->flock(g->ctx->io_arg, g->lock, LOCK_UN);
	lineup_files_close(&g->files, g->lock);
	lineup_files_close(&g->files, g->files.dir);
	pthread_mutex_destroy(&g->mutex);
	pthread_cond_destroy(&g->turn);
	free(g->stage.data);
	free(g->path);
	free(g);
}

static int open_directory(struct lineup_gallery *g, struct lineup_fault *fault)
{
	int fd = g->ctx->io->open(g->ctx->io_arg, AT_FDCWD, g->path, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return lineup_fault_set(fault, fd, "cannot open the directory: %s", strerror(-fd));
	g->files.dir = fd;
	return 0;
}

static void holder_text(char text[HOLDER_BYTES])
{
	char host[65] = "", when[32] = "";
	time_t now = time(NULL);
	struct tm tm;

	gethostname(host, sizeof(host) - 1);
	if (gmtime_r(&now, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	snprintf(text, HOLDER_BYTES, "%s, process %ld on %s, since %s\n", program_invocation_short_name, (long)getpid(), host,
		 when);
}

/* The lock stays with the descriptor, so that it ends with the process however that ends. */
static int take_lock(struct lineup_gallery *g, struct lineup_fault *fault)
{
	const struct lineup_io *io = g->ctx->io;
	char text[HOLDER_BYTES] = "";
	int err = lineup_files_open(&g->files, "lock", O_RDWR | O_CREAT, &g->lock, fault);
	ssize_t n;

	if (err)
		return err;
	err = io->flock(g->ctx->io_arg, g->lock, LOCK_EX | LOCK_NB);
	if (err == -EWOULDBLOCK) {
		n = io->pread(g->ctx->io_arg, g->lock, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = 0;
		text[strcspn(text, "\n")] = 0;
		return lineup_fault_set(fault, -EBUSY, "is being written by %s", text[0] ? text : "another process");
	}
	if (err)
		return lineup_fault_io(fault, err, "lock", "lock");
	holder_text(text);
	err = io->ftruncate(g->ctx->io_arg, g->lock, 0);
	if (!err)
		err = lineup_io_write(g->ctx, g->lock, text, strlen(text), 0);
	return err ? lineup_fault_io(fault, err, "lock", "write") : 0;
}

/*
 * A writer that was killed before its sync, or whose sync failed, left a record that perhaps only memory holds, and that no later
 * sync would bring to the disk. From here on it counts: so it is written again. What came before it was synced before it was begun.
 */
static int rewrite_last(const struct lineup_gallery *g, int fd, const struct lineup_journal_end *end, const char *name,
			struct lineup_fault *fault)
{
	size_t size = (end->frames - end->last) * LINEUP_FRAME_BYTES;
	uint64_t offset = end->last * LINEUP_FRAME_BYTES;
	uint8_t *frames;
	int err;

	if (!size)
		return 0;
	frames = malloc(size);
	if (!frames)
		return lineup_fault_set(fault, -ENOMEM, "%s: no memory", name);
	err = lineup_io_read(g->ctx, fd, frames, size, offset);
	if (!err)
		err = lineup_io_write(g->ctx, fd, frames, size, offset);
	free(frames);
	return err ? lineup_fault_io(fault, err, name, "write its last record again") : 0;
}

/* Opens the journal of @state for appending and cuts off what an unfinished operation left. *@journal is the caller's to close, also on failure. */
static int open_journal(const struct lineup_gallery *g, const struct lineup_state *state, int *journal, struct lineup_fault *fault)
{
	const struct lineup_journal_end *end = &state->journal;
	char name[LINEUP_GALLERY_NAME_BYTES];
	int err;

	lineup_files_name(name, "journal", state->manifest.head.journal);
	err = lineup_files_open(&g->files, name, O_RDWR, journal, fault);
	if (!err)
		err = rewrite_last(g, *journal, end, name, fault);
	if (err)
		return err;
	if (end->torn) {
		lineup_warn(g->ctx, "gallery %s: %s: byte %llu: an operation that was never acknowledged is cut off", g->path, name,
			    (unsigned long long)end->frames * LINEUP_FRAME_BYTES);
		err = g->ctx->io->ftruncate(g->ctx->io_arg, *journal, (off_t)(end->frames * LINEUP_FRAME_BYTES));
	}
	if (!err)
		err = g->ctx->io->fdatasync(g->ctx->io_arg, *journal);
	return err ? lineup_fault_io(fault, err, name, "cut off the end") : 0;
}

static int sync_parent(struct lineup_gallery *g, struct lineup_fault *fault)
{
	char *path = strdup(g->path);
	int fd, err;

	if (!path)
		return lineup_fault_set(fault, -ENOMEM, "no memory");
	fd = g->ctx->io->open(g->ctx->io_arg, AT_FDCWD, dirname(path), O_RDONLY | O_DIRECTORY, 0);
	free(path);
	err = fd < 0 ? fd : g->ctx->io->fsync(g->ctx->io_arg, fd);
	if (fd >= 0)
		g->ctx->io->close(g->ctx->io_arg, fd);
	return err ? lineup_fault_io(fault, err, "parent directory", "sync") : 0;
}

/* What the files say, made durable before it is built on. @old (may be NULL): a state whose parts are shared. */
static int load_for_writing(struct lineup_gallery *g, const struct lineup_state *old, struct lineup_state *state, int *journal,
			    struct lineup_fault *fault)
{
	void *data = NULL;
	size_t size = 0;
	/* A MANIFEST that a power cut could take back may not be built on: what the one before it names is about to be wiped. */
	int err = lineup_files_sync(&g->files, fault);

	if (!err)
		err = lineup_manifest_read(&g->files, &data, &size, fault);
	if (!err)
		err = lineup_state_load(&g->files, g->path, data, size, old, state, fault);
	/* Its creator may have been killed before the directory's own name was safe. */
	if (!err && state->manifest.head.revision == 1 && sync_parent(g, fault) == -EIO)
		err = -EIO;
	return err ? err : open_journal(g, state, journal, fault);
}

static void sweep(struct lineup_gallery *g)
{
	struct lineup_fault fault;
	uint32_t held = 0;

	if (lineup_gallery_sweep(g, &held, &fault))
		lineup_warn(g->ctx, "gallery %s: old files stay: %s", g->path, fault.text);
}

static int open_for_writing(struct lineup_gallery *g, struct lineup_fault *fault)
{
	void *data = NULL;
	size_t size = 0;
	int err = lineup_manifest_read(&g->files, &data, &size, fault);

	/* A directory that is no gallery is left without a lock file. */
	if (err == -ENOENT)
		return lineup_fault_set(fault, err, "there is no MANIFEST: this is not a gallery");
	free(data);
	if (!err)
		err = take_lock(g, fault);
	if (!err)
		err = load_for_writing(g, NULL, &g->state, &g->journal, fault);
	if (!err)
		sweep(g);
	return err;
}

/* Nothing that was acknowledged may be missing from what was read. */
static int check_recovered(const struct lineup_gallery *g, const struct lineup_state *state, struct lineup_fault *fault)
{
	const struct lineup_state *old = &g->state;

	if (state->sequence > old->sequence || (state->sequence == old->sequence && !memcmp(state->digest, old->digest, sizeof(old->digest))))
		return 0;
	return lineup_fault_set(fault, -EBADMSG, "its files hold other operations than those that were committed, the newest of them %llu",
				(unsigned long long)old->sequence);
}

/* As lineup_gallery_enter, but for a gallery that refuses changes. */
static int enter_refused(struct lineup_gallery *g)
{
	bool busy;

	pthread_mutex_lock(&g->mutex);
	busy = g->busy || g->maintaining;
	if (!busy)
		g->busy = true;
	pthread_mutex_unlock(&g->mutex);
	return busy ? lineup_fail(g->ctx, -EBUSY, "gallery %s: an enrolment, a group or a maintenance is under way", g->path) : 0;
}

int lineup_gallery_recover(struct lineup_gallery *g)
{
	struct lineup_state state = { 0 };
	struct lineup_fault fault;
	int journal = -1, err;

	if (g->lock < 0)
		return lineup_fail(g->ctx, -EBADF, "gallery %s: is open for reading only", g->path);
	if (!g->refused)
		return 0;
	err = enter_refused(g);
	if (err)
		return err;
	err = load_for_writing(g, &g->state, &state, &journal, &fault);
	if (!err)
		err = check_recovered(g, &state, &fault);
	if (err) {
		lineup_state_fini(&state);
		lineup_files_close(&g->files, journal);
		lineup_gallery_fail(g, err, &fault);
	} else {
		lineup_gallery_install(g, &state, journal); /* owns both from here */
		g->refused = NULL;
		sweep(g);
	}
	lineup_gallery_leave(g);
	return err;
}

int lineup_gallery_open(struct lineup_ctx *ctx, const char *path, const struct lineup_gallery_options *options,
			struct lineup_gallery **gallery)
{
	struct lineup_gallery_options opt;
	struct lineup_fault fault = { .text = "no memory to open it" };
	struct lineup_gallery *g;
	int err = lineup_options_copy(ctx, "lineup_gallery_options", &opt, sizeof(opt), options);

	if (err)
		return err;
	if (opt.flags & ~(uint32_t)(LINEUP_GALLERY_WRITE | LINEUP_GALLERY_MAINTAINED))
		return lineup_fail(ctx, -EINVAL, "lineup_gallery_options: unknown flags 0x%x", opt.flags);
	if (opt.flags == LINEUP_GALLERY_MAINTAINED)
		return lineup_fail(ctx, -EINVAL, "lineup_gallery_options: MAINTAINED is for writing");
	g = gallery_new(ctx, path);
	if (!g)
		return lineup_fail(ctx, -ENOMEM, "gallery %s: no memory", path);
	g->maintained = opt.flags & LINEUP_GALLERY_MAINTAINED;
	err = open_directory(g, &fault);
	if (!err)
		err = opt.flags & LINEUP_GALLERY_WRITE ? open_for_writing(g, &fault)
						       : lineup_gallery_load(&g->files, path, NULL, &g->state, &fault);
	if (!err && opt.model && strncmp(opt.model, g->state.manifest.head.model, LINEUP_MODEL_BYTES_MAX))
		err = lineup_fault_set(&fault, -EMEDIUMTYPE, "holds templates of the model \"%.64s\", not of \"%.64s\"",
				       g->state.manifest.head.model, opt.model);
	g->record_bytes = g->state.shape.record_bytes;
	if (!err && !(opt.flags & LINEUP_GALLERY_WRITE) && lineup_state_snapshot(&g->state, ctx, &g->snapshot))
		err = lineup_fault_set(&fault, -ENOMEM, "no memory for a snapshot");
	if (err) {
		lineup_gallery_fail(g, err, &fault);
		lineup_gallery_close(g);
		return err;
	}
	*gallery = g;
	return 0;
}

static int check_create(struct lineup_ctx *ctx, const struct lineup_gallery_create_options *opt)
{
	if (!opt->dim || opt->dim > LINEUP_DIM_MAX)
		return lineup_fail(ctx, -EINVAL, "lineup_gallery_create_options: dim is %u, not 1 to %d", opt->dim, LINEUP_DIM_MAX);
	if (opt->store != LINEUP_STORE_FLOAT32 && opt->store != LINEUP_STORE_FLOAT16)
		return lineup_fail(ctx, -EINVAL, "lineup_gallery_create_options: there is no storage type %d", (int)opt->store);
	if (opt->reserved)
		return lineup_fail(ctx, -EINVAL, "lineup_gallery_create_options: reserved must be zero");
	/* Model ids obey the rule of subject ids; their limits are the same. */
	if (opt->model && lineup_subject_check(opt->model))
		return lineup_fail(ctx, -EINVAL,
				   "lineup_gallery_create_options: the model is not 1 to %d bytes of UTF-8 without controls",
				   LINEUP_MODEL_BYTES_MAX);
	return 0;
}

/* *@made: the directory is new. A creation that was cut off is taken over. */
static int claim_directory(struct lineup_gallery *g, bool *made, struct lineup_fault *fault)
{
	int err = g->ctx->io->mkdir(g->ctx->io_arg, AT_FDCWD, g->path, 0700);

	*made = !err;
	if (err && err != -EEXIST)
		return lineup_fault_set(fault, err, "cannot make the directory: %s", strerror(-err));
	err = open_directory(g, fault);
	if (err)
		return *made ? err : lineup_fault_set(fault, -EEXIST, "exists already");
	err = lineup_files_unused(&g->files, fault);
	if (!err)
		err = take_lock(g, fault);
	/* Another creator may have been faster until the lock was ours. */
	if (!err)
		err = lineup_files_unused(&g->files, fault);
	return err;
}

static bool keep_none(void *arg, const char *kind, uint32_t generation)
{
	(void)arg;
	(void)kind;
	(void)generation;
	return false;
}

static int write_first(struct lineup_gallery *g, const struct lineup_gallery_create_options *opt, struct lineup_fault *fault)
{
	const char *model = opt->model ? opt->model : "unspecified";
	struct lineup_manifest m = { .head = { .dim = opt->dim, .store = opt->store, .generation_next = 2, .journal = 1 } };
	bool renamed = false;
	uint32_t held = 0;
	int err = lineup_files_sweep(&g->files, keep_none, NULL, &held, fault);

	memcpy(m.head.model, model, strlen(model));
	crypto_generichash(m.head.model_digest, sizeof(m.head.model_digest), (const uint8_t *)model, strlen(model), NULL, 0);
	randombytes_buf(m.head.uuid, sizeof(m.head.uuid));
	lineup_history_origin(&m.head, m.head.digest);
	if (!err)
		err = lineup_journal_create(&g->files, &m.head, m.head.journal, 0, fault);
	if (!err)
		err = lineup_manifest_replace(&g->files, &m, &renamed, fault);
	if (!err)
		err = sync_parent(g, fault);
	return err;
}

static void undo_create(struct lineup_gallery *g, bool made)
{
	const struct lineup_io *io = g->ctx->io;
	struct lineup_fault ignored;
	uint32_t held;

	lineup_state_fini(&g->state);
	if (g->files.dir >= 0 && g->lock >= 0) {
		io->unlink(g->ctx->io_arg, g->files.dir, "MANIFEST");
		lineup_files_sweep(&g->files, keep_none, NULL, &held, &ignored);
		io->unlink(g->ctx->io_arg, g->files.dir, "lock");
	}
	if (made)
		io->rmdir(g->ctx->io_arg, AT_FDCWD, g->path);
}

int lineup_gallery_create(struct lineup_ctx *ctx, const char *path, const struct lineup_gallery_create_options *options,
			  struct lineup_gallery **gallery)
{
	struct lineup_gallery_create_options opt;
	struct lineup_fault fault = { .text = "cannot open what was created" };
	struct lineup_gallery *g;
	void *data = NULL;
	size_t size = 0;
	bool made = false, ours;
	int err = lineup_options_copy(ctx, "lineup_gallery_create_options", &opt, sizeof(opt), options);

	if (!err)
		err = check_create(ctx, &opt);
	if (err)
		return err;
	g = gallery_new(ctx, path);
	if (!g)
		return lineup_fail(ctx, -ENOMEM, "gallery %s: no memory", path);
	err = claim_directory(g, &made, &fault);
	ours = made || !err;
	if (!err)
		err = write_first(g, &opt, &fault);
	if (!err)
		err = lineup_manifest_read(&g->files, &data, &size, &fault);
	if (!err)
		err = lineup_state_load(&g->files, path, data, size, NULL, &g->state, &fault);
	g->record_bytes = g->state.shape.record_bytes;
	if (!err)
		err = open_journal(g, &g->state, &g->journal, &fault);
	if (err) {
		lineup_gallery_fail(g, err, &fault);
		if (ours)
			undo_create(g, made);
		lineup_gallery_close(g);
		return err;
	}
	*gallery = g;
	return 0;
}
