// SPDX-License-Identifier: MIT
// Extractors: what a plug-in does wrong costs its frame, is counted for what it is, and costs nothing else.
#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../plugins/misbehave.h"
#include "capture.h"
#include "search_bed.h"

enum { DIM = 32, WIDTH = 64, HEIGHT = 48, MAX = 3, DEADLINE_MS = 5000 };

struct bench {
	struct messages messages;
	struct lineup_ctx *ctx;
	struct lineup_frames *frames;
	struct lineup_frame *frame;
	uint8_t *data;
	char build[PATH_MAX];  /* where this build is */
	char plugins[PATH_MAX + 32];
	char misbehave[PATH_MAX + 32];
};

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct lineup_ctx_options options = { .size = sizeof(options), .log = messages_log, .log_arg = &b->messages };
	struct lineup_frames_options pool = {
		.size = sizeof(pool), .kind = LINEUP_FRAMES_MEMORY, .frame_bytes = WIDTH * HEIGHT, .count = 1
	};
	ssize_t n = readlink("/proc/self/exe", b->build, sizeof(b->build) - 1);

	/* BUILD/tests/unit/test_extractor */
	assert_true(n > 0);
	for (int i = 0; i < 3; i++)
		*strrchr(b->build, '/') = 0;
	snprintf(b->plugins, sizeof(b->plugins), "%s/extractors", b->build);
	snprintf(b->misbehave, sizeof(b->misbehave), "%s/tests/plugins/misbehave.so", b->build);
	pthread_mutex_init(&b->messages.lock, NULL);
	assert_int_equal(lineup_ctx_create(&options, &b->ctx), 0);
	assert_int_equal(lineup_frames_create(b->ctx, &pool, &b->frames), 0);
	assert_int_equal(lineup_frame_take(b->frames, &b->frame), 0);
	assert_int_equal(lineup_frame_map(b->frame, (void **)&b->data), 0);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	lineup_frame_put(b->frame);
	lineup_frames_destroy(b->frames);
	lineup_ctx_destroy(b->ctx);
	free(b);
	return 0;
}

static struct lineup_extractor_options choose(const struct bench *b, const char *config)
{
	struct lineup_extractor_options o = {
		.size = sizeof(o),
		.dim = DIM,
		.path = b->misbehave,
		.config = config,
		.directory = b->plugins,
		.templates_max = MAX,
		.deadline_ms = DEADLINE_MS,
	};

	memset(o.model_digest, MISBEHAVE_DIGEST, sizeof(o.model_digest));
	return o;
}

static struct lineup_extractor *start(struct bench *b)
{
	struct lineup_extractor_options o = choose(b, NULL);
	struct lineup_extractor *e;
	int err;

	if (strcmp(lineup_extractor_support(), "yes")) {
		print_message("%s\n", lineup_extractor_support());
		skip();
	}
	err = lineup_extractor_create(b->ctx, &o, &e);
	if (err)
		fail_msg("%s", b->messages.text[b->messages.count - 1]);
	return e;
}

static struct lineup_extraction run(struct bench *b, struct lineup_extractor *e, enum misbehave what)
{
	struct lineup_shot shot = {
		.frame = b->frame, .fourcc = 0x59000000, .width = WIDTH, .height = HEIGHT, .stride = WIDTH, .bytes = WIDTH * HEIGHT,
		.timestamp_ns = 4096, .sequence = 77,
	};
	struct lineup_extraction x = { 0 };
	int err;

	b->data[0] = (uint8_t)what;
	err = lineup_extractor_run(e, &shot, &x);
	if (err)
		fail_msg("%d: %d %s", what, err, b->messages.count ? b->messages.text[b->messages.count - 1] : "");
	return x;
}

/* The vectors that the plug-in makes of a good frame. */
static void expect_good(struct bench *b, struct lineup_extractor *e)
{
	struct lineup_extraction x = run(b, e, MISBEHAVE_GOOD);

	assert_int_equal(x.fate, LINEUP_FATE_DONE);
	assert_int_equal(x.count, 1);
	assert_int_equal(x.dim, DIM);
	for (uint32_t i = 0; i < DIM; i++)
		assert_true(x.vectors[i] == (float)(1 + i));
	assert_true(x.faces[0].x == 1 && x.faces[0].y == 2 && x.faces[0].width == 3 && x.faces[0].height == 4 &&
		    x.faces[0].quality == 0.5f);
}

