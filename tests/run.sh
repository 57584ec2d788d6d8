#!/bin/bash
# SPDX-License-Identifier: MIT
# The whole test matrix, and the whole of continuous integration: tests/run.sh [STAGE...] runs all stages, or those named.
#
# A stage is a function below, named for the fact it shows. Each counts as one test, except those that run test programs, where
# each case counts. Logs are kept in build/check/, and in its file "times" how long each stage took. The last line is "N passed, N
# failed, N skipped"; the exit status is 1 if any failed.

cd "$(dirname "$0")/.." || exit 1
exec </dev/null 2>&1
shopt -s nullglob
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CC CFLAGS CPPFLAGS LDFLAGS CROSS_COMPILE SANITIZE WERROR V DESTDIR PREFIX
export LC_ALL=C.UTF-8

build=${BUILD:-build}
unset BUILD
out=$build/check
jobs=$(nproc)
test_seconds_max=1200
slow_seconds=20
fuzz_seconds=3
stages="
	packages_are_installed
	every_file_names_its_licence
	shellcheck_finds_nothing
	manual_pages_are_well_formed
	code_is_tidy
	stages_include_only_stages_to_their_left
	gcc_builds_without_warnings
	clang_builds_without_warnings
	headers_compile_alone
	static_symbols_begin_with_lineup
	shared_library_exports_exactly_the_public_header
	analyzer_finds_nothing
	a_second_make_does_nothing
	a_changed_flag_rebuilds
	a_build_elsewhere_leaves_the_tree_alone
	matrix_modules_are_those_that_were_read
	the_matrix_rewriter_refuses_what_it_does_not_know
	install_and_uninstall_leave_nothing_behind
	the_service_is_confined
	a_consumer_links_shared_and_static
	kernel_module_builds_without_warnings
	kernel_module_has_the_kernels_style
	kernel_module_installs_and_uninstalls
	kernel_tests_on_a_debug_kernel
	unit_tests
	integration_tests
	a_build_without_optional_parts_works
	vulkan_tests_under_validation_layers
	unit_tests_under_asan_and_ubsan
	integration_tests_under_asan_and_ubsan
	thread_tests_under_tsan
	daemon_speaks_to_redis_clients
	daemon_history_is_linearizable
	daemon_survives_faults
	daemon_survives_torture
	daemon_keeps_nothing_of_probes
	daemon_tests_under_asan_and_ubsan
	daemon_tests_under_tsan
	unit_tests_on_arm64
	corpus_replays
	fuzzers_find_nothing_new
	kernel_tests_on_6_1
	kernel_tests_on_6_12
	live_capture_on_6_1
	live_capture_on_6_12
	the_work_tree_is_as_it_was
"
# Stages that run test programs and count their cases.
many=" kernel_module_builds_without_warnings kernel_tests_on_6_1 kernel_tests_on_6_12 kernel_tests_on_a_debug_kernel
	unit_tests integration_tests vulkan_tests_under_validation_layers
	unit_tests_under_asan_and_ubsan integration_tests_under_asan_and_ubsan thread_tests_under_tsan
	daemon_speaks_to_redis_clients daemon_history_is_linearizable daemon_survives_faults daemon_survives_torture daemon_keeps_nothing_of_probes
	daemon_tests_under_asan_and_ubsan daemon_tests_under_tsan
	live_capture_on_6_1 live_capture_on_6_12 unit_tests_on_arm64 corpus_replays fuzzers_find_nothing_new "

# Virtual machines mostly wait, so they run beside other stages, one after the other; each stage looks at what its machine left
# when its turn comes. boot_STAGE is what runs beside. The first are begun as soon as what they need is installed; the second when
# the program they take along is built.
machines_first="kernel_tests_on_6_1 kernel_tests_on_6_12"
machines_second="live_capture_on_6_1 live_capture_on_6_12"
machines_second_after=integration_tests

# ---- counting ---------------------------------------------------------------------------------------------------------------

keep= # see software_driver
passed=0 failed=0 skipped=0
failures=() skips=()

# record passed|failed|skipped NAME [REASON]
record()
{
	case $1 in
	passed) passed=$((passed + 1)) ;;
	failed) failed=$((failed + 1)); failures+=("$2: $3") ;;
	skipped) skipped=$((skipped + 1)); skips+=("$2: $3") ;;
	esac
	[ "$1" = passed ] || printf '  %s %s: %s\n' "$1" "$2" "$3"
}

# Ends a stage that is one test as skipped.
skip()
{
	echo "$*"
	exit 77
}

# Runs a function as one test; its output is kept, and shown if it fails. Exit status 77 and a last line with the reason: skipped.
one()
{
	local log=$out/$1.log status

	(set -e; "$1") >"$log" 2>&1
	status=$?
	case $status in
	0) record passed "$1" ;;
	77) record skipped "$1" "$(tail -n 1 "$log")" ;;
	*) tail -n 40 "$log" | sed 's/^/    /'; record failed "$1" "exit status $status, see $log" ;;
	esac
}

# Reads the TAP lines in log $3 of program $2, which ended with status $4, and records each case as $1/program/case.
record_tap()
{
	local suite=$1/$2 log=$3 status=$4 kind name reason before=$failed planned=0 seen=0

	while IFS=$'\t' read -r kind name reason; do
		case $kind in
		plan) planned=$((planned + name)) ;;
		*) seen=$((seen + 1)); record "$kind" "$suite/$name" "$reason" ;;
		esac
	done < <(awk '
		function flush() { if (held != "") print "failed\t" held "\t" why; held = "" }
		/^1\.\.[0-9]+/ { flush(); sub(/^1\.\./, ""); print "plan\t" $1; next }
		/^(not )?ok [0-9]+ # SKIP/ {
			flush()
			sub(/^.*# SKIP */, "")
			print "skipped\t" $0 "\t" (last == "" ? "no reason given" : last)
			next
		}
		/^ok [0-9]+/ { flush(); sub(/^ok [0-9]+( -)? */, ""); print "passed\t" $0; last = ""; next }
		/^not ok [0-9]+/ { flush(); sub(/^not ok [0-9]+( -)? */, ""); held = $0; why = ""; next }
		/^# not ok/ { next }
		/^# / && held != "" { sub(/^# /, ""); if (length(why) < 200) why = why (why == "" ? "" : "; ") $0; next }
		{ last = $0 }
		END { flush() }' "$log")
	if [ "$seen" -lt "$planned" ] || { [ "$status" != 0 ] && [ "$failed" = "$before" ]; } || [ "$seen" = 0 ]; then
		tail -n 40 "$log" | sed 's/^/    /'
		record failed "$suite" "$(ending "$status") after $seen of $planned cases, see $log"
	fi
}

# An exit status in words.
ending()
{
	case $1 in
	124) echo "stopped after $test_seconds_max s" ;;
	12[89] | 1[3-9]? | 2??) echo "ended by signal $(kill -l $(($1 - 128)) 2>/dev/null)" ;;
	*) echo "exit status $1" ;;
	esac
}

