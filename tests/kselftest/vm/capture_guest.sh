#!/bin/sh
# SPDX-License-Identifier: MIT
# In the virtual machine: from vivid's and the card's frames to candidates, while others enrol. Prints TAP. See capture.sh.

# shellcheck shell=dash
# Facts are called by their names:
# shellcheck disable=SC2317

ln -s /t/root/lib /t/root/lib64 /t/root/usr /
mkdir -p /etc
printf 'root:x:0:0:root:/:/bin/sh\n' >/etc/passwd
export LINEUP_EXTRACTORS=/t/extractors PATH=/t:$PATH
device=/dev/video0
dim=24

begin()
{
	insmod ./lineup.ko && [ -c /dev/lineup ]
}

# What is on the list before anything is captured: three patterns among five hundred strangers.
gallery_is_enrolled()
{
	vivid_template $device '100% White' $dim white.npy
	vivid_template $device '100% Black' $dim black.npy
	vivid_template $device 'Horizontal 100% Colorbar' $dim bars.npy
	lineup enrol g --model lineup-pattern --vectors strangers.npy
	for name in white black; do
		printf 'subject\n%s\n' $name >$name.csv
		lineup enrol g --vectors $name.npy --subjects $name.csv --model lineup-pattern
	done
}

# The subject of the best candidate of each frame in $1.
best()
{
	sed -n 's/.*"candidates":\[{"rank":1,"subject":"\([^"]*\)".*/\1/p' "$1"
}

frames_of_the_module_lead_to_the_right_candidate()
{
	for name in White Black; do
		vivid_template $device "100% $name"
		lineup capture --deadline 60000 --wait 60 --device $device --extractor pattern --search g --frames 8 --pool module -k 3 --format json >out
		[ "$(best out | sort -u)" = "$(echo $name | tr WB wb)" ]
		[ "$(best out | wc -l)" = 8 ]
		tail -n 1 out | grep -q '"captured":8,"dropped":[0-9]*,"failed":0,.*"empty":0,"searched":8,"unsearched":0},"probes":8,"candidates":24},"ended":"frames"'
	done
}

# The score of a frame and the template that another program made of another frame of it.
scores_are_of_the_very_template()
{
	sed -n 's/.*"candidates":\[{"rank":1,[^}]*"score":\([0-9.]*\)}.*/\1/p' out >scores
	cat scores
	awk '$1 < 0.99999 || $1 > 1.00001 { bad = 1 } END { exit bad || NR != 8 }' scores
}

# Nobody knows the pattern at first; while frames are searched it is enrolled; from some frame on it is found, in a later state of the gallery.
who_is_enrolled_meanwhile_is_found()
{
	vivid_template $device 'Horizontal 100% Colorbar'
	lineup capture --deadline 60000 --wait 60 --device $device --extractor pattern --search g --pool module -k 1 --format json >live 2>live.err &
	pid=$!
	until [ "$(best live | wc -l)" -ge 5 ]; do sleep 1; done
	printf 'subject\nlate\n' >late.csv
	lineup pool --format json >pools
	lineup enrol g --vectors bars.npy --subjects late.csv --model lineup-pattern
	until best live | grep -q late; do sleep 1; done
	kill -TERM $pid # a shell's background program ignores SIGINT
	wait $pid
	best live | head -n 5 | grep late && return 1
	[ "$(best live | tail -n 1)" = late ]
	# In between it was not lost again.
	best live | awk '$1 == "late" { seen = 1; next } seen { exit 1 }'
	grep -q '"ended":"interrupted"' live
	# Each captured frame is accounted for.
	sed -n 's/.*"captured":\([0-9]*\),"dropped":[0-9]*,"failed":0,.*"empty":0,"searched":\([0-9]*\),"unsearched":0.*/\1 \2/p' live | awk '{ exit $1 != $2 || $1 < 6 }'
}

pools_are_shown_while_they_are_used()
{
	grep -q '"state":"open".*"made":4,"free":0,"out":4,' pools
	grep -q '"command":"lineup"' pools
	lineup pool | grep -q 'pools         0, 0 of them visible; frames out: 0, held back: 0'
}

templates_of_another_model_are_not_searched()
{
	vivid_template $device '100% Black'
	lineup capture --deadline 60000 --wait 60 --device $device --extractor ./misbehave.so --search g --frames 6 --format json >out
	tail -n 1 out | grep -q '"captured":6,.*"failed":6,.*"model":6,.*"searched":0'
}

unplugging_ends_it_with_an_error_and_the_counts()
{
	status=0
	lineup capture --deadline 60000 --wait 60 --device $device --extractor pattern --search g --format json >out 2>err &
	pid=$!
	until [ "$(best out | wc -l)" -ge 3 ]; do sleep 1; done
	echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
	wait $pid || status=$?
	cat err
	[ $status = 1 ]
	grep -q 'the device is gone' err
	grep -q '"ended":"failed"' out
	echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
	[ -c $device ]
}

