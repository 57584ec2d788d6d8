#!/bin/bash
# SPDX-License-Identifier: MIT
# Builds on a machine with a GPU, runs the Vulkan tests on it, lists what it can do, and benchmarks searches beside PyTorch: tests/gpu.sh --help
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C.UTF-8
shopt -s nullglob

# shellcheck disable=SC2016 # names, for people
help='Usage: tests/gpu.sh [OPTION]...
Builds, runs the Vulkan tests on a GPU, lists what it can do, and benchmarks searches beside PyTorch, in at most eight minutes.

  --device N     index of the Vulkan device; GPUs come first (0)
  --rows N       of the gallery (10000000, or as many as fit on the disk)
  --dim D        components (512)
  --batch N,..   probes per call (1,8,32,128,1024,4096)
  --dir DIR      where galleries are made, and removed ($TMPDIR, or /var/tmp); 30 GB with the defaults
  --out DIR      logs, JSON and SVG ($BUILD/gpu)
  --seconds N    that all of it may take (480)
  --test-seconds N   that each test program may take (150); they run side by side, and all of them get a third of the time
  --skip NAME,.. stages to leave out: tests_on_the_device, answers_are_the_same, bench_resident, peers, bench_streamed, sweep
  --quick        a small gallery, on a software device too: to see that this script works, not how fast anything is
  --pack         only build, and put the libraries beside the programs, so that $BUILD can be carried to a machine that cannot build

$BUILD is the build directory (build). Where packages are missing, it says so, and installs them if it is root. What does not fit into the
time is left out, and said.'

build=${BUILD:-build} device=0 rows=10000000 dim=512 batch=1,8,32,128,1024,4096 dir=${TMPDIR:-/var/tmp} out='' limit=480 quick='' pack='' skip='' test_seconds=150
while [ $# -gt 0 ]; do
	case $1 in
	--device | --rows | --dim | --batch | --dir | --out | --seconds | --test-seconds | --skip)
		[ $# -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
		;;&
	--device) device=$2; shift ;;
	--rows) rows=$2; shift ;;
	--dim) dim=$2; shift ;;
	--batch) batch=$2; shift ;;
	--dir) dir=$2; shift ;;
	--out) out=$2; shift ;;
	--seconds) limit=$2; shift ;;
	--test-seconds) test_seconds=$2; shift ;;
	--skip) skip=$2; shift ;;
	--quick) quick=1 rows=8000 dim=64 batch=1,8,64,1025 ;;
	--pack) pack=1 ;;
	--help) echo "$help"; exit 0 ;;
	*) echo "$help" >&2; exit 2 ;;
	esac
	shift
done
out=${out:-$build/gpu}
mkdir -p "$out" || exit 1
lineup=$build/lineup
judged=128

# ---- stages ---------------------------------------------------------------------------------------------------------------------

failures=() left_out=()

left()
{
	echo $((limit - SECONDS))
}

# within SECONDS COMMAND...: at most so long, and no longer than there is time at all.
within()
{
	local most=$1
	shift

	[ "$(left)" -ge "$most" ] || most=$(left)
	[ "$most" -gt 0 ] || { echo "no time is left"; return 124; }
	timeout "$most" "$@"
}

# stage NAME SECONDS_MIN WHAT: runs the function NAME if so much time is left; its output is shown and kept. 77: left out, its last line says why.
stage()
{
	local name=$1 begin=$SECONDS status

	case ,$skip, in
	*,$name,*) left_out+=("$name: not wanted"); return ;;
	esac
	if [ "$(left)" -lt "$2" ]; then
		echo "=== $3: left out, $(left) s are left and it takes $2"
		left_out+=("$name: no time")
		return
	fi
	echo "=== $3"
	"$name" >"$out/$name.log" 2>&1
	status=$?
	cat "$out/$name.log"
	case $status in
	0) ;;
	77) left_out+=("$name: $(tail -n 1 "$out/$name.log")") ;;
	*) failures+=("$name: exit status $status, see $out/$name.log") ;;
	esac
	echo "=== $((SECONDS - begin)) s"
}

# ---- build -----------------------------------------------------------------------------------------------------------------------

# What the build and the unit tests need; nothing else of what tests/run.sh does.
packages()
{
	command -v make >/dev/null && command -v "${CC:-gcc}" >/dev/null && packaging/setup.sh build gpu || return 1
	printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <cmocka.h>\n' |
		"${CC:-gcc}" -E -x c - >/dev/null 2>&1 && return 0
	echo "the unit tests need libcmocka-dev"
	[ "$(id -u)" = 0 ] && apt-get install -qq -y --no-install-recommends libcmocka-dev
}

