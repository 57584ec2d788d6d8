// SPDX-License-Identifier: MIT
// The sandbox: rlimits, Landlock, and two seccomp filters, which only allow.
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { DESCRIPTORS_MAX = 64 };

int sandbox_limit(uint64_t memory_max)
{
	const struct {
		int what;
		rlim_t most;
	} limits[] = {
		{ RLIMIT_AS, memory_max },
		{ RLIMIT_NOFILE, DESCRIPTORS_MAX }, /* a plug-in that keeps frames' descriptors keeps few */
		{ RLIMIT_FSIZE, 0 },
		{ RLIMIT_CORE, 0 },
		{ RLIMIT_MSGQUEUE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct rlimit limit;

		if (getrlimit(limits[i].what, &limit))
			return -errno;
		limit.rlim_max = limits[i].most < limit.rlim_max ? limits[i].most : limit.rlim_max;
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(limits[i].what, &limit))
			return -errno;
	}
	/* Not dumpable: no core by way of a core_pattern's program, no debugger of the same user. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return -errno;
	return 0;
}

/* ---- files -------------------------------------------------------------------------------------------------------------- */

/* All rights of the first version of Landlock: what is not allowed below is denied. */
#define FILE_RIGHTS ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define FILE_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE)

static int allow(int rules, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr beneath = { .allowed_access = rights, .parent_fd = open(path, O_PATH | O_CLOEXEC) };
	int err;

	if (beneath.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	err = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) ? -errno : 0;
	close(beneath.parent_fd);
	return err;
}

static int allow_all(int rules, const char *plugin)
{
	static const char *const folders[] = { "/lib",	     "/lib64",	       "/usr/lib",
					       "/usr/lib64", "/usr/local/lib", "/sys/devices/system/cpu" };
	static const char *const files[] = { "/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo" };
	char *own = strdup(plugin), *end;
	int err = own ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(folders) && !err; i++)
		err = allow(rules, folders[i], FILE_READ | LANDLOCK_ACCESS_FS_READ_DIR);
	for (size_t i = 0; i < ARRAY_SIZE(files) && !err; i++)
		err = allow(rules, files[i], LANDLOCK_ACCESS_FS_READ_FILE);
	end = own ? strrchr(own, '/') : NULL;
	if (end && !err) {
		end[end == own] = 0; /* of "/plugin.so" the root is left */
		err = allow(rules, own, FILE_READ | LANDLOCK_ACCESS_FS_READ_DIR);
	}
	free(own);
	return err;
}

int sandbox_files(const char *plugin)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = FILE_RIGHTS };
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0), err;

	if (rules < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	err = allow_all(rules, plugin);
	if (!err && syscall(SYS_landlock_restrict_self, rules, 0))
		err = -errno;
	close(rules);
	return err ? err : 1;
}

/* ---- system calls ------------------------------------------------------------------------------------------------------- */

/* What computing on frames that come by socket takes. */
static const int working[] = {
	SCMP_SYS(brk),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(close),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(futex),
	SCMP_SYS(getcpu),
	SCMP_SYS(getpid),
	SCMP_SYS(getrandom),
	SCMP_SYS(getrusage),
	SCMP_SYS(gettid),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(madvise),
	SCMP_SYS(membarrier),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(nanosleep),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(read),
	SCMP_SYS(recvmsg),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sendmsg),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(time),
	SCMP_SYS(write),
};

/* What loading a shared object and its data takes besides; Landlock says which files. */
static const int starting[] = {
	SCMP_SYS(access),   SCMP_SYS(arch_prctl), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(fcntl),
	SCMP_SYS(fstat),    SCMP_SYS(fstatfs),	  SCMP_SYS(getcwd),    SCMP_SYS(getdents64), SCMP_SYS(getegid),
	SCMP_SYS(geteuid),  SCMP_SYS(getgid),	  SCMP_SYS(getuid),    SCMP_SYS(lseek),	     SCMP_SYS(mmap),
	SCMP_SYS(mprotect), SCMP_SYS(newfstatat), SCMP_SYS(pread64),   SCMP_SYS(readlink),   SCMP_SYS(readlinkat),
	SCMP_SYS(readv),    SCMP_SYS(seccomp),	  SCMP_SYS(stat),      SCMP_SYS(statfs),     SCMP_SYS(statx),
	SCMP_SYS(sysinfo),  SCMP_SYS(uname),
};

