// SPDX-License-Identifier: MIT
// What the daemon asks of the kernel once it runs, and nothing else: a filter of system calls.
#include "server.h"

#include <dirent.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Three kinds of calls. Those below are allowed, some with certain arguments only. Those that nothing in here has any business
 * with, and that what has taken the process over would begin with, end it. Everything else fails with EPERM, and is logged by
 * the kernel's audit: a library may try what it can do without.
 *
 * io_uring goes by this filter: its operations are not system calls. Among them are opening files and making sockets, so what
 * confines those is the unit (see lineupd(8)): the file system's name space, no capabilities, and IPAddressDeny=. There is none
 * that starts a program.
 *
 * Vulkan drivers are told apart by what they bring: ioctls of their devices, shared memory, and code that is made at run time.
 * So with a backend on GPUs, ioctl and executable memory are allowed as well.
 */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static const char *const allowed[] = {
	/* memory */
	"brk", "madvise", "mlock", "mlock2", "mremap", "munlock", "munmap", "mincore", "membarrier", "mbind", "get_mempolicy",
	"set_mempolicy",
	/* threads and time */
	"clock_getres", "clock_gettime", "clock_nanosleep", "exit", "exit_group", "futex", "futex_waitv", "getcpu", "getitimer",
	"getpriority", "gettimeofday", "ioprio_get", "ioprio_set", "nanosleep", "restart_syscall", "rseq",
	"sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
	"sched_setaffinity", "sched_yield", "set_robust_list", "set_tid_address", "time", "times",
	/* signals */
	"rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
	"tgkill", "signalfd4",
	/* who and where it is */
	"getcwd", "getegid", "geteuid", "getgid", "getgroups", "getpgrp", "getpid", "getppid", "getrandom", "getrlimit",
	"getrusage", "gettid", "getuid", "sysinfo", "uname",
	/* files */
	"access", "chmod", "close", "close_range", "copy_file_range", "dup", "faccessat", "faccessat2", "fadvise64",
	"fallocate", "fchmod", "fchmodat", "fchown", "fcntl", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate",
	"getdents", "getdents64", "link", "linkat", "lseek", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat",
	"openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink",
	"readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "stat", "statfs", "statx", "sync_file_range",
	"umask", "unlink", "unlinkat", "utimensat", "write", "writev",
	/* sockets that there are, and waiting */
	"accept4", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "getpeername",
	"getsockname", "getsockopt", "pipe2", "poll", "ppoll", "pselect6", "recvfrom", "recvmsg", "select", "sendfile",
	"sendmsg", "sendto", "setsockopt", "shutdown", "timerfd_create", "timerfd_settime",
	/* io_uring: a scan that streams has a ring of its own */
	"io_uring_enter", "io_uring_register", "io_uring_setup",
};

/* Of Vulkan drivers. */
static const char *const allowed_gpu[] = {
	"ioctl", "kcmp", "memfd_create", "sched_setattr", "sched_setscheduler", "setpriority", "socketpair", "get_robust_list",
};

static const char *const deadly[] = {
	"acct", "add_key", "bpf", "chroot", "create_module", "delete_module", "execve", "execveat", "finit_module", "fsconfig",
	"fsmount", "fsopen", "fspick", "init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "keyctl", "mount",
	"mount_setattr", "move_mount", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "process_madvise",
	"process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "reboot", "request_key", "setdomainname", "setgid",
	"setgroups", "sethostname", "setns", "setregid", "setresgid", "setresuid", "setreuid", "settimeofday", "setuid",
	"swapoff", "swapon", "umount2", "unshare", "userfaultfd", "vhangup",
};

/*
 * Names that this architecture, or this libseccomp, does not know cannot be called here either: they fail as everything else.
 */
static int add_all(scmp_filter_ctx filter, uint32_t action, const char *const *names, uint32_t count)
{
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);

		if (number >= 0)
			err = seccomp_rule_add(filter, action, number, 0);
	}
	return err;
}

