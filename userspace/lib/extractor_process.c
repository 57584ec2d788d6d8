// SPDX-License-Identifier: MIT
// The process of an extractor: its start, messages to and from it, its end.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "extractor.h"

#ifndef LINEUP_EXTRACTOR_DIR /* the Makefile says it */
#define LINEUP_EXTRACTOR_DIR "/usr/local/libexec/lineup"
#endif

enum { SLICE_MS = 250 };

const char lineup_extractor_directory[] = LINEUP_EXTRACTOR_DIR;

static char *const no_environment[] = { NULL };

/*
 * The child's descriptors: /dev/null three times, the socket, the area. The sources are above the targets, or dup2 would close
 * one before its turn.
 */
static int file_actions(posix_spawn_file_actions_t *actions, int socket, int area)
{
	int err = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	err = err ? err : posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
	err = err ? err : posix_spawn_file_actions_adddup2(actions, 1, 2);
	err = err ? err : posix_spawn_file_actions_adddup2(actions, socket, LINEUP_WIRE_SOCKET);
	err = err ? err : posix_spawn_file_actions_adddup2(actions, area, LINEUP_WIRE_AREA);
	return err ? err : posix_spawn_file_actions_addclosefrom_np(actions, LINEUP_WIRE_AREA + 1);
}

/* A session of its own: Ctrl-C at the terminal is for the program, which ends its extractor in order. */
static int attributes(posix_spawnattr_t *attr)
{
	sigset_t all, none;
	int err;

	sigfillset(&all);
	sigemptyset(&none);
	err = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	err = err ? err : posix_spawnattr_setsigdefault(attr, &all);
	return err ? err : posix_spawnattr_setsigmask(attr, &none);
}

static int spawn(pid_t *pid, char *const argv[], int socket, int area)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int err = posix_spawn_file_actions_init(&actions);

	if (err)
		return -err;
	err = posix_spawnattr_init(&attr);
	if (!err) {
		err = file_actions(&actions, socket, area);
		err = err ? err : attributes(&attr);
		err = err ? err : posix_spawn(pid, argv[0], &actions, &attr, argv, no_environment);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

/* A descriptor that is not among the child's targets. Takes @fd. */
static int lift(int fd)
{
	int high;

	if (fd > LINEUP_WIRE_AREA || fd < 0)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, LINEUP_WIRE_AREA + 1);
	close(fd);
	return high;
}

int lineup_extractor_spawn(struct lineup_extractor_process *process, char *const argv[], int area)
{
	int ends[2], err;
	pid_t pid = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	ends[0] = lift(ends[0]);
	ends[1] = lift(ends[1]);
	err = ends[0] < 0 || ends[1] < 0 ? -EMFILE : spawn(&pid, argv, ends[1], area);
	if (ends[1] >= 0)
		close(ends[1]);
	if (err) {
		if (ends[0] >= 0)
			close(ends[0]);
		return err;
	}
	process->pid = pid;
	process->socket = ends[0];
	process->pidfd = pidfd_open(pid, 0); /* the child is ours and not waited for: its number cannot be another's */
	if (process->pidfd >= 0)
		return 0;
	err = -errno;
	lineup_extractor_end(process, 0, NULL);
	return err;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * poll() for @ms whatever signals come: 1, 0 when they are over, -errno; -ECANCELED if @wait (may be NULL) says so, which is asked
 * often enough that a signal which came just before poll() does not go unnoticed.
 */
static int wait_for(struct pollfd *fds, nfds_t count, uint32_t ms, const struct lineup_extractor_wait *wait)
{
	int64_t begin = now_ms(), waited = 0;

	for (;;) {
		int64_t left = ms - waited;
		int n = poll(fds, count, (int)(left < SLICE_MS ? left : SLICE_MS));

		if (n > 0)
			return 1;
		if (n < 0 && errno != EINTR)
			return -errno;
		waited = now_ms() - begin;
		if (waited >= (int64_t)ms)
			return 0;
		if (wait && wait->progress && !wait->progress(wait->arg, (uint64_t)waited, ms))
			return -ECANCELED;
	}
}

int lineup_extractor_receive(struct lineup_extractor_process *process, void *message, size_t size, uint32_t timeout_ms,
			     const struct lineup_extractor_wait *wait)
{
	/* The socket also ends when the process does; but a copy of it might have been left to nobody knows whom. */
	struct pollfd fds[] = { { .fd = process->socket, .events = POLLIN }, { .fd = process->pidfd, .events = POLLIN } };
	struct iovec part = { .iov_base = message, .iov_len = size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t n;
	int err = wait_for(fds, ARRAY_SIZE(fds), timeout_ms, wait);

	if (err <= 0)
		return err ? err : -ETIMEDOUT;
	n = recvmsg(process->socket, &header, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == ECONNRESET ? 0
							      : -errno; /* awake, but not for a message: the process has ended */
	return header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : (int)n;
}

int lineup_extractor_send(struct lineup_extractor_process *process, const void *message, size_t size, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec part = { .iov_base = (void *)message, .iov_len = size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	do
		n = sendmsg(process->socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

/* How it ended, as lineup_extractor_end has it. The program may ignore SIGCHLD, or wait for all children: then nobody knows. */
static int reap(const struct lineup_extractor_process *process)
{
	siginfo_t info = { 0 };

	if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) || !info.si_pid)
		return LINEUP_ENDED_UNKNOWN;
	return info.si_code == CLD_EXITED ? -1 - info.si_status : info.si_status;
}

int lineup_extractor_end(struct lineup_extractor_process *process, uint32_t grace_ms, int *how)
{
	struct pollfd fd = { .fd = process->pidfd, .events = POLLIN };
	int own = 0, err = 0;

	if (process->socket >= 0)
		close(process->socket);
	if (process->pid && process->pidfd >= 0) {
		if (wait_for(&fd, 1, grace_ms, NULL) == 1) {
			own = reap(process);
		} else {
			pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0);
			err = wait_for(&fd, 1, LINEUP_EXTRACTOR_END_MS, NULL) == 1 ? 0 : -EIO;
			reap(process);
		}
	} else if (process->pid) {
		kill(process->pid, SIGKILL);
		waitid(P_PID, (id_t)process->pid, &(siginfo_t){ 0 }, WEXITED);
	}
	if (process->pidfd >= 0)
		close(process->pidfd);
	*process = (struct lineup_extractor_process){ .pidfd = -1, .socket = -1 };
	if (how)
		*how = own;
	return err;
}