# started LOG COMMAND...: runs it beside the others, as many at a time as there are CPUs; its exit status goes to LOG.status.
started()
{
	local log=$1
	shift

	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
	{
		local begin=$SECONDS

		timeout "$test_seconds_max" "$@" >"$log" 2>&1
		echo $? >"$log.status"
		[ $((SECONDS - begin)) -lt $slow_seconds ] || echo "  $(basename "$log" .log) took $((SECONDS - begin)) s"
	} &
}

# run_units STAGE DIRECTORY "PATTERN..." WRAPPER...: runs the unit test programs of a build whose names match.
run_units()
{
	local stage=$1 dir=$2 patterns=$3 source name names=() kept
	shift 3

	for source in tests/unit/test_*.c; do
		name=$(basename "$source" .c)
		matches "$name" "$patterns" || continue
		if matches "$name" 'test_vulkan_*' && ! has_vulkan; then
			record skipped "$stage/$name" "this build has no Vulkan: \`packaging/setup.sh gpu\` installs what it needs"
			continue
		fi
		if matches "$name" 'test_daemon_*' && ! has_daemon; then
			record skipped "$stage/$name" "this build has no daemon: \`packaging/setup.sh build\` installs what it needs"
			continue
		fi
		names+=("$name")
		matches "$name" 'test_vulkan_*' && kept=$keep || kept=
		started "$out/$stage.$name.log" env TMPDIR="$(room "$name")" CMOCKA_MESSAGE_OUTPUT=TAP \
			${kept:+"LD_PRELOAD=$kept"} "$@" "$dir/tests/unit/$name"
	done
	wait
	for name in "${names[@]}"; do
		record_tap "$stage" "$name" "$out/$stage.$name.log" "$(cat "$out/$stage.$name.log.status")"
	done
}

# Whether `make` builds the Vulkan backend here.
has_vulkan()
{
	make -s print-vulkan | grep -qx 1
}

# Where a test puts its files: on the disk, where O_DIRECT is; in memory if it has a disk of its own making and syncs a million
# times.
room()
{
	if matches "$1" "test_crash* test_corrupt test_gallery*" && [ -w /dev/shm ] && [ "$(df -Pk /dev/shm | awk 'END { print $4 }')" -gt 1000000 ]; then
		echo /dev/shm
	else
		echo "$tmp"
	fi
}

# matches NAME "PATTERN..."
matches()
{
	local pattern patterns

	read -ra patterns <<<"$2"
	for pattern in "${patterns[@]}"; do
		# shellcheck disable=SC2053 # a pattern is meant
		[[ $1 == $pattern ]] && return 0
	done
	return 1
}

