/* SPDX-License-Identifier: ((GPL-2.0-only WITH Linux-syscall-note) OR MIT) */
/*
 * The ABI of /dev/educapN, the sample capture card: QEMU's "edu" device, which has 4 KiB of memory
 * and a DMA engine.
 *
 * EDUCAP_IOC_TRANSFER starts a transfer between the card and a dma-buf, and returns. The dma-buf
 * gets a fence: poll() on it for POLLIN (to the frame) or POLLOUT (to the card) tells the end, and
 * SYNC_IOC_FILE_INFO of a sync_file that was exported from it meanwhile, whether it went well:
 *
 *   -ENODEV	the card was unplugged or unbound, or the frame revoked, while the transfer ran
 *
 * The card moves EDUCAP_PIECE_BYTES at a time, in 100 ms, always through the same piece of its
 * memory: to the card, the last piece is what it keeps; to the frame, it repeats that piece.
 */
#ifndef EDUCAP_H
#define EDUCAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define EDUCAP_PIECE_BYTES 2048
#define EDUCAP_BYTES_MAX 65536

#define EDUCAP_TO_CARD 0
#define EDUCAP_TO_FRAME 1

/*
 *   -EINVAL	direction is neither; bytes is 0 or more than EDUCAP_BYTES_MAX; offset or bytes is
 *		no multiple of 8, or beyond the dma-buf's end; reserved is not 0; fd is no dma-buf
 *   -EBADF	fd is no descriptor
 *   -EBUSY	a transfer runs
 *   -ENODEV	the card is gone, or the frame is revoked
 *   -EIO	the frame is where the card does not reach
 *   -EINTR	a signal came while it waited for other users of the dma-buf
 */
struct educap_transfer {
	__u64 offset;		/* [in] into the dma-buf */
	__u32 bytes;		/* [in] */
	__u32 direction;	/* [in] EDUCAP_TO_CARD, EDUCAP_TO_FRAME */
	__s32 fd;		/* [in] the dma-buf */
	__u32 reserved;		/* [in] 0 */
};

#define EDUCAP_IOC_TRANSFER _IOW(0xBC, 0x40, struct educap_transfer)

#endif
