// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reference driver of a capture card: imports a frame, has the card write into it, tells the
 * end by a fence. The card is QEMU's "edu" device; educap.h says what it does,
 * docs/capture-cards.md why this is as it is.
 *
 * A transfer has three ends, each where it may be:
 *
 *	irq thread	the last piece is done, or the frame revoked: sync, signal the fence
 *	educap_remove()	the card goes: stop it, signal the fence with an error
 *	cleaner		unmap, detach, put. These take the reservation lock, under which somebody
 *			may wait for the fence: it must not wait for them
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iopoll.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "educap.h"
#include "lineup.h"

#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_ACK 0x64
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_TARGET 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98

#define EDU_DMA_RUN 0x1
#define EDU_DMA_TO_RAM 0x2
#define EDU_DMA_IRQ 0x4
#define EDU_IRQ_DMA 0x100
/* Of its 4 KiB only half is used: QEMU 7.2 stops if a transfer touches the last byte. */
#define EDU_MEMORY 0x40000

static int dma_bits_set(const char *text, const struct kernel_param *param)
{
	return param_set_uint_minmax(text, param, LINEUP_DMA_BITS_MIN, LINEUP_DMA_BITS_MAX);
}

static const struct kernel_param_ops dma_bits_ops = {
	.set = dma_bits_set,
	.get = param_get_uint,
};

static unsigned int dma_bits = 28;
module_param_cb(dma_bits, &dma_bits_ops, &dma_bits, 0444);
MODULE_PARM_DESC(dma_bits, "address bits of the card, as its property dma_mask says (28)");

struct educap_job;

/* Lives until it is removed and its last descriptor is closed. */
struct educap {
	struct kref ref;
	struct pci_dev *pdev;
	void __iomem *regs;
	struct miscdevice misc;
	char name[24];
	int number;
	struct workqueue_struct *cleaner;
	struct mutex lock;		/* starting and removing; not needed to end a transfer */
	bool is_gone;			/* lock */
	struct educap_job *job;		/* set under lock, cleared by who ends it; with barriers */
};

struct educap_job {
	struct educap *card;
	struct work_struct cleanup;
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	struct dma_fence *fence;
	bool is_revoked;		/* set by move_notify */
	bool is_to_frame;
	u64 offset;
	u32 bytes;
	/* where the transfer is */
	struct scatterlist *sg;
	u32 sg_offset;
	u32 piece;
	u32 left;
};

static DEFINE_IDA(educap_numbers);

static void educap_free(struct kref *ref)
{
	struct educap *card = container_of(ref, struct educap, ref);

	pci_dev_put(card->pdev);
	mutex_destroy(&card->lock);
	kfree(card);
}

/* ---- the frame ---- */

/*
 * The frame was revoked, or would have to move, which this driver does not do: the transfer stops
 * after the piece that runs. Called under the reservation lock.
 */
static void job_move_notify(struct dma_buf_attachment *attachment)
{
	struct educap_job *job = attachment->importer_priv;

	WRITE_ONCE(job->is_revoked, true);
}

static const struct dma_buf_attach_ops job_attach_ops = {
	.move_notify = job_move_notify,
};

/* Pins and maps. Both ways, because the core does so itself if the exporter never moves buffers. */
static int job_map(struct educap_job *job)
{
	struct dma_resv *resv = job->dmabuf->resv;
	int err = dma_resv_lock_interruptible(resv, NULL);

	if (err)
		return err;
	err = dma_buf_pin(job->attachment);
	if (err)
		goto unlock;
	job->table = dma_buf_map_attachment(job->attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(job->table)) {
		err = PTR_ERR(job->table);
		dma_buf_unpin(job->attachment);
	}
unlock:
	dma_resv_unlock(resv);
	return err;
}

static void job_unmap(struct educap_job *job)
{
	struct dma_resv *resv = job->dmabuf->resv;

	dma_resv_lock(resv, NULL);
	dma_buf_unmap_attachment(job->attachment, job->table, DMA_BIDIRECTIONAL);
	dma_buf_unpin(job->attachment);
	dma_resv_unlock(resv);
}