# run_scripts STAGE DIRECTORY: runs tests/integration/*.sh with the program of a build.
run_scripts()
{
	local stage=$1 dir script name log status kept

	dir=$(cd "$2" && pwd)
	for script in tests/integration/*.sh; do
		[[ $script == */vulkan.sh ]] && kept=$keep || kept=
		started "$out/$stage.$(basename "$script" .sh).log" env LINEUP="$dir/lineup" TMPDIR="$tmp" \
			${kept:+"LD_PRELOAD=$kept"} "$script"
	done
	wait
	for script in tests/integration/*.sh; do
		name=$(basename "$script" .sh)
		log=$out/$stage.$name.log
		status=$(cat "$log.status")
		if grep -qE '^(not )?ok [0-9]' "$log"; then
			record_tap "$stage" "$name" "$log" "$status"
		elif [ "$status" = 0 ]; then
			record passed "$stage/$name"
		elif [ "$status" = 77 ]; then
			record skipped "$stage/$name" "$(tail -n 1 "$log")"
		else
			tail -n 40 "$log" | sed 's/^/    /'
			record failed "$stage/$name" "$(ending "$status"), see $log"
		fi
	done
}

# begin_machines STAGE...: those that are wanted, in a process group of their own, which ends with this shell. Not a job of it:
# others wait for all of those.
begin_machines()
{
	local stage mine=()

	for stage; do
		matches "$stage" "$wanted" || continue
		mine+=("$stage")
		rm -f "$out/$stage.booted"
	done
	[ ${#mine[@]} != 0 ] || return 0
	set -m
	(
		for stage in "${mine[@]}"; do
			begin=$SECONDS
			"boot_$stage" >"$out/$stage.log" 2>&1
			echo $? $((SECONDS - begin)) >"$out/$stage.booted.new"
			mv "$out/$stage.booted.new" "$out/$stage.booted"
		done
	) &
	set +m
	for stage in "${mine[@]}"; do
		machine_of[$stage]=$!
	done
	disown
}

# booted STAGE: the exit status of boot_STAGE, which runs now if it was not begun before.
booted()
{
	local stage=$1 pid=${machine_of[$1]-} status seconds

	if [ -z "$pid" ]; then
		"boot_$stage" >"$out/$stage.log" 2>&1
		return
	fi
	while [ ! -e "$out/$stage.booted" ] && kill -0 "$pid" 2>/dev/null; do
		sleep 1
	done
	unset "machine_of[$stage]"
	[ -e "$out/$stage.booted" ] || return 125
	read -r status seconds <"$out/$stage.booted"
	printf '%5d s  %s, beside others\n' "$seconds" "$stage" >>"$out/times"
	return "$status"
}

# compile STAGE DIRECTORY ARGUMENTS...: builds for a stage of many; a build that fails is one failed test.
compile()
{
	local stage=$1 dir=$2 log=$out/$1.build.log
	shift 2

	if ! make -j"$jobs" BUILD="$dir" WERROR=1 "$@" >"$log" 2>&1; then
		tail -n 40 "$log" | sed 's/^/    /'
		record failed "$stage" "does not build, see $log"
		return 1
	fi
}

tracked_files()
{
	if inside_git; then
		repository ls-files --cached --others --exclude-standard
	else
		find . -type f -not -path "./$build/*" -not -path './.git/*' | sed 's|^\./||'
	fi
}

repository()
{
	git -c safe.directory="$PWD" "$@"
}

inside_git()
{
	[ "$(repository rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ]
}

# ---- the tree ---------------------------------------------------------------------------------------------------------------

packages_are_installed()
{
	packaging/setup.sh build gpu test cross kernel
}

# The first line of every file; the second where the first is #!. Data that cannot hold one is described in tests/data/README.md.
every_file_names_its_licence()
{
	local file bad=0

	while read -r file; do
		case $file in
		LICENSES/* | tests/data/*.npy | tests/data/*.csv | tests/fuzz/corpus/*) continue ;;
		esac
		[ -s "$file" ] || continue
		if ! head -n 2 "$file" | grep -q 'SPDX-License-Identifier: [(A-Z]'; then
			echo "$file: no SPDX line"
			bad=1
		fi
	done < <(tracked_files)
	return $bad
}

shellcheck_finds_nothing()
{
	tracked_files | while read -r file; do
		[ -f "$file" ] && head -n 1 "$file" | grep -aqE '^#!.*sh$' && echo "$file"
	done | xargs shellcheck -x -S warning
	shellcheck -S warning -s bash userspace/completion/lineup
}

manual_pages_are_well_formed()
{
	mandoc -T lint -W warning userspace/man/*.[158]
}

# Lists what is longer than style asks; fails where it is far longer, which nobody would defend.
code_is_tidy()
{
	# shellcheck disable=SC2016 # awk's own variables
	tracked_files | grep -E '\.[ch]$' | xargs awk '
		function over(what, n, soft, hard) {
			if (n > soft) print FILENAME ":" FNR ": " what ", " n " (aim: " soft ")"
			if (n > hard) bad = 1
		}
		function end() {
			if (file != "" && lines > 800) print file ": file of " lines " lines (aim: 800)"
			if (lines > 1200) bad = 1
		}
		FNR == 1 { end(); file = FILENAME; begun = 0 }
		{ lines = FNR; text = $0; gsub(/\t/, "        ", text) }
		length(text) > 132 { over("line", length(text), 132, 160) }
		/[ \t]$/ { print FILENAME ":" FNR ": space at the end of the line"; bad = 1 }
		/^\{/ { begun = FNR }
		/^\}/ && begun { over("function", FNR - begun + 1, 70, 140); begun = 0 }
		END { end(); exit bad }'
}

# The row of stages; a file includes headers of its own line and of those above only. A name stands for itself and for name_*.c.
stages_include_only_stages_to_their_left()
{
	local row="
		lineup internal io ctx memory crc32c half pool
		capture lineup-extractor lineup-inband extractor inband
		probe source vectors subjects when
		gallery block manifest segment journal enrol snapshot state stage group table lookup pages pace files change delete compact maintain check export
		stream
		score
		topk
		params vulkan/vk vulkan/api vulkan/find vulkan/device vulkan/drm vulkan/memory vulkan/command vulkan/cache vulkan/pipeline vulkan/select
		vulkan/frame
		vulkan/kernels vulkan/shaders vulkan/rates
		vulkan/devices
		vulkan/place vulkan/shares vulkan/gpu vulkan/stubs
		vulkan/pass vulkan/gpus vulkan/buffers vulkan/chunks vulkan/feed vulkan/lists vulkan/work
		search verify
		crew share
	"
	awk -v row="$row" '
		function known(name) {
			while (!(name in of) && sub(/_[^_]*$/, "", name)) ;
			return name in of ? of[name] : 0
		}
		function rank(name) {
			if (known(name)) return known(name)
			print name ": not in the row of stages (tests/run.sh)"
			bad = 1
			return 0
		}
		function noun(path, vulkan) {
			vulkan = path ~ /vulkan\// ? "vulkan/" : ""
			sub(/.*\//, "", path)
			sub(/\.[ch]$/, "", path)
			return vulkan path
		}
		BEGIN {
			lines = split(row, line, "\n")
			for (i = 1; i <= lines; i++) {
				words = split(line[i], word, /[ \t]+/)
				for (j = 1; j <= words; j++) if (word[j] != "") of[word[j]] = i
			}
		}
		FNR == 1 { here = rank(noun(FILENAME)) }
		/^#include "/ {
			split($0, part, "\"")
			name = noun(part[2])
			if (FILENAME ~ /vulkan\// && known("vulkan/" name)) name = "vulkan/" name
			if (rank(name) > here) { print FILENAME ":" FNR ": includes " part[2] ", a stage to its right"; bad = 1 }
		}
		END { exit bad }' userspace/lib/*.[ch] userspace/lib/vulkan/*.[ch]
}

# ---- builds -----------------------------------------------------------------------------------------------------------------

gcc_builds_without_warnings()
{
	make -k -j"$jobs" BUILD="$out/gcc" CC=gcc WERROR=1 all unit-programs replays bench-programs
}

clang_builds_without_warnings()
{
	make -k -j"$jobs" BUILD="$out/clang" CC=clang WERROR=1 all unit-programs replays bench-programs
}

# What is not built in is said to be missing, and is not linked.
headers_compile_alone()
{
	local header compiler

	while read -r header; do
		for compiler in gcc clang; do
			echo "$compiler $header"
			echo "#include \"$header\"" | $compiler -std=gnu11 -Wall -Wextra -Wundef -Werror -D_GNU_SOURCE \
				-I. -Iuserspace/include -Iuserspace/lib -fsyntax-only -x c -
		done
	done < <(tracked_files | grep '^userspace/.*\.h$' | if has_vulkan; then cat; else grep -v /vulkan/; fi)
	for header in userspace/include/*.h; do
		for compiler in "clang++ -std=c++11 -x c++" "gcc -std=c99 -x c"; do
			# shellcheck disable=SC2086 # words
			echo "#include \"$(basename "$header")\"" |
				$compiler -Wall -Wextra -Wundef -pedantic -Werror -Iuserspace/include -fsyntax-only -
		done
	done
}

static_symbols_begin_with_lineup()
{
	nm -g --defined-only "$out/gcc/liblineup.a" | awk 'NF == 3 && $3 !~ /^lineup_/ { print $3; bad = 1 } END { exit bad }'
}

shared_library_exports_exactly_the_public_header()
{
	local dir

	for dir in "$out/gcc" "$out/clang"; do
		diff <(gcc -E -P -Iuserspace/include -x c userspace/include/lineup.h | tr '\n' ' ' | sed 's/typedef[^;]*;//g' |
			grep -oE '\blineup_[a-z0-9_]+ *\(' | tr -d ' (' | sort) \
		     <(nm -D --defined-only "$dir/liblineup.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort)
	done
	readelf -d "$out/gcc/liblineup.so" | grep -q 'SONAME.*liblineup\.so\.[0-9]*\]'
}

# The analyzer sees one file at a time, so it is told which functions return the error they are given.
# -analyzer-werror makes a finding the exit status. The kernels' intrinsics are left to the compilers' warnings.
analyzer_finds_nothing()
{
	local file include

	cat >"$out/analyzer-lib.h" <<-'END'
		#include "gallery_files.h"
		#define lineup_fail(ctx, err, ...) ((void)lineup_fail(ctx, err, __VA_ARGS__), (err))
		#define lineup_fault_set(fault, err, ...) ((void)lineup_fault_set(fault, err, __VA_ARGS__), (err))
	END
	cat >"$out/analyzer-cli.h" <<-'END'
		#include "cli.h"
		#define cli_fail(...) ((void)cli_fail(__VA_ARGS__), CLI_FAILED)
		#define cli_usage(...) ((void)cli_usage(__VA_ARGS__), CLI_USAGE)
		#define cli_status(cli, err) ({ int err_ = (err); (void)cli_status(cli, err_); err_ ? CLI_FAILED : CLI_DONE; })
	END
	for file in userspace/lib/*.c userspace/lib/vulkan/*.c userspace/cli/*.c userspace/daemon/*.c; do
		case $file in
		*/score_avx* | */score_neon* | */vulkan/shaders.c) continue ;;
		*/vulkan/stubs.c) ;;
		*/vulkan/*) has_vulkan || continue ;;
		*/daemon/*) has_daemon || continue ;;
		esac
		case $file in
		*/lib/*) include="-Iuserspace/lib -include $out/analyzer-lib.h" ;;
		*/cli/*) include="-Iuserspace/cli -include $out/analyzer-cli.h" ;;
		*/daemon/*) include= ;;
		esac
		! grep -qE '^int (lineup|cli)_(fail|fault_set|usage|status)\(' "$file" || include=${include% -include*}
		echo "$file $include"
	done | xargs -P "$jobs" -L 1 clang --analyze -Xanalyzer -analyzer-werror -Xanalyzer -analyzer-output=text -std=gnu11 \
		-D_GNU_SOURCE -Iuserspace/include -Ikmod/uapi -Ikmod/samples -I/usr/include/libdrm
}

a_second_make_does_nothing()
{
	local again

	again=$(make BUILD="$out/gcc" CC=gcc WERROR=1 all unit-programs replays bench-programs)
	echo "$again"
	! grep -qE '^  (CC|AR|LD) ' <<<"$again"
}

a_changed_flag_rebuilds()
{
	local dir=$out/flags

	rm -rf "$dir"
	make BUILD="$dir" CFLAGS=-O0 "$dir/userspace/lib/crc32c.o"
	make BUILD="$dir" CFLAGS=-O1 "$dir/userspace/lib/crc32c.o" >"$dir/again"
	grep crc32c "$dir/again"
	rm -rf "$dir"
}

a_build_elsewhere_leaves_the_tree_alone()
{
	local dir

	dir=$(mktemp -d)
	touch "$dir/before"
	make -j"$jobs" BUILD="$dir/out" CFLAGS=-O0 all
	# A kernel may be unpacked or built beside this stage.
	find . -newer "$dir/before" -type f -not -path './.git/*' -not -path "./$out/*" -not -path './build/kernel/*' >"$dir/new"
	cat "$dir/new"
	[ ! -s "$dir/new" ]
	"$dir/out/lineup" --version
	rm -rf "$dir"
}

# No validator of Debian 12 knows SPV_KHR_cooperative_matrix, so what the rewriter makes is held to what a person has read: each
# instruction's operands. After a change of the shaders that is meant, read the difference against the extension's specification
# and take it over.
matrix_modules_are_those_that_were_read()
{
	local module

	command -v glslangValidator >/dev/null || skip "no glslangValidator here"
	make -j"$jobs" BUILD="$out/gcc" CC=gcc WERROR=1 shaders
	for module in scan_khr peak_khr; do
		"$out/gcc/shaders/nv2khr" --dump "$out/gcc/shaders/$module.spv" | diff <(grep -v '^#' "tests/data/$module.txt") -
	done
}

# refused REASON COMMAND...: it fails, and says why.
refused()
{
	local reason=$1 said
	shift

	if said=$("$@" 2>&1); then
		echo "not refused: $*"
		return 1
	fi
	echo "$said"
	grep -q "$reason" <<<"$said"
}

the_matrix_rewriter_refuses_what_it_does_not_know()
{
	local dir=$out/rewriter spv=$out/gcc/shaders rewriter=$out/gcc/shaders/nv2khr head load name

	command -v glslangValidator >/dev/null || skip "no glslangValidator here"
	make -j"$jobs" BUILD="$out/gcc" CC=gcc WERROR=1 shaders
	mkdir -p "$dir"
	refused 'no module of SPV_NV' "$rewriter" "$spv/scan_scalar.spv" "$dir/out.spv"
	refused 'no module of SPV_NV' "$rewriter" "$spv/scan_khr.spv" "$dir/out.spv"
	refused 'cannot be opened' "$rewriter" "$dir/none.spv" "$dir/out.spv"
	head -c 10002 "$spv/scan_nv.spv" >"$dir/cut.spv"
	refused 'without an end' "$rewriter" "$dir/cut.spv" "$dir/out.spv"
	refused 'no SPIR-V' "$rewriter" shaders/scan.comp "$dir/out.spv"
	head='#version 460
		#extension GL_NV_cooperative_matrix : require
		#extension GL_NV_integer_cooperative_matrix : require
		#extension GL_KHR_memory_scope_semantics : require
		#extension GL_EXT_shader_explicit_arithmetic_types : require
		layout(std430, binding = 0) buffer memory { int8_t codes[]; };
		layout(std430, binding = 1) buffer result { int sums[]; };'
	load='coopMatLoadNV(a, codes, 0, 16, false); coopMatLoadNV(c, sums, 0, 16, false);'
	# One type as rows and as columns; a type that nothing multiplies; arithmetic on a whole matrix.
	echo "$head void main() { icoopmatNV<8, gl_ScopeSubgroup, 16, 16> a; icoopmatNV<32, gl_ScopeSubgroup, 16, 16> c;
		$load c = coopMatMulAddNV(a, a, c); coopMatStoreNV(c, sums, 0, 16, false); }" >"$dir/roles.comp"
	echo "$head void main() { icoopmatNV<8, gl_ScopeSubgroup, 16, 16> a; icoopmatNV<32, gl_ScopeSubgroup, 16, 16> c;
		$load coopMatStoreNV(a, codes, 0, 16, false); }" >"$dir/unused.comp"
	echo "$head void main() { icoopmatNV<8, gl_ScopeSubgroup, 16, 32> a; icoopmatNV<8, gl_ScopeSubgroup, 32, 16> b;
		icoopmatNV<32, gl_ScopeSubgroup, 16, 16> c; $load coopMatLoadNV(b, codes, 0, 16, true);
		c = coopMatMulAddNV(a, b, c) + c; coopMatStoreNV(c, sums, 0, 16, false); }" >"$dir/whole.comp"
	for name in roles unused whole; do
		glslangValidator -V --target-env vulkan1.2 "$dir/$name.comp" -o "$dir/$name.spv"
	done
	refused 'is used as A and as B' "$rewriter" "$dir/roles.spv" "$dir/out.spv"
	refused 'is in no multiply-add' "$rewriter" "$dir/unused.spv" "$dir/out.spv"
	refused 'works on whole matrices' "$rewriter" "$dir/whole.spv" "$dir/out.spv"
}

install_and_uninstall_leave_nothing_behind()
{
	local dir file

	dir=$(mktemp -d)
	make BUILD="$out/gcc" CC=gcc WERROR=1 DESTDIR="$dir" PREFIX=/usr install
	(cd "$dir" && find . -type f -o -type l) | sort
	for file in bin/lineup include/lineup.h include/lineup-extractor.h include/lineup-inband.h \
		lib/liblineup.a lib/liblineup.so lib/pkgconfig/liblineup.pc share/man/man1/lineup.1 \
		share/man/man5/lineup-gallery.5 share/bash-completion/completions/lineup; do
		[ -s "$dir/usr/$file" ]
	done
	if has_daemon; then
		for file in sbin/lineupd lib/systemd/system/lineupd.socket lib/sysusers.d/lineupd.conf lib/tmpfiles.d/lineupd.conf share/doc/lineup/examples/lineup.conf \
			share/man/man8/lineupd.8 share/man/man5/lineup.conf.5; do
			[ -s "$dir/usr/$file" ]
		done
		grep -x 'ExecStart=/usr/sbin/lineupd --config /etc/lineup/lineup.conf' "$dir/usr/lib/systemd/system/lineupd.service"
	fi
	make BUILD="$out/gcc" CC=gcc WERROR=1 DESTDIR="$dir" PREFIX=/usr uninstall
	(cd "$dir" && find . -type f -o -type l) >"$dir.left"
	cat "$dir.left"
	[ ! -s "$dir.left" ]
	rm -rf "$dir" "$dir.left"
}

# The units as they are installed: correct, and with an exposure of at most 1.5 of 10.
the_service_is_confined()
{
	local dir=$out/units

	has_daemon || skip "this build has no daemon"
	systemd-analyze security --help 2>/dev/null | grep -q -e --offline || skip "no systemd-analyze here that reviews units offline (Debian: systemd)"
	rm -rf "$dir"
	mkdir -p "$dir"
	make -s BUILD="$dir/build" SBINDIR=/bin "$dir/build/lineupd.service"
	# A program that there is stands for the one that is not installed here, nor are its pages.
	sed 's|/bin/lineupd|/bin/true|; /^Documentation=/d' "$dir/build/lineupd.service" >"$dir/lineupd.service"
	sed '/^Documentation=/d' userspace/systemd/lineupd.socket >"$dir/lineupd.socket"
	systemd-analyze verify "$dir/lineupd.service" "$dir/lineupd.socket"
	systemd-analyze security --no-pager --offline=true --threshold=15 "$dir/lineupd.service"
	systemd-analyze security --no-pager --offline=true "$dir/lineupd.service" | grep 'Overall exposure'
}

a_consumer_links_shared_and_static()
{
	local dir

	dir=$(mktemp -d)
	make BUILD="$out/gcc" CC=gcc WERROR=1 DESTDIR="$dir" PREFIX=/opt/lineup install
	export PKG_CONFIG_SYSROOT_DIR=$dir PKG_CONFIG_LIBDIR=$dir/opt/lineup/lib/pkgconfig
	[ "$(pkg-config --modversion liblineup)" = "$("$out/gcc/lineup" --version | awk '{ print $2; exit }')" ]
	# shellcheck disable=SC2046 # pkg-config prints words
	gcc -Wall -Wextra -Werror tests/integration/consumer.c -o "$dir/shared" $(pkg-config --cflags --libs liblineup)
	LD_LIBRARY_PATH=$dir/opt/lineup/lib "$dir/shared" "$dir/gallery-shared"
	# shellcheck disable=SC2046
	gcc -Wall -Wextra -Werror -static tests/integration/consumer.c -o "$dir/static" \
		$(pkg-config --static --cflags --libs liblineup)
	"$dir/static" "$dir/gallery-static"
	rm -rf "$dir"
}

# ---- the kernel module ------------------------------------------------------------------------------------------------------

# The two kernels that are supported, by the releases whose headers are here.
kernel_releases()
{
	local version dir found

	for version in 6.1 6.12; do
		found=
		for dir in /lib/modules/"$version".*/build; do
			[ ! -d "$dir/" ] || found=$dir
		done
		echo "$version $(basename "$(dirname "${found:-/none/none}")")"
	done
}