built()
{
	[ -x "$lineup" ] && [ -x "$build/tests/bench/vulkan_list" ] && "$lineup" --version >/dev/null
}

build_all()
{
	if [ -z "$pack" ] && [ -e "$build/packed" ] && built; then
		echo "the programs in $build came with it, and run here"
		return 0
	fi
	if ! packages; then
		echo "make, gcc or packages are missing and could not be installed; tests/gpu.sh --pack elsewhere makes a build that needs none"
		return 1
	fi
	within 240 make -k BUILD="$build" VULKAN=1 -j"$(nproc)" all unit-programs "$build/tests/bench/vulkan_list" >"$out/make.log" 2>&1 && return 0
	grep -v '^  [A-Z]' "$out/make.log" | tail -n 20
	return 1
}

# Libraries that a bare machine may lack, but for the C library and what a driver brings.
pack()
{
	local program library

	mkdir -p "$build/lib"
	for program in "$lineup" "$build"/tests/unit/test_vulkan_* "$build/tests/bench/vulkan_list"; do
		[ -x "$program" ] && ldd "$program"
	done | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
		case $library in
		*/libc.so* | */libm.so* | */ld-* | */libpthread.so* | */libdl.so* | */librt.so*) ;;
		*) cp -L "$library" "$build/lib/" ;;
		esac
	done
	# Opened at run time.
	library=$(PATH=$PATH:/sbin ldconfig -p | awk '/libvulkan.so.1 / { print $NF; exit }')
	[ -z "$library" ] || cp -L "$library" "$build/lib/"
	touch "$build/packed"
	echo "to carry: $build/packed, lib/, lineup, tests/bench/vulkan_list and tests/unit/test_vulkan_* of $build, and tests/"
}

# A driver in an odd place, as in some containers.
find_driver()
{
	local icd

	[ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] || return 0
	for icd in /usr/share/vulkan/icd.d/nvidia*.json /etc/vulkan/icd.d/nvidia*.json; do
		return 0
	done
	for icd in /usr/local/nvidia/share/vulkan/icd.d/nvidia*.json; do
		export VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd
	done
}

# ---- tests and the list ----------------------------------------------------------------------------------------------------------

machine()
{
	uname -srm
	grep -m 1 '^model name' /proc/cpuinfo
	echo "$(nproc) CPUs, $(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB memory, $(df -B1G --output=avail "$dir" | tail -n 1) GiB free in $dir"
	command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit --format=csv
	"$lineup" devices
}

is_a_gpu()
{
	grep -q '^1\. ' "$out/the_list.log" && ! grep -q 'SOFTWARE DEVICE' "$out/the_list.log"
}

the_list()
{
	within 90 "$build/tests/bench/vulkan_list" "$device" "${quick:+4}"
}

# started COMMAND...: beside the others, as many at a time as there are CPUs.
started()
{
	local name log
	name=$(basename "${*: -1}")
	log=$out/$name.log

	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
		wait -n
	done
	{
		within $((test_seconds < tests_end - SECONDS ? test_seconds : tests_end - SECONDS)) "$@" >"$log" 2>&1
		echo $? >"$log.status"
	} &
}

