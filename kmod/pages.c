// SPDX-License-Identifier: GPL-2.0-only
/* The memory of a frame: where it comes from, whether somebody still holds it, how it is wiped. */
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#ifdef CONFIG_X86
#include <asm/set_memory.h>
#endif

#include "compat.h"
#include "internal.h"

/*
 * Zeroed and charged to the memory cgroup. Always used with a flag that makes the allocation fail
 * rather than have a process killed, of the machine or of the cgroup.
 */
#define FRAME_GFP (GFP_USER | __GFP_ZERO | __GFP_NOWARN | __GFP_ACCOUNT)

u64 lineup_pages_contiguous_max(void)
{
	return (u64)PAGE_SIZE << LINEUP_ORDER_MAX;
}

/*
 * Elsewhere the kernel's own mapping of a page cannot be changed to match, and two mappings that
 * differ are not allowed.
 */
#ifdef CONFIG_X86
bool lineup_pages_can_write_combine(void)
{
	return true;
}

/*
 * Where the kernel maps memory by large pages, those are split, and what that takes is allocated in
 * a way that has a process killed if there is nothing left. So as much as it may take is allocated
 * first, in ours, and is free again just before.
 */
static int make_room_for_splits(struct page **pages, unsigned int count)
{
	unsigned long part, last = ULONG_MAX;
	struct page *page, *next;
	LIST_HEAD(spare);
	unsigned int i;
	int err = 0;

	for (i = 0; i < count && !err; i++) {
		part = page_to_pfn(pages[i]) >> (PMD_SHIFT - PAGE_SHIFT);
		if (part == last)
			continue;
		last = part;
		page = alloc_page(GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
		if (page)
			list_add(&page->lru, &spare);
		else
			err = -ENOMEM;
	}
	list_for_each_entry_safe(page, next, &spare, lru)
		__free_page(page);
	return err;
}

static int set_write_combine(struct page **pages, unsigned int count)
{
	int err = make_room_for_splits(pages, count);

	return err ? err : set_pages_array_wc(pages, count);
}

static void set_write_back(struct page **pages, unsigned int count)
{
	set_pages_array_wb(pages, count);
}
#else
bool lineup_pages_can_write_combine(void)
{
	return false;
}

static int set_write_combine(struct page **pages, unsigned int count)
{
	return -EOPNOTSUPP;
}

static void set_write_back(struct page **pages, unsigned int count)
{
}
#endif

static bool reachable(struct page *page, unsigned int order, u32 dma_bits)
{
	u64 last = (u64)page_to_phys(page) + (PAGE_SIZE << order) - 1;

	return dma_bits >= 64 || !(last >> dma_bits);
}

/*
 * Pages below the pool's address limit. Zones are the only way to ask for them, and their limits
 * rarely are what a device has, so the answer is looked at: the next lower zone is tried if it
 * does not suit.
 */
static struct page *alloc_below(const struct lineup_pool *pool, gfp_t gfp, unsigned int order)
{
	static const gfp_t zones[] = { 0, GFP_DMA32, GFP_DMA };
	unsigned int i = pool->dma_bits > 32 ? 0 : pool->dma_bits > 24 ? 1 : 2;
	struct page *page;

	if (pool->numa_node != NUMA_NO_NODE)
		gfp |= __GFP_THISNODE;
	for (; i < ARRAY_SIZE(zones); i++) {
		page = alloc_pages_node(pool->numa_node, gfp | zones[i], order);
		if (!page)
			return NULL;
		if (reachable(page, order, pool->dma_bits))
			return page;
		__free_pages(page, order);
	}
	return NULL;
}

/*
 * Large orders are split into single pages: each is then counted, held and freed on its own, and
 * what a contiguous frame does not need of its power of two is given back.
 */
static unsigned int add_split(struct lineup_frame *frame, unsigned int have, struct page *page,
			      unsigned int order)
{
	unsigned int i;

	split_page(page, order);
	for (i = 0; i < 1U << order; i++) {
		if (have < frame->pool->pages)
			frame->pages[have++] = page + i;
		else
			__free_page(page + i);
	}
	return have;
}

static int fill_contiguous(struct lineup_frame *frame)
{
	unsigned int order = get_order(frame->pool->frame_bytes);
	struct page *page = alloc_below(frame->pool, FRAME_GFP | __GFP_RETRY_MAYFAIL, order);

	if (!page)
		return -ENOMEM;
	add_split(frame, 0, page, order);
	return 0;
}

static int fill_scattered(struct lineup_frame *frame)
{
	unsigned int order = LINEUP_ORDER_MAX, have = 0, want = frame->pool->pages;
	struct page *page;
	gfp_t gfp;

	while (have < want) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		while (order && 1U << order > want - have)
			order--;
		gfp = FRAME_GFP | (order ? __GFP_NORETRY : __GFP_RETRY_MAYFAIL);
		page = alloc_below(frame->pool, gfp, order);
		if (page)
			have = add_split(frame, have, page, order);
		else if (order)
			order--;
		else
			return -ENOMEM;
	}
	return 0;
}

