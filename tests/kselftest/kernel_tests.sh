#!/bin/bash
# SPDX-License-Identifier: MIT
# kernel_tests.sh KERNEL OUT [SETUP...]: tests the module in a kernel. KERNEL is the release of one in /lib/modules and /boot, or
# "debug" or "um" (see vm/kernel.sh). Logs go to OUT: SETUP.console, and for each program SETUP.PROGRAM.log (TAP) and
# SETUP.PROGRAM.log.status.
#
# Setups, each one boot:
#
#	plain		NVMe, two NUMA nodes, vivid, vgem, the edu card: everything
#	swiotlb		4 GiB and a card that reaches 32 bits: what it moves goes through bounce buffers
#	iommu		the card behind an emulated IOMMU; it is unplugged during a transfer
#	um		the only one of kernel "um": a disk and vgem, one processor, no PCI card
#
# After each program the kernel's log is read: what the kernel calls a bug is a failed case of that program.
set -eu -o pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
kernel=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
if [ "$kernel" = um ]; then
	set -- um
elif [ $# = 0 ]; then
	set -- plain swiotlb iommu
fi

# What the kernel says when it has found a mistake. "unloaded with" is lineup's own: something was left when it went.
complaints='WARNING:|BUG:|BUG |INFO: (possible|task|rcu|trying)|KASAN|UBSAN|Oops|general protection|Bad page|Bad rss'
complaints+='|refcount_t:|kmemleak: [0-9]+ new|list_(add|del) corruption|ODEBUG|swiotlb buffer is full|DMAR:.*fault'
complaints+='|unloaded with|pagealloc: (memory|single)|insmod .* failed'

# Where the kernel is: an image, a release, a folder to build against, a root for modprobe.
find_kernel()
{
	local dir cache

	seconds=1200
	arch=
	if [ "$kernel" = debug ]; then
		# Everything is checked, many times over.
		seconds=3600
		dir=$("$here/vm/kernel.sh" debug)
		release=$(cat "$dir/include/config/kernel.release")
		image=$dir/arch/x86/boot/bzImage
		headers=$dir
		modules=$dir/root
		return
	elif [ "$kernel" = um ]; then
		dir=$("$here/vm/kernel.sh" um)
		arch=um
		release=$(cat "$dir/include/config/kernel.release")
		image=$dir/linux
		headers=$dir
		modules=$dir/root
		return
	fi
	release=$kernel
	headers=/lib/modules/$release/build
	modules=
	image=/boot/vmlinuz-$release
	# Unpacked, it boots 5 s faster on 6.1.
	cache=$(dirname "$source")/vmlinux-$release
	if [ ! -e "$cache" ]; then
		bash "$source/scripts/extract-vmlinux" "$image" >"$cache.new" 2>/dev/null && mv "$cache.new" "$cache"
	fi
	[ ! -s "$cache" ] || image=$cache
}

# Objects of two kernels must not meet in one folder. The driver of the tests is built as a vendor's would be: against ours.
build_modules()
{
	mkdir -p "$out/module" "$out/driver"
	cp -ru "$root/Kbuild" "$root/kmod" "$out/module/"
	cp -u "$here"/driver/* "$out/driver/"
	{
		make -C "$headers" ${arch:+"ARCH=$arch"} M="$out/module" modules &&
			make -C "$headers" ${arch:+"ARCH=$arch"} M="$out/driver" LINEUP="$out/module/kmod" \
				KBUILD_EXTRA_SYMBOLS="$out/module/Module.symvers" modules
	} >"$out/module.log" 2>&1 || { tail -n 40 "$out/module.log"; return 1; }
}

build_programs()
{
	programs=$out/programs
	make -C "$here" OUT="$programs" SOURCE="$source" WERROR=1 -j"$(nproc)" >"$out/programs.log" 2>&1 ||
		{ tail -n 40 "$out/programs.log"; return 1; }
}

# word(7, i) of common.h at every place; the last 4 MiB are for what tests write.
make_disk()
{
	disk=$out/disk.img
	[ -e "$disk" ] || python3 - "$disk" <<-'END'
		import array, sys
		seed = 7 * 0x9e3779b1 & 0xffffffff
		words = array.array("I", (((i + 1) * 2654435761 & 0xffffffff) ^ seed for i in range(1 << 20)))
		with open(sys.argv[1] + ".new", "wb") as f:
		    words.tofile(f)
		    f.truncate(8 << 20)
	END
	[ -e "$disk" ] || mv "$disk.new" "$disk"
}

boot()
{
	local setup=$1 tests=$2 mods=$3 files
	shift 3

	files=$(find "$programs" -maxdepth 1 -type f -perm -u+x -printf '%p ')
	files+=$(find "$out/module" "$out/driver" -name '*.ko' -printf '%p ')
	"$here/vm/vm.sh" -k "$image" -v "$release" ${modules:+-r "$modules"} -m "$mods" -f "$files $here/guest.sh" -d "$disk" \
		-t "$seconds" -c "sh ./guest.sh $tests" "$@" >"$out/$setup.console" 2>&1 || true
	split "$setup"
	if ! grep -q '^VM: rc=' "$out/$setup.console"; then
		tail -n 20 "$out/$setup.console"
		echo "kernel_tests.sh: $setup did not come to its end"
		failed=1
	fi
}

# Takes the console apart. cmocka's way of saying skipped, which run.sh reads, has the reason on the line before; a failure's reason
# follows it. The kernel's log becomes one more case.
split()
{
	awk -v prefix="$out/$1." -v complaints="$complaints" '
		function finish() {
			if (log_file == "") return
			if (bad != "") printf "not ok %d the kernel log is clean\n# %s\n", cases + 1, bad >log_file
			else if (ended) printf "ok %d the kernel log is clean\n", cases + 1 >log_file
			else printf "not ok %d ends\n# the machine stopped\n", cases + 1 >log_file
			print (status == "" ? 125 : status) >(log_file ".status")
			close(log_file)
			close(log_file ".status")
			log_file = ""
		}
		/^=== begin / {
			finish()
			name = $3; log_file = prefix name ".log"; status = ""; bad = early; early = ""; ended = 0; cases = 0; why = ""; in_log = 0
			next
		}
		# before the first program
		log_file == "" { if ($0 ~ complaints) early = early (early == "" ? "" : "; ") $0; next }
		/^=== status / { status = $3; next }
		/^=== took/ { next }
		/^=== log/ { in_log = 1; next }
		/^=== end/ { ended = 1; finish(); next }
		/^\| / || $0 ~ complaints {
			print >log_file
			if ($0 ~ complaints && length(bad) < 300) bad = bad (bad == "" ? "" : "; ") $0
			next
		}
		/^1\.\.[0-9]+/ { planned = substr($1, 4) + 1; print "1.." planned >log_file; next }
		/^(not )?ok [0-9]+/ {
			cases++
			line = $0
			if (match(line, / # SKIP/)) {
				reason = substr(line, RSTART + 8)
				line = substr(line, 1, RSTART - 1)
				sub(/^ok [0-9]+ */, "", line)
				sub(/^ */, "", reason)
				if (reason == "") reason = why == "" ? "no reason given" : why
				printf "%s\nok %d # SKIP %s\n", reason, cases, line >log_file
			} else {
				print line >log_file
				if (line ~ /^not /) print "# " why >log_file
			}
			why = ""
			next
		}
		/^#  RUN / { why = "" }
		/^# .*:[0-9]+:/ || /^# *SKIP/ {
			text = $0
			sub(/^# */, "", text)
			if (length(why) < 300) why = why (why == "" ? "" : "; ") text
		}
		/^# (PASSED|FAILED|Totals)/ { next }
		{ print "  " $0 >log_file }
		END { finish() }' "$out/$1.console"
}

