# SPDX-License-Identifier: MIT
# Builds, tests and installs lineup. `make help` lists the targets.
#
# Knobs, on the command line:
#
#	CC=clang		the compiler; gcc 12 and clang 14 are tested
#	CROSS_COMPILE=aarch64-linux-gnu-	prefix of a cross compiler and its tools; replaces CC and AR
#	CFLAGS="-O3 -g"		optimisation and debugging flags; the language flags are added to them
#	CPPFLAGS= LDFLAGS=	added to the project's own
#	BUILD=dir		where everything that is built goes (build)
#	SANITIZE=address,undefined | thread
#	WERROR=1		warnings are errors; tests/run.sh sets it
#	V=1			show the commands
#	PREFIX=/usr/local LIBDIR= INCLUDEDIR= MANDIR= COMPLETIONDIR= DESTDIR=	where `make install` puts things
#	FUZZ_SECONDS=60		how long `make fuzz` runs each fuzzer
#	BENCH_FLAGS=		options for `lineup bench` in `make bench`
#	KVER=release KDIR=dir	the kernel for `make kmod`, by its release or by where its headers are (uname -r, /lib/modules/$(KVER)/build)
#	KFLAGS="W=1 C=2"	what else the kernel's own build is told
#
# A change of any of them rebuilds what depends on it.

BUILD ?= build
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
FUZZ_SECONDS ?= 60
BENCH_FLAGS ?=
INSTALL ?= install

ifdef CROSS_COMPILE
CC := $(CROSS_COMPILE)gcc
AR := $(CROSS_COMPILE)ar
else ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= $(if $(SANITIZE),-O1,-O2) -g

# Hardening that costs nothing measurable. Fortification needs an optimising compiler and blunts the sanitizers.
HARDEN := -fstack-protector-strong
ifeq ($(SANITIZE)$(filter -O0,$(CFLAGS)),)
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
HARDEN_LINK := -Wl,-z,relro -Wl,-z,now
SANITIZE_FLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all)

# -ffp-contract=off: a fused multiply-add the source does not ask for would change the last bit of a score.
# -fvisibility=hidden: lineup.h makes its own functions visible, liblineup.map exports them.
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef $(if $(WERROR),-Werror)
LANGUAGE := -std=gnu11 -ffp-contract=off -fPIC -fvisibility=hidden -pthread
# The program knows the library by lineup.h only.
INCLUDE = -D_GNU_SOURCE -Iuserspace/include $(if $(filter userspace/cli/%,$<),,-Iuserspace/lib)
COMPILE = $(CC) $(LANGUAGE) $(WARN) $(HARDEN) $(SANITIZE_FLAGS) $(INCLUDE) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) -pthread -pie $(SANITIZE_FLAGS) $(HARDEN_LINK) -Wl,--as-needed $(CFLAGS) $(LDFLAGS)

VERSION_PART = $(shell sed -n 's/^\#define LINEUP_VERSION_$(1) //p' userspace/include/lineup.h)
SOVERSION := $(call VERSION_PART,MAJOR)
VERSION := $(SOVERSION).$(call VERSION_PART,MINOR).$(call VERSION_PART,PATCH)

# The NEON backend's intrinsics need its instructions on the command line (clang 14 has no other way); whether the CPU has them is asked at run time.
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
$(BUILD)/userspace/lib/score_neon.o: ARCH := $(if $(filter aarch64-%,$(MACHINE)),-march=armv8.2-a+dotprod)

