// SPDX-License-Identifier: MIT
// The filter of system calls, tried in processes of their own: what the daemon does goes on, what it never does fails or ends it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"
#include "under_sanitizer.h"

static char directory[256];

/* Runs @what in a confined child. Returns its wait status; exit status 0 is success, otherwise the line that failed. */
static int confined(const char *backend, int (*what)(void))
{
	struct config config;
	int status;
	pid_t child;

	config_init(&config);
	snprintf(config.backend, sizeof(config.backend), "%s", backend);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		log_init(LOG_ERROR);
		seccomp_harden();
		if (seccomp_confine(&config))
			_exit(255);
		_exit(what());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void goes_on(const char *backend, int (*what)(void))
{
	int status = confined(backend, what);

	if (WIFEXITED(status) && WEXITSTATUS(status))
		fail_msg("line %d%s", WEXITSTATUS(status), WEXITSTATUS(status) == 255 ? ": not confined, or a line above 254" : "");
	assert_true(WIFEXITED(status));
}

static void is_killed(int (*what)(void))
{
	int status = confined("scalar", what);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static int sanitized(void **state)
{
	(void)state;
	return UNDER_SANITIZER;
}

#define NEED(condition)                                         \
	do {                                                    \
		if (!(condition))                               \
			return __LINE__ < 255 ? __LINE__ : 255; \
	} while (0)
#define FAILS(call, error) NEED((call) == -1 && errno == (error))

static int files(void)
{
	char path[300], other[310], bytes[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/file", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	NEED(fd >= 0);
	NEED(pwrite(fd, "bytes", 5, 0) == 5 && !fdatasync(fd) && pread(fd, bytes, 5, 0) == 5 && !memcmp(bytes, "bytes", 5));
	NEED(!ftruncate(fd, 3) && !rename(path, other) && !unlink(other) && !close(fd));
	return 0;
}

static void *worker(void *arg)
{
	prctl(PR_SET_NAME, "worker");
	*(int *)arg = 1;
	return NULL;
}

static int threads(void)
{
	pthread_t thread;
	int ran = 0;

	NEED(!pthread_create(&thread, NULL, worker, &ran) && !pthread_join(thread, NULL) && ran);
	return 0;
}

static int rings(void)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	char bytes[8];
	int fd = open("/proc/self/stat", O_RDONLY);

	NEED(fd >= 0 && !io_uring_queue_init(4, &ring, 0));
	io_uring_prep_read(io_uring_get_sqe(&ring), fd, bytes, sizeof(bytes), 0);
	NEED(io_uring_submit_and_wait(&ring, 1) == 1 && !io_uring_wait_cqe(&ring, &cqe) && cqe->res == sizeof(bytes));
	io_uring_cqe_seen(&ring, cqe);
	io_uring_queue_exit(&ring);
	return 0;
}

static int sockets(void)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), unix_socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	NEED(epoll >= 0 && unix_socket >= 0);
	FAILS(socket(AF_INET, SOCK_STREAM, 0), EPERM);
	FAILS(socket(AF_INET6, SOCK_DGRAM, 0), EPERM);
	FAILS(socket(AF_NETLINK, SOCK_RAW, 0), EPERM);
	FAILS(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	FAILS(connect(unix_socket, NULL, 0), EPERM);
	return 0;
}

static int secrets(void)
{
	char hash[crypto_pwhash_STRBYTES];
	void *locked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(locked != MAP_FAILED && !mlock(locked, 4096) && !madvise(locked, 4096, MADV_DONTDUMP) && !munmap(locked, 4096));
	NEED(sodium_init() >= 0);
	NEED(!crypto_pwhash_str(hash, "x", 1, crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN));
	NEED(!crypto_pwhash_str_verify(hash, "x", 1));
	return 0;
}

static int limits(void)
{
	struct rlimit limit, none = { 0, 0 };

	NEED(!getrlimit(RLIMIT_NOFILE, &limit) && !setrlimit(RLIMIT_NOFILE, &limit));
	FAILS(setrlimit(RLIMIT_AS, &none), EPERM);
	NEED(!getrlimit(RLIMIT_CORE, &limit) && !limit.rlim_cur && !limit.rlim_max);
	NEED(!prctl(PR_GET_DUMPABLE) && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	FAILS(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), EPERM);
	return 0;
}

static int processes(void)
{
	FAILS(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL), EPERM);
	FAILS(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL), EPERM);
	FAILS(syscall(SYS_clone3, NULL, 0), ENOSYS);