# With the kernel's own extra warnings and sparse. A warning is one that names our files, or comes from modpost.
kernel_module_builds_without_warnings()
{
	local stage=${FUNCNAME[0]} version release log

	while read -r version release; do
		log=$out/$stage.$version.log
		if [ "$release" = none ]; then
			record skipped "$stage/$version" "no headers of it in /lib/modules (Debian: packaging/packages.txt)"
			continue
		fi
		rm -rf "$out/kmod-$release"
		if make BUILD="$out" KVER="$release" KFLAGS="W=1 C=2" kmod >"$log" 2>&1 &&
			[ -s "$out/kmod-$release/kmod/lineup.ko" ] && ! grep -E 'warning:|WARNING:|error:' "$log" &&
			grep -q 'CHECK .*kmod/pool.c' "$log"; then
			record passed "$stage/$version"
		else
			tail -n 40 "$log" | sed 's/^/    /'
			record failed "$stage/$version" "see $log"
		fi
	done < <(kernel_releases)
}

# compat.h compares versions, which checkpatch would rather not see anywhere; a trace header has a form of its own.
kernel_module_has_the_kernels_style()
{
	local source checkpatch file ignore files

	[ -x tests/kselftest/vm/source.sh ] || skip "tests/kselftest/vm/source.sh is not here to unpack checkpatch"
	source=$(tests/kselftest/vm/source.sh parts)
	checkpatch=$source/scripts/checkpatch.pl
	mapfile -t files < <(tracked_files | grep '^kmod/.*\.[ch]$')
	[ "${#files[@]}" -gt 10 ]
	for file in "${files[@]}"; do
		ignore=NONE
		case $file in
		*/compat.h) ignore=LINUX_VERSION_CODE,CONSTANT_COMPARISON ;;
		*/trace.h) ignore=PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE ;;
		esac
		perl "$checkpatch" --no-tree --strict --quiet --max-line-length=100 --ignore "$ignore" -f "$file"
	done
	if grep -nE 'LINUX_VERSION_CODE|KERNEL_VERSION' "${files[@]}" | grep -v '^kmod/compat\.h:'; then
		echo "only compat.h names a version"
		return 1
	fi
}