the_sample_card_delivers_frames()
{
	insmod ./educap.ko
	lineup capture --deadline 60000 --wait 60 --device edu --extractor pattern --search g --frames 2 --seed seed -k 1 --format json >out
	tail -n 1 out | grep -q '"captured":2,"dropped":0,"failed":0,.*"searched":2'
	[ "$(best out | sort -u)" = black ] # a seed of zeros and ones is dark everywhere
}

# The first byte that the card delivers is what the plug-in does.
a_plugin_that_crashes_costs_its_frames_only()
{
	printf '\001' >crash
	lineup capture --deadline 60000 --wait 60 --device edu --extractor ./misbehave.so --search g --frames 3 --seed crash --format json >out 2>err || { cat err; return 1; }
	cat err
	tail -n 1 out | grep -q '"captured":3,.*"failed":3,.*"crashed":3,.*"searched":0'
	[ "$(grep -c 'signal 11' err)" = 1 ]
}

# The card carries a block of templates; the second of its two faces is stranger 7.
templates_from_the_card_are_searched()
{
	lineup capture --deadline 60000 --wait 60 --device edu --extractor inband --search g --frames 1 --seed block -k 1 --format tsv >out 2>err
	cat out err
	cut -f 1-4 out | tr '\t' ' ' >got
	printf '0 0 1 3\n0 1 1 7\n' | diff - got
	rmmod educap
}

# Gallery blocks into frames of the module by io_uring, with registered buffers where the kernel registers them.
blocks_are_read_into_frames()
{
	./test_capture_read >out 2>&1 || { cat out; return 1; }
	cat out
}

# The library's own call, into vgem; there is no reason to skip it here.
frames_go_into_drm()
{
	./test_capture_drm >out 2>&1 || { cat out; return 1; }
	cat out
	! grep -q SKIPPED out
}

without_the_module_it_goes_on_and_says_how()
{
	rmmod lineup
	vivid_template $device '100% White'
	lineup capture --deadline 60000 --wait 60 --device $device --extractor pattern --search g --frames 3 -k 1 --format json >out 2>err
	cat err
	[ "$(best out | sort -u)" = white ]
	[ "$(grep -c 'the module lineup is not loaded; using frames of' err)" = 1 ]
	case $(uname -r) in
	6.1.*) grep -q 'frames of device' err ;;
	*) grep -q 'frames of udmabuf' err ;;
	esac
	status=0
	lineup capture --deadline 60000 --wait 60 --device $device --extractor pattern --search g --frames 3 --pool module >out 2>err || status=$?
	[ $status = 1 ] && grep -q 'not loaded' err
	status=0
	lineup pool 2>err || status=$?
	[ $status = 1 ] && grep -q 'not loaded' err
}

the_systems_heap_will_do()
{
	[ -c /dev/dma_heap/system ] || { echo "SKIP no /dev/dma_heap/system"; return 0; }
	lineup capture --deadline 60000 --wait 60 --device $device --extractor pattern --search g --frames 3 -k 1 --pool heap --format json >out
	[ "$(best out | sort -u)" = white ]
}

the_kernel_log_is_clean()
{
	dmesg >log
	! grep -E "$COMPLAINTS" log
}

facts="begin gallery_is_enrolled frames_of_the_module_lead_to_the_right_candidate scores_are_of_the_very_template who_is_enrolled_meanwhile_is_found
	pools_are_shown_while_they_are_used templates_of_another_model_are_not_searched unplugging_ends_it_with_an_error_and_the_counts
	the_sample_card_delivers_frames a_plugin_that_crashes_costs_its_frames_only templates_from_the_card_are_searched blocks_are_read_into_frames frames_go_into_drm
	without_the_module_it_goes_on_and_says_how
	the_systems_heap_will_do the_kernel_log_is_clean"
# shellcheck disable=SC2086 # a list of words
set -- $facts
mkdir -p /tmp/w
cp ./*.npy ./seed ./block ./*.ko ./misbehave.so ./test_capture_read ./test_capture_drm /tmp/w/
cd /tmp/w || exit 1
echo "1..$#"
number=0
for fact; do
	number=$((number + 1))
	(set -e; "$fact") >/tmp/said 2>&1
	status=$?
	if [ $status != 0 ]; then
		echo "not ok $number - $fact"
		sed 's/^/# /' /tmp/said | tail -n 20
	elif grep -q ^SKIP /tmp/said; then
		sed -n 's/^SKIP //p' /tmp/said
		echo "ok $number # SKIP $fact"
	else
		echo "ok $number - $fact"
	fi
done
