// SPDX-License-Identifier: MIT
// The library's messages: those about a request go to who asked, the others to the log.
#include "message.h"

#include <stdio.h>

static _Thread_local char *catcher;

void message_library(void *arg, enum lineup_log_level level, const char *message)
{
	if (catcher && level == LINEUP_LOG_ERROR)
		snprintf(catcher, MESSAGE_BYTES, "%s", message);
	else
		log_library(arg, level, message);
}

void message_catch(char *out)
{
	if (out)
		out[0] = '\0';
	catcher = out;
}
