#!/bin/bash
# SPDX-License-Identifier: MIT
# vm.sh -k IMAGE -v RELEASE [OPTION...] [-- QEMU ARGUMENTS]: boots a kernel under QEMU's TCG, runs one command in it, powers off.
#
#	-k IMAGE	the kernel: /boot/vmlinuz-..., a bzImage, or a vmlinux (which boots 5 s faster)
#	-u		IMAGE is a user-mode kernel, a program of this machine: no QEMU, and what it has of devices is a disk
#	-v RELEASE	which /lib/modules it belongs to; -r ROOT if they are below another folder
#	-m "NAME..."	modules to load, with all they need, in the order given; NAME:a=1:b=2 gives parameters
#	-f "FILE..."	files and folders to put into the guest's /t, where the command runs
#	-c COMMAND	what to run (sh)
#	-d FILE		a disk, as NVMe; with -u, /dev/ubda
#	-a WORDS	for the kernel command line
#	-M SIZE, -t SECONDS	memory (1G), how long it may take in all (600)
#
# The guest is an initramfs (with -u, a folder) made for the run: busybox, those modules, those files. Its console goes to
# standard output. A line "VM: monitor WORDS" from the guest is a command for QEMU's monitor. The exit status is the command's,
# 124 if time ran out, 125 if the guest ended without saying (panic).
set -eu -o pipefail

root='' mods='' files='' cmd=true disk='' append='' mem=1G limit=600 user_mode=''
while getopts k:uv:r:m:f:c:d:a:M:t: option; do
	case $option in
	k) image=$OPTARG ;;
	u) user_mode=yes ;;
	v) release=$OPTARG ;;
	r) root=$OPTARG ;;
	m) mods=$OPTARG ;;
	f) files=$OPTARG ;;
	c) cmd=$OPTARG ;;
	d) disk=$OPTARG ;;
	a) append=$OPTARG ;;
	M) mem=$OPTARG ;;
	t) limit=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
guest=$work/root
mkdir -p "$guest"/{bin,proc,sys,dev,tmp,m,t}
cp "$(command -v busybox)" "$guest/bin/busybox"
# shellcheck disable=SC2086 # a list of words
[ -z "$files" ] || cp -r $files "$guest/t/"
printf '%s\n' "$cmd" >"$guest/t/.command"

# Debian's modules are compressed on 6.12, and busybox loads plain ones only.
declare -A packed=()
pack_module()
{
	local name=$1 options=$2 verb path file

	# one "insmod PATH OPTIONS" or "builtin NAME" a line, in load order
	while read -r verb path _; do
		if [ "$verb" != insmod ] || [ -n "${packed[$path]-}" ]; then
			continue
		fi
		packed[$path]=1
		file=$guest/m/$(basename "${path%.xz}")
		case $path in
		*.xz) xz -dc "$path" >"$file" ;;
		*) cp "$path" "$file" ;;
		esac
		if [[ $(basename "$file" .ko | tr - _) == "$(tr - _ <<<"$name")" ]]; then
			echo "$(basename "$file") $options" >>"$guest/m/order"
		else
			basename "$file" >>"$guest/m/order"
		fi
	done < <(/sbin/modprobe ${root:+-d "$root"} -S "$release" --show-depends "$name")
}

touch "$guest/m/order"
[ -z "$disk" ] || [ -n "$user_mode" ] || mods="nvme $mods"
for word in $mods; do
	IFS=: read -r name options <<<"$word"
	pack_module "$name" "${options//:/ }"
done

cat >"$guest/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/t
mount -t proc proc /proc
mount -t sysfs sys /sys
grep -q devtmpfs /proc/mounts || mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
mount -t tmpfs tmp /tmp
# What the kernel says is read with dmesg; on the console it would run into the tests' lines. An oops or a panic comes here anyway.
dmesg -n 1
while read -r file options; do
	insmod "/m/$file" $options || echo "VM: insmod $file $options failed"
done </m/order
cd /t
read -r up _ </proc/uptime
echo "VM: $(uname -r) ready after $up s"
sh ./.command
rc=$?
read -r up _ </proc/uptime
echo "VM: done after $up s"
echo "VM: rc=$rc"
poweroff -f
INIT
chmod +x "$guest/init"
mkfifo "$work/monitor" "$work/console"

emulate()
{
	(cd "$guest" && find . -print0 | cpio --null -o -H newc --quiet -R 0:0 | gzip -1) >"$work/initrd" || return
	set -- -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m "$mem" -display none -no-reboot -nic none \
		-monitor stdio -serial "file:$work/console" -kernel "$image" -initrd "$work/initrd" \
		-append "console=ttyS0 quiet panic=-1 oops=panic mitigations=off tsc=reliable no_timer_check $append" "$@"
	[ -z "$disk" ] || set -- "$@" -drive "if=none,id=disk,format=raw,file=$disk,cache=none,aio=threads" -device nvme,serial=1,drive=disk
	timeout -k 5 "$limit" qemu-system-x86_64 "$@" <&3 >"$work/monitor.log" 2>&1
}

# The kernel polls its console, which therefore cannot be a file. Its helper process dies of glibc's restartable sequences.
run_as_program()
{
	ulimit -c 0
	# shellcheck disable=SC2086 # words
	GLIBC_TUNABLES=glibc.pthread.rseq=0 timeout -k 5 "$limit" "$image" mem="$mem" rootfstype=hostfs rootflags="$guest" rw init=/init \
		con=null con0=null,fd:1 ssl=null console=tty0 quiet panic=-1 oops=panic $append ${disk:+"ubd0=$disk"} \
		</dev/null >"$work/console" 2>"$work/monitor.log"
}

# The monitor's input is open at both ends here, so that it never ends; the console's ends with QEMU.
exec 3<>"$work/monitor"
{
	if [ -n "$user_mode" ]; then run_as_program; else emulate "$@"; fi || echo $? >"$work/status"
	[ ! -e "$work/status" ] || cat "$work/monitor.log"
	# If the machine did not come as far as the console, somebody still waits for it to be opened.
	: <>"$work/console"
} &
while IFS= read -r line; do
	line=${line//$'\r'/}
	printf '%s\n' "$line"
	case $line in
	"VM: monitor "*) printf '%s\n' "${line#VM: monitor }" >&3 ;;
	"VM: rc="*) printf '%s\n' "${line#VM: rc=}" >"$work/rc" ;;
	esac
done <"$work/console"
wait
[ ! -s "$work/rc" ] || exit "$(cat "$work/rc")"
[ "$(cat "$work/status" 2>/dev/null)" = 124 ] && exit 124
exit 125
