/* SPDX-License-Identifier: MIT */
/* The interface of extractor plug-ins: shared objects that find faces in frames and turn each into a template. */
#ifndef LINEUP_EXTRACTOR_H
#define LINEUP_EXTRACTOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A plug-in is a shared object with one function, lineup_plugin(), that returns its table. It is loaded by the program
 * lineup-extract into a process that serves one plug-in for one user of it:
 *
 *	limits and first sandbox
 *	dlopen of the plug-in, lineup_plugin()
 *	table->open()        may read files: below its own directory and the system's library directories; may start threads
 *	second sandbox       from here: no files, no memory that can be executed, besides what has been loaded
 *	table->extract()     once for each frame, always from the same thread
 *	table->close()       if the process ends in order, which nothing guarantees
 *
 * In both sandboxes there is no network, no other process, no new program, nothing that can be written, and no terminal:
 * standard input, output and error are /dev/null. A system call that is not allowed fails with EPERM. The address space is
 * limited (4 GiB unless the user asks for more).
 *
 * A call of extract() that does not return within the user's deadline (1 s) ends the process by SIGKILL; so does an answer that
 * cannot be true. The frame is then counted as failed, and the process started anew for the next. Everything a plug-in returns
 * is checked by the other side, which takes nothing on trust.
 *
 * Versions: LINEUP_PLUGIN_ABI counts incompatible changes; a plug-in of another number is not loaded. Structs grow at their
 * ends, and begin with their size as the one who filled them knows it: look at .size before you read a field that was not there
 * in the version you know.
 */
#define LINEUP_PLUGIN_ABI 1u

enum { LINEUP_PLUGIN_DIGEST_BYTES = 32 };

struct lineup_plugin_setup {
	uint32_t size;
	uint32_t dim;          /* components that are wanted. A plug-in that has only another dimension fails with -EMEDIUMTYPE */
	const char *config;    /* what the user gave for this plug-in; "" if nothing */
};

struct lineup_plugin_frame {
	uint32_t size;
	uint32_t fourcc;       /* V4L2 pixel format */
	uint32_t width, height; /* pixels */
	uint32_t stride;       /* bytes from line to line; 0: there is none (compressed) */
	int32_t fd;            /* the frame's dma-buf or memfd, read-only by agreement; borrowed: closed after the call */
	const uint8_t *data;   /* the same, mapped, within DMA_BUF_IOCTL_SYNC; gone after the call */
	uint64_t bytes;        /* of the image, from the beginning; no more may be read */
	uint64_t timestamp_ns; /* CLOCK_MONOTONIC, when it was captured */
	uint64_t sequence;     /* the device's count */
};

struct lineup_plugin_template {
	float x, y, width, height; /* of the face, in pixels, within the image */
	float quality;         /* 0 (useless) to 1 */
	uint32_t dim;          /* components written to the vector */
	/* BLAKE2b-256 of the id of the model that made the vector, as `lineup enrol --model` has it. */
	uint8_t model_digest[LINEUP_PLUGIN_DIGEST_BYTES];
};

/* Filled by extract(). */
struct lineup_plugin_result {
	uint32_t size;
	uint32_t max;          /* templates there is room for. More faces than that: the best by quality */
	uint32_t dim;          /* floats from one vector to the next: setup.dim */
	uint32_t count;        /* [out] templates filled; 0 on entry */
	struct lineup_plugin_template *templates; /* [max], zeroed */
	float *vectors;        /* [max][dim], zeroed: finite, not all zero, of any length */
};

struct lineup_plugin {
	uint32_t abi;          /* LINEUP_PLUGIN_ABI */
	uint32_t size;         /* of this struct */
	const char *name;      /* for messages: printable ASCII */
	/* Makes *@state, which may stay NULL. 0 or -errno, with the reason for the user in @error. NULL: nothing to do. */
	int (*open)(const struct lineup_plugin_setup *setup, void **state, char *error, size_t error_size);
	/* 0, also for a frame without a face; -errno for a frame that nothing can be done with. */
	int (*extract)(void *state, const struct lineup_plugin_frame *frame, struct lineup_plugin_result *result);
	/* NULL: nothing to do. */
	void (*close)(void *state);
};

/* The only symbol that is looked for. The table is static. */
__attribute__((visibility("default"))) const struct lineup_plugin *lineup_plugin(void);

#ifdef __cplusplus
}
#endif

#endif
