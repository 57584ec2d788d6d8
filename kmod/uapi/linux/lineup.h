/* SPDX-License-Identifier: ((GPL-2.0-only WITH Linux-syscall-note) OR MIT) */
/*
 * The ABI of /dev/lineup: pools of pinned frames that capture cards, io_uring, V4L2, DRM and
 * Vulkan can all use.
 *
 * Frames and pools
 * ================
 *
 * A frame is a dma-buf of pinned pages. A pool is a number of frames of one size, all of them
 * allocated and zeroed when the pool is created, so that taking a frame never waits for memory and
 * capture cannot run out of it half-way. open() of /dev/lineup gives a descriptor without a pool;
 * LINEUP_IOC_POOL_CREATE gives it one. One descriptor owns one pool.
 *
 * A frame is *free* (in its pool), *out* (LINEUP_IOC_FRAME_GET has made a dma-buf of it) or *held
 * back*: its dma-buf is gone, but somebody still has its pages pinned or, if it is shmem-backed,
 * mapped: a registered io_uring buffer, an O_DIRECT read or vmsplice() under way. A frame comes
 * back when the last reference to its dma-buf goes (descriptors, those of O_PATH too, mappings,
 * attachments of drivers) and nobody holds its pages any more; it is then overwritten with zeroes,
 * before anybody can get it again. poll() on the pool's descriptor reports EPOLLIN while a frame is
 * free, and EPOLLERR if there is no pool.
 *
 * close() of the last descriptor of a pool frees what is free or comes back; frames that are out
 * live on, unharmed, for those who hold them. If the last descriptor goes because the process that
 * held it was killed by a signal, the pool is revoked as well (see below).
 *
 * What frames speak
 * =================
 *
 * A frame is used through what exists:
 *
 *   memory	mmap() with MAP_SHARED (else -EINVAL). The mapping has struct pages, so O_DIRECT,
 *		vmsplice() and io_uring reads go straight into it. Linux 6.1 registers only
 *		anonymous, shmem and hugetlb memory as io_uring fixed buffers: there only frames of
 *		a pool with LINEUP_POOL_SHMEM can be registered; later kernels register any.
 *   CPU access	DMA_BUF_IOCTL_SYNC around it. Not optional: with a bounce buffer or a non-coherent
 *		device the data is elsewhere before.
 *   completion	a dma-fence in the dma-buf's reservation object, put there by the driver that fills
 *		the frame. poll() on the dma-buf (EPOLLIN: what writes to it is done),
 *		DMA_BUF_IOCTL_EXPORT_SYNC_FILE and _IMPORT_SYNC_FILE work as on any dma-buf. A
 *		fence whose transfer failed carries the error, which SYNC_IOC_FILE_INFO of the
 *		sync_file shows. There is no call to begin or signal a fence from user space, and
 *		there will be none: a dma-fence must signal in finite time whatever user space
 *		does. Who fills a frame by CPU, read() or io_uring tells others by his own means.
 *   devices	V4L2_MEMORY_DMABUF, PRIME (DRM), Vulkan, or any driver that imports dma-bufs.
 *
 * /dev/dma_heap/lineup answers DMA_HEAP_IOCTL_ALLOC of <linux/dma-heap.h>: each call makes a pool
 * of one cached, scattered frame that goes when the frame does. Quota and errors are those of
 * LINEUP_IOC_POOL_CREATE.
 *
 * Revocation
 * ==========
 *
 * The pool's owner takes a frame (LINEUP_IOC_FRAME_REVOKE) or all of them and the pool
 * (LINEUP_IOC_POOL_REVOKE) away from those who hold them:
 *
 *   - mappings are emptied; an access to them afterwards raises SIGBUS, for the life of the
 *     mapping. System calls that would have copied to or from it fail with -EFAULT;
 *   - mmap() and DMA_BUF_IOCTL_SYNC fail with -ENODEV, and so does attaching a device anew, when
 *     the attachment is mapped. Some drivers have an error of their own for it (VIDIOC_QBUF:
 *     -EINVAL). Drivers that fill buffers by CPU (vivid is one) get a mapping, but not of the
 *     frame: they read zeroes, and what they write goes nowhere. One made before drains, and is
 *     shared by whoever maps the frame that way before it is gone;
 *   - drivers with dynamic attachments are told (move_notify) and stop at once; static ones drain:
 *     the transfer that runs ends as it would have. Both then signal their fences, so that whoever
 *     waits in poll() on the dma-buf wakes in the time the transfer takes;
 *   - pages under DMA or pinned stay allocated until that ends. Nothing is recycled or freed under
 *     a device.
 *
 * A frame that was revoked goes back to its pool like any other when its last reference goes; only
 * one backed by shmem does not, and counts as lost. Of a revoked pool every frame is freed as soon
 * as it can be, LINEUP_IOC_FRAME_GET fails with -ENODEV, and poll() on the pool's descriptor
 * reports EPOLLHUP | EPOLLERR.
 *
 * Sync checking
 * =============
 *
 * With LINEUP_POOL_SYNC_CHECK (or the module's parameter sync_check=1, for all pools but
 * shmem-backed ones) a mapping is empty outside a DMA_BUF_IOCTL_SYNC bracket: SYNC_END of the last
 * open bracket empties it, and a CPU access by a task in user mode while no bracket is open is
 * counted (sync_violations) and traced (lineup:lineup_sync_violation) with the task, the frame and
 * the offset. The access then proceeds; until the next SYNC_END, another one to what it mapped is
 * not seen. Brackets belong to the frame, not to a task: an access of one task inside another's
 * bracket is not seen either, nor are copies made by the kernel.
 *
 * Quota
 * =====
 *
 * All bytes of a pool are charged when it is created. The first two refuse before anything is
 * allocated; the third can only refuse page by page, and what was allocated until then is freed:
 *
 *   - to the user: RLIMIT_MEMLOCK of the caller, together with what else its user has locked by
 *     io_uring and the like, unless the caller has CAP_IPC_LOCK in the initial user namespace:
 *     -EDQUOT;
 *   - to the module: its parameter max_bytes (default: half of the memory): -ENOMEM;
 *   - to the memory cgroup of the caller, which refuses with -ENOMEM and is not brought to kill
 *     anything.
 *
 * The charge goes with the memory: a frame that outlives its pool is still charged.
 * LINEUP_IOC_STATS shows charges and limits.
 *
 * Rules for every call
 * ====================
 *
 * Structs may be smaller or larger than here; the size is in the ioctl's number. What a smaller
 * one lacks at its end (only "reserved" may be missing) counts as zero; what a larger one has more
 * must be zero, else -E2BIG. In every call:
 *
 *   -EINVAL	an unknown flag is set, a reserved field, or a field marked [out] that is not also
 *		[in], is not zero; the struct ends before its field "reserved"
 *   -E2BIG	the struct has bytes beyond those the module knows, and they are not zero
 *   -EFAULT	the struct cannot be read or written. Nothing has happened: a descriptor that was
 *		to be returned does not exist
 *   -ENOTTY	no such call in this version
 *
 * On any error the struct is left as it was. All descriptors are O_CLOEXEC. Structs are the same
 * for 32-bit and 64-bit programs.
 */