kernel_module_installs_and_uninstalls()
{
	local dir release

	release=$(kernel_releases | awk '$2 != "none" { print $2; exit }')
	[ -n "$release" ] || skip "no kernel headers in /lib/modules"
	dir=$(mktemp -d)
	make BUILD="$out" KVER="$release" DESTDIR="$dir" PREFIX=/usr kmod-install kmod-dkms
	cmp kmod/uapi/linux/lineup.h "$dir/usr/include/linux/lineup.h"
	[ -s "$dir/lib/modules/$release/updates/lineup.ko" ]
	[ -s "$dir/usr/lib/udev/rules.d/70-lineup.rules" ]
	[ -s "$dir/usr/lib/sysusers.d/lineup.conf" ]
	# What DKMS is given builds as DKMS would build it.
	# shellcheck disable=SC2034 # dkms.conf uses it
	(
		dkms_tree=$dir/dkms kernel_source_dir=/lib/modules/$release/build
		# shellcheck disable=SC1090
		. "$dir"/usr/src/lineup-*/dkms.conf
		mkdir -p "$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION"
		mv "$dir/usr/src/lineup-$PACKAGE_VERSION" "$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build"
		${MAKE[0]}
		[ -s "$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build/${BUILT_MODULE_LOCATION[0]}/${BUILT_MODULE_NAME[0]}.ko" ]
		rm -rf "$dkms_tree"
	)
	make BUILD="$out" KVER="$release" DESTDIR="$dir" PREFIX=/usr kmod-uninstall
	find "$dir" -type f -o -type l >"$dir.left"
	cat "$dir.left"
	[ ! -s "$dir.left" ]
	rm -rf "$dir" "$dir.left"
}

