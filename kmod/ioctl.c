// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two device nodes: /dev/lineup with calls of our own, /dev/dma_heap/lineup with those of a
 * DMA heap.
 */
#include <linux/build_bug.h>
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <uapi/linux/dma-heap.h>	/* <linux/dma-heap.h> is the kernel's internal one */

#include "internal.h"

static_assert(sizeof(struct lineup_version) == 48);
static_assert(sizeof(struct lineup_pool_create) == 64 &&
	      offsetof(struct lineup_pool_create, pool) == 24);
static_assert(sizeof(struct lineup_frame_get) == 40 && offsetof(struct lineup_frame_get, fd) == 12);
static_assert(sizeof(struct lineup_frame_revoke) == 32);
static_assert(sizeof(struct lineup_pool_revoke) == 24);
static_assert(sizeof(struct lineup_frame_info) == 64 &&
	      offsetof(struct lineup_frame_info, fd) == 24);
static_assert(sizeof(struct lineup_pool_info) == 160 &&
	      offsetof(struct lineup_pool_info, gets) == 96);
static_assert(sizeof(struct lineup_stats) == 152 && offsetof(struct lineup_stats, gets) == 56);

/* What a descriptor of /dev/lineup has while a pool is being made for it. */
#define POOL_IN_MAKING ERR_PTR(-EBUSY)

/* The pool of a descriptor, which lives at least as long as that is open; NULL if it has none. */
static struct lineup_pool *device_pool(struct file *file)
{
	/* Pairs with the release in device_pool_create(). */
	struct lineup_pool *pool = smp_load_acquire(&file->private_data);

	return IS_ERR(pool) ? NULL : pool;
}

/* ---- arguments ---- */

struct user_arg {
	void __user *address;
	size_t size;		/* as the caller's ioctl number says */
};

/* Reads a struct that may be smaller, but not than @size_min, or larger. */
static int arg_read(void *arg, size_t size, size_t size_min, const struct user_arg *from)
{
	if (from->size < size_min)
		return -EINVAL;
	return copy_struct_from_user(arg, size, from->address, from->size);
}

static int arg_write(const void *arg, size_t size, const struct user_arg *to)
{
	return copy_to_user(to->address, arg, min(size, to->size)) ? -EFAULT : 0;
}

#define IS_ZERO(field) (!memchr_inv(&(field), 0, sizeof(field)))

/* ---- calls ---- */

static int device_version(struct file *file, const struct user_arg *user)
{
	struct lineup_version arg;
	int err = arg_read(&arg, sizeof(arg), offsetof(typeof(arg), reserved), user);

	if (err)
		return err;
	if (!IS_ZERO(arg))
		return -EINVAL;
	arg.features = LINEUP_FEATURE_SHMEM;
	if (lineup_pages_can_write_combine())
		arg.features |= LINEUP_FEATURE_WRITE_COMBINE;
	arg.frame_bytes_max = LINEUP_FRAME_BYTES_MAX;
	arg.contiguous_bytes_max = lineup_pages_contiguous_max();
	arg.frames_max = LINEUP_FRAMES_MAX;
	arg.abi = LINEUP_ABI;
	return arg_write(&arg, sizeof(arg), user);
}

static int device_pool_create(struct file *file, const struct user_arg *user)
{
	struct lineup_pool *pool;
	struct lineup_pool_create arg;
	int err = arg_read(&arg, sizeof(arg), offsetof(typeof(arg), reserved), user);

	if (err)
		return err;
	if (arg.pool || !IS_ZERO(arg.reserved))
		return -EINVAL;
	if (cmpxchg(&file->private_data, NULL, POOL_IN_MAKING))
		return -EBUSY;
	pool = lineup_pool_create_as(&arg, 0);
	if (IS_ERR(pool)) {
		err = PTR_ERR(pool);
		pool = NULL;
	} else {
		arg.frame_bytes = pool->frame_bytes;
		arg.pool = pool->id;
		err = arg_write(&arg, sizeof(arg), user);
	}
	if (err) {
		lineup_pool_close(pool);
		pool = NULL;
	}
	/* The descriptor owns the pool from here on. */
	smp_store_release(&file->private_data, pool);
	return err;
}

