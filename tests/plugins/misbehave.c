// SPDX-License-Identifier: MIT
// An extractor that does wrong what a plug-in can do wrong: as it opens by its configuration, with a frame by the frame's first
// byte.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lineup-extractor.h"
#include "misbehave.h"

static void hang(void)
{
	for (;;)
		nanosleep(&(struct timespec){ .tv_sec = 1000 }, NULL);
}

static void crash(void)
{
	volatile int *volatile nowhere = NULL;

	*nowhere = 1;
}

/* To the library, past lineup-extract. */
static void say(const void *message, size_t size)
{
	struct iovec part = { .iov_base = (void *)message, .iov_len = size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	sendmsg(3, &header, 0);
}

static int opens(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int open_plugin(const struct lineup_plugin_setup *setup, void **state, char *error, size_t size)
{
	const char *c = setup->config;

	(void)state;
	if (!strcmp(c, "crash"))
		crash();
	if (!strcmp(c, "hang"))
		hang();
	if (!strcmp(c, "exit"))
		exit(3);
	if (!strcmp(c, "silent"))
		return -EINVAL;
	if (!strcmp(c, "positive"))
		return 7;
	if (!strcmp(c, "rubbish")) {
		say("what", 4);
		hang();
	}
	if (!strcmp(c, "fails")) {
		strncpy(error, "the moon is\nwrong", size);
		return -ENODATA;
	}
	/* "read PATH": whether it could be read is the answer. */
	if (!strncmp(c, "read ", 5)) {
		strncpy(error, opens(c + 5) ? "it can be read" : errno == EACCES ? "it is denied" : "something else", size);
		return -ENODATA;
	}
	return 0;
}

static int denied(long result)
{
	return result < 0 && (errno == EPERM || errno == ENOSYS);
}

static void *other_thread(void *arg)
{
	*(int *)arg = denied(open("/etc/hostname", O_RDONLY)) ? 1 : 2;
	return NULL;
}

/* Component i is 1 if attempt i was denied, -1 if it was not. */
static void try_all(const struct lineup_plugin_frame *frame, float *v)
{
	int seen = 0, i = 0;
	pthread_t thread;
	char *args[] = { (char *)"true", NULL };

	v[i++] = denied(open("/etc/hostname", O_RDONLY)) ? 1 : -1;
	v[i++] = denied(open("/tmp/lineup-misbehave", O_WRONLY | O_CREAT, 0600)) ? 1 : -1;
	v[i++] = denied(socket(AF_INET, SOCK_STREAM, 0)) ? 1 : -1;
	v[i++] = denied(socket(AF_UNIX, SOCK_STREAM, 0)) ? 1 : -1;
	v[i++] = denied(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) ? 1 : -1;
	v[i++] = denied(execv("/bin/true", args)) ? 1 : -1;
	v[i++] = denied(kill(getppid(), 0)) ? 1 : -1;
	v[i++] = denied(syscall(SYS_tgkill, 1, 1, 0)) ? 1 : -1;
	v[i++] = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM ? 1
															     : -1;
	v[i++] = denied(syscall(SYS_ptrace, 16, getppid(), 0, 0)) ? 1 : -1;
	v[i++] = denied(syscall(SYS_pidfd_open, getppid(), 0)) ? 1 : -1;
	v[i++] = denied(fcntl(frame->fd, F_DUPFD, 0)) ? 1 : -1;
	v[i++] = denied(prctl(PR_SET_PDEATHSIG, 0)) ? 1 : -1;
	v[i++] = denied(prctl(PR_SET_DUMPABLE, 1)) ? 1 : -1;
	v[i++] = denied(syscall(SYS_io_uring_setup, 1, NULL)) ? 1 : -1;
	/* A thread is no new process, and is in the sandbox too. */
	if (!pthread_create(&thread, NULL, other_thread, &seen))
		pthread_join(thread, NULL);
	v[i++] = seen == 1 ? 1 : -1;
}

static void fill(struct lineup_plugin_result *r, uint32_t i)
{
	struct lineup_plugin_template *t = &r->templates[i];

	*t = (struct lineup_plugin_template){ .x = 1, .y = 2, .width = 3, .height = 4, .quality = 0.5f, .dim = r->dim };
	memset(t->model_digest, MISBEHAVE_DIGEST, sizeof(t->model_digest));
	for (uint32_t d = 0; d < r->dim; d++)
		r->vectors[(size_t)i * r->dim + d] = (float)(1 + i + d);
}

static int extract(void *state, const struct lineup_plugin_frame *frame, struct lineup_plugin_result *r)
{
	(void)state;
	fill(r, 0);
	r->count = 1;
	switch (frame->data[0]) {
	case MISBEHAVE_CRASH: crash(); break;
	case MISBEHAVE_HANG: hang(); break;
	case MISBEHAVE_EXIT: exit(3);
	case MISBEHAVE_ABORT: abort();
	case MISBEHAVE_MANY: r->count = r->max + 1; break;
	case MISBEHAVE_HUGE: r->count = UINT32_MAX; break;
	case MISBEHAVE_NAN: r->vectors[1] = NAN; break;
	case MISBEHAVE_INFINITE: r->vectors[r->dim - 1] = -INFINITY; break;
	case MISBEHAVE_ZERO: memset(r->vectors, 0, r->dim * sizeof(float)); break;
	case MISBEHAVE_QUALITY: r->templates[0].quality = 1.5f; break;
	case MISBEHAVE_QUALITY_NAN: r->templates[0].quality = NAN; break;
	case MISBEHAVE_BOX: r->templates[0].width = 1e9f; break;
	case MISBEHAVE_BOX_NAN: r->templates[0].x = NAN; break;
	case MISBEHAVE_BOX_NEGATIVE: r->templates[0].y = -1; break;
	case MISBEHAVE_BOX_EMPTY: r->templates[0].height = 0; break;
	case MISBEHAVE_DIM: r->templates[0].dim = r->dim + 1; break;
	case MISBEHAVE_MODEL: r->templates[0].model_digest[31] ^= 1; break;
	case MISBEHAVE_REFUSE: return -EINVAL;
	case MISBEHAVE_POSITIVE: return 5;
	case MISBEHAVE_MINIMUM: return INT_MIN;
	case MISBEHAVE_CLOSE: close(3); hang(); break;
	case MISBEHAVE_FORGE: say("\x41\x4e\x53\x31 no answer", 14); break;
	case MISBEHAVE_TWICE: {
		/* An answer to a frame that has not come yet. */
		struct {
			uint32_t magic;
			int32_t error;
			uint32_t count, reserved;
			uint64_t ticket;
		} answer = { 0x31534e41, 0, 1, 0, 99 };
		say(&answer, sizeof(answer));
		break;
	}
	case MISBEHAVE_DESCRIPTOR: {
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(sizeof(int))];
		} control = { 0 };
		struct iovec part = { .iov_base = (void *)"fd", .iov_len = 2 };
		struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &frame->fd, sizeof(int));
		sendmsg(3, &m, 0);
		break;
	}
	case MISBEHAVE_ESCAPE: try_all(frame, r->vectors); break;
	case MISBEHAVE_NONE: r->count = 0; break;
	case MISBEHAVE_FULL:
		for (uint32_t i = 0; i < r->max; i++)
			fill(r, i);
		r->count = r->max;
		break;
	case MISBEHAVE_FRAME:
		r->vectors[0] = (float)frame->fourcc;
		r->vectors[1] = (float)frame->width;
		r->vectors[2] = (float)frame->height;
		r->vectors[3] = (float)frame->stride;
		r->vectors[4] = (float)frame->bytes;
		r->vectors[5] = (float)frame->timestamp_ns;
		r->vectors[6] = (float)frame->sequence;
		r->vectors[7] = (float)frame->data[frame->bytes - 1];
		break;
	}
	return 0;
}

const struct lineup_plugin *lineup_plugin(void)
{
	static const struct lineup_plugin plugin = {
		.abi = LINEUP_PLUGIN_ABI, .size = sizeof(plugin), .name = "misbehave", .open = open_plugin, .extract = extract,
	};

	return &plugin;
}