static void expect_start(struct bench *b, const char *config, int error, const char *text)
{
	struct lineup_extractor_options o = choose(b, config);
	struct lineup_extractor *e = NULL;

	if (strcmp(lineup_extractor_support(), "yes"))
		skip();
	messages_clear(&b->messages);
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), error);
	assert_null(e);
	assert_int_equal(b->messages.errors, 1);
	if (!messages_with(&b->messages, text))
		fail_msg("\"%s\" does not say \"%s\"", b->messages.text[0], text);
}

static void a_template_comes_back_as_it_was_made(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor *e = start(b);

	for (int i = 0; i < 3; i++)
		expect_good(b, e);
	lineup_extractor_destroy(e);
}

static void the_plugin_sees_the_frame_as_it_is(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor *e = start(b);
	struct lineup_extraction x;
	static const float want[] = { 0x59000000, WIDTH, HEIGHT, WIDTH, WIDTH * HEIGHT, 4096, 77, 0xa5 };

	b->data[WIDTH * HEIGHT - 1] = 0xa5;
	x = run(b, e, MISBEHAVE_FRAME);
	assert_int_equal(x.fate, LINEUP_FATE_DONE);
	assert_memory_equal(x.vectors, want, sizeof(want));
	lineup_extractor_destroy(e);
}

static void no_face_and_as_many_as_there_is_room_for(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor *e = start(b);
	struct lineup_extraction x = run(b, e, MISBEHAVE_NONE);

	assert_int_equal(x.fate, LINEUP_FATE_DONE);
	assert_int_equal(x.count, 0);
	x = run(b, e, MISBEHAVE_FULL);
	assert_int_equal(x.fate, LINEUP_FATE_DONE);
	assert_int_equal(x.count, MAX);
	for (uint32_t i = 0; i < MAX; i++)
		assert_true(x.vectors[i * DIM] == (float)(1 + i) && x.vectors[i * DIM + DIM - 1] == (float)(i + DIM));
	lineup_extractor_destroy(e);
}

/* Each wrong thing, the fate it is counted as, and whether the process may live on. */
static const struct wrong {
	enum misbehave what;
	enum lineup_fate fate;
	bool lives;
	const char *text;
} wrongs[] = {
	{ MISBEHAVE_CRASH, LINEUP_FATE_CRASHED, false, "signal 11" },
	{ MISBEHAVE_ABORT, LINEUP_FATE_CRASHED, false, "signal 6" },
	{ MISBEHAVE_EXIT, LINEUP_FATE_CRASHED, false, "exited with status 3" },
	{ MISBEHAVE_CLOSE, LINEUP_FATE_CRASHED, false, "closed its socket" },
	{ MISBEHAVE_HANG, LINEUP_FATE_HUNG, false, "no answer within 5000 ms" },
	{ MISBEHAVE_MANY, LINEUP_FATE_RUBBISH, false, "more templates" },
	{ MISBEHAVE_HUGE, LINEUP_FATE_RUBBISH, false, "more templates" },
	{ MISBEHAVE_NAN, LINEUP_FATE_RUBBISH, false, "not finite" },
	{ MISBEHAVE_INFINITE, LINEUP_FATE_RUBBISH, false, "not finite" },
	{ MISBEHAVE_ZERO, LINEUP_FATE_RUBBISH, false, "only zeros" },
	{ MISBEHAVE_QUALITY, LINEUP_FATE_RUBBISH, false, "quality" },
	{ MISBEHAVE_QUALITY_NAN, LINEUP_FATE_RUBBISH, false, "quality" },
	{ MISBEHAVE_BOX, LINEUP_FATE_RUBBISH, false, "box" },
	{ MISBEHAVE_BOX_NAN, LINEUP_FATE_RUBBISH, false, "box" },
	{ MISBEHAVE_BOX_NEGATIVE, LINEUP_FATE_RUBBISH, false, "box" },
	{ MISBEHAVE_BOX_EMPTY, LINEUP_FATE_RUBBISH, false, "box" },
	{ MISBEHAVE_FORGE, LINEUP_FATE_RUBBISH, false, "no answer" },
	{ MISBEHAVE_TWICE, LINEUP_FATE_RUBBISH, false, "no answer" },
	{ MISBEHAVE_DESCRIPTOR, LINEUP_FATE_RUBBISH, false, "no answer" },
	{ MISBEHAVE_POSITIVE, LINEUP_FATE_RUBBISH, false, "no answer" },
	{ MISBEHAVE_MINIMUM, LINEUP_FATE_RUBBISH, false, "no answer" },
	{ MISBEHAVE_DIM, LINEUP_FATE_MODEL, true, "33 components" },
	{ MISBEHAVE_MODEL, LINEUP_FATE_MODEL, true, "model" },
	{ MISBEHAVE_REFUSE, LINEUP_FATE_REFUSED, true, "refuses" },
};

