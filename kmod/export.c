// SPDX-License-Identifier: GPL-2.0-only
/* A frame as a dma-buf: attachments, mappings, CPU access, revocation. */
#include <linux/dcache.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "internal.h"
#include "trace.h"

struct attachment {
	struct list_head node;		/* in frame->attachments; frame->lock, as all of it */
	struct device *dev;
	struct sg_table table;
	enum dma_data_direction direction;
	bool is_mapped;
};

/* ---- devices ---- */

/* The longest run that the device takes and that could be bounced for it. */
static unsigned int segment_max(struct device *dev)
{
	size_t bytes = min_t(size_t, dma_get_max_seg_size(dev), dma_max_mapping_size(dev));

	return max_t(unsigned int, min_t(size_t, bytes, UINT_MAX) & PAGE_MASK, PAGE_SIZE);
}

/*
 * Of a revoked frame, too: it cannot be mapped, so nothing comes of it. Videobuf2 of Linux 6.12
 * never lets go of a dma-buf whose attachment fails, only of one whose mapping fails; a frame
 * queued after its revocation would be out for ever.
 */
static int frame_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *importer)
{
	struct lineup_frame *frame = dmabuf->priv;
	struct attachment *attachment = kzalloc(sizeof(*attachment), GFP_KERNEL);
	int err;

	if (!attachment)
		return -ENOMEM;
	attachment->dev = importer->dev;
	err = sg_alloc_table_from_pages_segment(&attachment->table, frame->pages,
						frame->pool->pages, 0, frame->pool->frame_bytes,
						segment_max(importer->dev), GFP_KERNEL);
	if (err) {
		kfree(attachment);
		return err;
	}
	mutex_lock(&frame->lock);
	list_add_tail(&attachment->node, &frame->attachments);
	mutex_unlock(&frame->lock);
	importer->priv = attachment;
	return 0;
}

static void frame_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *importer)
{
	struct lineup_frame *frame = dmabuf->priv;
	struct attachment *attachment = importer->priv;

	mutex_lock(&frame->lock);
	list_del(&attachment->node);
	mutex_unlock(&frame->lock);
	sg_free_table(&attachment->table);
	kfree(attachment);
}

/* An attachment has one table, and so one mapping at a time. */
static struct sg_table *frame_map(struct dma_buf_attachment *importer,
				  enum dma_data_direction direction)
{
	struct lineup_frame *frame = importer->dmabuf->priv;
	struct attachment *attachment = importer->priv;
	int err;

	mutex_lock(&frame->lock);
	if (frame->revoked)
		err = -ENODEV;
	else if (attachment->is_mapped)
		err = -EBUSY;
	else
		err = dma_map_sgtable(attachment->dev, &attachment->table, direction, 0);
	if (!err) {
		attachment->is_mapped = true;
		attachment->direction = direction;
	}
	mutex_unlock(&frame->lock);
	return err ? ERR_PTR(err) : &attachment->table;
}

static void frame_unmap(struct dma_buf_attachment *importer, struct sg_table *table,
			enum dma_data_direction direction)
{
	struct lineup_frame *frame = importer->dmabuf->priv;
	struct attachment *attachment = importer->priv;

	mutex_lock(&frame->lock);
	dma_unmap_sgtable(attachment->dev, table, direction, 0);
	attachment->is_mapped = false;
	mutex_unlock(&frame->lock);
}

/* ---- CPU access ---- */

/*
 * Not dma_sync_sgtable_*(): CONFIG_DMABUF_DEBUG scrambles the page links of the table that the
 * importer holds, and DMA_API_DEBUG then follows them. The DMA addresses stay good. The direction
 * has to be that of the mapping.
 */
static void sync_attachment(struct attachment *attachment, bool is_for_cpu)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(&attachment->table, sg, i) {
		if (is_for_cpu)
			dma_sync_single_for_cpu(attachment->dev, sg_dma_address(sg), sg_dma_len(sg),
						attachment->direction);
		else
			dma_sync_single_for_device(attachment->dev, sg_dma_address(sg),
						   sg_dma_len(sg), attachment->direction);
	}
}

static void sync_attachments(struct lineup_frame *frame, bool is_for_cpu)
{
	struct attachment *attachment;

	list_for_each_entry(attachment, &frame->attachments, node) {
		if (attachment->is_mapped)
			sync_attachment(attachment, is_for_cpu);
	}
}

