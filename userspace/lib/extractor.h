/* SPDX-License-Identifier: MIT */
/*
 * Between the library and lineup-extract, the process of an extractor plug-in: what goes over the socket and through shared
 * memory.
 */
#ifndef LINEUP_EXTRACTOR_WIRE_H
#define LINEUP_EXTRACTOR_WIRE_H

#include "internal.h"
#include "lineup-extractor.h"

/*
 * lineup-extract PLUGIN DIM MAX MEMORY CONFIG is started with two descriptors: 3, one end of a SOCK_SEQPACKET pair, and 4, a
 * memfd that both sides map, the area:
 *
 *	offset 0                                       struct lineup_plugin_template [MAX]
 *	MAX * sizeof(struct lineup_plugin_template)    float [MAX][DIM]
 *
 *	lineup-extract                              library
 *	hello   when the plug-in is open        ->
 *	                                        <-  frame, with the frame's descriptor as SCM_RIGHTS
 *	answer, after the area was filled       ->
 *	                                        <-  frame ...
 *
 * Templates never pass through the socket, whose buffers nobody erases. A frame is sent only when the one before was answered;
 * there is nothing to wait in line. A closed socket is the end, either way. The library believes nothing: the plug-in has the
 * same descriptors as lineup-extract. So it copies the area first and looks at the copy, and after anything that is not exactly
 * so it kills the process.
 */
enum {
	LINEUP_WIRE_SOCKET = 3,
	LINEUP_WIRE_AREA = 4,
	LINEUP_WIRE_HELLO = 0x314c4548,  /* "HEL1", "FRM1", "ANS1" in little endian */
	LINEUP_WIRE_FRAME = 0x314d5246,
	LINEUP_WIRE_ANSWER = 0x31534e41,
	LINEUP_WIRE_NAME_BYTES = 32,
	LINEUP_WIRE_TEXT_BYTES = 160,
};

enum lineup_wire_sandbox { /* what could be put up */
	LINEUP_SANDBOX_SECCOMP = 1 << 0,
	LINEUP_SANDBOX_LANDLOCK = 1 << 1,
};

struct lineup_wire_hello {
	uint32_t magic;
	int32_t error;           /* 0, or -errno with the reason in .text */
	uint32_t abi;            /* of lineup-extract */
	uint32_t sandbox;        /* enum lineup_wire_sandbox */
	char name[LINEUP_WIRE_NAME_BYTES];
	char text[LINEUP_WIRE_TEXT_BYTES];
};
_Static_assert(sizeof(struct lineup_wire_hello) == 208, "on the socket");

struct lineup_wire_frame {
	uint32_t magic;
	uint32_t fourcc;
	uint32_t width, height;
	uint32_t stride;
	uint32_t dma_buf;        /* 1: the descriptor is one, and wants brackets */
	uint64_t bytes;          /* of the image */
	uint64_t timestamp_ns;
	uint64_t sequence;
	uint64_t ticket;         /* comes back in the answer */
};
_Static_assert(sizeof(struct lineup_wire_frame) == 56, "on the socket");

struct lineup_wire_answer {
	uint32_t magic;
	int32_t error;           /* of extract() */
	uint32_t count;
	uint32_t reserved;       /* zero */
	uint64_t ticket;
};
_Static_assert(sizeof(struct lineup_wire_answer) == 24, "on the socket");

static inline size_t lineup_wire_area_bytes(uint32_t max, uint32_t dim)
{
	return max * (sizeof(struct lineup_plugin_template) + dim * sizeof(float));
}
_Static_assert(sizeof(struct lineup_plugin_template) == 56, "in the area");

enum {
	LINEUP_EXTRACTOR_MAX_DEFAULT = 64,
	LINEUP_EXTRACTOR_DEADLINE_MS = 1000,
	LINEUP_EXTRACTOR_START_MS = 30000,
	LINEUP_EXTRACTOR_GRACE_MS = 3000,    /* between a closed socket and the end of the process */
	LINEUP_EXTRACTOR_END_MS = 5000,      /* a killed process is gone by then, or stuck in the kernel */
	LINEUP_EXTRACTOR_STARTS_MAX = 5,     /* failed starts in a row */
	LINEUP_EXTRACTOR_MS_MAX = 600000,
};
#define LINEUP_EXTRACTOR_MEMORY (4ull << 30)

/* extractor_process.c: the process, its socket and its end */

struct lineup_extractor_process {
	int pid;      /* 0: there is none */
	int pidfd;
	int socket;
};

/* Where lineup-extract and the plug-ins were installed. */
extern const char lineup_extractor_directory[];

/* Starts @argv[0], which gets @area as descriptor LINEUP_WIRE_AREA. -errno; silent. */
int lineup_extractor_spawn(struct lineup_extractor_process *process, char *const argv[], int area);
struct lineup_extractor_wait {
	lineup_progress_fn *progress; /* as in lineup_extractor_options */
	void *arg;
};
/*
 * Receives one message of at most @size bytes within @timeout_ms (one of the clock; signals do not end it): its size; 0: the
 * other end closed the socket or died; -ETIMEDOUT; -EMSGSIZE: it is larger, or came with descriptors, which are dropped;
 * -ECANCELED: @wait (may be NULL) ended it; -errno.
 */
int lineup_extractor_receive(struct lineup_extractor_process *process, void *message, size_t size, uint32_t timeout_ms,
			     const struct lineup_extractor_wait *wait);
/* Sends @message with the descriptor @fd. -EPIPE: the other end is closed; -EAGAIN: it does not read. */
int lineup_extractor_send(struct lineup_extractor_process *process, const void *message, size_t size, int fd);
enum { LINEUP_ENDED_UNKNOWN = -1000 };
/*
 * Closes the socket, gives the process @grace_ms to end of its own, then kills it, and waits for the end, so that it holds no
 * frame any more. *@how (may be NULL) becomes how it ended of its own: the signal's number, -1 - the exit status,
 * LINEUP_ENDED_UNKNOWN; 0 if it was killed. -EIO: it does not end.
 */
int lineup_extractor_end(struct lineup_extractor_process *process, uint32_t grace_ms, int *how);

#endif
