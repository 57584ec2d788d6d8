// SPDX-License-Identifier: MIT
// Extractors: a plug-in in a process of its own, and what is believed of what it says.
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture.h"
#include "extractor.h"

struct lineup_extractor {
	struct lineup_ctx *ctx;
	struct lineup_extractor_options options; /* without its pointers' targets */
	char *helper;        /* path of lineup-extract */
	char *plugin;
	char *config;
	char name[LINEUP_WIRE_NAME_BYTES];
	struct lineup_extractor_process process;
	unsigned int starts_failed; /* in a row */
	bool said[LINEUP_FATES];
	uint64_t ticket;
	int area_fd;
	void *area;          /* shared with the process */
	size_t area_bytes;
	struct secret {      /* the checked copy */
		void *memory;
		struct lineup_plugin_template *templates;
		float *vectors;
		struct lineup_face *faces;
		size_t bytes;
	} copy;
	int spare_fd;        /* a memfd for frames that have no descriptor; -1: not made yet */
	void *spare;
	size_t spare_bytes;
};

const char *lineup_fate_name(enum lineup_fate fate)
{
	static const char *const name[LINEUP_FATES] = {
		[LINEUP_FATE_DONE] = "done",       [LINEUP_FATE_DAMAGED] = "damaged", [LINEUP_FATE_SHORT] = "short",
		[LINEUP_FATE_REFUSED] = "refused", [LINEUP_FATE_CRASHED] = "crashed", [LINEUP_FATE_HUNG] = "hung",
		[LINEUP_FATE_RUBBISH] = "rubbish", [LINEUP_FATE_MODEL] = "model",     [LINEUP_FATE_NOT_STARTED] = "not_started",
	};

	return (unsigned int)fate < LINEUP_FATES ? name[fate] : "unknown";
}

const char *lineup_extractor_support(void)
{
#ifdef LINEUP_HAVE_EXTRACTORS
	return "yes";
#else
	return "this build is without libseccomp, and no plug-in runs without a sandbox";
#endif
}

/* ---- start -------------------------------------------------------------------------------------------------------------- */

/* What a process did that did not do what it should: in words, for a message. */
static const char *ending_text(int how, char text[64])
{
	if (how > 0)
		snprintf(text, 64, "ended by signal %d (%s)", how, strsignal(how));
	else if (how == 0)
		snprintf(text, 64, "closed its socket");
	else if (how == LINEUP_ENDED_UNKNOWN)
		snprintf(text, 64, "ended");
	else
		snprintf(text, 64, "exited with status %d", -1 - how);
	return text;
}

static int spawn(struct lineup_extractor *e)
{
	char dim[16], max[16], memory[24];
	char *argv[] = { e->helper, e->plugin, dim, max, memory, e->config, NULL };

	snprintf(dim, sizeof(dim), "%" PRIu32, e->options.dim);
	snprintf(max, sizeof(max), "%" PRIu32, e->options.templates_max);
	snprintf(memory, sizeof(memory), "%" PRIu64, e->options.memory_max);
	return lineup_extractor_spawn(&e->process, argv, e->area_fd);
}

/* Text from the process, fit to be shown. */
static void take_text(char *to, size_t size, const char *from)
{
	memcpy(to, from, size);
	to[size - 1] = 0;
	for (; *to; to++)
		if (*to < 0x20 || *to > 0x7e)
			*to = '?';
}

static void tell_sandbox(struct lineup_extractor *e, uint32_t sandbox)
{
	if (!(sandbox & LINEUP_SANDBOX_LANDLOCK))
		lineup_warn_once(
			e->ctx, LINEUP_ONCE_SANDBOX,
			"extractor %s: this kernel has no Landlock: as it starts, it may read every file that this user may read",
			e->name);
}