/*
 * The core waits for fences after this returns, which is too late for a bounce buffer: it has to
 * be copied when the data is in it.
 */
static int frame_begin_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	struct lineup_frame *frame = dmabuf->priv;
	bool is_write = direction != DMA_FROM_DEVICE;
	long left = dma_resv_wait_timeout(dmabuf->resv, dma_resv_usage_rw(is_write), true,
					  MAX_SCHEDULE_TIMEOUT);
	int err;

	if (left < 0)
		return left;
	mutex_lock(&frame->lock);
	err = frame->revoked ? -ENODEV : 0;
	if (!err) {
		sync_attachments(frame, true);
		frame->brackets++;
	}
	mutex_unlock(&frame->lock);
	return err;
}

static int frame_end_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	struct lineup_frame *frame = dmabuf->priv;
	bool must_zap = false;
	int err;

	mutex_lock(&frame->lock);
	err = frame->revoked ? -ENODEV : 0;
	if (!err) {
		sync_attachments(frame, false);
		/* Nobody makes user space end as often as it begins. */
		if (frame->brackets)
			frame->brackets--;
		must_zap = frame->pool->flags & LINEUP_POOL_SYNC_CHECK && !frame->brackets;
	}
	mutex_unlock(&frame->lock);
	if (must_zap)
		unmap_mapping_range(dmabuf->file->f_mapping, 0, 0, 1);
	return err;
}

/* ---- mappings ---- */

static void note_violation(struct lineup_frame *frame, const struct vm_fault *vmf)
{
	atomic64_inc(&frame->pool->sync_violations);
	atomic64_inc(&lineup_counters.sync_violations);
	trace_lineup_sync_violation(frame, vmf->pgoff << PAGE_SHIFT | (vmf->address & ~PAGE_MASK),
				    vmf->flags & FAULT_FLAG_WRITE);
}

/*
 * Maps all of the area's pages, or the one that is wanted. Another thread may have been faster:
 * -EBUSY.
 */
static int insert_pages(struct lineup_frame *frame, struct vm_fault *vmf, bool whole_area)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long left = vma_pages(vma);
	int err = -EBUSY;

	if (whole_area)
		err = vm_insert_pages(vma, vma->vm_start, frame->pages + vma->vm_pgoff, &left);
	if (err == -EBUSY)
		err = vm_insert_page(vma, vmf->address & PAGE_MASK, frame->pages[vmf->pgoff]);
	return err == -EBUSY ? 0 : err;
}

/*
 * Nothing is mapped before the first fault: an area that mmap() is still making cannot be found by
 * revocation, one that faults can. Under the lock either this sees that the frame is revoked, or
 * revocation finds what this has mapped.
 */
static vm_fault_t frame_fault(struct vm_fault *vmf)
{
	struct lineup_frame *frame = vmf->vma->vm_private_data;
	bool is_checked = frame->pool->flags & LINEUP_POOL_SYNC_CHECK;
	vm_fault_t result = VM_FAULT_SIGBUS;
	bool is_outside;
	int err;

	mutex_lock(&frame->lock);
	if (!frame->revoked && vmf->pgoff < frame->pool->pages) {
		is_outside = is_checked && !frame->brackets;
		if (is_outside && vmf->flags & FAULT_FLAG_USER)
			note_violation(frame, vmf);
		err = insert_pages(frame, vmf, !is_outside);
		result = err ? vmf_error(err) : VM_FAULT_NOPAGE;
	}
	mutex_unlock(&frame->lock);
	return result;
}

static const struct vm_operations_struct frame_vm_ops = {
	.fault = frame_fault,
};

static int frame_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct lineup_frame *frame = dmabuf->priv;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (READ_ONCE(frame->revoked))
		return -ENODEV;
	/* Faces do not belong into core dumps. */
	lineup_vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	if (frame->shmem) {
		/*
		 * The area is shmem's from here on: it holds the file, not the dma-buf. See
		 * lineup_pages_quiet().
		 */
		vma_set_file(vma, frame->shmem);
		return frame->shmem->f_op->mmap(frame->shmem, vma);
	}
	lineup_vm_flags_set(vma, VM_MIXEDMAP);
	if (frame->pool->flags & LINEUP_POOL_WRITE_COMBINE)
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	vma->vm_private_data = frame;
	vma->vm_ops = &frame_vm_ops;
	return 0;
}

/*
 * A page of zeroes as often as the frame has pages: what is written there is read by nobody else.
 */