/* Argument @index is @value; or is, of the bits in @mask. */
static struct scmp_arg_cmp equal(unsigned int index, scmp_datum_t value)
{
	return (struct scmp_arg_cmp){ .arg = index, .op = SCMP_CMP_EQ, .datum_a = value };
}

static struct scmp_arg_cmp masked(unsigned int index, scmp_datum_t mask, scmp_datum_t value)
{
	return (struct scmp_arg_cmp){ .arg = index, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value };
}

/* A call that this architecture does not have is none to allow. */
static int permit(scmp_filter_ctx filter, int call)
{
	int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);

	return err == -EDOM ? 0 : err;
}

/* If its argument compares so. */
static int permit_if(scmp_filter_ctx filter, int call, struct scmp_arg_cmp argument)
{
	int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, argument);

	return err == -EDOM ? 0 : err;
}

static int permit_common(scmp_filter_ctx filter)
{
	/*
	 * Names of threads; names of mappings, which the C library gives. Not what was set up here, like the end with the
	 * parent.
	 */
	static const int prctls[] = { PR_SET_NAME, PR_GET_NAME, PR_SET_VMA };
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(working) && !err; i++)
		err = permit(filter, working[i]);
	for (size_t i = 0; i < ARRAY_SIZE(prctls) && !err; i++)
		err = permit_if(filter, SCMP_SYS(prctl), equal(0, (scmp_datum_t)prctls[i]));
	/* Threads yes, processes no. clone3 hides its flags behind a pointer: without it libraries use clone. */
	err = err ? err : permit_if(filter, SCMP_SYS(clone), masked(0, CLONE_THREAD, CLONE_THREAD));
	err = err ? err : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* abort() of itself; no signal to anybody else. */
	err = err ? err : permit_if(filter, SCMP_SYS(tgkill), equal(0, (scmp_datum_t)getpid()));
	/* Limits may be read. */
	err = err ? err : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, equal(0, 0), equal(2, 0));
	return err ? err : permit_if(filter, SCMP_SYS(ioctl), equal(1, DMA_BUF_IOCTL_SYNC));
}

static int load(int (*add)(scmp_filter_ctx filter), bool all_threads)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!filter)
		return -ENOMEM;
	err = permit_common(filter);
	err = err ? err : add(filter);
	if (!err && all_threads)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	err = err ? err : seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

static int add_starting(scmp_filter_ctx filter)
{
	const scmp_datum_t writes = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;
	/* The second filter's own needs. */
	static const int prctls[] = { PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP };
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(starting) && !err; i++)
		err = permit(filter, starting[i]);
	for (size_t i = 0; i < ARRAY_SIZE(prctls) && !err; i++)
		err = permit_if(filter, SCMP_SYS(prctl), equal(0, (scmp_datum_t)prctls[i]));
	err = err ? err : permit_if(filter, SCMP_SYS(open), masked(1, writes, O_RDONLY));
	return err ? err : permit_if(filter, SCMP_SYS(openat), masked(2, writes, O_RDONLY));
}

static int add_working(scmp_filter_ctx filter)
{
	int err = permit_if(filter, SCMP_SYS(mmap), masked(2, PROT_EXEC, 0));

	return err ? err : permit_if(filter, SCMP_SYS(mprotect), masked(2, PROT_EXEC, 0));
}

int sandbox_calls_starting(void)
{
	return load(add_starting, false);
}

int sandbox_calls_working(void)
{
	return load(add_working, true);
}
