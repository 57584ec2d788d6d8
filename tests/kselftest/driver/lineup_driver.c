// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver that makes pools of its own, to test kmod/lineup.h. Loading it runs the cases; the
 * parameter "results" then is their TAP.
 *
 * They run in a kernel thread, as a driver's probe may. There a dma-buf's last reference is dropped
 * later, by delayed_fput(), which flush_delayed_fput() waits for.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "lineup.h"

#define FRAMES 2
#define BYTES (3 * PAGE_SIZE)

static char results[2048];
module_param_string(results, results, sizeof(results), 0444);
MODULE_PARM_DESC(results, "what the cases said");

static struct device *card;

/* Ends the case as failed. What it has is then not given back: lineup.ko will not unload either. */
#define CHECK(what)								\
	do {									\
		if (!(what)) {							\
			pr_err("%s:%d: not so: %s\n", __func__, __LINE__, #what);	\
			return false;						\
		}								\
	} while (0)

static struct lineup_pool *pool_new(void)
{
	struct lineup_pool_create args = {
		.frame_bytes = BYTES, .frames = FRAMES, .node = LINEUP_NODE_ANY,
	};

	return lineup_pool_create(&args);
}

static void put(struct dma_buf *dmabuf)
{
	dma_buf_put(dmabuf);
	flush_delayed_fput();
}

/* ---- a dma-buf of somebody else ---- */

static struct sg_table *foreign_map(struct dma_buf_attachment *importer,
				    enum dma_data_direction direction)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void foreign_unmap(struct dma_buf_attachment *importer, struct sg_table *table,
			  enum dma_data_direction direction)
{
}

static void foreign_release(struct dma_buf *dmabuf)
{
}

static const struct dma_buf_ops foreign_ops = {
	.map_dma_buf = foreign_map,
	.unmap_dma_buf = foreign_unmap,
	.release = foreign_release,
};

static struct dma_buf *foreign_new(void)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	info.ops = &foreign_ops;
	info.size = PAGE_SIZE;
	info.flags = O_RDWR;
	info.priv = &foreign_release;
	return dma_buf_export(&info);
}

/* ---- pools ---- */

static bool wrong_arguments_are_refused(void)
{
	struct lineup_pool_create none = { .frames = FRAMES, .node = LINEUP_NODE_ANY };
	struct lineup_pool_create unknown = {
		.frame_bytes = BYTES, .frames = FRAMES, .node = LINEUP_NODE_ANY, .flags = 1U << 31,
	};
	struct lineup_pool_create many = {
		.frame_bytes = BYTES, .frames = LINEUP_FRAMES_MAX + 1, .node = LINEUP_NODE_ANY,
	};

	CHECK(lineup_pool_create(&none) == ERR_PTR(-EINVAL));
	CHECK(lineup_pool_create(&unknown) == ERR_PTR(-EINVAL));
	CHECK(lineup_pool_create(&many) == ERR_PTR(-E2BIG));
	return true;
}

static bool frames_go_out_and_come_back(void)
{
	struct lineup_pool *pool = pool_new();
	struct dma_buf *frames[FRAMES];
	int i;

	CHECK(!IS_ERR(pool));
	for (i = 0; i < FRAMES; i++) {
		frames[i] = lineup_frame_get(pool);
		CHECK(!IS_ERR(frames[i]));
		CHECK(frames[i]->size == BYTES);
	}
	CHECK(frames[0] != frames[1]);
	CHECK(lineup_frame_get(pool) == ERR_PTR(-EAGAIN));
	put(frames[0]);
	frames[0] = lineup_frame_get(pool);
	CHECK(!IS_ERR(frames[0]));
	put(frames[0]);
	put(frames[1]);
	lineup_pool_close(pool);
	return true;
}

static bool a_frame_outlives_its_pool(void)
{
	struct lineup_pool *pool = pool_new();
	struct dma_buf *frame;

	CHECK(!IS_ERR(pool));
	frame = lineup_frame_get(pool);
	CHECK(!IS_ERR(frame));
	lineup_pool_close(pool);
	CHECK(lineup_frame_is(frame));
	CHECK(!lineup_frame_is_revoked(frame));
	put(frame);
	lineup_pool_close(NULL);
	return true;
}