source=$("$here/vm/source.sh" parts)
find_kernel
build_modules
build_programs
make_disk
everything="load driver abi dmabuf-heap memory wipe uring edu vivid vgem fences sync revoke quota pressure lifetime model crowd unload"
# Only kernels built for it inject faults.
[ "$kernel" != debug ] || everything=${everything/ unload/ fault unload}
nodes="-object memory-backend-ram,id=n0,size=768M -object memory-backend-ram,id=n1,size=768M
	-numa node,nodeid=0,cpus=0,memdev=n0 -numa node,nodeid=1,cpus=1,memdev=n1"
failed=0
for setup; do
	rm -f "$out/$setup".*
	case $setup in
	plain)
		# shellcheck disable=SC2086 # words
		boot plain "${LINEUP_TESTS:-$everything}" "vgem vivid:n_devs=2:allocators=0,1" -M 1536M -a "init_on_alloc=0" -- \
			-smp 2,sockets=2 -device edu $nodes
		;;
	swiotlb)
		boot swiotlb "${LINEUP_TESTS:-load edu memory unload}" "vgem" -M 4G \
			-a "init_on_alloc=0 EDU_BITS=32 EDU_MEANS=bounce" -- -device edu,dma_mask=0xffffffff
		;;
	iommu)
		boot iommu "${LINEUP_TESTS:-load edu unload}" "vgem" -M 4G \
			-a "init_on_alloc=0 intel_iommu=on EDU_MEANS=iommu EDU_UNPLUG=edu,bus=rp0,id=card" -- \
			-device intel-iommu,intremap=off -device pcie-root-port,id=rp0 -device edu,bus=rp0,id=card
		;;
	um)
		boot um "${LINEUP_TESTS:-load driver abi dmabuf-heap memory wipe uring vgem fences sync revoke quota lifetime model crowd fault unload}" "vgem" \
			-u -M 1G -a "init_on_alloc=0 USER_MODE=yes"
		;;
	*) echo "kernel_tests.sh: no setup $setup" >&2; exit 2 ;;
	esac
done
exit $failed