static int device_pool_info(struct file *file, const struct user_arg *user)
{
	struct lineup_pool_info arg;
	u32 flags;
	u64 pool;
	int err = arg_read(&arg, sizeof(arg), offsetof(typeof(arg), reserved), user);

	if (err)
		return err;
	pool = arg.pool;
	flags = arg.flags;
	arg.pool = 0;
	arg.flags = 0;
	if (!IS_ZERO(arg) || flags & ~LINEUP_INFO_NEXT)
		return -EINVAL;
	arg.pool = pool;
	arg.flags = flags;
	err = lineup_stats_pool(device_pool(file), &arg);
	if (err)
		return err;
	arg.flags = flags;
	return arg_write(&arg, sizeof(arg), user);
}

static int device_pool_revoke(struct file *file, const struct user_arg *user)
{
	struct lineup_pool *pool = device_pool(file);
	struct lineup_pool_revoke arg;
	int err = arg_read(&arg, sizeof(arg), offsetof(typeof(arg), reserved), user);

	if (err)
		return err;
	if (!IS_ZERO(arg))
		return -EINVAL;
	if (!pool)
		return -ENXIO;
	lineup_pool_revoke(pool);
	return 0;
}

/*
 * Makes a descriptor of a dma-buf and tells it; consumes the reference. The descriptor comes last:
 * it cannot be taken back.
 */
static int install_fd(struct dma_buf *dmabuf, int fd_flags, __s32 *field, const void *arg,
		      size_t size, const struct user_arg *user)
{
	int fd = get_unused_fd_flags(fd_flags);
	int err = fd;

	if (fd >= 0) {
		*field = fd;
		err = arg_write(arg, size, user);
	}
	if (err) {
		if (fd >= 0)
			put_unused_fd(fd);
		dma_buf_put(dmabuf);
		return err;
	}
	fd_install(fd, dmabuf->file);
	return 0;
}

static int device_frame_get(struct file *file, const struct user_arg *user)
{
	struct lineup_pool *pool = device_pool(file);
	const struct lineup_frame *frame;
	struct lineup_frame_get arg;
	struct dma_buf *dmabuf;
	int err = arg_read(&arg, sizeof(arg), offsetof(typeof(arg), reserved), user);

	if (err)
		return err;
	if (!IS_ZERO(arg))
		return -EINVAL;
	if (!pool)
		return -ENXIO;
	dmabuf = lineup_frame_get(pool);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	frame = dmabuf->priv;
	arg.frame = frame->id;
	arg.index = frame->index;
	return install_fd(dmabuf, O_RDWR | O_CLOEXEC, &arg.fd, &arg, sizeof(arg), user);
}

static int device_frame_revoke(struct file *file, const struct user_arg *user)
{
	struct lineup_pool *pool = device_pool(file);
	struct lineup_frame_revoke arg;
	int err = arg_read(&arg, sizeof(arg), offsetof(typeof(arg), reserved), user);

	if (err)
		return err;
	if (arg.flags || arg.pad || !IS_ZERO(arg.reserved))
		return -EINVAL;
	if (!pool)
		return -ENXIO;
	return lineup_pool_revoke_frame(pool, arg.frame);
}

static int device_frame_info(struct file *file, const struct user_arg *user)
{
	const struct lineup_frame *frame;
	struct lineup_frame_info arg;
	struct dma_buf *dmabuf;
	int fd;
	int err = arg_read(&arg, sizeof(arg), offsetof(typeof(arg), reserved), user);

	if (err)
		return err;
	fd = arg.fd;
	arg.fd = 0;
	if (!IS_ZERO(arg))
		return -EINVAL;
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (!lineup_frame_is(dmabuf)) {
		dma_buf_put(dmabuf);
		return -EINVAL;
	}
	/*
	 * The dma-buf holds the frame, the frame its pool; the id does not change while the frame
	 * is out.
	 */
	frame = dmabuf->priv;
	arg.fd = fd;
	arg.frame = frame->id;
	arg.pool = frame->pool->id;
	arg.bytes = frame->pool->frame_bytes;
	arg.index = frame->index;
	arg.pool_flags = frame->pool->flags;
	arg.node = frame->pool->numa_node;
	arg.dma_bits = frame->pool->dma_bits;
	arg.state = lineup_frame_is_revoked(dmabuf) ? LINEUP_FRAME_REVOKED : 0;
	dma_buf_put(dmabuf);
	return arg_write(&arg, sizeof(arg), user);
}

static int device_stats(struct file *file, const struct user_arg *user)
{
	struct lineup_stats arg;
	int err = arg_read(&arg, sizeof(arg), offsetof(typeof(arg), reserved), user);

	if (err)
		return err;
	if (!IS_ZERO(arg))
		return -EINVAL;
	lineup_stats_read(&arg);
	return arg_write(&arg, sizeof(arg), user);
}

typedef int device_call(struct file *file, const struct user_arg *user);

