#!/bin/bash
# SPDX-License-Identifier: MIT
# Output that cannot be written, interruption, progress, and what the process shows of itself.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

some_gallery()
{
	vectors random a.npy 50 8 1
	lineup enrol g --vectors a.npy >/dev/null
}

# each_printing_command COMMAND...: runs the lines that print, one after the other, by COMMAND.
each_printing_command()
{
	local format

	for format in table tsv json; do
		"$@" search g --probes a.npy --format "$format"
		"$@" verify g --probes a.npy --subject 3 --format "$format"
	done
	"$@" info g
	"$@" info g --format json
	"$@" info --build
	"$@" check g
	"$@" help
	"$@" help search
	"$@" --version
}

full_disk()
{
	status 1 bash -c '"$0" "$@" >/dev/full' "$LINEUP" "$@"
	says 'standard output' 'No space left on device|earlier write'
}

closed_output()
{
	status 1 bash -c '"$0" "$@" >&-' "$LINEUP" "$@"
	says 'standard output' 'Bad file descriptor|earlier write'
}

closed_pipe()
{
	# The reader is gone before the program starts.
	status 1 bash -c 'exec 3> >(exec <&-); wait $!; "$0" "$@" >&3' "$LINEUP" "$@"
	says 'standard output' 'Broken pipe|earlier write'
}

a_full_disk_is_an_error()
{
	some_gallery
	each_printing_command full_disk
}

a_closed_standard_output_is_an_error()
{
	some_gallery
	before=$(fingerprint g)
	each_printing_command closed_output
	equal "$before" "$(fingerprint g)"
}

a_closed_pipe_is_an_error()
{
	some_gallery
	each_printing_command closed_pipe
}

an_operation_that_cannot_be_reported_says_that_it_was_done()
{
	some_gallery
	status 1 bash -c '"$0" "$@" >/dev/full' "$LINEUP" enrol g --vectors a.npy
	says 'standard output' 'enrolled'
	status 1 bash -c '"$0" "$@" >/dev/full' "$LINEUP" delete g --subject 60
	says 'standard output' 'deleted'
	status 1 bash -c '"$0" "$@" >/dev/full' "$LINEUP" compact g
	says 'standard output' 'compacted'
	lineup info g --format json >info
	equal "$(field templates info)" 99
	equal "$(field templates_deleted info)" 0
}

closed_standard_descriptors_are_not_taken_for_files()
{
	some_gallery
	before=$(fingerprint g)
	status 1 bash -c '"$0" "$@" <&- >&- 2>&-' "$LINEUP" search g --probes a.npy
	status 1 bash -c '"$0" "$@" <&- >&-' "$LINEUP" enrol g --vectors -
	equal "$before" "$(fingerprint g)"
}

# ends STATUS PROCESS
ends()
{
	local got=0

	wait "$2" || got=$?
	equal "$got" "$1"
}

# interrupted SIGNAL GALLERY: an enrolment from a pipe, which gets the signal after it has read a part and before the rest.
interrupted()
{
	local process

	vectors random big.fvecs 40000 8 1
	mkfifo rows
	# A shell without job control has its background programs ignore SIGINT.
	env --default-signal=INT "$LINEUP" enrol "$2" --vectors - <rows >out 2>err &
	process=$!
	exec 3>rows
	# More than the pipe holds: what is left over was read.
	head -c 1000000 big.fvecs >&3
	kill -"$1" "$process"
	tail -c +1000001 big.fvecs >&3 || :
	exec 3>&-
	ends 1 "$process"
	[ ! -s out ]
	says 'interrupted: nothing was changed'
	rm rows
}

an_interrupted_enrolment_changes_nothing()
{
	some_gallery
	before=$(fingerprint g)
	for signal in INT TERM; do
		interrupted "$signal" g
		equal "$before" "$(fingerprint g)"
		interrupted "$signal" new
		[ ! -e new ]
	done
	lineup enrol g --vectors a.npy
}

a_second_signal_ends_it_at_once_and_leaves_the_gallery_sound()
{
	some_gallery
	before=$(fingerprint g)
	vectors random big.fvecs 40000 8 1
	mkfifo rows
	"$LINEUP" enrol g --vectors - <rows >out 2>err &
	process=$!
	exec 3>rows
	# More than the pipe holds and less than the program asks for: it waits for the rest.
	head -c 1000000 big.fvecs >&3
	kill -TERM "$process"
	# Once the first is taken, or the kernel would make one of both.
	while grep -qE '^(SigPnd|ShdPnd):.*[1-9a-f]' "/proc/$process/status"; do
		sleep 0.01
	done
	kill -TERM "$process"
	ends 143 "$process"
	exec 3>&-
	equal "$before" "$(fingerprint g)"
	lineup enrol g --vectors a.npy
	lineup check g
}

# slowly TERMINAL: enrols from a pipe that takes more than a second, standard error to a terminal or to a file; prints what was written there.
slowly()
{
	python3 - "$LINEUP" "$1" <<-'END'
		import os, pty, subprocess, sys, time
		rows = open("slow.npy", "rb").read()
		reader, writer = pty.openpty() if sys.argv[2] == "terminal" else os.pipe()
		p = subprocess.Popen([sys.argv[1], "enrol", "slow", "--vectors", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=writer)
		os.close(writer)
		# All but the last byte fill several chunks, so that the bar is asked for after a second.
		half = len(rows) // 2
		p.stdin.write(rows[:half])
		p.stdin.flush()
		time.sleep(1.2)
		p.stdin.write(rows[half:])
		p.stdin.close()
		text = b""
		try:
		    while part := os.read(reader, 65536):
		        text += part
		except OSError:
		    pass
		assert p.wait() == 0
		sys.stdout.buffer.write(text)
	END
}

progress_is_shown_on_a_terminal_after_a_second()
{
	vectors random slow.npy 70000 60 1
	slowly terminal >shown
	grep -q 'enrol \[.*%.*rows/s.*left' shown
	# The bar is gone at the end.
	tail -c 4 shown | od -An -c | grep -q '\\r 033   \[   K'
}

progress_is_silent_elsewhere()
{
	vectors random slow.npy 70000 60 1
	slowly pipe >shown
	[ ! -s shown ]
}

the_process_forbids_core_dumps()
{
	some_gallery
	mkfifo rows
	"$LINEUP" search g --probes - <rows >out &
	process=$!
	exec 3>rows
	until grep -qE '^Max core file size +1 +1 ' "/proc/$process/limits"; do
		kill -0 "$process"
		sleep 0.01
	done
	cat a.npy >&3
	exec 3>&-
	wait "$process"
	[ -s out ]
}

facts a_full_disk_is_an_error a_closed_standard_output_is_an_error a_closed_pipe_is_an_error \
	an_operation_that_cannot_be_reported_says_that_it_was_done closed_standard_descriptors_are_not_taken_for_files \
	an_interrupted_enrolment_changes_nothing a_second_signal_ends_it_at_once_and_leaves_the_gallery_sound \
	progress_is_shown_on_a_terminal_after_a_second progress_is_silent_elsewhere the_process_forbids_core_dumps