/*
 * Lets the CPU, and other devices, see what the card has written: a bounce buffer is copied here.
 */
static void job_sync(struct educap_job *job)
{
	struct device *dev = &job->card->pdev->dev;
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(job->table, sg, i)
		dma_sync_single_for_cpu(dev, sg_dma_address(sg), sg_dma_len(sg), DMA_BIDIRECTIONAL);
}

static void job_cleanup(struct work_struct *work)
{
	struct educap_job *job = container_of(work, struct educap_job, cleanup);

	job_unmap(job);
	dma_buf_detach(job->dmabuf, job->attachment);
	dma_buf_put(job->dmabuf);
	kfree(job);
}

/* The next transfer can be started as soon as the fence tells that this one is over. */
static void job_end(struct educap_job *job, int error)
{
	struct educap *card = job->card;
	struct dma_fence *fence = job->fence;

	if (!error && job->is_to_frame)
		job_sync(job);
	/* The job is the cleaner's from here on. */
	queue_work(card->cleaner, &job->cleanup);
	/* Pairs with educap_start(), which may start the next job from here on. */
	smp_store_release(&card->job, NULL);
	lineup_fence_end(fence, error);
}

/* ---- the card ---- */

static void job_run_piece(struct educap_job *job)
{
	void __iomem *regs = job->card->regs;
	u64 address = sg_dma_address(job->sg) + job->sg_offset;
	u64 command = EDU_DMA_RUN | EDU_DMA_IRQ | (job->is_to_frame ? EDU_DMA_TO_RAM : 0);

	job->piece = min3(job->left, sg_dma_len(job->sg) - job->sg_offset, (u32)EDUCAP_PIECE_BYTES);
	writeq(job->is_to_frame ? EDU_MEMORY : address, regs + EDU_DMA_SOURCE);
	writeq(job->is_to_frame ? address : EDU_MEMORY, regs + EDU_DMA_TARGET);
	writeq(job->piece, regs + EDU_DMA_COUNT);
	writeq(command, regs + EDU_DMA_COMMAND);
}

/* Goes to the first byte of the transfer. */
static void job_seek(struct educap_job *job)
{
	u64 offset = job->offset;

	job->left = job->bytes;
	for (job->sg = job->table->sgl; offset >= sg_dma_len(job->sg); job->sg = sg_next(job->sg))
		offset -= sg_dma_len(job->sg);
	job->sg_offset = offset;
}

static void job_advance(struct educap_job *job)
{
	job->left -= job->piece;
	job->sg_offset += job->piece;
	if (job->left && job->sg_offset == sg_dma_len(job->sg)) {
		job->sg = sg_next(job->sg);
		job->sg_offset = 0;
	}
}

static irqreturn_t educap_irq(int irq, void *data)
{
	struct educap *card = data;
	u32 status = readl(card->regs + EDU_IRQ_STATUS);

	if (!status || status == ~0U)	/* another device's; the card is unplugged */
		return IRQ_NONE;
	writel(status, card->regs + EDU_IRQ_ACK);
	return status & EDU_IRQ_DMA ? IRQ_WAKE_THREAD : IRQ_HANDLED;
}

/* An irq thread and not a work item: the fence must not wait for memory for a worker. */
static irqreturn_t educap_irq_thread(int irq, void *data)
{
	struct educap *card = data;
	/* Pairs with educap_start(): the job is complete when it is seen. */
	struct educap_job *job = smp_load_acquire(&card->job);

	if (!job)
		return IRQ_HANDLED;
	job_advance(job);
	if (!job->left)
		job_end(job, READ_ONCE(job->is_revoked) ? -ENODEV : 0);
	else if (READ_ONCE(job->is_revoked))
		job_end(job, -ENODEV);
	else
		job_run_piece(job);
	return IRQ_HANDLED;
}

/* ---- starting a transfer ---- */

