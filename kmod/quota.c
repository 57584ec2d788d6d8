// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may pin how much: RLIMIT_MEMLOCK of the user, max_bytes of the module. The memory cgroup is
 * charged by the allocation itself.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/resource.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>

#include "internal.h"
#include "trace.h"

u64 lineup_quota_bytes_max(void)
{
	unsigned long bytes = READ_ONCE(lineup_max_bytes);

	return bytes ? bytes : (u64)totalram_pages() << (PAGE_SHIFT - 1);
}

static bool add_within(atomic_long_t *sum, unsigned long pages, unsigned long limit)
{
	long old = atomic_long_read(sum);

	do {
		if (pages > limit || old > (long)(limit - pages))
			return false;
	} while (!atomic_long_try_cmpxchg(sum, &old, old + pages));
	return true;
}

/*
 * Charges the current user and the module, or neither. *@charged: the user, with a reference; NULL
 * if no user is charged.
 */
int lineup_quota_charge(struct user_struct **charged, unsigned long pages)
{
	unsigned long limit = min_t(u64, lineup_quota_bytes_max() >> PAGE_SHIFT, LONG_MAX);
	struct user_struct *user = capable(CAP_IPC_LOCK) ? NULL : current_user();

	if (user && !add_within(&user->locked_vm, pages, rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT)) {
		atomic64_inc(&lineup_counters.refused_user);
		trace_lineup_pool_refused(pages, -EDQUOT);
		return -EDQUOT;
	}
	if (!add_within(&lineup_counters.pages, pages, limit)) {
		if (user)
			atomic_long_sub(pages, &user->locked_vm);
		atomic64_inc(&lineup_counters.refused_module);
		trace_lineup_pool_refused(pages, -ENOMEM);
		return -ENOMEM;
	}
	*charged = user ? get_uid(user) : NULL;
	return 0;
}

void lineup_quota_uncharge(struct user_struct *user, unsigned long pages)
{
	if (user)
		atomic_long_sub(pages, &user->locked_vm);
	atomic_long_sub(pages, &lineup_counters.pages);
}