#ifndef _UAPI_LINUX_LINEUP_H
#define _UAPI_LINUX_LINEUP_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Grows when something is added that a program could want to ask for. What worked with a smaller
 * number works with a larger one.
 */
#define LINEUP_ABI 1

#define LINEUP_FRAMES_MAX 4096				/* of a pool */
#define LINEUP_FRAME_BYTES_MAX (256ULL << 20)
#define LINEUP_DMA_BITS_MIN 24
#define LINEUP_DMA_BITS_MAX 64
#define LINEUP_NODE_ANY (-1)

/* lineup_version.features */
#define LINEUP_FEATURE_WRITE_COMBINE 0x1	/* LINEUP_POOL_WRITE_COMBINE can be had here */
#define LINEUP_FEATURE_SHMEM 0x2		/* LINEUP_POOL_SHMEM can be had here */

/*
 * LINEUP_IOC_VERSION: what this module can do. Works on any descriptor of /dev/lineup, with a pool
 * or without.
 */
struct lineup_version {
	__u64 features;			/* [out] LINEUP_FEATURE_* */
	__u64 frame_bytes_max;		/* [out] of a scattered frame */
	__u64 contiguous_bytes_max;	/* [out] of a frame of a pool with LINEUP_POOL_CONTIGUOUS */
	__u32 frames_max;		/* [out] of a pool */
	__u32 abi;			/* [out] LINEUP_ABI of the module */
	__u64 reserved[2];
};

/* lineup_pool_create.flags */
#define LINEUP_POOL_CONTIGUOUS 0x1	/* one run of memory a frame; else as few as can be had */
#define LINEUP_POOL_WRITE_COMBINE 0x2	/* for a CPU that writes once, in order; slow to read */
#define LINEUP_POOL_SHMEM 0x4		/* for io_uring fixed buffers on Linux 6.1; single pages */
#define LINEUP_POOL_SYNC_CHECK 0x8	/* see "Sync checking"; slow, for development */