LIB_LIBS := -luring -lsodium -lm
LIB_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard userspace/lib/*.c))
CLI_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard userspace/cli/*.c))
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_HELP_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c)))
UNIT := $(patsubst %.c,$(BUILD)/%,$(UNIT_SRC))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRC))
REPLAYS := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/tests/fuzz/replay_%,$(FUZZ_SRC))
BENCH := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/*.c))
PEERS := $(patsubst %.cpp,$(BUILD)/%,$(wildcard tests/bench/*.cpp))
MAN := $(wildcard userspace/man/*.1 userspace/man/*.5)
COMPLETION := $(wildcard userspace/completion/lineup)

STATIC := $(BUILD)/liblineup.a
SHARED := $(BUILD)/liblineup.so.$(VERSION)
PROGRAM := $(if $(CLI_OBJ),$(BUILD)/lineup)

# For the targets that build and then run: all CPUs, unless make was told already.
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc))

ifneq ($(V),1)
Q := @
SAY = @printf '  %-7s %s\n' $(1) $(patsubst $(BUILD)/%,%,$(2));
endif

all: $(STATIC) $(SHARED) $(BUILD)/liblineup.pc $(PROGRAM)

help:
	@echo 'make           build the library and the program into $(BUILD)/'
	@echo 'make demo      install what building needs, build, enrol the bundled faces, search them'
	@echo 'make check     install what testing needs, run all tests (tests/run.sh)'
	@echo 'make unit      build and run the unit tests only'
	@echo 'make check-kdebug   test the kernel module in a kernel with KASAN, lockdep and more, which is built first: half an hour or more'
	@echo 'make bench     build and run `lineup bench`; BENCH_FLAGS="--n 1000000 --dim 512"'
	@echo 'make bench-programs   build the programs of tests/bench; `make bench-peers` those that need other engines'
	@echo 'make fuzz      run each fuzzer for FUZZ_SECONDS ($(FUZZ_SECONDS)); needs clang'
	@echo 'make install   into $$(DESTDIR)$(PREFIX); `make uninstall` takes it away again'
	@echo 'make kmod      build the kernel module for KVER ($(KVER)); `make kmod-install`, `make kmod-uninstall`, `make kmod-dkms`'
	@echo 'make setup     install the Debian packages that building needs'
	@echo 'make clean     remove $(BUILD)/'
	@echo 'The knobs are at the top of the Makefile.'

setup:
	$(Q)packaging/setup.sh build

demo:
	$(Q)packaging/setup.sh build
	$(Q)$(MAKE) --no-print-directory $(PARALLEL) all
	$(Q)BUILD='$(BUILD)' tests/demo.sh

check:
	$(Q)tests/run.sh

unit: unit-programs
	$(Q)set -e; for t in $(UNIT); do echo "$$t"; $$t; done

unit-programs: $(UNIT)

bench: all
	$(BUILD)/lineup bench $(BENCH_FLAGS)

bench-programs: $(BENCH)

bench-peers: $(PEERS)

# Fuzzers are a build of their own: the library must carry the coverage counters too.
fuzz:
	$(Q)$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)/fuzz SANITIZE=address,undefined,fuzzer-no-link $(PARALLEL) fuzzers
	$(Q)for f in $(notdir $(FUZZERS)); do \
		mkdir -p $(BUILD)/fuzz/found/$$f; \
		$(BUILD)/fuzz/tests/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			-artifact_prefix=$(BUILD)/fuzz/found/$$f- $(BUILD)/fuzz/found/$$f tests/fuzz/corpus/$${f#fuzz_} >$(BUILD)/fuzz/$$f.log 2>&1 || \
			{ tail -n 40 $(BUILD)/fuzz/$$f.log; echo "$$f found something, see $(BUILD)/fuzz/$$f.log"; exit 1; }; \
		echo "$$f: $$(sed -n 's/^stat::number_of_executed_units: *//p' $(BUILD)/fuzz/$$f.log) inputs in $(FUZZ_SECONDS) s, nothing found"; \
	done

fuzzers: $(FUZZERS)

replays: $(REPLAYS)

# Everything that is compiled depends on this file, which changes when a flag does. Missing headers are named here, once, by package.
FLAGS = $(COMPILE) $(LINK) $(MACHINE) $(VERSION)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D); \
	printf '%s\n' '$(subst ','\'',$(FLAGS))' | cmp -s - $@ && exit 0; \
	for header in liburing:liburing-dev sodium:libsodium-dev jansson:libjansson-dev; do \
		printf '#include <%s.h>\n' "$${header%%:*}" | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1 && continue; \
		echo "lineup: $(CC) finds no $${header%%:*}.h (Debian: $${header#*:}); \`make setup\` installs what is missing" >&2; exit 1; \
	done; \
	printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call SAY,CC,$@)$(COMPILE) $(ARCH) -MMD -MP -c $< -o $@