# ---- the kernel module in real kernels -----------------------------------------------------------------------------------------

# boot_kernel STAGE KERNEL: boots it as often as tests/kselftest/kernel_tests.sh has setups.
boot_kernel()
{
	rm -f "$out/$1"/*.log.status
	[ "$2" != none ] && [ -z "$(without_machines)" ] || return 0
	# shellcheck disable=SC2086 # a list of words
	tests/kselftest/kernel_tests.sh "$2" "$out/$1" ${LINEUP_SETUPS-}
}

# Why no virtual machine can be had; nothing if it can.
without_machines()
{
	if [ "$(uname -m)" != x86_64 ]; then
		echo "the virtual machines' devices are those of a PC"
	elif ! command -v qemu-system-x86_64 >/dev/null; then
		echo "no qemu-system-x86_64 (Debian: packaging/packages.txt, kernel)"
	fi
}

# kernel_tests STAGE KERNEL: records the cases of each program that ran in it.
kernel_tests()
{
	local stage=$1 kernel=$2 dir=$out/$1 log name without

	without=$(without_machines)
	[ "$kernel" != none ] || without="no such kernel here (Debian: packaging/packages.txt, kernel)"
	if [ -n "$without" ]; then
		record skipped "$stage" "$without"
		return
	fi
	if ! booted "$stage"; then
		tail -n 40 "$dir.log" | sed 's/^/    /'
		record failed "$stage" "does not build, boot or end, see $dir.log"
	fi
	for log in "$dir"/*.log.status; do
		log=${log%.status}
		name=$(basename "$log" .log)
		record_tap "$stage" "${name/.//}" "$log" "$(cat "$log.status")"
	done
}

# The release of the kernel of that version that is here, or none.
kernel_release()
{
	kernel_releases | awk -v version="$1" '$1 == version { print $2 }'
}

boot_kernel_tests_on_6_1()
{
	boot_kernel kernel_tests_on_6_1 "$(kernel_release 6.1)"
}

kernel_tests_on_6_1()
{
	kernel_tests "${FUNCNAME[0]}" "$(kernel_release 6.1)"
}

boot_kernel_tests_on_6_12()
{
	boot_kernel kernel_tests_on_6_12 "$(kernel_release 6.12)"
}

kernel_tests_on_6_12()
{
	kernel_tests "${FUNCNAME[0]}" "$(kernel_release 6.12)"
}

# A kernel with KASAN, lockdep, DMA_API_DEBUG, kmemleak, DMABUF_DEBUG and fault injection. `make check-kdebug` (LINEUP_KDEBUG=all)
# builds it and runs every program in it. Building takes 11 minutes of two idle cores and all programs another 15, so that with
# the rest they would not fit into the time of continuous integration. There the stage is reduced (LINEUP_KDEBUG=no: left out):
#
#	If that kernel is in the cache ($LINEUP_KERNEL_CACHE), it runs the programs that try the most paths for their time.
#	Otherwise the same checks are on in a user-mode kernel, which is built in minutes and boots in two seconds. It has one
#	processor and neither PCI card nor V4L2. Left out are races between processors; edu, with bounce buffers, IOMMU and
#	unplugging; vivid; pressure, for its two minutes; what needs write-combined memory or a second NUMA node; and the four
#	facts that left_out() of guest.sh names. These meet the checks in `make check-kdebug` only, though they run without them
#	in kernel_tests_on_6_1 and _6_12.
kernel_tests_on_a_debug_kernel()
{
	if [ "${LINEUP_KDEBUG-}" = no ]; then
		record skipped "${FUNCNAME[0]}" "LINEUP_KDEBUG=no leaves it out, for want of time; \`make check-kdebug\` runs all of it"
		return
	fi
	[ "${LINEUP_KDEBUG-}" != all ] || packaging/setup.sh build test kernel kdebug
	kernel_tests "${FUNCNAME[0]}" "$(debug_kernel)"
}

# "debug" or "um": see tests/kselftest/vm/kernel.sh.
debug_kernel()
{
	if [ "${LINEUP_KDEBUG-}" = all ] || tests/kselftest/vm/kernel.sh -n debug >/dev/null 2>&1; then
		echo debug
	else
		echo um
	fi
}

boot_kernel_tests_on_a_debug_kernel()
{
	local stage=kernel_tests_on_a_debug_kernel kernel

	kernel=$(debug_kernel)
	if [ "${LINEUP_KDEBUG-}" = all ] || [ "$kernel" = um ]; then
		boot_kernel $stage "$kernel"
	else
		LINEUP_TESTS="load driver abi fences revoke fault model crowd unload" LINEUP_SETUPS=plain \
			boot_kernel $stage "$kernel"
	fi
}

# ---- tests ------------------------------------------------------------------------------------------------------------------

unit_tests()
{
	compile "${FUNCNAME[0]}" "$out/gcc" CC=gcc unit-programs && run_units "${FUNCNAME[0]}" "$out/gcc" '*'
}

integration_tests()
{
	compile "${FUNCNAME[0]}" "$out/gcc" CC=gcc all && run_scripts "${FUNCNAME[0]}" "$out/gcc"
}

# The software device's answers are shown by unit_tests; here, that what is asked of it is allowed: no message of the layers,
# hazards between commands included. The layers are slow, so random tests make fewer rounds, and the programs that make each call
# fail in turn, or lie, are left out: they ask for nothing that the others do not.
vulkan_tests_under_validation_layers()
{
	local stage=${FUNCNAME[0]}
	local clean="test_vulkan_[!lm]* test_vulkan_layers"

	if ! compgen -G '/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json' >/dev/null; then
		record skipped "$stage" "no validation layers here (Debian: vulkan-validationlayers)"
	else
		compile "$stage" "$out/gcc" CC=gcc unit-programs &&
			run_units "$stage" "$out/gcc" "$clean" env LINEUP_TEST_SCALE=0.05 tests/validated.sh
	fi
}

# The software driver's library. Where leaks are looked for, the programs that use it keep it loaded: Vulkan's loader unloads
# drivers, and with them goes what pointed to their memory, which would then be counted as leaked by nobody.
software_driver()
{
	cat /usr/share/vulkan/icd.d/lvp_icd*.json | sed -n 's/.*"library_path": *"\([^"]*\)".*/\1/p' | head -n 1
}