/* One start: the process, and its word that the plug-in is ready. On failure @why says what was wrong. */
static int start_once(struct lineup_extractor *e, char why[LINEUP_WIRE_TEXT_BYTES + 64])
{
	struct lineup_wire_hello hello = { 0 };
	const struct lineup_extractor_wait wait = { e->options.progress, e->options.progress_arg };
	char text[64], said[LINEUP_WIRE_TEXT_BYTES];
	int n, how = 0, err = spawn(e);

	if (err) {
		snprintf(why, LINEUP_WIRE_TEXT_BYTES + 64, "%s: %s", e->helper, strerror(-err));
		return err;
	}
	n = lineup_extractor_receive(&e->process, &hello, sizeof(hello), e->options.start_ms, &wait);
	if (n == sizeof(hello) && hello.magic == LINEUP_WIRE_HELLO && hello.abi == LINEUP_PLUGIN_ABI && !hello.error) {
		take_text(e->name, sizeof(e->name), hello.name);
		tell_sandbox(e, hello.sandbox);
		return 0;
	}
	lineup_extractor_end(&e->process, n == -ETIMEDOUT || n == -ECANCELED ? 0 : LINEUP_EXTRACTOR_GRACE_MS, &how);
	if (n == -ECANCELED)
		return n;
	if (n == -ETIMEDOUT) {
		snprintf(why, LINEUP_WIRE_TEXT_BYTES + 64, "%s: is not ready after %" PRIu32 " ms", e->plugin, e->options.start_ms);
		return n;
	}
	if (n == sizeof(hello) && hello.magic == LINEUP_WIRE_HELLO && hello.error < 0 && hello.error > -4096) {
		take_text(said, sizeof(said), hello.text);
		snprintf(why, LINEUP_WIRE_TEXT_BYTES + 64, "%.60s: %s", e->plugin, said);
		return hello.error == -EMEDIUMTYPE || hello.error == -ENOTSUP ? -ENOTSUP : hello.error;
	}
	snprintf(why, LINEUP_WIRE_TEXT_BYTES + 64, "%.120s: %s as it started", e->plugin,
		 n > 0 || n == -EMSGSIZE ? "sent rubbish" : ending_text(how, text));
	return -EIO;
}

/* ---- create, destroy ---------------------------------------------------------------------------------------------------- */

static int check(struct lineup_ctx *ctx, struct lineup_extractor_options *o)
{
	uint8_t any = 0;

	for (size_t i = 0; i < sizeof(o->model_digest); i++)
		any |= o->model_digest[i];
	if (!o->path || !o->path[0] || !o->dim || o->dim > LINEUP_DIM_MAX || !any || o->reserved)
		return lineup_fail(ctx, -EINVAL, "extractor: %s",
				   !o->path || !o->path[0] ? "path is missing"
				   : !any		   ? "model_digest is missing"
				   : o->reserved	   ? "reserved must be zero"
							   : "dim is not from 1 to 4096");
	o->deadline_ms = o->deadline_ms ? o->deadline_ms : LINEUP_EXTRACTOR_DEADLINE_MS;
	o->start_ms = o->start_ms ? o->start_ms : LINEUP_EXTRACTOR_START_MS;
	o->templates_max = o->templates_max ? o->templates_max : LINEUP_EXTRACTOR_MAX_DEFAULT;
	o->memory_max = o->memory_max ? o->memory_max : LINEUP_EXTRACTOR_MEMORY;
	if (o->templates_max > LINEUP_EXTRACTOR_TEMPLATES_MAX || o->deadline_ms > LINEUP_EXTRACTOR_MS_MAX ||
	    o->start_ms > LINEUP_EXTRACTOR_MS_MAX)
		return lineup_fail(ctx, -EINVAL, "extractor: more than %d templates a frame, or a deadline over %d ms",
				   LINEUP_EXTRACTOR_TEMPLATES_MAX, LINEUP_EXTRACTOR_MS_MAX);
	return 0;
}

static char *join(const char *directory, const char *name, const char *ending)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s%s", directory, name, ending) < 0 ? NULL : path;
}

static int set_paths(struct lineup_extractor *e, const struct lineup_extractor_options *o)
{
	const char *directory = o->directory ? o->directory : lineup_extractor_directory;

	e->helper = join(directory, "lineup-extract", "");
	e->plugin = strchr(o->path, '/') ? strdup(o->path) : join(directory, o->path, ".so");
	e->config = strdup(o->config ? o->config : "");
	if (!e->helper || !e->plugin || !e->config)
		return -ENOMEM;
	/* Said by the name, where a process that does not start could only say that it did not. */
	if (access(e->helper, X_OK))
		return lineup_fail(e->ctx, -errno, "%s: %s (not installed? LINEUP_EXTRACTORS can name another directory)", e->helper,
				   strerror(errno));
	if (access(e->plugin, R_OK))
		return lineup_fail(e->ctx, -errno, "%s: %s", e->plugin, strerror(errno));
	return 0;
}

