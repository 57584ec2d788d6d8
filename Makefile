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
#	VULKAN=auto | 1 | 0	with or without GPUs; auto: with, if the headers and the shader compiler are there
#	WERROR=1		warnings are errors; tests/run.sh sets it
#	V=1			show the commands
#	DAEMON=auto | 1 | 0	with or without lineupd and the client of it; auto: with, if the libraries that they need are there
#	EXTRACTORS=0 DRM=0	build without extractor plug-ins (libseccomp), without DRM import (libdrm); each is built where it can be
#	PREFIX=/usr/local SBINDIR= LIBDIR= LIBEXECDIR= INCLUDEDIR= MANDIR= COMPLETIONDIR= DOCDIR= SYSTEMDDIR= DESTDIR=	where `make install` puts things
#	FUZZ_SECONDS=60		how long `make fuzz` runs each fuzzer
#	BENCH_FLAGS=		options for `lineup bench` in `make bench`
#	KVER=release KDIR=dir	the kernel for `make kmod`, by its release or by where its headers are (uname -r, /lib/modules/$(KVER)/build)
#	KFLAGS="W=1 C=2"	what else the kernel's own build is told
#
# A change of any of them rebuilds what depends on it.

BUILD ?= build
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
LIBEXECDIR ?= $(PREFIX)/libexec
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
DOCDIR ?= $(PREFIX)/share/doc/lineup
SYSTEMDDIR ?= $(PREFIX)/lib
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
# The programs know the library by lineup.h only.
INCLUDE = -D_GNU_SOURCE -Iuserspace/include $(if $(filter userspace/cli/% userspace/daemon/%,$<),,-Iuserspace/lib -Ikmod/uapi -Ikmod/samples)
COMPILE = $(CC) $(LANGUAGE) $(WARN) $(HARDEN) $(SANITIZE_FLAGS) $(INCLUDE) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) -pthread -pie $(SANITIZE_FLAGS) $(HARDEN_LINK) -Wl,--as-needed $(CFLAGS) $(LDFLAGS)

VERSION_PART = $(shell sed -n 's/^\#define LINEUP_VERSION_$(1) //p' userspace/include/lineup.h)
SOVERSION := $(call VERSION_PART,MAJOR)
VERSION := $(SOVERSION).$(call VERSION_PART,MINOR).$(call VERSION_PART,PATCH)

# The NEON backend's intrinsics need its instructions on the command line (clang 14 has no other way); whether the CPU has them is asked at run time.
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
$(BUILD)/userspace/lib/score_neon.o: ARCH := $(if $(filter aarch64-%,$(MACHINE)),-march=armv8.2-a+dotprod)

# Optional parts of the capture stage, built where a program that uses their library links.
HASH := \#
LINKS = $(shell printf "$(HASH)include <$(1)>\nint main(void) { return !$(2); }\n" | $(CC) $(CPPFLAGS) $(3) -x c - $(4) -o /dev/null 2>/dev/null && echo 1)
ifndef EXTRACTORS
EXTRACTORS := $(call LINKS,seccomp.h,seccomp_init(0),,-lseccomp)
endif
ifndef DRM
DRM := $(call LINKS,xf86drm.h,drmAvailable(),-I/usr/include/libdrm,-ldrm)
endif
CAPTURE_FLAGS := $(if $(filter 1,$(EXTRACTORS)),-DLINEUP_HAVE_EXTRACTORS) $(if $(filter 1,$(DRM)),-DLINEUP_HAVE_DRM -I/usr/include/libdrm)
$(BUILD)/userspace/lib/capture_drm.o $(BUILD)/userspace/lib/extractor.o: ARCH := $(CAPTURE_FLAGS)
$(BUILD)/userspace/lib/extractor_process.o: ARCH := -DLINEUP_EXTRACTOR_DIR='"$(LIBEXECDIR)/lineup"'