static int job_prepare(struct educap_job *job)
{
	struct device *dev = &job->card->pdev->dev;
	struct dma_buf *dmabuf = job->dmabuf;
	enum dma_resv_usage usage = job->is_to_frame ? DMA_RESV_USAGE_WRITE : DMA_RESV_USAGE_READ;
	int err;

	job->attachment = dma_buf_dynamic_attach(dmabuf, dev, &job_attach_ops, job);
	if (IS_ERR(job->attachment))
		return PTR_ERR(job->attachment);
	err = job_map(job);
	if (err)
		goto detach;
	job->fence = lineup_fence_begin(dmabuf, usage, KBUILD_MODNAME);
	if (IS_ERR(job->fence)) {
		err = PTR_ERR(job->fence);
		goto unmap;
	}
	return 0;

unmap:
	job_unmap(job);
detach:
	dma_buf_detach(dmabuf, job->attachment);
	return err;
}

static int educap_start(struct educap *card, struct educap_job *job)
{
	int err = mutex_lock_interruptible(&card->lock);

	if (err)
		return err;
	if (card->is_gone)
		err = -ENODEV;
	else if (smp_load_acquire(&card->job))	/* pairs with job_end() */
		err = -EBUSY;
	if (!err) {
		/* DMA_API_DEBUG warns of a frame that is mapped twice for one device. */
		flush_workqueue(card->cleaner);
		err = job_prepare(job);
	}
	if (!err) {
		job_seek(job);
		/* The irq thread owns the job from here on, and sees all of it. */
		smp_store_release(&card->job, job);
		job_run_piece(job);
	}
	mutex_unlock(&card->lock);
	return err;
}

static int check_transfer(const struct educap_transfer *arg, const struct dma_buf *dmabuf)
{
	if (arg->offset > dmabuf->size || arg->bytes > dmabuf->size - arg->offset)
		return -EINVAL;
	return 0;
}

static long educap_transfer(struct educap *card, const struct educap_transfer *arg)
{
	bool is_to_frame = arg->direction == EDUCAP_TO_FRAME;
	struct educap_job *job;
	long err;

	if (arg->direction > EDUCAP_TO_FRAME || arg->reserved || !arg->bytes ||
	    arg->bytes > EDUCAP_BYTES_MAX || (arg->offset | arg->bytes) % 8)
		return -EINVAL;
	job = kzalloc(sizeof(*job), GFP_KERNEL);
	if (!job)
		return -ENOMEM;
	INIT_WORK(&job->cleanup, job_cleanup);
	job->card = card;
	job->is_to_frame = is_to_frame;
	job->offset = arg->offset;
	job->bytes = arg->bytes;
	job->dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(job->dmabuf)) {
		err = PTR_ERR(job->dmabuf);
		goto free_job;
	}
	err = check_transfer(arg, job->dmabuf);
	if (err)
		goto put_dmabuf;
	/* Whoever reads or writes the frame comes first. */
	err = dma_resv_wait_timeout(job->dmabuf->resv, dma_resv_usage_rw(is_to_frame), true,
				    MAX_SCHEDULE_TIMEOUT);
	if (err < 0)
		goto put_dmabuf;
	err = educap_start(card, job);
	if (err)
		goto put_dmabuf;
	return 0;

put_dmabuf:
	dma_buf_put(job->dmabuf);
free_job:
	kfree(job);
	return err;
}

/* ---- the device node ---- */

static long educap_ioctl(struct file *file, unsigned int cmd, unsigned long address)
{
	struct educap_transfer arg;

	if (cmd != EDUCAP_IOC_TRANSFER)
		return -ENOTTY;
	if (copy_from_user(&arg, (void __user *)address, sizeof(arg)))
		return -EFAULT;
	return educap_transfer(file->private_data, &arg);
}

static int educap_open(struct inode *inode, struct file *file)
{
	struct educap *card = container_of(file->private_data, struct educap, misc);

	/* misc_deregister() waits for this, so the card is still there. */
	kref_get(&card->ref);
	file->private_data = card;
	return nonseekable_open(inode, file);
}

static int educap_release(struct inode *inode, struct file *file)
{
	struct educap *card = file->private_data;

	kref_put(&card->ref, educap_free);
	return 0;
}