# The programs and the script that tests/run.sh runs on a software device.
tests_on_the_device()
{
	local program log failed=0 names=() tests_end=$((SECONDS + limit / 3))

	export LINEUP_TEST_DEVICE=$device LINEUP=$lineup
	for program in "$build"/tests/unit/test_vulkan_*; do
		case $program in *.o | *.d) continue ;; esac
		names+=("$(basename "$program")")
		started "$program"
	done
	if [ -e tests/integration/vulkan.sh ]; then
		names+=(vulkan.sh)
		started bash tests/integration/vulkan.sh
	fi
	wait
	for program in "${names[@]}"; do
		log=$out/$program.log
		if [ "$(cat "$log.status")" = 0 ]; then
			echo "passed  $program: $(grep -c '^ok\|\[ *OK' "$log") cases, $(grep -c 'SKIP' "$log") lines of skips"
		else
			echo "FAILED  $program: exit status $(cat "$log.status") (124: it took too long)"
			grep -E '^not ok|^#|FAILED|ERROR' "$log" | head -n 20 | sed 's/^/        /'
			failed=1
		fi
	done
	rm -f "$out"/*.log.status
	return $failed
}

# ---- the gallery -----------------------------------------------------------------------------------------------------------------

have_torch()
{
	[ -z "$quick" ] && python3 -c 'import torch' 2>/dev/null
}

# As many rows as fit on the disk, as float16 in a file and in a gallery; a multiple of 8.
fit_rows()
{
	local bytes fit

	bytes=$(df -B1 --output=avail "$dir" | tail -n 1)
	fit=$((bytes * 9 / 10 / (5 * dim + 256)))
	[ "$fit" -ge "$rows" ] || { echo "only $fit rows fit into $dir"; rows=$fit; }
	rows=$((rows / 8 * 8))
}

make_gallery()
{
	if ! have_torch && [ -z "$quick" ]; then
		echo "torch is not installed, so lineup bench makes the gallery, and there are no peers"
		return 77
	fi
	python3 tests/bench/peer_torch.py make "$scratch/rows.npy" "$rows" "$dim" 1 &&
		python3 tests/bench/peer_torch.py make "$scratch/probes.npy" 4096 "$dim" 2 &&
		python3 tests/bench/peer_torch.py head "$scratch/probes.npy" "$judged" "$scratch/judged.npy" &&
		within 300 "$lineup" enrol "$scratch/gallery" --vectors "$scratch/rows.npy" --store float16 || return 1
	# So few rows would stay in the journal, and nothing would be read from the disk.
	[ -z "$quick" ] || "$lineup" compact "$scratch/gallery"
}

# The CPU's answers and the GPU's, on the whole gallery.
answers_are_the_same()
{
	local cpu

	cpu=$("$lineup" info --build | sed -n 's/^backend *\([a-z0-9]*\): available$/\1/p' | grep -v vulkan | tail -n 1)
	[ -d "$scratch/gallery" ] || { echo "there is no gallery"; return 77; }
	within 120 "$lineup" search "$scratch/gallery" --probes "$scratch/judged.npy" --per template --format tsv --backend "$cpu" >"$scratch/truth.tsv" &&
		within 120 "$lineup" search "$scratch/gallery" --probes "$scratch/judged.npy" --per template --format tsv --backend vulkan \
			--device "$device" >"$scratch/answers.tsv" &&
		cmp "$scratch/truth.tsv" "$scratch/answers.tsv" &&
		echo "$(wc -l <"$scratch/truth.tsv") candidates of $judged probes over $rows rows: $cpu and vulkan say the same, bit for bit"
}

# ---- benchmarks ------------------------------------------------------------------------------------------------------------------

# bench NAME OPTION...: into NAME.json and NAME.svg.
bench()
{
	local name=$1
	shift

	within 300 "$lineup" bench --backend vulkan --device "$device" --json "$out/$name.json" --plot "$out/$name.svg" \
		"$@" ${quick:+--quick --searches-only}
}

bench_resident()
{
	if [ -d "$scratch/gallery" ]; then
		bench resident --gallery "$scratch/gallery" --batch "$batch" --only resident --seconds 0.3
	else
		bench resident --n "$rows" --dim "$dim" --dir "$dir" --batch "$batch" --searches-only --seconds 0.3
	fi
}

# A streamed pass takes as long as the disk does: batch sizes that would not fit into the time are left out.
bench_streamed()
{
	local begin pass share=$batch need

	[ -d "$scratch/gallery" ] || { echo "measured with the resident searches"; return 77; }
	begin=$(date +%s%N)
	"$lineup" search "$scratch/gallery" --probes "$scratch/judged.npy" --stream --format tsv --backend vulkan --device "$device" >/dev/null || return 1
	pass=$((($(date +%s%N) - begin) / 1000000))
	for share in "$batch" 1,128,1024 1024; do
		# Seven rounds and a few calls of the gate for each size; calls of more than 1024 make several passes.
		need=$(awk -v ms="$pass" -v sizes="$share" 'BEGIN {
			n = split(sizes, size, ",")
			for (i = 1; i <= n; i++)
				passes += 11 * int((size[i] + 1023) / 1024)
			print int((passes + 15) * ms / 1000) + 20 }')
		[ "$need" -gt $(($(left) - 60)) ] || break
		echo "streamed searches of $share probes would take $need s"
	done
	bench streamed --gallery "$scratch/gallery" --batch "$share" --only streamed --seconds 0
}

peers()
{
	if [ -e "$scratch/small.tsv" ]; then
		within 60 python3 tests/bench/peer_torch.py run --gallery "$scratch/small.npy" --probes "$scratch/judged.npy" --truth "$scratch/small.tsv" \
			--judged 8 --batch 1,8 --json "$out/peers.json" --dry-run
	elif [ -e "$scratch/truth.tsv" ] && have_torch; then
		within 120 python3 tests/bench/peer_torch.py run --gallery "$scratch/rows.npy" --probes "$scratch/probes.npy" --truth "$scratch/truth.tsv" \
			--judged "$judged" --batch "$batch" --json "$out/peers.json"
	else
		echo "torch is not installed"
		return 77
	fi
}

# A dry run is in plain Python: it gets few rows.
make_small()
{
	python3 tests/bench/peer_torch.py head "$scratch/rows.npy" 2000 "$scratch/small.npy" &&
		"$lineup" enrol "$scratch/small" --vectors "$scratch/small.npy" --store float16 >/dev/null &&
		"$lineup" search "$scratch/small" --probes "$scratch/judged.npy" --per template --format tsv >"$scratch/small.tsv"
}

report()
{
	local inputs=("$out"/resident.json "$out"/streamed.json "$out"/peers.json) have=() input

	for input in "${inputs[@]}"; do
		[ ! -e "$input" ] || have+=("$input")
	done
	[ -e "$out/resident.json" ] || [ -e "$out/streamed.json" ] || { echo "nothing was benchmarked"; return 77; }
	python3 tests/bench/gpu_report.py "$out/gpu.json" "$out/gpu.svg" "${have[@]}" && echo "in $out: gpu.json, gpu.svg, and the logs of all stages"
}

# Other variants on the same rows, and other dimensions.
sweep()
{
	local variant components

	sed -n 's/^  \([a-z-]*\) *equals the CPU.*/\1/p' "$out/the_list.log" | grep -v emulated | while read -r variant; do
		[ -d "$scratch/gallery" ] && within 90 "$lineup" bench --backend "vulkan-$variant" --device "$device" --gallery "$scratch/gallery" \
			--batch 1,32,1024 --only resident --seconds 0.1 ${quick:+--quick} --json "$out/sweep-$variant.json" | sed -n '/^backend/p; /^Search/,/^  Mcmp/p'
	done
	for components in 128 1024; do
		within 90 "$lineup" bench --backend vulkan --device "$device" --n $((rows / 8)) --dim $components --dir "$dir" --batch 1,8,32,128,1024 \
			--only resident --seconds 0.1 ${quick:+--quick} --json "$out/sweep-$components.json" | sed -n '/^lineup/p; /^backend/p; /^Search/,/^  Mcmp/p'
	done
}

