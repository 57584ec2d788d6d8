// SPDX-License-Identifier: GPL-2.0-only
/*
 * lineup.ko: pools of pinned frames for capture cards, exported as dma-bufs.
 *
 *	uapi/linux/lineup.h	what user space sees: the protocol in prose
 *	lineup.h		what drivers see
 *	main.c			loading and unloading
 *	ioctl.c			/dev/lineup and /dev/dma_heap/lineup
 *	pool.c			pools, and their frames from free to out and back
 *	pages.c			a frame's memory
 *	export.c		a frame as a dma-buf: devices, CPU access, mappings, revocation
 *	fence.c			completion
 *	quota.c			who may pin how much
 *	stats.c			counters and debugfs
 *	trace.h			tracepoints
 *	compat.h		what differs between kernels
 *	samples/educap.c	the reference driver of a capture card
 */
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "compat.h"
#include "internal.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

unsigned long lineup_max_bytes;
module_param_named(max_bytes, lineup_max_bytes, ulong, 0644);
MODULE_PARM_DESC(max_bytes, "how much all pools together may pin; 0 is half of the memory (0)");

bool lineup_sync_check;
module_param_named(sync_check, lineup_sync_check, bool, 0644);
MODULE_PARM_DESC(sync_check, "catch CPU accesses outside DMA_BUF_IOCTL_SYNC in new pools (N)");

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lineup",
	.fops = &lineup_device_fops,
	.mode = 0660,
};

static struct miscdevice heap = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dma_heap!lineup",
	.fops = &lineup_heap_fops,
	.mode = 0660,
};

static int __init lineup_init(void)
{
	int err;

	lineup_stats_init();
	err = misc_register(&device);
	if (err)
		goto exit_stats;
	err = misc_register(&heap);
	if (err)
		goto deregister_device;
	return 0;

deregister_device:
	misc_deregister(&device);
exit_stats:
	lineup_stats_exit();
	return err;
}

static void __exit lineup_exit(void)
{
	misc_deregister(&heap);
	misc_deregister(&device);
	lineup_stats_exit();
	lineup_pools_exit();
	lineup_fences_exit();
}

module_init(lineup_init);
module_exit(lineup_exit);

MODULE_DESCRIPTION("Pools of pinned frames for capture cards, exported as dma-bufs");
MODULE_AUTHOR("The lineup authors");
MODULE_LICENSE("GPL");
LINEUP_IMPORT_DMA_BUF();