static void each_wrong_thing_costs_its_frame_only(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
		struct lineup_extractor *e = start(b);
		struct lineup_extraction x;
		int pid = lineup_extractor_pid(e);

		messages_clear(&b->messages);
		x = run(b, e, wrongs[i].what);
		if (x.fate != wrongs[i].fate || x.count || (lineup_extractor_pid(e) == pid) != wrongs[i].lives)
			fail_msg("%zu: fate %s, count %u", i, lineup_fate_name(x.fate), x.count);
		/* Its vectors are gone, whatever they were. */
		for (uint32_t d = 0; d < MAX * DIM; d++)
			assert_true(x.vectors[d] == 0);
		assert_int_equal(b->messages.errors, 0);
		assert_int_equal(b->messages.warnings, 1);
		if (!messages_with(&b->messages, wrongs[i].text))
			fail_msg("%zu: \"%s\" does not say \"%s\"", i, b->messages.text[0], wrongs[i].text);
		if (!wrongs[i].lives)
			assert_true(kill(pid, 0) < 0 && errno == ESRCH);
		expect_good(b, e);
		lineup_extractor_destroy(e);
	}
}

static void each_kind_of_failure_is_said_once(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor *e = start(b);

	messages_clear(&b->messages);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(run(b, e, MISBEHAVE_CRASH).fate, LINEUP_FATE_CRASHED);
		assert_int_equal(run(b, e, MISBEHAVE_NAN).fate, LINEUP_FATE_RUBBISH);
	}
	assert_int_equal(b->messages.warnings, 2);
	lineup_extractor_destroy(e);
}

static void damaged_and_short_images_are_not_shown_to_it(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor *e = start(b);
	struct lineup_shot shot = {
		.frame = b->frame, .width = WIDTH, .height = HEIGHT, .bytes = 100, .flags = LINEUP_SHOT_DAMAGED
	};
	struct lineup_extraction x;
	int pid = lineup_extractor_pid(e);

	b->data[0] = MISBEHAVE_CRASH;
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_DAMAGED);
	shot.flags = LINEUP_SHOT_SHORT;
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_SHORT);
	assert_int_equal(lineup_extractor_pid(e), pid);
	lineup_extractor_destroy(e);
}

static void nothing_can_be_reached_from_the_sandbox(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor *e = start(b);
	struct lineup_extraction x = run(b, e, MISBEHAVE_ESCAPE);

	assert_int_equal(x.fate, LINEUP_FATE_DONE);
	for (uint32_t i = 0; i < MISBEHAVE_ESCAPES; i++)
		if (x.vectors[i] != 1)
			fail_msg("attempt %u was not denied", i);
	lineup_extractor_destroy(e);
}