static device_call *const device_calls[] = {
	[_IOC_NR(LINEUP_IOC_VERSION)] = device_version,
	[_IOC_NR(LINEUP_IOC_POOL_CREATE)] = device_pool_create,
	[_IOC_NR(LINEUP_IOC_POOL_INFO)] = device_pool_info,
	[_IOC_NR(LINEUP_IOC_POOL_REVOKE)] = device_pool_revoke,
	[_IOC_NR(LINEUP_IOC_FRAME_GET)] = device_frame_get,
	[_IOC_NR(LINEUP_IOC_FRAME_REVOKE)] = device_frame_revoke,
	[_IOC_NR(LINEUP_IOC_FRAME_INFO)] = device_frame_info,
	[_IOC_NR(LINEUP_IOC_STATS)] = device_stats,
};

/* The size in the number is the caller's, so it takes no part in finding the call. */
static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct user_arg user = { (void __user *)arg, _IOC_SIZE(cmd) };
	unsigned int nr = _IOC_NR(cmd);

	if (_IOC_TYPE(cmd) != LINEUP_IOC_MAGIC || _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE) ||
	    nr >= ARRAY_SIZE(device_calls))
		return -ENOTTY;
	return device_calls[array_index_nospec(nr, ARRAY_SIZE(device_calls))](file, &user);
}

/* ---- /dev/lineup ---- */

static int device_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;	/* misc_open() has left the device there */
	return nonseekable_open(inode, file);
}

/*
 * A process that dies of a signal has not given its pool up, it has lost it: whoever holds frames
 * of it is told. The last descriptor may also go elsewhere, in a socket or a kernel thread, and
 * then nobody has died.
 */
static bool owner_was_killed(void)
{
	return current->flags & PF_EXITING && current->exit_code & 0x7f;
}

static int device_release(struct inode *inode, struct file *file)
{
	struct lineup_pool *pool = device_pool(file);

	if (pool && owner_was_killed())
		lineup_pool_revoke(pool);
	lineup_pool_close(pool);
	return 0;
}

static __poll_t device_poll(struct file *file, poll_table *table)
{
	struct lineup_pool *pool = device_pool(file);
	__poll_t events = 0;

	if (!pool)
		return EPOLLERR;
	poll_wait(file, &pool->wait, table);
	mutex_lock(&pool->lock);
	if (pool->state & LINEUP_POOL_REVOKED)
		events = EPOLLERR | EPOLLHUP;
	else if (pool->frames_free)
		events = EPOLLIN | EPOLLRDNORM;
	mutex_unlock(&pool->lock);
	return events;
}

const struct file_operations lineup_device_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.poll = device_poll,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* ---- /dev/dma_heap/lineup ---- */

/* A frame with a pool of its own, which is closed already and so goes with it. */
static struct dma_buf *heap_frame(u64 bytes, u32 fd_flags)
{
	struct lineup_pool_create args = {
		.frame_bytes = bytes,
		.frames = 1,
		.node = LINEUP_NODE_ANY,
	};
	struct lineup_pool *pool = lineup_pool_create_as(&args, LINEUP_POOL_HEAP);
	struct dma_buf *dmabuf;

	if (IS_ERR(pool))
		return ERR_CAST(pool);
	dmabuf = lineup_frame_get_with(pool, fd_flags);
	lineup_pool_close(pool);
	return dmabuf;
}

/*
 * Like the kernel's own heaps: the call is found by its number, and its struct may have any size.
 */
static long heap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct user_arg user = { (void __user *)arg, _IOC_SIZE(cmd) };
	struct dma_heap_allocation_data data = {};
	struct dma_buf *dmabuf;

	if (_IOC_TYPE(cmd) != DMA_HEAP_IOC_MAGIC || _IOC_NR(cmd) != _IOC_NR(DMA_HEAP_IOCTL_ALLOC))
		return -ENOTTY;
	if (copy_from_user(&data, user.address, min(sizeof(data), user.size)))
		return -EFAULT;
	if (data.fd || data.fd_flags & ~DMA_HEAP_VALID_FD_FLAGS ||
	    data.heap_flags & ~DMA_HEAP_VALID_HEAP_FLAGS)
		return -EINVAL;
	dmabuf = heap_frame(data.len, data.fd_flags);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	return install_fd(dmabuf, data.fd_flags, (__s32 *)&data.fd, &data, sizeof(data), &user);
}

const struct file_operations lineup_heap_fops = {
	.owner = THIS_MODULE,
	.llseek = noop_llseek,
	.unlocked_ioctl = heap_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