static void *map_sink(const struct lineup_frame *frame)
{
	unsigned int i, count = frame->pool->pages;
	struct page *sink = alloc_page(GFP_KERNEL | __GFP_ZERO);
	struct page **pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	void *address = NULL;

	if (sink && pages) {
		for (i = 0; i < count; i++)
			pages[i] = sink;
		address = vmap(pages, count, VM_MAP, PAGE_KERNEL);
	}
	kvfree(pages);
	if (!address && sink)
		__free_page(sink);
	return address;
}

/*
 * A revoked frame can be mapped, but there is nothing of it behind the mapping: the core warns,
 * with a backtrace, of an exporter whose vmap fails, and V4L2 brings any descriptor here that it
 * is given.
 */
static int frame_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct lineup_frame *frame = dmabuf->priv;
	pgprot_t prot = PAGE_KERNEL;
	void *address;

	if (frame->pool->flags & LINEUP_POOL_WRITE_COMBINE)
		prot = pgprot_writecombine(prot);
	if (READ_ONCE(frame->revoked))
		address = map_sink(frame);
	else
		address = vmap(frame->pages, frame->pool->pages, VM_MAP, prot);
	if (!address)
		return -ENOMEM;
	iosys_map_set_vaddr(map, address);
	return 0;
}

static void frame_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct lineup_frame *frame = dmabuf->priv;
	struct page *first = vmalloc_to_page(map->vaddr);

	vunmap(map->vaddr);
	if (first != frame->pages[0])
		__free_page(first);
}

/* ---- the dma-buf ---- */

static void frame_release(struct dma_buf *dmabuf)
{
	lineup_frame_return(dmabuf->priv);
}

const struct dma_buf_ops lineup_frame_ops = {
	.attach = frame_attach,
	.detach = frame_detach,
	.map_dma_buf = frame_map,
	.unmap_dma_buf = frame_unmap,
	.begin_cpu_access = frame_begin_cpu_access,
	.end_cpu_access = frame_end_cpu_access,
	.mmap = frame_mmap,
	.vmap = frame_vmap,
	.vunmap = frame_vunmap,
	.release = frame_release,
};

struct dma_buf *lineup_frame_export(struct lineup_frame *frame, u32 fd_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	frame->revoked = false;
	frame->brackets = 0;
	info.exp_name = "lineup";
	info.ops = &lineup_frame_ops;
	info.size = frame->pool->frame_bytes;
	info.flags = fd_flags;
	info.priv = frame;
	return dma_buf_export(&info);
}

/*
 * Revokes a frame; tells whether that was news. The caller has a reference to the dma-buf's dentry;
 * its file may be gone. Who comes second empties the mappings as well, for the first may not be
 * done with that.
 */
bool lineup_frame_revoke(struct dma_buf *dmabuf, struct dentry *dentry)
{
	struct lineup_frame *frame = dmabuf->priv;
	bool is_news;

	dma_resv_lock(dmabuf->resv, NULL);
	mutex_lock(&frame->lock);
	is_news = !frame->revoked;
	WRITE_ONCE(frame->revoked, true);
	mutex_unlock(&frame->lock);
	if (is_news)
		dma_buf_move_notify(dmabuf);
	dma_resv_unlock(dmabuf->resv);
	if (frame->shmem)
		lineup_pages_cut_off(frame->shmem);
	else
		unmap_mapping_range(d_inode(dentry)->i_mapping, 0, 0, 1);
	return is_news;
}

/**
 * lineup_frame_is() - is this dma-buf a frame?
 * @dmabuf: any dma-buf
 *
 * Context: any.
 */
bool lineup_frame_is(const struct dma_buf *dmabuf)
{
	return dmabuf->ops == &lineup_frame_ops;
}
EXPORT_SYMBOL_LINEUP(lineup_frame_is);

/**
 * lineup_frame_is_revoked() - is this dma-buf a frame that was taken away from those who hold it?
 * @dmabuf: any dma-buf
 *
 * The answer may be old by the time it is used, except under the reservation lock of @dmabuf.
 *
 * Context: any.
 */
bool lineup_frame_is_revoked(const struct dma_buf *dmabuf)
{
	const struct lineup_frame *frame = dmabuf->priv;

	return lineup_frame_is(dmabuf) && READ_ONCE(frame->revoked);
}
EXPORT_SYMBOL_LINEUP(lineup_frame_is_revoked);
