# SPDX-License-Identifier: MIT
# lineup: `make help` lists the targets.
CC ?= gcc
BUILD ?= build
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef
CPP := -D_GNU_SOURCE -Iuserspace/include -Iuserspace/lib
STD := -std=gnu11 -ffp-contract=off -fPIC -fvisibility=hidden
LIB_SRC := $(wildcard userspace/lib/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
LIBS := -luring -lsodium -lpthread -lm

all: $(BUILD)/liblineup.a
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(WARN) $(CPP) $(STD) -MMD -c $< -o $@
$(BUILD)/liblineup.a: $(LIB_OBJ)
	rm -f $@ && ar rcs $@ $^
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/liblineup.a
	$(CC) $(CFLAGS) $< $(BUILD)/liblineup.a -lcmocka $(LIBS) -o $@
unit: $(UNIT)
	@set -e; for t in $(UNIT); do $$t; done
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.PHONY: all unit
