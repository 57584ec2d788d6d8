/* SPDX-License-Identifier: MIT */
/* The library's messages: those about a request go to who asked, the others to the log. */
#ifndef LINEUPD_MESSAGE_H
#define LINEUPD_MESSAGE_H

#include "daemon.h"

enum { MESSAGE_BYTES = 256 };

/* For struct lineup_ctx_options. Any thread. */
void message_library(void *arg, enum lineup_log_level level, const char *message);
/*
 * From here on this thread's last error is put into @out of MESSAGE_BYTES, emptied first, and not into the log: it
 * may name a subject, and is the client's affair. NULL: ends that. @out must stay until then.
 */
void message_catch(char *out);

#endif
