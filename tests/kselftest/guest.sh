#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs in the virtual machine: `sh ./guest.sh PROGRAM...`. Loads the module, runs each program (or function below) and prints what
# kernel_tests.sh takes apart: "=== begin NAME", the program's TAP, "=== status N", the kernel log since the last one, "=== end".

# shellcheck shell=dash

export LINEUP_MODULE=/t/lineup.ko
[ ! -e /dev/nvme0n1 ] || export LINEUP_DISK=/dev/nvme0n1
[ ! -e /dev/ubda ] || export LINEUP_DISK=/dev/ubda
debug=/sys/kernel/debug

# What the udev rule does.
own_nodes()
{
	chgrp 990 /dev/lineup /dev/dma_heap/lineup
}

# ok N NAME, or not ok: the TAP line of a check that is done here.
check()
{
	local n=$1 name=$2
	shift 2

	if "$@"; then echo "ok $n $name"; else echo "not ok $n $name"; fi
}

refuses_bits()
{
	for bits; do
		if insmod ./educap.ko dma_bits="$bits" 2>/dev/null; then
			rmmod educap
			return 1
		fi
	done
}

# The module and its sample driver load.
load()
{
	echo 1..3
	check 1 "lineup.ko loads" insmod ./lineup.ko
	check 2 "educap.ko refuses address bits that no card has" refuses_bits 23 65 4294967295
	check 3 "educap.ko loads" insmod ./educap.ko dma_bits="${EDU_BITS:-28}"
	own_nodes
}

# Nothing is left: no pool, frame, fence or byte in the module's own account; then everything unloads, and the kernel that keeps
# accounts of its own has nothing to say.
unload()
{
	checks=3
	[ ! -e $debug/kmemleak ] || checks=5
	echo 1..$checks
	check 1 "nothing is left" sh -c '! ./account | grep -vE " 0$"'
	check 2 "educap.ko unloads" rmmod educap
	check 3 "lineup.ko unloads" rmmod lineup
	[ $checks = 5 ] || return 0
	check 4 "nothing leaked" no_leaks
	check 5 "no misuse of DMA" no_dma_errors
}

# The first scan finds what was in registers and on stacks then, too.
no_leaks()
{
	echo scan >$debug/kmemleak
	sleep 6
	echo scan >$debug/kmemleak
	sed 's/^/# /' $debug/kmemleak
	! grep -q unreferenced $debug/kmemleak
}

no_dma_errors()
{
	[ "$(cat $debug/dma-api/disabled)" = N ] && [ "$(cat $debug/dma-api/error_count)" = 0 ]
}

# What this machine cannot show is left out, rather than skipped each time: see edu.c.
edu()
{
	set --
	[ "$EDU_MEANS" = bounce ] || set -- "$@" -T uses_bounce_buffers_where_it_must
	[ -n "$EDU_MEANS" ] || set -- "$@" -T an_object_of_vgem_goes_through_the_card_into_a_frame
	[ -n "$EDU_UNPLUG" ] || set -- "$@" -T the_card_is_pulled_during_a_transfer
	./edu "$@"
}

# The driver that uses the in-kernel API has its cases run when it is loaded.
driver()
{
	insmod ./lineup_driver.ko && cat /sys/module/lineup_driver/parameters/results && rmmod lineup_driver
}

# What a user-mode kernel lacks or does wrong itself is left out there: it has no write-combined memory; it takes a 32-bit call for one
# of 64 bits; it has no zones of low memory; its flush_tlb_mm() walks the mappings without a lock, which lockdep sees when two
# threads' flushes meet.
left_out()
{
	[ -n "$USER_MODE" ] || return
	case $1 in
	abi) echo "-T works_for_a_32bit_program" ;;
	memory) echo "-V write_combine -T frames_lie_below_the_address_a_device_reaches" ;;
	revoke) echo "-V write_combine -T revoked_while_others_map_and_sync -T mappings_are_empty_for_each_of_two_who_revoke_at_once" ;;
	fault) echo "-V create_write_combine" ;;
	lifetime | sync | uring | wipe) echo "-V write_combine" ;;
	esac
}

log()
{
	echo "=== log"
	dmesg -c | sed 's/^/| /'
	echo "=== end"
}

echo "=== begin boot"
echo 1..1
echo "ok 1 boot"
echo "=== status 0"
log
for program; do
	read -r begin _ </proc/uptime
	echo "=== begin $program"
	case $program in
	load | unload | edu | driver) $program ;;
	lifetime)
		# It removes lineup.ko, which the sample driver uses.
		grep -q ^educap /proc/modules && rmmod educap && again=1
		# shellcheck disable=SC2046 # words
		./lifetime $(left_out lifetime)
		status=$?
		own_nodes
		[ -z "$again" ] || insmod ./educap.ko dma_bits="${EDU_BITS:-28}"
		sh -c "exit $status"
		;;
	*)
		# shellcheck disable=SC2046 # words
		./"$program" $(left_out "$program")
		;;
	esac
	echo "=== status $?"
	read -r end _ </proc/uptime
	echo "=== took $begin to $end s"
	log
done