# GPUs: Vulkan's loader is opened at run time, so its headers are all that is needed of it. Without: stubs.c alone.
GLSLANG ?= glslangValidator
SPIRV_VAL ?= spirv-val
VULKAN_CPP := $(CPPFLAGS) -I/usr/include/libdrm
VULKAN_FOUND = $(shell printf '\043include <%s>\n' vulkan/vulkan_core.h xf86drm.h numa.h | $(CC) $(VULKAN_CPP) -E -x c - >/dev/null 2>&1 && \
	command -v $(GLSLANG) >/dev/null && command -v $(SPIRV_VAL) >/dev/null && \
	[ -f "$$($(CC) -print-file-name=libdrm.so)" ] && [ -f "$$($(CC) -print-file-name=libnuma.so)" ] && echo 1 || echo 0)
ifneq ($(filter-out auto,$(VULKAN)),)
VULKAN_ON := $(filter 1,$(VULKAN))
else
VULKAN_ON := $(filter 1,$(VULKAN_FOUND))
endif
VULKAN_HEADERS := $(if $(VULKAN_ON),$(shell printf '\043include <vulkan/vulkan_core.h>\nVK_HEADER_VERSION_COMPLETE\n' | \
	$(CC) $(VULKAN_CPP) -E -P -x c - 2>/dev/null | tail -n 1 | tr -cs 0-9 ' ' | awk '{ print $$5 "." $$8 "." $$NF }'))