unit_tests_under_asan_and_ubsan()
{
	local keep

	keep=$(software_driver)
	compile "${FUNCNAME[0]}" "$out/asan" CC=clang SANITIZE=address,undefined unit-programs &&
		run_units "${FUNCNAME[0]}" "$out/asan" '*'
}

integration_tests_under_asan_and_ubsan()
{
	local keep

	keep=$(software_driver)
	compile "${FUNCNAME[0]}" "$out/asan" CC=clang SANITIZE=address,undefined all && run_scripts "${FUNCNAME[0]}" "$out/asan"
}

# The tests whose programs run more than one thread; of GPUs those on devices that are made up, for a driver is not instrumented.
# tsan wants the addresses where it expects them, so randomisation is off.
thread_tests_under_tsan()
{
	local threaded="test_search* test_stream* test_share* test_snapshot test_maintain test_gallery test_gallery_model test_vulkan_passes"

	compile "${FUNCNAME[0]}" "$out/tsan" CC=clang SANITIZE=thread unit-programs || return
	export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp"
	if setarch -R true 2>/dev/null; then
		run_units "${FUNCNAME[0]}" "$out/tsan" "$threaded" setarch -R
	else
		run_units "${FUNCNAME[0]}" "$out/tsan" "$threaded"
	fi
}

# run_daemon STAGE DIRECTORY "PROGRAM..." [FACT...]: runs programs of tests/daemon with the daemon of a build; with facts, those only.
run_daemon()
{
	local stage=$1 dir name log names
	dir=$(cd "$2" && pwd)
	read -ra names <<<"$3"
	shift 3

	for name in "${names[@]}"; do
		started "$out/$stage.$name.log" env LINEUPD="$dir/lineupd" LINEUP="$dir/lineup" LINEUP_SHIMS="$dir/tests/daemon" \
			LINEUP_CLIENT="$dir/tests/daemon/hiredis_client" TMPDIR="$tmp" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 "tests/daemon/$name.py" "$@"
	done
	wait
	for name in "${names[@]}"; do
		log=$out/$stage.$name.log
		record_tap "$stage" "$name" "$log" "$(cat "$log.status")"
	done
}

# daemon_stage STAGE "PROGRAM...": with the build that is installed.
daemon_stage()
{
	if [ ! -x /usr/bin/python3 ]; then
		record skipped "$1" "no /usr/bin/python3 here (Debian: python3)"
	elif ! has_daemon; then
		record skipped "$1" "this build has no daemon: \`packaging/setup.sh build\` installs what it needs"
	else
		compile "$1" "$out/gcc" CC=gcc daemon-programs && run_daemon "$1" "$out/gcc" "$2"
	fi
}

# Whether `make` builds the daemon here.
has_daemon()
{
	make -s print-daemon | grep -qx 1
}

daemon_speaks_to_redis_clients()
{
	daemon_stage "${FUNCNAME[0]}" "conformance server access"
}

daemon_history_is_linearizable()
{
	daemon_stage "${FUNCNAME[0]}" "test_checker history"
}

daemon_survives_faults()
{
	daemon_stage "${FUNCNAME[0]}" "faults"
}

daemon_survives_torture()
{
	daemon_stage "${FUNCNAME[0]}" "tortured"
}

daemon_keeps_nothing_of_probes()
{
	daemon_stage "${FUNCNAME[0]}" "private"
}

# Everything that clients can do, and shorter histories. The sanitizers' own daemons are slow, so whatever waits waits longer.
daemon_tests_under_asan_and_ubsan()
{
	local stage=${FUNCNAME[0]}

	export LINEUP_TEST_PATIENCE=5 LINEUP_HISTORY_ROUNDS=1 LINEUP_TEST_SCALE=0.2
	if ! has_daemon || [ ! -x /usr/bin/python3 ]; then
		record skipped "$stage" "no daemon in this build, or no /usr/bin/python3"
	elif compile "$stage" "$out/asan" CC=clang SANITIZE=address,undefined daemon-programs; then
		run_daemon "$stage" "$out/asan" "conformance server access history faults tortured"
	fi
	unset LINEUP_TEST_PATIENCE LINEUP_HISTORY_ROUNDS LINEUP_TEST_SCALE
}

daemon_tests_under_tsan()
{
	local stage=${FUNCNAME[0]}

	export LINEUP_TEST_PATIENCE=10 LINEUP_HISTORY_ROUNDS=1 LINEUP_TEST_SCALE=0.1 TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp"
	if ! has_daemon || [ ! -x /usr/bin/python3 ]; then
		record skipped "$stage" "no daemon in this build, or no /usr/bin/python3"
	elif compile "$stage" "$out/tsan" CC=clang SANITIZE=thread daemon-programs; then
		run_daemon "$stage" "$out/tsan" "conformance server history"
	fi
	unset LINEUP_TEST_PATIENCE LINEUP_HISTORY_ROUNDS LINEUP_TEST_SCALE TSAN_OPTIONS
}

# Neither extractors nor DRM import nor the daemon: what needs them says so, and everything else works.
a_build_without_optional_parts_works()
{
	local dir=$out/plain

	rm -rf "$dir"
	make -j"$jobs" BUILD="$dir" WERROR=1 EXTRACTORS=0 DRM=0 VULKAN=0 DAEMON=0 all "$dir/tests/unit/test_extractor" \
		"$dir/tests/unit/test_capture_frames" "$dir/tests/unit/test_search_filters"
	[ ! -e "$dir/extractors" ]
	[ ! -e "$dir/lineupd" ]
	"$dir/tests/unit/test_search_filters"
	"$dir/lineup" devices | grep 'no device: .* no Vulkan'
	"$dir/lineup" info --build | grep 'Vulkan no'
	[ "$("$dir/lineup" info --build | grep -c 'vulkan: available')" = 0 ]
	[ "$(readelf -d "$dir/lineup" "$dir/liblineup.so" | grep -cE 'lib(drm|numa|vulkan|seccomp)')" = 0 ]
	"$dir/lineup" info --build | grep -q '^extractors *this build is without libseccomp'
	"$dir/lineup" info --build | grep -q '^DRM import *this build is without libdrm'
	"$dir/tests/unit/test_capture_frames"
	"$dir/tests/unit/test_extractor"
	LINEUP=$dir/lineup tests/integration/capture.sh
}

# live_capture STAGE KERNEL: from frames to candidates in it.
live_capture()
{
	local stage=$1 kernel=$2 without

	without=$(without_machines)
	[ "$kernel" != none ] && [ -e "/boot/vmlinuz-$kernel" ] ||
		without="no such kernel here (Debian: packaging/packages.txt, kernel)"
	if [ -n "$without" ]; then
		record skipped "$stage" "$without"
	elif compile "$stage" "$out/gcc" CC=gcc all unit-programs; then
		booted "$stage"
		record_tap "$stage" capture "$out/$stage.log" $?
	fi
}