/*
 * LINEUP_IOC_POOL_CREATE: reserve the frames and make the descriptor their owner.
 *
 *   -EBUSY	the descriptor has a pool, or is being given one
 *   -EINVAL	frame_bytes or frames is 0; node is neither -1 nor an online NUMA node; dma_bits is
 *		not 0 or 24 to 64; LINEUP_POOL_SHMEM is combined with anything else: another flag,
 *		a node, or dma_bits below 64 (the kernel decides there where pages come from)
 *   -E2BIG	frame_bytes or frames is beyond the limits in lineup_version (see also "Rules for
 *		every call")
 *   -EOPNOTSUPP	write-combined memory cannot be had on this machine
 *   -EDQUOT	the user's quota does not suffice
 *   -ENOMEM	the module's quota, the memory cgroup or the memory does not suffice: on that node,
 *		below that address, in such runs
 *   -EINTR	a fatal signal came
 */
struct lineup_pool_create {
	__u64 frame_bytes;	/* [in, out] of a frame; comes back rounded up to whole pages */
	__u32 frames;		/* [in] number of frames */
	__u32 flags;		/* [in] LINEUP_POOL_* */
	__s32 node;		/* [in] only memory of this NUMA node; or LINEUP_NODE_ANY, not 0 */
	__u32 dma_bits;		/* [in] memory below this many address bits only; 0 means 64 */
	__u64 pool;		/* [out] id, never 0, never used again while the module is loaded */
	__u64 reserved[4];
};

/*
 * LINEUP_IOC_FRAME_GET: take a free frame, as a dma-buf. Does not wait; poll() does.
 *
 *   -ENXIO	the descriptor has no pool
 *   -EAGAIN	no frame is free
 *   -ENODEV	the pool is revoked
 *   -EMFILE	no descriptor can be had; the frame stays in its pool
 *   -ENFILE, -ENOMEM	no dma-buf can be had; the frame stays in its pool
 */
struct lineup_frame_get {
	__u64 frame;		/* [out] id of this use of the frame, never used again; never 0 */
	__u32 index;		/* [out] which frame of the pool, below lineup_pool_create.frames */
	__s32 fd;		/* [out] the dma-buf, O_RDWR | O_CLOEXEC */
	__u32 flags;		/* [in] 0 */
	__u32 pad;		/* [in] 0 */
	__u64 reserved[2];
};

/*
 * LINEUP_IOC_FRAME_REVOKE: take a frame that is out or held back away from those who hold it,
 * wherever they are. Revoking it again changes nothing.
 *
 *   -ENXIO	the descriptor has no pool
 *   -ENOENT	no frame of this pool has that id: it was never given, or has come back
 */
struct lineup_frame_revoke {
	__u64 frame;		/* [in] id from LINEUP_IOC_FRAME_GET */
	__u32 flags;		/* [in] 0 */
	__u32 pad;		/* [in] 0 */
	__u64 reserved[2];
};

/*
 * LINEUP_IOC_POOL_REVOKE: the same for all frames that are out or held back, and the end of the
 * pool. Revoking it again changes nothing.
 *
 *   -ENXIO	the descriptor has no pool
 */
struct lineup_pool_revoke {
	__u32 flags;		/* [in] 0 */
	__u32 pad;		/* [in] 0 */
	__u64 reserved[2];
};

/* lineup_frame_info.state */
#define LINEUP_FRAME_REVOKED 0x1

/*
 * LINEUP_IOC_FRAME_INFO: what a descriptor of a dma-buf, from wherever it came, is. Works on any
 * descriptor of /dev/lineup.
 *
 *   -EBADF	fd is no descriptor
 *   -EINVAL	fd is no dma-buf, or not a frame of this module
 */
struct lineup_frame_info {
	__u64 frame;		/* [out] as from LINEUP_IOC_FRAME_GET; a heap's frame has one too */
	__u64 pool;		/* [out] */
	__u64 bytes;		/* [out] */
	__s32 fd;		/* [in] */
	__u32 index;		/* [out] */
	__u32 pool_flags;	/* [out] LINEUP_POOL_* */
	__s32 node;		/* [out] as asked for at creation */
	__u32 dma_bits;		/* [out] as asked for, 64 for 0 */
	__u32 state;		/* [out] LINEUP_FRAME_REVOKED or 0 */
	__u64 reserved[2];
};

/* lineup_pool_info.flags */
#define LINEUP_INFO_NEXT 0x1		/* not this pool, but the one with the next larger id */

/* lineup_pool_info.state */
#define LINEUP_POOL_CLOSED 0x1		/* its last descriptor is gone; a heap's never had one */
#define LINEUP_POOL_REVOKED 0x2
#define LINEUP_POOL_HEAP 0x4		/* made by /dev/dma_heap/lineup, or by a driver */

