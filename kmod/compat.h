/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between kernels; the only file that names a version. */
#ifndef LINEUP_COMPAT_H
#define LINEUP_COMPAT_H

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define EXPORT_SYMBOL_LINEUP(symbol) EXPORT_SYMBOL_NS_GPL(symbol, "LINEUP")
#define LINEUP_IMPORT_DMA_BUF() MODULE_IMPORT_NS("DMA_BUF")
#define LINEUP_IMPORT_LINEUP() MODULE_IMPORT_NS("LINEUP")
#else
#define EXPORT_SYMBOL_LINEUP(symbol) EXPORT_SYMBOL_NS_GPL(symbol, LINEUP)
#define LINEUP_IMPORT_DMA_BUF() MODULE_IMPORT_NS(DMA_BUF)
#define LINEUP_IMPORT_LINEUP() MODULE_IMPORT_NS(LINEUP)
#endif

/* The largest order that alloc_pages() gives. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#define LINEUP_ORDER_MAX MAX_PAGE_ORDER
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define LINEUP_ORDER_MAX MAX_ORDER
#else
#define LINEUP_ORDER_MAX (MAX_ORDER - 1)
#endif

static inline void lineup_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

#endif