static bool frames_are_told_from_other_buffers(void)
{
	struct lineup_pool *pool = pool_new();
	struct dma_buf *foreign = foreign_new(), *frame;

	CHECK(!IS_ERR(pool) && !IS_ERR(foreign));
	frame = lineup_frame_get(pool);
	CHECK(!IS_ERR(frame));
	CHECK(lineup_frame_is(frame) && !lineup_frame_is_revoked(frame));
	CHECK(!lineup_frame_is(foreign) && !lineup_frame_is_revoked(foreign));
	put(frame);
	put(foreign);
	lineup_pool_close(pool);
	return true;
}

/* ---- devices ---- */

static void count_notice(struct dma_buf_attachment *attachment)
{
	++*(int *)attachment->importer_priv;
}

static const struct dma_buf_attach_ops notified = {
	.move_notify = count_notice,
};

static size_t table_bytes(struct sg_table *table)
{
	struct scatterlist *sg;
	size_t bytes = 0;
	int i;

	for_each_sgtable_dma_sg(table, sg, i)
		bytes += sg_dma_len(sg);
	return bytes;
}

static bool a_device_maps_all_of_a_frame(void)
{
	struct lineup_pool *pool = pool_new();
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	struct dma_buf *frame;

	CHECK(!IS_ERR(pool));
	frame = lineup_frame_get(pool);
	CHECK(!IS_ERR(frame));
	attachment = dma_buf_attach(frame, card);
	CHECK(!IS_ERR(attachment));
	table = dma_buf_map_attachment_unlocked(attachment, DMA_FROM_DEVICE);
	CHECK(!IS_ERR(table));
	CHECK(table_bytes(table) == BYTES);
	dma_buf_unmap_attachment_unlocked(attachment, table, DMA_FROM_DEVICE);
	dma_buf_detach(frame, attachment);
	put(frame);
	lineup_pool_close(pool);
	return true;
}

/*
 * Who asked to be told is told, once, and the mapping it has had since it attached stays until it
 * lets go. Nobody else can map from then on, and no frame can be had.
 */
static bool revocation_takes_frames_away(void)
{
	struct lineup_pool *pool = pool_new();
	struct dma_buf_attachment *told, *other;
	struct dma_buf *frame;
	int notices = 0;

	CHECK(!IS_ERR(pool));
	frame = lineup_frame_get(pool);
	CHECK(!IS_ERR(frame));
	told = dma_buf_dynamic_attach(frame, card, &notified, &notices);
	CHECK(!IS_ERR(told));
	other = dma_buf_attach(frame, card);
	CHECK(!IS_ERR(other));
	lineup_pool_revoke(pool);
	lineup_pool_revoke(pool);
	CHECK(notices == 1);
	CHECK(lineup_frame_is(frame) && lineup_frame_is_revoked(frame));
	CHECK(dma_buf_map_attachment_unlocked(other, DMA_FROM_DEVICE) == ERR_PTR(-ENODEV));
	CHECK(dma_buf_dynamic_attach(frame, card, &notified, &notices) == ERR_PTR(-ENODEV));
	CHECK(lineup_frame_get(pool) == ERR_PTR(-ENODEV));
	CHECK(lineup_fence_begin(frame, DMA_RESV_USAGE_WRITE, "test") == ERR_PTR(-ENODEV));
	dma_buf_detach(frame, other);
	dma_buf_detach(frame, told);
	put(frame);
	lineup_pool_close(pool);
	return true;
}

/* ---- fences ---- */

/* Tells whether readers of the buffer, and whether writers, still have to wait. */
static bool waits(struct dma_buf *dmabuf, bool reader, bool writer)
{
	return dma_resv_test_signaled(dmabuf->resv, dma_resv_usage_rw(false)) == !reader &&
	       dma_resv_test_signaled(dmabuf->resv, dma_resv_usage_rw(true)) == !writer;
}