/* As it opens, a plug-in reads its own files and the system's libraries, not the gallery next door. */
static void files_are_closed_to_a_starting_plugin(void **state)
{
	struct bench *b = *state;
	char config[PATH_MAX + 64];

	snprintf(config, sizeof(config), "read %s", b->misbehave);
	expect_start(b, config, -ENODATA, "it can be read");
	if (messages_with(&b->messages, "no Landlock")) {
		print_message("this kernel has no Landlock\n");
		skip();
	}
	snprintf(config, sizeof(config), "read %s/extractors/pattern.so", b->build);
	expect_start(b, config, -ENODATA, "it is denied");
	expect_start(b, "read /etc/passwd", -ENODATA, "it is denied");
}

static void a_plugin_that_does_not_start_is_an_error_that_says_why(void **state)
{
	struct bench *b = *state;

	expect_start(b, "crash", -EIO, "signal 11");
	expect_start(b, "exit", -EIO, "status 3");
	expect_start(b, "rubbish", -EIO, "rubbish");
	expect_start(b, "fails", -ENODATA, "misbehave.so: the moon is?wrong");
	expect_start(b, "silent", -EINVAL, "does not open: Invalid argument");
	expect_start(b, "positive", -EIO, "does not open");
}

static void a_plugin_that_starts_too_slowly_is_an_error(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor_options o = choose(b, "hang");
	struct lineup_extractor *e;

	if (strcmp(lineup_extractor_support(), "yes"))
		skip();
	o.start_ms = 200;
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), -ETIMEDOUT);
	assert_int_equal(messages_with(&b->messages, "not ready after 200 ms"), 1);
}

static void what_is_no_plugin_is_refused(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor_options o = choose(b, NULL);
	struct lineup_extractor *e;

	if (strcmp(lineup_extractor_support(), "yes"))
		skip();
	o.path = "/usr/lib/os-release";
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), -ENOTSUP);
	assert_int_equal(messages_with(&b->messages, "cannot be loaded"), 1);
	o.path = "no-such-extractor";
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), -ENOENT);
	o.path = b->misbehave;
	o.directory = "/nonexistent";
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), -ENOENT);
	assert_int_equal(messages_with(&b->messages, "/nonexistent/lineup-extract"), 1);
}

static void options_that_cannot_be_are_refused(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor_options o;
	struct lineup_extractor *e;

#define REFUSED(change)                                                                                                          \
	do {                                                                                                                     \
		o = choose(b, NULL);                                                                                             \
		change;                                                                                                          \
		messages_clear(&b->messages);                                                                                    \
		assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), -EINVAL);                                              \
		assert_int_equal(b->messages.errors, 1);                                                                         \
	} while (0)
	REFUSED(o.path = NULL);
	REFUSED(o.path = "");
	REFUSED(o.dim = 0);
	REFUSED(o.dim = LINEUP_DIM_MAX + 1);
	REFUSED(o.templates_max = LINEUP_EXTRACTOR_TEMPLATES_MAX + 1);
	REFUSED(o.reserved = 1);
	REFUSED(o.deadline_ms = 600001);
	REFUSED(memset(o.model_digest, 0, sizeof(o.model_digest)));
	REFUSED(o.size = 3);
}

static unsigned int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void no_descriptor_and_no_process_is_left_behind(void **state)
{
	struct bench *b = *state;
	unsigned int before = open_descriptors();
	struct lineup_extractor *e = start(b);
	int last;

	for (int i = 0; i < 8; i++) {
		run(b, e, MISBEHAVE_CRASH);
		run(b, e, MISBEHAVE_DESCRIPTOR);
		expect_good(b, e);
	}
	last = lineup_extractor_pid(e);
	lineup_extractor_destroy(e);
	assert_true(kill(last, 0) < 0 && errno == ESRCH);
	assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	assert_int_equal(open_descriptors(), before);
}