/* Calls that depend on their arguments. */
static int add_with_arguments(scmp_filter_ctx filter, bool gpu)
{
	const uint64_t spaces = CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER |
				CLONE_NEWUTS;
	const uint64_t thread = CLONE_VM | CLONE_THREAD;
	const uint64_t write_execute = PROT_WRITE | PROT_EXEC;
	static const int names[] = { PR_SET_NAME,	  PR_GET_NAME,	  PR_SET_VMA,	     PR_GET_DUMPABLE,
				     PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_GET_THP_DISABLE };
	static const scmp_datum_t requests[] = { TCGETS, FIONBIO, FIONREAD };
	int err;

	/* Threads, but no processes. clone3's flags cannot be seen, and the C library uses clone where there is no clone3. */
	err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, thread | spaces, thread));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* Only to tell the service manager something. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
	/* Limits may be read; that of descriptors is raised when a reload asks for more clients. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0, 0),
				       SCMP_A1(SCMP_CMP_EQ, RLIMIT_NOFILE, 0));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0, 0),
				       SCMP_A2(SCMP_CMP_EQ, 0, 0));
	for (uint32_t i = 0; i < ARRAY_SIZE(names) && !err; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)names[i], 0));
	if (err)
		return err;
	if (gpu) {
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0);
		return err ? err : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 0);
	}
	/* Whether standard error is a terminal; and what libmicrohttpd asks of its sockets. */
	for (uint32_t i = 0; i < ARRAY_SIZE(requests) && !err; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, requests[i], 0));
	/* Libraries may still be loaded; but what was written is never executed. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, write_execute, 0));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, write_execute, PROT_WRITE));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, write_execute, PROT_EXEC));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return err;
}

static int load(bool gpu)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err = filter ? 0 : -ENOMEM;

	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1); /* for the threads that there are, too */
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1); /* kernels before 4.14 cannot */
	if (!err)
		err = add_all(filter, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed));
	if (!err && gpu)
		err = add_all(filter, SCMP_ACT_ALLOW, allowed_gpu, ARRAY_SIZE(allowed_gpu));
	if (!err)
		err = add_all(filter, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_SIZE(deadly));
	if (!err)
		err = add_with_arguments(filter, gpu);
	if (!err)
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: a call is found after a few comparisons */
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

/* Whether there is a device that a Vulkan driver might open. */
static bool gpu_nodes(void)
{
	static const char *const nodes[] = { "/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/mali0" };
	DIR *dri = opendir("/dev/dri");
	bool found = false;

	if (dri) {
		for (const struct dirent *entry; !found && (entry = readdir(dri));)
			found = !strncmp(entry->d_name, "renderD", 7);
		closedir(dri);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(nodes) && !found; i++)
		found = !access(nodes[i], F_OK);
	return found;
}

int seccomp_confine(const struct config *config)
{
	bool gpu = !strncmp(config->backend, "vulkan", 6) ||
		   ((!*config->backend || !strcmp(config->backend, "auto")) && gpu_nodes());
	char quoted[256];
	int err;

	if (SANITIZED) {
		log_event(LOG_WARN, "seccomp", "confined=no reason=\"built with a sanitizer, which needs other system calls\"");
		return 0;
	}
	err = load(gpu);
	if (err) {
		/* A kernel without filters is no reason not to serve; anything else is. */
		bool without = prctl(PR_GET_SECCOMP) < 0 && errno == EINVAL;

		log_event(
			without ? LOG_WARN : LOG_ERROR, "seccomp", "confined=no reason=%s",
			log_quote(quoted, sizeof(quoted), without ? "this kernel has no filters of system calls" : strerror(-err)));
		return without ? 0 : err;
	}
	log_event(LOG_INFO, "seccomp", "confined=yes gpu=%s", gpu ? "yes" : "no");
	return 0;
}

static void could_not(const char *what)
{
	char quoted[256];

	log_event(LOG_WARN, "harden", "what=%s reason=%s", what, log_quote(quoted, sizeof(quoted), strerror(errno)));
}

void seccomp_harden(void)
{
	static const struct rlimit none = { 0, 0 };
	struct rlimit cores;

	/*
	 * Probes and templates are in this memory: no core of it, and no debugger of another process of the same user. A unit
	 * may have set the limit, and forbid to.
	 */
	if ((getrlimit(RLIMIT_CORE, &cores) || cores.rlim_max) && setrlimit(RLIMIT_CORE, &none))
		could_not("cores");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		could_not("dumpable");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		could_not("privileges");
}
