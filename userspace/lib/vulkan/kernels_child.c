// SPDX-License-Identifier: MIT
// Tries a pipeline in a child process first, and remembers how that went.
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels_parts.h"

enum { CHILD_MS_MAX = 120000, NOTE_BYTES = 4 };

/* What the child tells through a pipe; if that closes without a word, the child is dead. */
enum { MADE = 'm', REFUSED = 'r', NOT_OPENED = 'o', CRASHED = 0, STUCK = 1, KILLED = 2 };

static const char good[NOTE_BYTES + 1] = "good", bad[NOTE_BYTES + 1] = "bad\n";

static int note_path(struct lineup_vk_device *device, const struct lineup_vk_shape_of *shape, char path[PATH_MAX])
{
	char suffix[32];

	snprintf(suffix, sizeof(suffix), ".%s", lineup_vk_shader(shape->shader).name);
	return lineup_vk_cache_path(device, suffix, path, PATH_MAX);
}

/* 1: good; -1: bad; 0: nothing noted. */
static int note_read(const char *path)
{
	char text[NOTE_BYTES] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	if (n != sizeof(text))
		return 0;
	return !memcmp(text, good, sizeof(text)) ? 1 : !memcmp(text, bad, sizeof(text)) ? -1 : 0;
}

static bool note_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool written = fd >= 0 && write(fd, text, NOTE_BYTES) == NOTE_BYTES;

	if (fd >= 0)
		close(fd);
	return written;
}

/*
 * In the child, which shares nothing with the parent's threads but locks that one of them may have held: it opens the device
 * anew, says nothing, and leaves by _exit. Where a lock does stop it the parent's patience ends. It must leave no core dump, for
 * the parent's memory has probes in it.
 */
static void child(const struct lineup_vk_device *device, const struct lineup_vk_shape_of *shapes, uint32_t count, uint32_t push_bytes,
		  int out)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	struct lineup_ctx ctx = { .io = device->ctx->io, .io_arg = device->ctx->io_arg, .gpu_test = device->ctx->gpu_test };
	struct lineup_vk_device *own;
	struct lineup_vk_kernel kernel;
	char answer = NOT_OPENED;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_DFL);
	if (!lineup_vk_open(&ctx, &device->info, &own)) {
		answer = MADE;
		for (uint32_t i = 0; i < count && answer == MADE; i++)
			answer = lineup_vk_kernel_create(own, &shapes[i], push_bytes, &kernel) ? REFUSED : MADE;
	}
	_exit(write(out, &answer, 1) != 1);
}

/* Whether somebody else ended it: a user, a service manager, the kernel for want of memory. No driver's mistake raises these. */
static bool killed_from_outside(int status)
{
	if (!WIFSIGNALED(status))
		return false;
	switch (WTERMSIG(status)) {
	case SIGHUP:
	case SIGINT:
	case SIGQUIT:
	case SIGKILL:
	case SIGTERM:
		return true;
	default:
		return false;
	}
}

/* What became of the child, as far as its exit status can be had: the program may collect those of all children. */
static int child_answer(pid_t pid, int from, uint32_t ms_max)
{
	struct pollfd p = { .fd = from, .events = POLLIN };
	char answer = CRASHED;
	int n, status = 0;
	pid_t ended;

	do
		n = poll(&p, 1, (int)ms_max);
	while (n < 0 && errno == EINTR);
	if (n <= 0 || (read(from, &answer, 1) < 0)) {
		kill(pid, SIGKILL);
		answer = STUCK;
	}
	do
		ended = waitpid(pid, &status, 0);
	while (ended < 0 && errno == EINTR);
	return answer == CRASHED && ended == pid && killed_from_outside(status) ? KILLED : answer;
}

static int child_run(struct lineup_vk_device *device, const struct lineup_vk_shape_of *shapes, uint32_t count, uint32_t push_bytes)
{
	uint32_t ms_max = device->ctx->gpu_test.child_ms ? device->ctx->gpu_test.child_ms : CHILD_MS_MAX;
	int ends[2], answer = NOT_OPENED;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return NOT_OPENED;
	pid = fork();
	if (!pid)
		child(device, shapes, count, push_bytes, ends[1]);
	close(ends[1]);
	if (pid > 0)
		answer = child_answer(pid, ends[0], ms_max);
	close(ends[0]);
	return answer;
}

int lineup_vk_compile_begin(struct lineup_vk_device *device, const struct lineup_vk_shape_of *shapes, uint32_t count,
			    uint32_t push_bytes, const char **what)
{
	char path[PATH_MAX];
	bool notes = !note_path(device, shapes, path);
	int noted = notes ? note_read(path) : 0;

	if (noted > 0)
		return 0;
	*what = "its driver crashed over the pipeline in an earlier run";
	if (noted < 0)
		return -EIO;
	switch (child_run(device, shapes, count, push_bytes)) {
	case MADE:
		return 0; /* noted by lineup_vk_compile_end */
	case REFUSED:
		*what = "its pipeline cannot be made";
		return -EIO;
	case NOT_OPENED:
		*what = "the device cannot be opened in a child process, and nothing can be noted in a cache directory";
		return notes && note_write(path, bad) ? 0 : -EIO;
	case KILLED: /* which says nothing about the pipeline: it is tried again next time */
		*what = "the process that tried the pipeline was killed";
		return -EIO;
	case STUCK:
		*what = "its driver did not finish the pipeline";
		break;
	default:
		*what = "its driver crashed over the pipeline";
		break;
	}
	if (notes)
		note_write(path, bad);
	return -EIO;
}

void lineup_vk_compile_end(struct lineup_vk_device *device, const struct lineup_vk_shape_of *shapes)
{
	char path[PATH_MAX];

	if (!note_path(device, shapes, path) && note_read(path) <= 0)
		note_write(path, good);
}