/* Five starts in a row that fail are the end; until then each costs its frame. */
static void a_plugin_that_never_starts_again_ends_it(void **state)
{
	struct bench *b = *state;
	char copy[] = "/tmp/lineup-test-XXXXXX", path[64], command[PATH_MAX * 2];
	struct lineup_extractor_options o = choose(b, NULL);
	struct lineup_shot shot = { .frame = b->frame, .width = WIDTH, .height = HEIGHT, .bytes = 100 };
	struct lineup_extraction x;
	struct lineup_extractor *e;

	if (strcmp(lineup_extractor_support(), "yes"))
		skip();
	assert_non_null(mkdtemp(copy));
	snprintf(path, sizeof(path), "%s/p.so", copy);
	snprintf(command, sizeof(command), "cp '%s' '%s'", b->misbehave, path);
	assert_int_equal(system(command), 0);
	o.path = path;
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), 0);
	assert_int_equal(truncate(path, 10), 0);
	kill(lineup_extractor_pid(e), SIGKILL);
	b->data[0] = MISBEHAVE_GOOD;
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_CRASHED);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
		assert_int_equal(x.fate, LINEUP_FATE_NOT_STARTED);
	}
	messages_clear(&b->messages);
	assert_int_equal(lineup_extractor_run(e, &shot, &x), -EIO);
	assert_int_equal(messages_with(&b->messages, "start 5 in a row"), 1);
	lineup_extractor_destroy(e);
	unlink(path);
	rmdir(copy);
}

/* Whether any byte of the memory shared with the process is not zero. */
static bool area_holds_something(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[PATH_MAX + 100];
	bool any = false, found = false;

	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long from, to;

		if (!strstr(line, "lineup-extractor") || sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		found = true;
		for (const uint8_t *p = (const uint8_t *)from; p < (const uint8_t *)to; p++)
			any |= *p != 0;
	}
	fclose(maps);
	assert_true(found);
	return any;
}

static void templates_are_erased_where_they_were(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor *e = start(b);
	struct lineup_extraction x = run(b, e, MISBEHAVE_FULL);

	assert_int_equal(x.count, MAX);
	assert_false(area_holds_something());
	lineup_extractor_erase(e);
	for (uint32_t i = 0; i < MAX * DIM; i++)
		assert_true(x.vectors[i] == 0);
	run(b, e, MISBEHAVE_NAN);
	assert_false(area_holds_something());
	run(b, e, MISBEHAVE_HANG);
	assert_false(area_holds_something());
	lineup_extractor_destroy(e);
}

/* As a program that was interrupted wants it: no wait is sat out. Zero: at once. */
static bool goes_on_for_a_while(void *arg, uint64_t done, uint64_t total)
{
	int *left = arg;

	assert_true(done < total && total == 600000);
	return (*left)-- > 0;
}

static void a_wait_ends_when_the_caller_wants(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor_options o = choose(b, NULL);
	struct lineup_shot shot = { .frame = b->frame, .width = WIDTH, .height = HEIGHT, .bytes = 100 };
	struct lineup_extraction x;
	struct lineup_extractor *e = NULL;
	int left = 0;

	if (strcmp(lineup_extractor_support(), "yes"))
		skip();
	o.start_ms = o.deadline_ms = 600000;
	o.progress = goes_on_for_a_while;
	o.progress_arg = &left;
	o.config = "hang";
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), -ECANCELED);
	assert_null(e);
	left = INT_MAX;
	o.config = NULL;
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), 0);
	for (int i = 0; i < 3; i++) {
		left = i;
		b->data[0] = MISBEHAVE_HANG;
		assert_int_equal(lineup_extractor_run(e, &shot, &x), -ECANCELED);
		assert_int_equal(lineup_extractor_pid(e), 0);
		left = INT_MAX;
		expect_good(b, e);
	}
	assert_int_equal(b->messages.errors, 0);
	lineup_extractor_destroy(e);
}

/* A frame that has no descriptor is copied into one. */
static void frames_without_a_descriptor_are_copied(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor *e = start(b);
	int fd = b->frame->fd;

	b->frame->fd = -1;
	expect_good(b, e);
	expect_good(b, e);
	assert_int_equal(run(b, e, MISBEHAVE_CRASH).fate, LINEUP_FATE_CRASHED);
	expect_good(b, e);
	b->frame->fd = fd;
	lineup_extractor_destroy(e);
}