/*
 * LINEUP_IOC_POOL_INFO: a pool's state and counters. pool = 0 without LINEUP_INFO_NEXT is the
 * descriptor's own pool. To walk through all, begin with pool = 0 and LINEUP_INFO_NEXT, and go on
 * with the id that came back until -ENOENT. A caller may see the pools of its own user, or all
 * with CAP_SYS_ADMIN. Pools are listed as long as a frame of theirs exists.
 *
 *   -ENXIO	pool is 0 and the descriptor has none
 *   -ENOENT	there is no such pool that the caller may see
 */
struct lineup_pool_info {
	__u64 pool;		/* [in, out] */
	__u32 flags;		/* [in] LINEUP_INFO_NEXT or 0 */
	__u32 state;		/* [out] LINEUP_POOL_CLOSED, _REVOKED, _HEAP */
	__u64 frame_bytes;	/* [out] */
	__u64 bytes;		/* [out] what is charged for it now */
	__u32 pool_flags;	/* [out] LINEUP_POOL_CONTIGUOUS ... */
	__s32 node;		/* [out] */
	__u32 dma_bits;		/* [out] */
	__u32 frames;		/* [out] at creation: free + out + held_back + freed + lost */
	__u32 frames_free;	/* [out] */
	__u32 frames_out;	/* [out] */
	__u32 frames_held_back;	/* [out] without a dma-buf, but still pinned or mapped */
	__u32 frames_freed;	/* [out] of a closed or revoked pool */
	__u32 frames_lost;	/* [out] shmem-backed, revoked, come back; the pool lives */
	__u32 uid;		/* [out] who made it, as the caller's user namespace says it */
	__u32 pid;		/* [out] the process that made it; 0 if gone or not visible */
	__u32 pad;		/* [in] 0 */
	char comm[16];		/* [out] the process's name then, NUL-terminated */
	__u64 gets;		/* [out] frames given out */
	__u64 returns;		/* [out] frames that were let go, held back ones included */
	__u64 revokes;		/* [out] frames revoked */
	__u64 sync_violations;	/* [out] */
	__u64 reserved[4];
};

#define LINEUP_UNLIMITED (~0ULL)

/*
 * LINEUP_IOC_STATS: charges, limits and counters of the module and of the caller's user. Works on
 * any descriptor of /dev/lineup. Counters begin when the module is loaded.
 */
struct lineup_stats {
	__u64 bytes;			/* [out] charged to the module now */
	__u64 bytes_max;		/* [out] the module's limit */
	__u64 user_bytes;		/* [out] of pools made by the caller's user */
	__u64 user_locked_bytes;	/* [out] against its limit now, io_uring's too */
	__u64 user_bytes_max;		/* [out] the caller's limit, or LINEUP_UNLIMITED */
	__u32 pools;			/* [out] that exist now */
	__u32 frames_out;		/* [out] now */
	__u32 frames_held_back;		/* [out] now */
	__u32 fences;			/* [out] made for drivers and not yet freed */
	__u64 gets;			/* [out] frames given out */
	__u64 returns;			/* [out] frames that were let go */
	__u64 revokes;			/* [out] frames revoked */
	__u64 bytes_wiped;		/* [out] */
	__u64 refused_user;		/* [out] pools refused with -EDQUOT */
	__u64 refused_module;		/* [out] pools refused for max_bytes */
	__u64 refused_memory;		/* [out] pools refused by memory or its cgroup */
	__u64 sync_violations;		/* [out] */
	__u64 reserved[4];
};

#define LINEUP_IOC_MAGIC 0xBC

#define LINEUP_IOC_VERSION _IOWR(LINEUP_IOC_MAGIC, 0x00, struct lineup_version)
#define LINEUP_IOC_POOL_CREATE _IOWR(LINEUP_IOC_MAGIC, 0x01, struct lineup_pool_create)
#define LINEUP_IOC_POOL_INFO _IOWR(LINEUP_IOC_MAGIC, 0x02, struct lineup_pool_info)
#define LINEUP_IOC_POOL_REVOKE _IOWR(LINEUP_IOC_MAGIC, 0x03, struct lineup_pool_revoke)
#define LINEUP_IOC_FRAME_GET _IOWR(LINEUP_IOC_MAGIC, 0x04, struct lineup_frame_get)
#define LINEUP_IOC_FRAME_REVOKE _IOWR(LINEUP_IOC_MAGIC, 0x05, struct lineup_frame_revoke)
#define LINEUP_IOC_FRAME_INFO _IOWR(LINEUP_IOC_MAGIC, 0x06, struct lineup_frame_info)
#define LINEUP_IOC_STATS _IOWR(LINEUP_IOC_MAGIC, 0x07, struct lineup_stats)

#endif /* _UAPI_LINUX_LINEUP_H */