VULKAN_SRC := $(wildcard userspace/lib/vulkan/*.c)
VULKAN_SRC := $(if $(VULKAN_ON),$(filter-out %/stubs.c,$(VULKAN_SRC)),$(filter %/stubs.c,$(VULKAN_SRC)))
$(BUILD)/userspace/lib/vulkan/%.o $(BUILD)/tests/unit/test_vulkan_%.o: INCLUDE += -I/usr/include/libdrm

# What `lineup info --build` says of it.
$(BUILD)/userspace/cli/%.o: INCLUDE += $(if $(DAEMON_ON),-DCLI_DAEMON)
$(BUILD)/userspace/cli/cmd_info.o: ARCH := $(if $(VULKAN_ON),-DCLI_VULKAN_HEADERS='"$(VULKAN_HEADERS)"')

# The daemon, and what the program needs to talk to it. A cross compiler may find the headers of this machine, but not its libraries.
DAEMON_LIBS := -lgnutls -lmicrohttpd -linih -lsystemd -lseccomp -lsqlite3 -ljansson
ifneq ($(filter-out auto,$(DAEMON)),)
DAEMON_ON := $(filter 1,$(DAEMON))
else
DAEMON_FOUND := $(foreach h,gnutls/gnutls.h microhttpd.h ini.h systemd/sd-daemon.h seccomp.h sqlite3.h hiredis/hiredis.h,$(HASH)include <$(h)>\n)
DAEMON_ON := $(shell printf '$(DAEMON_FOUND)int main(void) { return 0; }\n' | \
	$(CC) $(CPPFLAGS) -x c - $(DAEMON_LIBS) -lhiredis -o /dev/null 2>/dev/null && echo 1)
endif
DAEMON_SRC := $(if $(DAEMON_ON),$(wildcard userspace/daemon/*.c))
DAEMON_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(DAEMON_SRC))
LINEUPD := $(if $(filter %/main.o,$(DAEMON_OBJ)),$(BUILD)/lineupd)
UNIT_FILE := $(if $(LINEUPD),$(BUILD)/lineupd.service)

LIB_LIBS := -luring -lsodium $(if $(filter 1,$(VULKAN_ON) $(DRM)),-ldrm) $(if $(VULKAN_ON),-lnuma) -lm
LIB_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard userspace/lib/*.c) $(VULKAN_SRC))
# Without the daemon's libraries nothing talks to it.
CLI_REMOTE := $(addprefix userspace/cli/,remote.c remote_search.c remote_change.c cmd_load.c load_run.c load_plot.c cmd_top.c)
CLI_SRC := $(filter-out $(if $(DAEMON_ON),%/remote_none.c,$(CLI_REMOTE)),$(wildcard userspace/cli/*.c)) $(if $(DAEMON_ON),userspace/daemon/histogram.c)
CLI_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(CLI_SRC))
# Tests of what is not built in are not built either.
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_HELP_SRC := $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c))
ifeq ($(VULKAN_ON),)
UNIT_SRC := $(filter-out tests/unit/test_vulkan_%,$(UNIT_SRC))
UNIT_HELP_SRC := $(filter-out tests/unit/faulty_vk.c tests/unit/vulkan_%,$(UNIT_HELP_SRC))
endif
ifeq ($(DAEMON_ON),)
UNIT_SRC := $(filter-out tests/unit/test_daemon_%,$(UNIT_SRC))
UNIT_HELP_SRC := $(filter-out tests/unit/daemon_%,$(UNIT_HELP_SRC))
endif
UNIT_HELP_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(UNIT_HELP_SRC))
UNIT := $(patsubst %.c,$(BUILD)/%,$(UNIT_SRC))
FUZZ_SRC := $(filter-out $(if $(DAEMON_ON),,tests/fuzz/fuzz_daemon_%),$(wildcard tests/fuzz/fuzz_*.c))
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRC))
REPLAYS := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/tests/fuzz/replay_%,$(FUZZ_SRC))
BENCH := $(patsubst %.c,$(BUILD)/%,$(filter-out $(if $(VULKAN_ON),,tests/bench/vulkan_%),$(wildcard tests/bench/*.c)))
PEERS := $(patsubst %.cpp,$(BUILD)/%,$(wildcard tests/bench/*.cpp))
MAN := $(filter-out $(if $(LINEUPD),,%/lineupd.8 %/lineup.conf.5),$(wildcard userspace/man/*.1 userspace/man/*.5 userspace/man/*.8))
COMPLETION := $(wildcard userspace/completion/lineup)

STATIC := $(BUILD)/liblineup.a
SHARED := $(BUILD)/liblineup.so.$(VERSION)
PROGRAM := $(if $(CLI_OBJ),$(BUILD)/lineup)
PLUGINS := $(addprefix $(BUILD)/extractors/,inband.so pattern.so)
EXTRACT := $(if $(filter 1,$(EXTRACTORS)),$(BUILD)/extractors/lineup-extract $(PLUGINS))
TEST_PLUGINS := $(if $(EXTRACT),$(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/plugins/*.c)))

# For the targets that build and then run: all CPUs, unless make was told already.
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc))

ifneq ($(V),1)
Q := @
SAY = @printf '  %-7s %s\n' $(1) $(patsubst $(BUILD)/%,%,$(2));
endif

all: $(STATIC) $(SHARED) $(BUILD)/liblineup.pc $(PROGRAM) $(LINEUPD) $(UNIT_FILE) $(EXTRACT)

help:
	@echo 'make           build the library and the program into $(BUILD)/'
	@echo 'make demo      install what building needs, build, enrol the bundled faces, search them'
	@echo 'make check     install what testing needs, run all tests (tests/run.sh)'
	@echo 'make check-soak   let the daemon work and be killed for half an hour: nothing lost, memory flat'
	@echo 'make unit      build and run the unit tests only'
	@echo 'make check-kdebug   test the kernel module in a kernel with KASAN, lockdep and more, which is built first: half an hour or more'
	@echo 'make bench     build and run `lineup bench`; BENCH_FLAGS="--n 1000000 --dim 512"'
	@echo 'make bench-programs   build the programs of tests/bench; `make bench-peers` those that need other engines'
	@echo 'make fuzz      run each fuzzer for FUZZ_SECONDS ($(FUZZ_SECONDS)); needs clang'
	@echo 'make install   into $$(DESTDIR)$(PREFIX); `make uninstall` takes it away again'
	@echo 'make kmod      build the kernel module for KVER ($(KVER)); `make kmod-install`, `make kmod-uninstall`, `make kmod-dkms`'
	@echo 'make setup     install the Debian packages that building needs; `packaging/setup.sh gpu` those for GPUs'
	@echo 'make clean     remove $(BUILD)/'
	@echo 'The knobs are at the top of the Makefile.'

# Whether GPUs are built in, for scripts: 1 or 0.
print-vulkan:
	@echo $(or $(VULKAN_ON),0)

# Likewise the daemon.
print-daemon:
	@echo $(or $(DAEMON_ON),0)

setup:
	$(Q)packaging/setup.sh build

demo:
	$(Q)packaging/setup.sh build
	$(Q)$(MAKE) --no-print-directory $(PARALLEL) all
	$(Q)BUILD='$(BUILD)' tests/demo.sh

check:
	$(Q)tests/run.sh

# Of the daemon, longer than `make check` has time for: 200 rounds of concurrent clients and kills, and ten minutes of load with memory watched.
check-soak: daemon-programs
	$(Q)BUILD='$(BUILD)' tests/daemon/soak.sh

unit: unit-programs
	$(Q)set -e; for t in $(UNIT); do echo "$$t"; $$t; done

unit-programs: $(UNIT) $(EXTRACT) $(TEST_PLUGINS)

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
FLAGS = $(COMPILE) $(LINK) $(MACHINE) $(VERSION) $(CAPTURE_FLAGS) $(if $(VULKAN_ON),Vulkan $(VULKAN_HEADERS)) $(if $(DAEMON_ON),daemon)
HEADERS = liburing:liburing-dev sodium:libsodium-dev jansson:libjansson-dev \
	$(if $(VULKAN_ON),vulkan/vulkan_core:libvulkan-dev xf86drm:libdrm-dev numa:libnuma-dev)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D); \
	printf '%s\n' '$(subst ','\'',$(FLAGS))' | cmp -s - $@ && exit 0; \
	for header in $(HEADERS); do \
		printf '#include <%s.h>\n' "$${header%%:*}" | $(CC) $(VULKAN_CPP) -E -x c - >/dev/null 2>&1 && continue; \
		echo "lineup: $(CC) finds no $${header%%:*}.h (Debian: $${header#*:}); \`make setup\` installs what is missing" >&2; exit 1; \
	done; \
	printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call SAY,CC,$@)$(COMPILE) $(ARCH) -MMD -MP -c $< -o $@

# ---- shaders ----
#
# Each module is one shader with one set of definitions, validated, and linked into shaders.o. Of the cooperative-matrix modules glslang writes NV's form;
# nv2khr, which runs on the machine that builds, turns it into KHR's, which spirv-val does not know yet.

HOSTCC ?= $(if $(CROSS_COMPILE),gcc,$(CC))
SHADER_DIR := $(BUILD)/shaders
SHADER_SRC := $(wildcard shaders/*.comp shaders/*.glsl) shaders/params.h
SHADERS_GLSL := unpack refresh read gemv_scalar gemv_dot scan_scalar scan_dot scan_nv scan_emulated peak_scalar peak_dot peak_nv
SHADERS := $(patsubst %,$(SHADER_DIR)/%.spv,$(SHADERS_GLSL) scan_khr peak_khr)
SHADER_FLAGS = $(GLSLANG) -V --target-env vulkan1.2 -g0 -Ishaders
SHADER_DEFINE = $(if $(findstring _dot,$1),-DDOT)$(if $(findstring _nv,$1),-DMATRIX)$(if $(findstring _emulated,$1),-DMATRIX -DEMULATED)

$(SHADER_DIR)/flags: FORCE
	@mkdir -p $(@D); echo '$(SHADER_FLAGS) $(SPIRV_VAL) $(HOSTCC)' | cmp -s - $@ || echo '$(SHADER_FLAGS) $(SPIRV_VAL) $(HOSTCC)' >$@

# glslang names its input on standard output, whatever happens; its errors go there too.
$(patsubst %,$(SHADER_DIR)/%.spv,$(SHADERS_GLSL)): $(SHADER_DIR)/%.spv: $(SHADER_SRC) $(SHADER_DIR)/flags
	$(call SAY,GLSL,$@)$(SHADER_FLAGS) $(call SHADER_DEFINE,$*) shaders/$(firstword $(subst _, ,$*)).comp -o $@ >$@.log || \
		{ cat $@.log >&2; exit 1; }
	$(Q)$(SPIRV_VAL) --target-env vulkan1.2 $@

$(SHADER_DIR)/nv2khr: shaders/nv2khr.c $(SHADER_DIR)/flags
	$(call SAY,HOSTCC,$@)$(HOSTCC) -std=gnu11 -O1 $(WARN) $< -o $@

$(SHADER_DIR)/%_khr.spv: $(SHADER_DIR)/%_nv.spv $(SHADER_DIR)/nv2khr
	$(call SAY,KHR,$@)$(SHADER_DIR)/nv2khr $< $@

shaders: $(SHADERS)

$(BUILD)/userspace/lib/vulkan/shaders.o: $(SHADERS)
$(BUILD)/userspace/lib/vulkan/shaders.o: ARCH := -DLINEUP_SHADERS='"$(SHADER_DIR)"'

$(STATIC): $(LIB_OBJ)
	$(call SAY,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(SHARED): $(LIB_OBJ) userspace/lib/liblineup.map
	$(call SAY,LD,$@)$(CC) -shared -pthread $(SANITIZE_FLAGS) $(HARDEN_LINK) -Wl,--as-needed $(CFLAGS) $(LDFLAGS) \
		-Wl,-soname,liblineup.so.$(SOVERSION) -Wl,--version-script=userspace/lib/liblineup.map $(LIB_OBJ) $(LIB_LIBS) -o $@
	@ln -sf $(notdir $@) $(BUILD)/liblineup.so.$(SOVERSION)
	@ln -sf liblineup.so.$(SOVERSION) $(BUILD)/liblineup.so

# The process of extractors, and plug-ins: without the sanitizers, whose system calls the sandbox forbids. The library's files are compiled for them again.
EXTRACTOR_HDR := $(wildcard userspace/include/*.h userspace/extractors/*.h) $(addprefix userspace/lib/,extractor.h inband.h internal.h)
$(BUILD)/extractors/inband.so: userspace/extractors/plugin_inband.c userspace/lib/inband.c userspace/lib/crc32c.c
$(BUILD)/extractors/pattern.so: userspace/extractors/plugin_pattern.c
$(BUILD)/extractors/lineup-extract: userspace/extractors/main.c userspace/extractors/sandbox.c
$(TEST_PLUGINS): $(BUILD)/tests/plugins/%.so: tests/plugins/%.c
$(EXTRACT) $(TEST_PLUGINS): SANITIZE_FLAGS :=
$(EXTRACT) $(TEST_PLUGINS): $(EXTRACTOR_HDR) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call SAY,LD,$@)$(COMPILE) $(if $(filter %.so,$@),-shared,-pie) $(HARDEN_LINK) $(LDFLAGS) $(filter %.c,$^) $(if $(filter %.so,$@),,-lseccomp -ldl) -o $@

# Where things will be, for the one file that is compiled with it.
$(BUILD)/userspace/lib/extractor_process.o: $(BUILD)/dirs
$(BUILD)/dirs: FORCE
	@mkdir -p $(@D); printf '%s\n' '$(LIBEXECDIR)' >$@.new; if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/lineup: $(CLI_OBJ) $(STATIC)
	$(call SAY,LD,$@)$(LINK) $^ -ljansson $(if $(DAEMON_ON),-lhiredis) $(LIB_LIBS) -o $@

$(BUILD)/lineupd: $(DAEMON_OBJ) $(STATIC)
	$(call SAY,LD,$@)$(LINK) $^ $(DAEMON_LIBS) $(LIB_LIBS) -o $@

# All of the daemon but its main file, for tests.
$(BUILD)/userspace/daemon/daemon.a: $(filter-out %/main.o,$(DAEMON_OBJ))
	@rm -f $@
	$(call SAY,AR,$@)$(AR) rcs $@ $^

# The file says where things will be, so it follows the install directories as well as the template.
PC := s|@LIBS_PRIVATE@|$(LIB_LIBS)|;s|@PREFIX@|$(PREFIX)|;s|@LIBDIR@|$(LIBDIR)|;s|@INCLUDEDIR@|$(INCLUDEDIR)|;s|@VERSION@|$(VERSION)|
$(BUILD)/liblineup.pc: packaging/liblineup.pc.in FORCE
	@mkdir -p $(@D); sed '$(PC)' $< >$@.new; if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/lineupd.service: userspace/systemd/lineupd.service.in FORCE
	@mkdir -p $(@D); sed 's|@SBINDIR@|$(SBINDIR)|' $< >$@.new; if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/tests/unit/helpers.a: $(UNIT_HELP_OBJ)
	@rm -f $@
	$(call SAY,AR,$@)$(AR) rcs $@ $^

DAEMON_TESTS := $(filter $(BUILD)/tests/unit/test_daemon_% $(BUILD)/tests/fuzz/fuzz_daemon_% $(BUILD)/tests/fuzz/replay_daemon_%,$(UNIT) $(FUZZERS) $(REPLAYS))
$(DAEMON_TESTS): $(BUILD)/userspace/daemon/daemon.a
$(patsubst %,%.o,$(filter-out %/replay,$(DAEMON_TESTS))) $(filter $(BUILD)/tests/unit/daemon_%,$(UNIT_HELP_OBJ)): INCLUDE += -Iuserspace/daemon
IN_ORDER = $(filter %.o,$^) $(filter %/helpers.a,$^) $(filter %/daemon.a,$^) $(filter %/liblineup.a,$^) $(if $(filter %/daemon.a,$^),$(DAEMON_LIBS))

$(UNIT): $(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(if $(UNIT_HELP_OBJ),$(BUILD)/tests/unit/helpers.a) $(STATIC)
	$(call SAY,LD,$@)$(LINK) $(IN_ORDER) -lcmocka $(LIB_LIBS) -o $@

# What the tests of the daemon from outside need: faults, preloaded into the daemon whatever it was built with, and a client in C.
DAEMON_SHIMS := $(if $(DAEMON_ON),$(BUILD)/tests/daemon/shim.so $(if $(VULKAN_ON),$(BUILD)/tests/daemon/libvulkan.so.1))
DAEMON_CLIENT := $(if $(DAEMON_ON),$(BUILD)/tests/daemon/hiredis_client)

$(BUILD)/tests/daemon/shim.so: tests/daemon/shim.c
$(BUILD)/tests/daemon/libvulkan.so.1: tests/daemon/lost_gpu.c
$(DAEMON_SHIMS): SANITIZE_FLAGS :=
$(DAEMON_SHIMS): tests/daemon/faults.h $(BUILD)/flags
	@mkdir -p $(@D)
	$(call SAY,LD,$@)$(COMPILE) -shared $(HARDEN_LINK) $(LDFLAGS) $(filter %.c,$^) -ldl -o $@

$(DAEMON_CLIENT): $(BUILD)/tests/daemon/hiredis_client.o
	$(call SAY,LD,$@)$(LINK) $^ -lhiredis -lm -o $@

daemon-programs: all $(DAEMON_SHIMS) $(DAEMON_CLIENT)

$(FUZZERS): $(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(STATIC)
	$(call SAY,LD,$@)$(LINK) -fsanitize=fuzzer $(IN_ORDER) $(LIB_LIBS) -o $@

$(REPLAYS): $(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(STATIC)
	$(call SAY,LD,$@)$(LINK) $(IN_ORDER) $(LIB_LIBS) -o $@

$(BENCH): $(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(STATIC)
	$(call SAY,LD,$@)$(LINK) $^ $(LIB_LIBS) -o $@

# Optional: `packaging/setup.sh bench` installs what they need.
$(PEERS): $(BUILD)/tests/bench/%: tests/bench/%.cpp $(STATIC)
	@mkdir -p $(@D)
	$(call SAY,CXX,$@)$(CXX) -std=c++17 -fopenmp -pthread $(INCLUDE) $(CPPFLAGS) $(CFLAGS) $< $(STATIC) -lfaiss -lopenblas $(LIB_LIBS) $(LDFLAGS) -o $@

PUBLIC := lineup.h lineup-extractor.h lineup-inband.h
INSTALLED = $(BINDIR)/lineup $(addprefix $(INCLUDEDIR)/,$(PUBLIC)) $(addprefix $(LIBEXECDIR)/lineup/,$(notdir $(EXTRACT))) $(LIBDIR)/liblineup.a $(LIBDIR)/liblineup.so.$(VERSION) \
	$(LIBDIR)/liblineup.so.$(SOVERSION) $(LIBDIR)/liblineup.so $(LIBDIR)/pkgconfig/liblineup.pc \
	$(foreach m,$(MAN),$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) $(COMPLETIONDIR)/lineup \
	$(if $(LINEUPD),$(SBINDIR)/lineupd $(addprefix $(SYSTEMDDIR)/,$(DAEMON_SYSTEM)) $(addprefix $(DOCDIR)/examples/,$(DAEMON_EXAMPLES)))
DAEMON_SYSTEM := systemd/system/lineupd.service systemd/system/lineupd.socket sysusers.d/lineupd.conf tmpfiles.d/lineupd.conf
DAEMON_EXAMPLES := lineup.conf gpu.conf

install: all $(if $(LINEUPD),install-daemon)
	$(Q)$(INSTALL) -d $(addprefix '$(DESTDIR)',$(sort $(dir $(INSTALLED))))
	$(Q)$(INSTALL) -m 755 $(BUILD)/lineup '$(DESTDIR)$(BINDIR)/lineup'
	$(Q)set -e; for h in $(PUBLIC); do $(INSTALL) -m 644 userspace/include/$$h '$(DESTDIR)$(INCLUDEDIR)'/$$h; done
	$(Q)set -e; for e in $(EXTRACT); do $(INSTALL) -m 755 $$e '$(DESTDIR)$(LIBEXECDIR)'/lineup/$${e##*/}; done
	$(Q)$(INSTALL) -m 644 $(STATIC) '$(DESTDIR)$(LIBDIR)/liblineup.a'
	$(Q)$(INSTALL) -m 755 $(SHARED) '$(DESTDIR)$(LIBDIR)/liblineup.so.$(VERSION)'
	$(Q)ln -sf liblineup.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/liblineup.so.$(SOVERSION)'
	$(Q)ln -sf liblineup.so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/liblineup.so'
	$(Q)$(INSTALL) -m 644 $(BUILD)/liblineup.pc '$(DESTDIR)$(LIBDIR)/pkgconfig/liblineup.pc'
	$(Q)set -e; for m in $(MAN); do $(INSTALL) -m 644 $$m '$(DESTDIR)$(MANDIR)'/man$${m##*.}/; done
	$(Q)$(INSTALL) -m 644 $(COMPLETION) '$(DESTDIR)$(COMPLETIONDIR)/lineup'
	$(Q)[ -n '$(DESTDIR)' ] || [ "$$(id -u)" != 0 ] || ldconfig

# The service is not started, and /etc is left alone: lineupd(8) says what to do next.
install-daemon: all
	$(Q)$(INSTALL) -d $(addprefix '$(DESTDIR)',$(sort $(dir $(INSTALLED))))
	$(Q)$(INSTALL) -m 755 $(LINEUPD) '$(DESTDIR)$(SBINDIR)/lineupd'
	$(Q)$(INSTALL) -m 644 $(BUILD)/lineupd.service userspace/systemd/lineupd.socket '$(DESTDIR)$(SYSTEMDDIR)/systemd/system/'
	$(Q)$(INSTALL) -m 644 userspace/systemd/lineupd.sysusers '$(DESTDIR)$(SYSTEMDDIR)/sysusers.d/lineupd.conf'
	$(Q)$(INSTALL) -m 644 userspace/systemd/lineupd.tmpfiles '$(DESTDIR)$(SYSTEMDDIR)/tmpfiles.d/lineupd.conf'
	$(Q)$(INSTALL) -m 644 $(addprefix userspace/systemd/,$(DAEMON_EXAMPLES)) '$(DESTDIR)$(DOCDIR)/examples/'

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

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(CLI_OBJ) $(DAEMON_OBJ) $(UNIT_HELP_OBJ)) \
	$(patsubst %,%.d,$(UNIT) $(FUZZERS) $(BENCH) $(DAEMON_CLIENT)) $(BUILD)/tests/fuzz/replay.d

FORCE:
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all help setup demo check unit unit-programs bench bench-programs bench-peers fuzz fuzzers replays daemon-programs check-soak print-vulkan print-daemon install install-daemon uninstall clean FORCE \
	kmod kmod-files kmod-install kmod-dkms kmod-uninstall check-kdebug