# ---- all of it -------------------------------------------------------------------------------------------------------------------

[ -z "$pack" ] && [ -d "$build/lib" ] && export LD_LIBRARY_PATH=$PWD/$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
rm -f "$out"/*.json "$out"/*.svg "$out"/*.log "$out"/*.status
stage build_all 1 "build"
# A test that does not build is a failure, and no reason not to measure.
built || { printf 'FAILED: %s\n' "${failures[@]}"; exit 1; }
if [ -n "$pack" ]; then
	pack
	du -sh "$build/lib"
	exit 0
fi
find_driver
scratch=$(mktemp -d "$dir/lineup-gpu-XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
fit_rows
stage machine 1 "the machine"
stage the_list 10 "what the device is and does (extensions, variants, rates, uploads)"
if ! is_a_gpu && [ -z "$quick" ]; then
	echo "device $device is no GPU, so nothing is measured (--quick shows that this script works)"
	exit 1
fi
stage tests_on_the_device 30 "tests on the device"
stage make_gallery 60 "a gallery of $rows x $dim"
stage answers_are_the_same 10 "the same answers as the CPU"
stage bench_resident 60 "resident searches"
[ -z "$quick" ] || [ ! -e "$scratch/rows.npy" ] || make_small
stage peers 20 "the same searches in PyTorch"
stage bench_streamed 40 "streamed searches"
stage report 1 "side by side"
stage sweep 60 "other variants and dimensions"
echo "$SECONDS s in all"
[ "${#left_out[@]}" = 0 ] || printf 'left out: %s\n' "${left_out[@]}"
[ "${#failures[@]}" = 0 ] || printf 'FAILED: %s\n' "${failures[@]}"
[ "${#failures[@]}" = 0 ]