/* Gone, or waiting for a parent that never asks. */
static bool is_gone(int pid)
{
	for (int i = 0; i < 3000; i++) {
		char path[64], state = 'Z';
		FILE *stat;

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		stat = fopen(path, "r");
		if (!stat)
			return true;
		if (fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
			state = 'Z';
		fclose(stat);
		if (state == 'Z' || state == 'X')
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	return false;
}

static void it_ends_with_a_program_that_is_killed(void **state)
{
	struct bench *b = *state;
	int ends[2], pid = 0;
	pid_t child;

	if (strcmp(lineup_extractor_support(), "yes"))
		skip();
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (!child) {
		struct lineup_extractor_options o = choose(b, NULL);
		struct lineup_shot shot = { .frame = b->frame, .width = WIDTH, .height = HEIGHT, .bytes = 100 };
		struct lineup_extraction x;
		struct lineup_extractor *e;

		o.deadline_ms = 600000;
		if (lineup_extractor_create(b->ctx, &o, &e))
			_exit(1);
		pid = lineup_extractor_pid(e);
		if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		b->data[0] = MISBEHAVE_HANG;
		_exit(lineup_extractor_run(e, &shot, &x) != 0);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_true(is_gone(pid));
	close(ends[0]);
}

/* ---- the plug-ins that come with lineup ---- */

static void the_digest_of_pattern_is_that_of_its_model_id(struct lineup_extractor_options *o)
{
	crypto_generichash(o->model_digest, sizeof(o->model_digest), (const uint8_t *)"lineup-pattern", strlen("lineup-pattern"),
			   NULL, 0);
}

static void pattern_computes_what_it_says(void **state)
{
	struct bench *b = *state;
	struct lineup_extractor_options o = choose(b, NULL);
	struct lineup_shot shot = { .frame = b->frame, .width = WIDTH, .height = HEIGHT, .stride = WIDTH, .bytes = WIDTH * HEIGHT };
	struct lineup_extraction x;
	struct lineup_extractor *e;
	struct rng rng = { test_seed() };

	if (strcmp(lineup_extractor_support(), "yes"))
		skip();
	o.path = "pattern";
	o.dim = 7; /* which does not divide the bytes */
	the_digest_of_pattern_is_that_of_its_model_id(&o);
	assert_int_equal(lineup_extractor_create(b->ctx, &o, &e), 0);
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		b->data[i] = (uint8_t)rng_u64(&rng);
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_DONE);
	assert_int_equal(x.count, 1);
	for (uint32_t d = 0; d < 7; d++) {
		double sum = 0, n = 0;

		for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
			if (i >= d * WIDTH * HEIGHT / 7 && i < (d + 1) * WIDTH * HEIGHT / 7)
				sum += b->data[i], n++;
		assert_true(x.vectors[d] == (float)(sum / n - 127.5));
	}
	assert_true(x.faces[0].width == WIDTH && x.faces[0].height == HEIGHT);
	shot.bytes = 6;
	assert_int_equal(lineup_extractor_run(e, &shot, &x), 0);
	assert_int_equal(x.fate, LINEUP_FATE_REFUSED);
	lineup_extractor_destroy(e);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_template_comes_back_as_it_was_made),
		TEST(the_plugin_sees_the_frame_as_it_is),
		TEST(no_face_and_as_many_as_there_is_room_for),
		TEST(each_wrong_thing_costs_its_frame_only),
		TEST(each_kind_of_failure_is_said_once),
		TEST(damaged_and_short_images_are_not_shown_to_it),
		TEST(nothing_can_be_reached_from_the_sandbox),
		TEST(files_are_closed_to_a_starting_plugin),
		TEST(a_plugin_that_does_not_start_is_an_error_that_says_why),
		TEST(a_plugin_that_starts_too_slowly_is_an_error),
		TEST(what_is_no_plugin_is_refused),
		TEST(options_that_cannot_be_are_refused),
		TEST(no_descriptor_and_no_process_is_left_behind),
		TEST(a_plugin_that_never_starts_again_ends_it),
		TEST(templates_are_erased_where_they_were),
		TEST(a_wait_ends_when_the_caller_wants),
		TEST(frames_without_a_descriptor_are_copied),
		TEST(it_ends_with_a_program_that_is_killed),
		TEST(pattern_computes_what_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