static bool fences_of(struct dma_buf *dmabuf)
{
	struct dma_fence *fence;

	CHECK(waits(dmabuf, false, false));
	fence = lineup_fence_begin(dmabuf, DMA_RESV_USAGE_READ, "test");
	CHECK(!IS_ERR(fence));
	CHECK(waits(dmabuf, false, true));
	lineup_fence_end(fence, 0);
	CHECK(waits(dmabuf, false, false));
	fence = lineup_fence_begin(dmabuf, DMA_RESV_USAGE_WRITE, "test");
	CHECK(!IS_ERR(fence));
	CHECK(waits(dmabuf, true, true));
	/* as from an interrupt */
	local_irq_disable();
	lineup_fence_end(fence, 0);
	local_irq_enable();
	CHECK(waits(dmabuf, false, false));
	return true;
}

static bool fences_hold_back_who_they_should(void)
{
	struct lineup_pool *pool = pool_new();
	struct dma_buf *foreign = foreign_new(), *frame;

	CHECK(!IS_ERR(pool) && !IS_ERR(foreign));
	frame = lineup_frame_get(pool);
	CHECK(!IS_ERR(frame));
	CHECK(fences_of(frame));
	CHECK(fences_of(foreign));
	put(frame);
	put(foreign);
	lineup_pool_close(pool);
	return true;
}

static bool a_fence_tells_the_error_and_outlives_its_frame(void)
{
	struct lineup_pool *pool = pool_new();
	struct dma_fence *fence;
	struct dma_buf *frame;

	CHECK(!IS_ERR(pool));
	frame = lineup_frame_get(pool);
	CHECK(!IS_ERR(frame));
	fence = lineup_fence_begin(frame, DMA_RESV_USAGE_WRITE, "test");
	CHECK(!IS_ERR(fence));
	dma_fence_get(fence);
	CHECK(dma_fence_get_status(fence) == 0);
	lineup_fence_end(fence, -EIO);
	put(frame);
	lineup_pool_close(pool);
	CHECK(dma_fence_get_status(fence) == -EIO);
	CHECK(!strcmp(fence->ops->get_driver_name(fence), "test"));
	dma_fence_put(fence);
	return true;
}

#define CASE(name) { #name, name }
static const struct {
	const char *name;
	bool (*run)(void);
} cases[] = {
	CASE(wrong_arguments_are_refused),
	CASE(frames_go_out_and_come_back),
	CASE(a_frame_outlives_its_pool),
	CASE(frames_are_told_from_other_buffers),
	CASE(a_device_maps_all_of_a_frame),
	CASE(revocation_takes_frames_away),
	CASE(fences_hold_back_who_they_should),
	CASE(a_fence_tells_the_error_and_outlives_its_frame),
};

static void run(struct work_struct *work)
{
	size_t i, at = scnprintf(results, sizeof(results), "1..%zu\n", ARRAY_SIZE(cases));

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		at += scnprintf(results + at, sizeof(results) - at, "%s %zu %s\n",
				cases[i].run() ? "ok" : "not ok", i + 1, cases[i].name);
}

static int __init lineup_driver_init(void)
{
	struct platform_device *pdev;
	struct work_struct work;
	int err;

	pdev = platform_device_register_simple("lineup_driver", -1, NULL, 0);
	if (IS_ERR(pdev))
		return PTR_ERR(pdev);
	card = &pdev->dev;
	err = dma_set_mask_and_coherent(card, DMA_BIT_MASK(64));
	if (!err) {
		INIT_WORK_ONSTACK(&work, run);
		schedule_work(&work);
		flush_work(&work);
		destroy_work_on_stack(&work);
	}
	platform_device_unregister(pdev);
	return err;
}
module_init(lineup_driver_init);

static void __exit lineup_driver_exit(void)
{
}
module_exit(lineup_driver_exit);

LINEUP_IMPORT_DMA_BUF();
LINEUP_IMPORT_LINEUP();
MODULE_DESCRIPTION("Tests of lineup's in-kernel API");
MODULE_AUTHOR("The lineup authors");
MODULE_LICENSE("GPL");