/*
 * Linux 6.1 registers as fixed buffers, of all mappings of files, only those of shmem. The file is
 * ours alone, its pages are never evicted, and nobody can punch holes into it through a mapping
 * (MADV_REMOVE): that would part the mapping from the frame.
 */
static int fill_shmem(struct lineup_frame *frame)
{
	struct file *file = shmem_file_setup("lineup", frame->pool->frame_bytes, VM_NORESERVE);
	struct page *page;
	unsigned int i;

	if (IS_ERR(file))
		return PTR_ERR(file);
	frame->shmem = file;
	file_inode(file)->i_flags |= S_IMMUTABLE;
	mapping_set_unevictable(file->f_mapping);
	for (i = 0; i < frame->pool->pages; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		page = shmem_read_mapping_page_gfp(file->f_mapping, i,
						   GFP_USER | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
		if (IS_ERR(page))
			return PTR_ERR(page);
		frame->pages[i] = page;
	}
	return 0;
}

/* Gives a frame its pages, zeroed. On failure lineup_pages_free() still has to be called. */
int lineup_pages_alloc(struct lineup_frame *frame)
{
	const struct lineup_pool *pool = frame->pool;
	int err;

	frame->pages = kvcalloc(pool->pages, sizeof(*frame->pages),
				GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	if (!frame->pages)
		return -ENOMEM;
	if (pool->flags & LINEUP_POOL_SHMEM) {
		err = fill_shmem(frame);
		/* Of memory for its own accounts, shmem says that it has no space. */
		return err == -ENOSPC ? -ENOMEM : err;
	}
	err = pool->flags & LINEUP_POOL_CONTIGUOUS ? fill_contiguous(frame) : fill_scattered(frame);
	if (!err && pool->flags & LINEUP_POOL_WRITE_COMBINE)
		err = set_write_combine(frame->pages, pool->pages);
	return err;
}

/* Frees what a frame has, a half-made one too. Nobody else may hold its pages. */
void lineup_pages_free(struct lineup_frame *frame)
{
	unsigned int i;

	if (!frame->pages)
		return;
	if (frame->pool->flags & LINEUP_POOL_WRITE_COMBINE && frame->pages[frame->pool->pages - 1])
		set_write_back(frame->pages, frame->pool->pages);
	for (i = 0; i < frame->pool->pages && frame->pages[i]; i++)
		put_page(frame->pages[i]);
	if (frame->shmem)
		fput(frame->shmem);
	frame->shmem = NULL;
	kvfree(frame->pages);
	frame->pages = NULL;
}

void lineup_pages_wipe(struct lineup_frame *frame)
{
	unsigned int i;

	for (i = 0; i < frame->pool->pages; i++) {
		clear_highpage(frame->pages[i]);
		cond_resched();
	}
	atomic64_add(frame->pool->frame_bytes, &lineup_counters.bytes_wiped);
}

/*
 * Does nobody but us hold the pages? Pins outlive mappings and descriptors: those of a registered
 * io_uring buffer, of a transfer under way, of a page in a pipe. What is counted must be
 * explained: our references, and for shmem those of the page cache. A shmem page that is not on an
 * LRU list is held by who is about to put it there or has taken it off.
 *
 * A mapping of a shmem frame is one of the shmem file, not of the dma-buf, and lives on without
 * it.
 */
bool lineup_pages_quiet(struct lineup_frame *frame)
{
	unsigned int i, run, explained, count = frame->pool->pages;
	struct folio *folio;

	if (!frame->shmem) {
		for (i = 0; i < count; i++) {
			if (page_ref_count(frame->pages[i]) != 1)
				return false;
		}
		return true;
	}
	if (file_count(frame->shmem) != 1)
		return false;
	for (i = 0; i < count; i += run) {
		folio = page_folio(frame->pages[i]);
		run = 1;
		while (i + run < count && page_folio(frame->pages[i + run]) == folio)
			run++;
		explained = run + !folio_test_lru(folio);
		if (folio->mapping)
			explained += folio_nr_pages(folio);
		if (folio_ref_count(folio) > explained)
			return false;
	}
	return true;
}

/*
 * Takes the pages of a revoked shmem frame out of their file, so that mappings find nothing there
 * any more: SIGBUS. The file cannot get them back, which is why such a frame is lost.
 */
void lineup_pages_cut_off(struct file *shmem)
{
	struct inode *inode = file_inode(shmem);

	inode_lock(inode);
	i_size_write(inode, 0);
	unmap_mapping_range(inode->i_mapping, 0, 0, 1);
	shmem_truncate_range(inode, 0, -1);
	/*
	 * A fault that had looked at the size before may have mapped a page just before that was
	 * taken out.
	 */
	unmap_mapping_range(inode->i_mapping, 0, 0, 1);
	inode_unlock(inode);
}