boot_capture()
{
	[ "$2" != none ] && [ -e "/boot/vmlinuz-$2" ] && [ -z "$(without_machines)" ] || return 0
	timeout "$test_seconds_max" tests/kselftest/vm/capture.sh "$2" "$out/gcc" "$out/$1"
}

boot_live_capture_on_6_1()
{
	boot_capture live_capture_on_6_1 "$(kernel_release 6.1)"
}

live_capture_on_6_1()
{
	live_capture "${FUNCNAME[0]}" "$(kernel_release 6.1)"
}

boot_live_capture_on_6_12()
{
	boot_capture live_capture_on_6_12 "$(kernel_release 6.12)"
}

live_capture_on_6_12()
{
	live_capture "${FUNCNAME[0]}" "$(kernel_release 6.12)"
}

# What depends on the processor. Not the tests of what a kernel offers, which would meet qemu's system calls, nor those that only
# try crash points and damaged bytes. Emulation is slow, so random tests make fewer rounds.
unit_tests_on_arm64()
{
	local stage=${FUNCNAME[0]}
	local portable="test_half test_crc32c test_probe test_score test_s[enu]* test_stream_faults test_topk test_ve* test_when"

	portable+=" test_gallery test_gallery_model"

	if [ "$(uname -m)" = aarch64 ]; then
		record skipped "$stage" "this machine is one: unit_tests has shown it"
	elif ! command -v aarch64-linux-gnu-gcc >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
		record skipped "$stage" "no aarch64-linux-gnu-gcc or no qemu-aarch64 here"
	else
		compile "$stage" "$out/arm64" CROSS_COMPILE=aarch64-linux-gnu- VULKAN=0 all unit-programs &&
			run_units "$stage" "$out/arm64" "$portable" env LINEUP_TEST_SCALE=0.02 qemu-aarch64 -cpu max
	fi
}

corpus_replays()
{
	local stage=${FUNCNAME[0]} source name log

	compile "$stage" "$out/asan" CC=clang SANITIZE=address,undefined replays || return
	for source in tests/fuzz/fuzz_*.c; do
		name=$(basename "$source" .c)
		matches "$name" 'fuzz_daemon_*' && ! has_daemon && continue
		name=${name#fuzz_}
		log=$out/$stage.$name.log
		if timeout "$test_seconds_max" "$out/asan/tests/fuzz/replay_$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
			record passed "$stage/$name"
		else
			tail -n 40 "$log" | sed 's/^/    /'
			record failed "$stage/$name" "see $log"
		fi
	done
}

fuzzers_find_nothing_new()
{
	local stage=${FUNCNAME[0]} source name log dir=$out/fuzz

	compile "$stage" "$dir" CC=clang SANITIZE=address,undefined,fuzzer-no-link fuzzers || return
	for source in tests/fuzz/fuzz_*.c; do
		name=$(basename "$source" .c)
		matches "$name" 'fuzz_daemon_*' && ! has_daemon && continue
		log=$out/$stage.$name.log
		rm -rf "$dir/found/$name"
		mkdir -p "$dir/found/$name"
		if timeout "$test_seconds_max" "$dir/tests/fuzz/$name" -seed=1 -max_total_time=$fuzz_seconds \
			-artifact_prefix="$dir/$name-" "$dir/found/$name" "tests/fuzz/corpus/${name#fuzz_}" >"$log" 2>&1; then
			record passed "$stage/$name"
		else
			tail -n 40 "$log" | sed 's/^/    /'
			record failed "$stage/$name" "see $log"
		fi
	done
}

the_work_tree_is_as_it_was()
{
	inside_git || skip "not a git checkout"
	repository status --porcelain --untracked-files=all | diff "$out/status" -
}

# ---- all of it --------------------------------------------------------------------------------------------------------------

mkdir -p "$out"
out=$(cd "$out" && pwd)
case $out in
"$PWD"/*) out=${out#"$PWD"/} ;;
esac
rm -rf "$out/tmp" "$out/summary" "$out/times"
mkdir -p "$out/tmp"
tmp=$(cd "$out/tmp" && pwd)
export XDG_CACHE_HOME=${tmp%/tmp}/cache # of pipelines: not the user's, but kept from run to run
link=
if [ ${#tmp} -gt 70 ]; then # a Unix socket's path has 107 bytes at most
	link=$(mktemp -d /tmp/lineup.XXXXXX)
	ln -s "$tmp" "$link/t"
	tmp=$link/t
fi
inside_git && repository status --porcelain --untracked-files=all >"$out/status"

# shellcheck disable=SC2086 # a list of words
[ $# != 0 ] || set -- $stages
wanted=$*
declare -A machine_of
trap 'for pid in "${machine_of[@]}"; do kill -- "-$pid" 2>/dev/null; done; [ -z "$link" ] || rm -rf "$link"' EXIT
for stage; do
	if ! declare -F "$stage" >/dev/null; then
		echo "tests/run.sh: no stage $stage; there are:$stages"
		exit 2
	fi
done
begun=
for stage; do
	if [ -z "$begun" ] && [ "$stage" != packages_are_installed ]; then
		begun=yes
		# shellcheck disable=SC2086 # a list of words
		begin_machines $machines_first
	fi
	begin=$SECONDS
	counted=$((passed + failed + skipped))
	case $many in
	*[[:space:]]"$stage"[[:space:]]*) "$stage" ;;
	*) one "$stage" ;;
	esac
	[ $((passed + failed + skipped)) != "$counted" ] || record failed "$stage" "ran no test"
	printf '%4d s  %s (%d passed, %d failed, %d skipped so far)\n' $((SECONDS - begin)) "$stage" "$passed" "$failed" "$skipped"
	printf '%5d s  %s\n' $((SECONDS - begin)) "$stage" >>"$out/times"
	if [ "$stage" = packages_are_installed ] && [ "$failed" != 0 ] && ! packaging/setup.sh -n build test; then
		echo "without these no other stage can run. As root: packaging/setup.sh build gpu test cross kernel"
		break
	fi
	if [ "$stage" = $machines_second_after ] &&
		make -j"$jobs" BUILD="$out/gcc" CC=gcc WERROR=1 all unit-programs >"$out/machines.log" 2>&1; then
		# shellcheck disable=SC2086 # a list of words
		begin_machines $machines_second
	fi
done

rm -rf "$out/tmp"
printf '%5d s  in all\n' $SECONDS >>"$out/times"
printf '\ntimes:\n'
cat "$out/times"
if [ "$skipped" != 0 ]; then
	printf '\nskipped:\n'
	printf '  %s\n' "${skips[@]}"
fi
if [ "$failed" != 0 ]; then
	printf '\nfailed:\n'
	printf '  %s\n' "${failures[@]}"
fi
echo
echo "$passed passed, $failed failed, $skipped skipped" | tee "$out/summary"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
