#!/bin/bash
# SPDX-License-Identifier: MIT
# kernel.sh [-n] debug|um: builds one of the two kernels that look for mistakes from Debian's source unless it is there, and prints
# its build folder. "debug" is for a PC, "um" a program of this machine (user-mode Linux). With -n, nothing is built.
#
# The folder in $LINEUP_KERNEL_CACHE (build/kernel) is named for the source's version, the fragment and this script, so a change of
# any builds another. It holds the kernel, what modules need to build against it, and root/ with its own modules. ccache is used if it
# is there, in $CCACHE_DIR or beside the folder.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
may_build=yes
if [ "${1-}" = -n ]; then
	may_build=no
	shift
fi
case ${1-} in
debug) arch=x86 image=bzImage ;;
um) arch=um image=linux ;;
*) echo "usage: kernel.sh [-n] debug|um" >&2; exit 2 ;;
esac
fragment=$here/$1.config
cache=${LINEUP_KERNEL_CACHE:-build/kernel}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
dir=$cache/$1-$(dpkg-query -W -f '${Version}' linux-source-6.12)-$(cat "$fragment" "$here/kernel.sh" | sha256sum | cut -c 1-12)
log=$dir.log

if [ $may_build = no ]; then
	[ -e "$dir/complete" ] && echo "$dir"
	exit
fi
source=$("$here/source.sh" tree)

# The same words in every build, or ccache would see other files.
export KBUILD_BUILD_TIMESTAMP='1970-01-01' KBUILD_BUILD_USER=lineup KBUILD_BUILD_HOST=lineup
export CCACHE_DIR=${CCACHE_DIR:-$cache/ccache} CCACHE_BASEDIR=$cache CCACHE_MAXSIZE=500M
compiler=gcc
! command -v ccache >/dev/null || compiler="ccache gcc"

build()
{
	make -C "$source" O="$dir" ARCH=$arch CC="$compiler" "$@"
}

# allnoconfig drops in silence what nothing selects.
configure()
{
	build KCONFIG_ALLCONFIG="$fragment" allnoconfig
	if grep -E '^(CONFIG_|# CONFIG_.* is not set$)' "$fragment" | grep -vxFf "$dir/.config"; then
		echo "kernel.sh: $dir/.config lacks these lines of $fragment"
		return 1
	fi
}

# User-mode Linux 6.12 has a mistake that is not ours to be told of: when two flush one process's mappings at a time, flush_tlb_mm walks
# its memory map, though it is another's and not locked. It only looks for the map's ends; the whole address space does as well.
mend_um()
{
	local file=$source/arch/um/kernel/tlb.c mended='um_tlb_mark_sync(mm, 0, TASK_SIZE);'

	if ! grep -qF "$mended" "$file"; then
		sed -i "/^void flush_tlb_mm(/,/^}/c void flush_tlb_mm(struct mm_struct *mm)\n{\n\t$mended\n}" "$file"
		grep -F "$mended" "$file"
	fi
}

exec 9>"$dir.lock"
flock 9
if [ ! -e "$dir/complete" ]; then
	mkdir -p "$dir"
	begin=$SECONDS
	{
		{ [ $arch != um ] || mend_um; } &&
			configure &&
			build -j"$(nproc)" $image modules &&
			build INSTALL_MOD_PATH="$dir/root" modules_install
	} >"$log" 2>&1 </dev/null || { tail -n 30 "$log" >&2; exit 1; }
	touch "$dir/complete"
	echo "kernel.sh: built $dir in $((SECONDS - begin)) s" >&2
fi
echo "$dir"