static int make_area(struct lineup_extractor *e)
{
	uint32_t max = e->options.templates_max, dim = e->options.dim;
	struct lineup_ctx *ctx = e->ctx;

	e->area_bytes = lineup_wire_area_bytes(max, dim);
	e->area_fd = memfd_create("lineup-extractor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Sealed: a process that shrinks it would have us killed by SIGBUS. */
	if (e->area_fd < 0 || ftruncate(e->area_fd, (off_t)e->area_bytes) ||
	    fcntl(e->area_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return lineup_fail(ctx, -errno, "extractor: memfd: %s", strerror(errno));
	e->area = mmap(NULL, e->area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, e->area_fd, 0);
	if (e->area == MAP_FAILED) {
		e->area = NULL;
		return -ENOMEM;
	}
	madvise(e->area, e->area_bytes, MADV_DONTDUMP);
	if (mlock(e->area, e->area_bytes))
		lineup_warn_once(ctx, LINEUP_ONCE_LOCK,
				 "probes: RLIMIT_MEMLOCK is too low to lock %zu KiB in memory: they could reach swap space",
				 e->area_bytes >> 10);
	e->copy.bytes = e->area_bytes + max * sizeof(struct lineup_face);
	e->copy.memory = lineup_secret_alloc(ctx, e->copy.bytes);
	if (!e->copy.memory)
		return -ENOMEM;
	e->copy.templates = e->copy.memory;
	e->copy.vectors = (float *)(e->copy.templates + max);
	e->copy.faces = (struct lineup_face *)(e->copy.vectors + (size_t)max * dim);
	return 0;
}

int lineup_extractor_create(struct lineup_ctx *ctx, const struct lineup_extractor_options *options,
			    struct lineup_extractor **extractor)
{
	char why[LINEUP_WIRE_TEXT_BYTES + 64] = "";
	struct lineup_extractor_options o;
	struct lineup_extractor *e;
	int err = lineup_options_copy(ctx, "lineup_extractor_options", &o, sizeof(o), options);

	err = err ? err : check(ctx, &o);
	if (err)
		return err;
	if (strcmp(lineup_extractor_support(), "yes"))
		return lineup_fail(ctx, -ENOTSUP, "extractor: %s", lineup_extractor_support());
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->ctx = ctx;
	e->options = o;
	e->area_fd = e->spare_fd = -1;
	e->process = (struct lineup_extractor_process){ .pidfd = -1, .socket = -1 };
	err = set_paths(e, &o);
	err = err ? err : make_area(e);
	if (!err) {
		err = start_once(e, why);
		if (err && err != -ECANCELED)
			lineup_fail(ctx, err, "extractor %s", why);
	}
	if (err) {
		lineup_extractor_destroy(e);
		return err;
	}
	*extractor = e;
	return 0;
}

void lineup_extractor_erase(struct lineup_extractor *extractor)
{
	explicit_bzero(extractor->copy.memory, extractor->copy.bytes);
}

int lineup_extractor_pid(const struct lineup_extractor *extractor)
{
	return extractor->process.pid;
}

static void drop_spare(struct lineup_extractor *e)
{
	if (e->spare) {
		explicit_bzero(e->spare, e->spare_bytes);
		munmap(e->spare, e->spare_bytes);
	}
	if (e->spare_fd >= 0)
		close(e->spare_fd);
	e->spare = NULL;
	e->spare_fd = -1;
}

void lineup_extractor_destroy(struct lineup_extractor *extractor)
{
	if (!extractor)
		return;
	lineup_extractor_end(&extractor->process, LINEUP_EXTRACTOR_GRACE_MS, NULL);
	drop_spare(extractor);
	if (extractor->area) {
		explicit_bzero(extractor->area, extractor->area_bytes);
		munmap(extractor->area, extractor->area_bytes);
	}
	if (extractor->area_fd >= 0)
		close(extractor->area_fd);
	lineup_secret_free(extractor->copy.memory, extractor->copy.bytes);
	free(extractor->helper);
	free(extractor->plugin);
	free(extractor->config);
	free(extractor);
}

/* ---- a frame ------------------------------------------------------------------------------------------------------------ */

/*
 * The frame is lost, and this is why; said once for each fate. The process, if it is to go, is replaced when the next frame
 * comes.
 */
static int lost(struct lineup_extractor *e, struct lineup_extraction *x, enum lineup_fate fate, const char *format, ...)
	LINEUP_PRINTF(4, 5);
static int lost(struct lineup_extractor *e, struct lineup_extraction *x, enum lineup_fate fate, const char *format, ...)
{
	char why[LINEUP_WIRE_TEXT_BYTES + 64];
	va_list args;

	x->fate = fate;
	if (e->said[fate])
		return 0;
	e->said[fate] = true;
	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	lineup_warn(e->ctx, "extractor %s: a frame is lost: %s (said once; each is counted)", e->name[0] ? e->name : e->plugin,
		    why);
	return 0;
}

/* A descriptor for frames that have none: a copy. */
static int copy_frame(struct lineup_extractor *e, const struct lineup_shot *shot, int *fd)
{
	void *data;
	int err;

	if (e->spare_bytes < shot->frame->bytes || !e->spare) {
		drop_spare(e);
		e->spare_bytes = shot->frame->bytes;
		e->spare_fd = memfd_create("lineup-frame", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (e->spare_fd < 0 || ftruncate(e->spare_fd, (off_t)e->spare_bytes) ||
		    fcntl(e->spare_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
			return lineup_fail(e->ctx, -errno, "extractor: memfd: %s", strerror(errno));
		e->spare = mmap(NULL, e->spare_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, e->spare_fd, 0);
		if (e->spare == MAP_FAILED) {
			e->spare = NULL;
			return -ENOMEM;
		}
		madvise(e->spare, e->spare_bytes, MADV_DONTDUMP);
	}
	err = lineup_frame_map(shot->frame, &data);
	if (err)
		return err;
	memcpy(e->spare, data, shot->bytes);
	*fd = e->spare_fd;
	return 0;
}

/* 0, with fate set if the frame is lost. */
static int restart(struct lineup_extractor *e, struct lineup_extraction *x)
{
	char why[LINEUP_WIRE_TEXT_BYTES + 64] = "";
	int err = start_once(e, why);

	if (!err) {
		e->starts_failed = 0;
		return 0;
	}
	if (err == -ECANCELED)
		return err;
	if (++e->starts_failed >= LINEUP_EXTRACTOR_STARTS_MAX)
		return lineup_fail(e->ctx, -EIO, "extractor %s; that was start %u in a row that failed", why, e->starts_failed);
	return lost(e, x, LINEUP_FATE_NOT_STARTED, "%s", why);
}

static int end_process(struct lineup_extractor *e, uint32_t grace_ms, int *how)
{
	int err = lineup_extractor_end(&e->process, grace_ms, how);

	return err ? lineup_fail(e->ctx, err, "extractor %s: its process cannot be killed", e->name) : 0;
}

/* Sends the frame and waits for the answer: 0, with fate set if the frame is lost. */
static int ask(struct lineup_extractor *e, const struct lineup_shot *shot, int fd, struct lineup_wire_answer *answer,
	       struct lineup_extraction *x)
{
	const struct lineup_wire_frame frame = {
		.magic = LINEUP_WIRE_FRAME,
		.fourcc = shot->fourcc,
		.width = shot->width,
		.height = shot->height,
		.stride = shot->stride,
		.dma_buf = shot->frame->dma_buf,
		.bytes = shot->bytes,
		.timestamp_ns = shot->timestamp_ns,
		.sequence = shot->sequence,
		.ticket = ++e->ticket,
	};
	const struct lineup_extractor_wait wait = { e->options.progress, e->options.progress_arg };
	int n = lineup_extractor_send(&e->process, &frame, sizeof(frame), fd), how = 0, err;
	char text[64];

	if (n && n != -EPIPE && n != -EAGAIN)
		return lineup_fail(e->ctx, n, "extractor %s: a frame cannot be sent: %s", e->name, strerror(-n));
	/* What is closed or full of unread messages gives no answer. */
	n = n ? 0 : lineup_extractor_receive(&e->process, answer, sizeof(*answer), e->options.deadline_ms, &wait);
	if (n == -ECANCELED) {
		err = end_process(e, 0, NULL);
		return err ? err : n;
	}
	if (n == -ETIMEDOUT) {
		err = end_process(e, 0, NULL);
		return err ? err
			   : lost(e, x, LINEUP_FATE_HUNG, "no answer within %" PRIu32 " ms; its process was killed",
				  e->options.deadline_ms);
	}
	if (n <= 0 && n != -EMSGSIZE) {
		err = end_process(e, LINEUP_EXTRACTOR_GRACE_MS, &how);
		return err ? err : lost(e, x, LINEUP_FATE_CRASHED, "its process %s", ending_text(how, text));
	}
	if (n == sizeof(*answer) && answer->magic == LINEUP_WIRE_ANSWER && answer->ticket == e->ticket && !answer->reserved &&
	    answer->error <= 0 && answer->error > -4096)
		return 0;
	err = end_process(e, 0, NULL);
	return err ? err : lost(e, x, LINEUP_FATE_RUBBISH, "what came is no answer");
}

/* What is wrong with template @i of the copy; NULL: nothing. */
static const char *fault(const struct lineup_extractor *e, const struct lineup_shot *shot, uint32_t i)
{
	const struct lineup_plugin_template *t = &e->copy.templates[i];
	const float *v = e->copy.vectors + (size_t)i * e->options.dim;
	bool any = false;

	/* Written so that a NaN fails each of them. */
	if (!(t->quality >= 0 && t->quality <= 1))
		return "a quality that is not from 0 to 1";
	if (!(t->x >= 0 && t->y >= 0 && t->width > 0 && t->height > 0 && (double)t->x + (double)t->width <= shot->width &&
	      (double)t->y + (double)t->height <= shot->height))
		return "a box outside the image";
	for (uint32_t d = 0; d < e->options.dim; d++) {
		if (!isfinite(v[d]))
			return "a component that is not finite";
		any |= v[d] != 0;
	}
	return any ? NULL : "a vector of only zeros";
}

static bool other_model(const struct lineup_extractor *e, uint32_t i)
{
	const struct lineup_plugin_template *t = &e->copy.templates[i];

	return t->dim != e->options.dim || memcmp(t->model_digest, e->options.model_digest, sizeof(t->model_digest));
}

/* Copies what the process wrote, erases it there, and looks at the copy only: the process can still write. */
static int take_answer(struct lineup_extractor *e, const struct lineup_shot *shot, const struct lineup_wire_answer *answer,
		       struct lineup_extraction *x)
{
	uint32_t max = e->options.templates_max, count = answer->count;
	const char *wrong = NULL;
	int err;

	memcpy(e->copy.memory, e->area, e->area_bytes);
	explicit_bzero(e->area, e->area_bytes);
	if (answer->error)
		return lost(e, x, LINEUP_FATE_REFUSED, "the plug-in refuses it: %s", strerror(-answer->error));
	for (uint32_t i = 0; i < count && count <= max; i++)
		if (other_model(e, i))
			return lost(e, x, LINEUP_FATE_MODEL,
				    "template %" PRIu32 " has %" PRIu32 " components of some model; wanted: %" PRIu32
				    " of the gallery's",
				    i, e->copy.templates[i].dim, e->options.dim);
	for (uint32_t i = 0; i < count && count <= max && !wrong; i++)
		wrong = fault(e, shot, i);
	if (count > max || wrong) {
		err = end_process(e, 0, NULL);
		return err ? err : lost(e, x, LINEUP_FATE_RUBBISH, "%s", wrong ? wrong : "more templates than there is room for");
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct lineup_plugin_template *t = &e->copy.templates[i];

		e->copy.faces[i] =
			(struct lineup_face){ .x = t->x, .y = t->y, .width = t->width, .height = t->height, .quality = t->quality };
	}
	x->count = count;
	return 0;
}

int lineup_extractor_run(struct lineup_extractor *extractor, const struct lineup_shot *shot, struct lineup_extraction *extraction)
{
	struct lineup_extractor *e = extractor;
	struct lineup_extraction x = { .dim = e->options.dim, .vectors = e->copy.vectors, .faces = e->copy.faces };
	struct lineup_wire_answer answer = { 0 };
	int fd = shot->frame->fd, err = 0;

	lineup_extractor_erase(e);
	if (shot->flags) {
		x.fate = shot->flags & LINEUP_SHOT_DAMAGED ? LINEUP_FATE_DAMAGED : LINEUP_FATE_SHORT;
		*extraction = x;
		return 0;
	}
	if (fd < 0)
		err = copy_frame(e, shot, &fd);
	if (!err && !e->process.pid)
		err = restart(e, &x);
	if (!err && !x.fate)
		err = ask(e, shot, fd, &answer, &x);
	if (!err && !x.fate)
		err = take_answer(e, shot, &answer, &x);
	if (x.fate || err) {
		explicit_bzero(e->area, e->area_bytes);
		lineup_extractor_erase(e);
	}
	if (err)
		return err;
	*extraction = x;
	return 0;
}