$(STATIC): $(LIB_OBJ)
	$(call SAY,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(SHARED): $(LIB_OBJ) userspace/lib/liblineup.map
	$(call SAY,LD,$@)$(CC) -shared -pthread $(SANITIZE_FLAGS) $(HARDEN_LINK) -Wl,--as-needed $(CFLAGS) $(LDFLAGS) \
		-Wl,-soname,liblineup.so.$(SOVERSION) -Wl,--version-script=userspace/lib/liblineup.map $(LIB_OBJ) $(LIB_LIBS) -o $@
	@ln -sf $(notdir $@) $(BUILD)/liblineup.so.$(SOVERSION)
	@ln -sf liblineup.so.$(SOVERSION) $(BUILD)/liblineup.so

$(BUILD)/lineup: $(CLI_OBJ) $(STATIC)
	$(call SAY,LD,$@)$(LINK) $^ -ljansson $(LIB_LIBS) -o $@

# The file says where things will be, so it follows the install directories as well as the template.
PC := s|@PREFIX@|$(PREFIX)|;s|@LIBDIR@|$(LIBDIR)|;s|@INCLUDEDIR@|$(INCLUDEDIR)|;s|@VERSION@|$(VERSION)|
$(BUILD)/liblineup.pc: packaging/liblineup.pc.in FORCE
	@mkdir -p $(@D); sed '$(PC)' $< >$@.new; if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/tests/unit/helpers.a: $(UNIT_HELP_OBJ)
	@rm -f $@
	$(call SAY,AR,$@)$(AR) rcs $@ $^

$(UNIT): $(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(if $(UNIT_HELP_OBJ),$(BUILD)/tests/unit/helpers.a) $(STATIC)
	$(call SAY,LD,$@)$(LINK) $^ -lcmocka $(LIB_LIBS) -o $@

$(FUZZERS): $(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(STATIC)
	$(call SAY,LD,$@)$(LINK) -fsanitize=fuzzer $^ $(LIB_LIBS) -o $@

$(REPLAYS): $(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(STATIC)
	$(call SAY,LD,$@)$(LINK) $^ $(LIB_LIBS) -o $@

$(BENCH): $(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(STATIC)
	$(call SAY,LD,$@)$(LINK) $^ $(LIB_LIBS) -o $@

# Optional: `packaging/setup.sh bench` installs what they need.
$(PEERS): $(BUILD)/tests/bench/%: tests/bench/%.cpp $(STATIC)
	@mkdir -p $(@D)
	$(call SAY,CXX,$@)$(CXX) -std=c++17 -fopenmp -pthread $(INCLUDE) $(CPPFLAGS) $(CFLAGS) $< $(STATIC) -lfaiss -lopenblas $(LIB_LIBS) $(LDFLAGS) -o $@

INSTALLED = $(BINDIR)/lineup $(INCLUDEDIR)/lineup.h $(LIBDIR)/liblineup.a $(LIBDIR)/liblineup.so.$(VERSION) \
	$(LIBDIR)/liblineup.so.$(SOVERSION) $(LIBDIR)/liblineup.so $(LIBDIR)/pkgconfig/liblineup.pc \
	$(foreach m,$(MAN),$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) $(COMPLETIONDIR)/lineup

install: all
	$(Q)$(INSTALL) -d $(addprefix '$(DESTDIR)',$(sort $(dir $(INSTALLED))))
	$(Q)$(INSTALL) -m 755 $(BUILD)/lineup '$(DESTDIR)$(BINDIR)/lineup'
	$(Q)$(INSTALL) -m 644 userspace/include/lineup.h '$(DESTDIR)$(INCLUDEDIR)/lineup.h'
	$(Q)$(INSTALL) -m 644 $(STATIC) '$(DESTDIR)$(LIBDIR)/liblineup.a'
	$(Q)$(INSTALL) -m 755 $(SHARED) '$(DESTDIR)$(LIBDIR)/liblineup.so.$(VERSION)'
	$(Q)ln -sf liblineup.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/liblineup.so.$(SOVERSION)'
	$(Q)ln -sf liblineup.so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/liblineup.so'
	$(Q)$(INSTALL) -m 644 $(BUILD)/liblineup.pc '$(DESTDIR)$(LIBDIR)/pkgconfig/liblineup.pc'
	$(Q)set -e; for m in $(MAN); do $(INSTALL) -m 644 $$m '$(DESTDIR)$(MANDIR)'/man$${m##*.}/; done
	$(Q)$(INSTALL) -m 644 $(COMPLETION) '$(DESTDIR)$(COMPLETIONDIR)/lineup'
	$(Q)[ -n '$(DESTDIR)' ] || [ "$$(id -u)" != 0 ] || ldconfig

uninstall:
	$(Q)rm -f $(foreach f,$(INSTALLED),'$(DESTDIR)$(f)')

# ---- the kernel module ----

# Objects of two kernels must not meet, so each has a copy of the sources. The kernel's build is another world: it is told nothing of
# the knobs above but KFLAGS.
KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
KMOD := $(BUILD)/kmod-$(KVER)
KMOD_DIR := /lib/modules/$(KVER)/updates
KMOD_DKMS := /usr/src/lineup-$(VERSION)
KMOD_INSTALLED = $(KMOD_DIR)/lineup.ko $(INCLUDEDIR)/linux/lineup.h /usr/lib/udev/rules.d/70-lineup.rules /usr/lib/sysusers.d/lineup.conf

kmod:
	@[ -d '$(KDIR)' ] || { echo 'lineup: no kernel headers in $(KDIR) (Debian: linux-headers-$(KVER)); KVER= names another kernel' >&2; exit 1; }
	$(Q)mkdir -p $(KMOD)
	$(Q)cp -pru Kbuild kmod $(KMOD)/
	$(Q)env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES make -j$$(nproc) -C '$(KDIR)' M='$(abspath $(KMOD))' $(KFLAGS) modules

kmod-files:
	$(Q)$(INSTALL) -d $(addprefix '$(DESTDIR)',$(sort $(dir $(KMOD_INSTALLED))))
	$(Q)$(INSTALL) -m 644 kmod/uapi/linux/lineup.h '$(DESTDIR)$(INCLUDEDIR)/linux/lineup.h'
	$(Q)$(INSTALL) -m 644 packaging/lineup.rules '$(DESTDIR)/usr/lib/udev/rules.d/70-lineup.rules'
	$(Q)$(INSTALL) -m 644 packaging/lineup.sysusers '$(DESTDIR)/usr/lib/sysusers.d/lineup.conf'
	$(Q)[ -n '$(DESTDIR)' ] || [ "$$(id -u)" != 0 ] || ! command -v systemd-sysusers >/dev/null || systemd-sysusers lineup.conf

kmod-install: kmod kmod-files
	$(Q)$(INSTALL) -m 644 $(KMOD)/kmod/lineup.ko '$(DESTDIR)$(KMOD_DIR)/lineup.ko'
	$(Q)[ -n '$(DESTDIR)' ] || depmod -a '$(KVER)'

kmod-dkms: kmod-files
	$(Q)$(INSTALL) -d '$(DESTDIR)$(KMOD_DKMS)'
	$(Q)cp -r Kbuild kmod LICENSES '$(DESTDIR)$(KMOD_DKMS)/'
	$(Q)sed 's/@VERSION@/$(VERSION)/' packaging/dkms.conf.in >'$(DESTDIR)$(KMOD_DKMS)/dkms.conf'
	@echo 'next: dkms install lineup/$(VERSION)'

kmod-uninstall:
	$(Q)rm -f $(foreach f,$(KMOD_INSTALLED),'$(DESTDIR)$(f)')
	$(Q)rm -rf '$(DESTDIR)$(KMOD_DKMS)'
	$(Q)[ -n '$(DESTDIR)' ] || depmod -a '$(KVER)'

# ---- its tests in a kernel that checks itself ----

check-kdebug:
	$(Q)LINEUP_KDEBUG=all tests/run.sh kernel_tests_on_a_debug_kernel

# ---- the end of it ----

clean:
	$(Q)rm -rf $(BUILD)

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(CLI_OBJ) $(UNIT_HELP_OBJ)) \
	$(patsubst %,%.d,$(UNIT) $(FUZZERS) $(BENCH)) $(BUILD)/tests/fuzz/replay.d

FORCE:
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all help setup demo check unit unit-programs bench bench-programs bench-peers fuzz fuzzers replays install uninstall clean FORCE \
	kmod kmod-files kmod-install kmod-dkms kmod-uninstall check-kdebug