#ifdef SYS_fork
	FAILS(syscall(SYS_fork), EPERM);
	FAILS(syscall(SYS_vfork), EPERM);
#endif
	FAILS(kill(getppid(), 0), EPERM);
	return 0;
}

static int code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(page != MAP_FAILED && !mprotect(page, 4096, PROT_READ));
	FAILS(mprotect(page, 4096, PROT_READ | PROT_EXEC), EPERM);
	NEED(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
	     errno == EPERM);
	NEED(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	return 0;
}

static int devices(void)
{
	int size;

	FAILS(ioctl(0, _IOR('d', 0, int), &size), EPERM);
	FAILS(syscall(SYS_memfd_create, "x", 0), EPERM);
	return 0;
}

/* What drivers of GPUs do. */
static int driver(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int size, fd = (int)syscall(SYS_memfd_create, "x", 0);

	NEED(page != MAP_FAILED && !mprotect(page, 4096, PROT_READ | PROT_EXEC) && fd >= 0);
	NEED(ioctl(fd, _IOR('d', 0, int), &size) == -1 && errno != EPERM);
	FAILS(socket(AF_INET, SOCK_STREAM, 0), EPERM);
	return 0;
}

static int program(void)
{
	char *const none[] = { NULL };

	execve("/bin/true", none, none);
	return 0;
}

static int trace(void)
{
	ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
	return 0;
}

static int spaces(void)
{
	syscall(SYS_unshare, CLONE_NEWUSER);
	return 0;
}

static int mounts(void)
{
	syscall(SYS_mount, NULL, NULL, NULL, 0, NULL);
	return 0;
}

static int identity(void)
{
	syscall(SYS_setresuid, 0, 0, 0);
	return 0;
}

static void what_the_daemon_does_goes_on(void **state)
{
	(void)state;
	if (sanitized(state))
		skip();
	goes_on("scalar", files);
	goes_on("scalar", threads);
	goes_on("scalar", rings);
	goes_on("scalar", secrets);
	goes_on("auto", limits);
}

static void sockets_of_a_network_are_refused(void **state)
{
	if (sanitized(state))
		skip();
	goes_on("scalar", sockets);
}

static void processes_are_refused(void **state)
{
	if (sanitized(state))
		skip();
	goes_on("scalar", processes);
}

static void what_was_written_is_not_executed(void **state)
{
	if (sanitized(state))
		skip();
	goes_on("scalar", code);
}

static void devices_are_for_gpus_only(void **state)
{
	if (sanitized(state))
		skip();
	goes_on("scalar", devices);
	goes_on("vulkan", driver);
	goes_on("vulkan-emulated", driver);
	goes_on("vulkan", processes);
}

static void other_programs_end_it(void **state)
{
	if (sanitized(state))
		skip();
	is_killed(program);
}

static void tracing_mounting_and_other_identities_end_it(void **state)
{
	if (sanitized(state))
		skip();
	is_killed(trace);
	is_killed(spaces);
	is_killed(mounts);
	is_killed(identity);
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "%s/seccomp-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_daemon_does_goes_on),
		cmocka_unit_test(sockets_of_a_network_are_refused),
		cmocka_unit_test(processes_are_refused),
		cmocka_unit_test(what_was_written_is_not_executed),
		cmocka_unit_test(devices_are_for_gpus_only),
		cmocka_unit_test(other_programs_end_it),
		cmocka_unit_test(tracing_mounting_and_other_identities_end_it),
	};

	if (sanitized(NULL))
		print_message("built with a sanitizer, whose system calls the filter forbids\n");
	return cmocka_run_group_tests_name("seccomp", tests, make_directory, remove_directory);
}