static const struct file_operations educap_fops = {
	.owner = THIS_MODULE,
	.open = educap_open,
	.release = educap_release,
	.unlocked_ioctl = educap_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* ---- the PCI device ---- */

static int educap_init_pci(struct educap *card)
{
	struct pci_dev *pdev = card->pdev;
	u64 command;
	int err;

	err = pcim_enable_device(pdev);
	if (err)
		return err;
	err = pcim_iomap_regions(pdev, BIT(0), KBUILD_MODNAME);
	if (err)
		return err;
	card->regs = pcim_iomap_table(pdev)[0];
	err = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(dma_bits));
	if (err)
		return err;
	/* A piece that ran when the card was unbound must not reach memory now. */
	err = readq_poll_timeout(card->regs + EDU_DMA_COMMAND, command, !(command & EDU_DMA_RUN),
				 10 * USEC_PER_MSEC, USEC_PER_SEC);
	if (err)
		return err;
	writel(readl(card->regs + EDU_IRQ_STATUS), card->regs + EDU_IRQ_ACK);
	pci_set_master(pdev);
	err = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (err < 0)
		return err;
	return request_threaded_irq(pci_irq_vector(pdev, 0), educap_irq, educap_irq_thread,
				    IRQF_SHARED, KBUILD_MODNAME, card);
}

static int educap_init_node(struct educap *card)
{
	int err;

	card->number = ida_alloc(&educap_numbers, GFP_KERNEL);
	if (card->number < 0)
		return card->number;
	snprintf(card->name, sizeof(card->name), "educap%d", card->number);
	card->misc.minor = MISC_DYNAMIC_MINOR;
	card->misc.name = card->name;
	card->misc.fops = &educap_fops;
	card->misc.mode = 0660;
	card->misc.parent = &card->pdev->dev;
	err = misc_register(&card->misc);
	if (err)
		ida_free(&educap_numbers, card->number);
	return err;
}

static int educap_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct educap *card = kzalloc(sizeof(*card), GFP_KERNEL);
	int err;

	if (!card)
		return -ENOMEM;
	kref_init(&card->ref);
	mutex_init(&card->lock);
	card->pdev = pci_dev_get(pdev);
	card->cleaner = alloc_workqueue(KBUILD_MODNAME, 0, 0);
	if (!card->cleaner) {
		err = -ENOMEM;
		goto put_card;
	}
	err = educap_init_pci(card);
	if (err)
		goto destroy_cleaner;
	err = educap_init_node(card);
	if (err)
		goto free_irq;
	pci_set_drvdata(pdev, card);
	return 0;

free_irq:
	free_irq(pci_irq_vector(pdev, 0), card);
destroy_cleaner:
	destroy_workqueue(card->cleaner);
put_card:
	kref_put(&card->ref, educap_free);
	return err;
}

/* Unbound or unplugged, perhaps while a transfer runs. Descriptors may outlive this. */
static void educap_remove(struct pci_dev *pdev)
{
	struct educap *card = pci_get_drvdata(pdev);

	misc_deregister(&card->misc);
	ida_free(&educap_numbers, card->number);
	mutex_lock(&card->lock);
	card->is_gone = true;
	mutex_unlock(&card->lock);
	/*
	 * From here on no transfer begins; after the next two lines none ends by itself, or
	 * writes.
	 */
	free_irq(pci_irq_vector(pdev, 0), card);
	pci_clear_master(pdev);
	if (card->job)
		job_end(card->job, -ENODEV);
	/* What is attached to the device is detached before the device goes. */
	destroy_workqueue(card->cleaner);
	kref_put(&card->ref, educap_free);
}

static const struct pci_device_id educap_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, educap_ids);

static struct pci_driver educap_driver = {
	.name = KBUILD_MODNAME,
	.id_table = educap_ids,
	.probe = educap_probe,
	.remove = educap_remove,
};
module_pci_driver(educap_driver);

MODULE_DESCRIPTION("Sample capture card: QEMU's edu device with frames of lineup");
MODULE_AUTHOR("The lineup authors");
MODULE_LICENSE("GPL");
LINEUP_IMPORT_DMA_BUF();
LINEUP_IMPORT_LINEUP();
