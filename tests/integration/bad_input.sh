#!/bin/bash
# SPDX-License-Identifier: MIT
# Bad input gets one clear error that names file, row and reason, exit status 1, and changes nothing.
# Facts are called by their names, arguments may be names of files, and $0 belongs to the inner shell:
# shellcheck disable=SC2317,SC2094,SC2016
# shellcheck source=tests/integration/tap
. "$(dirname "$0")/tap"

# A gallery of 4 rows of 3 components and 1 deleted one, model m, list red.
small_gallery()
{
	vectors rows good.npy '<f4' '1 2 3;3 2 1;1 1 1;9 8 7'
	lineup enrol g --vectors good.npy --model m --lists red >/dev/null
	lineup delete g --template 3 >/dev/null
}

# refused_vectors FILE REGEX...: as vectors and as probes, by an old gallery and by a new one, which must not come into being.
refused_vectors()
{
	local file=$1
	shift

	[ -e g ] || small_gallery
	refused g "$file" "$@" -- lineup enrol g --vectors "$file"
	refused new "$file" "$@" -- lineup enrol new --vectors "$file"
	refused g "$file" "$@" -- lineup search g --probes "$file"
	refused g "$file" "$@" -- lineup verify g --probes "$file" --subject 0
}

wrong_dimension()
{
	small_gallery
	vectors rows bad.npy '<f4' '1 2 3 4'
	refused g bad.npy 'row 0' '4 components' '3' -- lineup enrol g --vectors bad.npy
	refused g bad.npy 'row 0' '4 components' '3' -- lineup search g --probes bad.npy
	refused g bad.npy 'row 0' '4 components' '3' -- lineup verify g --probes bad.npy --subject 0
}

second_dimension_in_one_file()
{
	vectors rows bad.fvecs '<f4' '1 2 3;1 2 3;1 2'
	refused_vectors bad.fvecs 'row 2' 'dimension 2'
}

not_a_number()
{
	vectors rows bad.npy '<f4' '1 2 3;1 nan 3'
	refused_vectors bad.npy 'row 1' 'NaN'
}

infinity()
{
	vectors rows bad.npy '<f8' '1 2 3;1 2 3;1 2 -inf'
	refused_vectors bad.npy 'row 2' '[Ii]nfinit'
}

zero_vector()
{
	vectors rows bad.npy '<f2' '0 -0 0'
	refused_vectors bad.npy 'row 0' 'zero'
}

bad_row_far_into_the_file()
{
	vectors random far.npy 70001 3 1
	python3 - <<-'END'
		data = bytearray(open("far.npy", "rb").read())
		data[-12:] = bytes(12)
		open("far.npy", "wb").write(data)
	END
	small_gallery
	refused g far.npy 'row 70000' 'zero' -- lineup enrol g --vectors far.npy
	refused new far.npy 'row 70000' 'zero' -- lineup enrol new --vectors far.npy
}

truncated_npy_header()
{
	small_gallery
	for size in 0 5 9 40 127; do
		head -c "$size" good.npy >bad.npy
		refused_vectors bad.npy 'header|empty|truncated|too short|not'
	done
}

oversized_npy_header()
{
	small_gallery
	printf '\x93NUMPY\x02\x00\xff\xff\xff\x7f{' >bad.npy
	refused_vectors bad.npy 'header'
}

negative_shape()
{
	vectors header bad.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }" 12
	refused_vectors bad.npy 'shape'
}

overflowing_shape()
{
	for shape in '(6148914691236517206, 3)' '(99999999999999999999999, 3)' '(18446744073709551615, 3)' '(1, 4294967299)'; do
		vectors header bad.npy "{'descr': '<f4', 'fortran_order': False, 'shape': $shape, }" 12
		refused_vectors bad.npy
	done
}

fortran_order()
{
	refused_vectors "$data/fortran.npy" '[Ff]ortran'
}

wrong_dtype()
{
	refused_vectors "$data/int32.npy" 'i4'
	refused_vectors "$data/structured.npy"
}

wrong_number_of_dimensions()
{
	refused_vectors "$data/one_dimension.npy" 'dimension'
	refused_vectors "$data/three_dimensions.npy" 'dimension'
}

fewer_bytes_than_the_shape_says()
{
	small_gallery
	head -c -1 good.npy >bad.npy
	refused_vectors bad.npy 'row 3|bytes'
}

more_bytes_than_the_shape_says()
{
	small_gallery
	{ cat good.npy; echo; } >bad.npy
	refused_vectors bad.npy
}

truncated_fvecs()
{
	vectors random long.fvecs 3 5 1
	head -c -7 long.fvecs >bad.fvecs
	refused new bad.fvecs 'row 2' 'truncated' -- lineup enrol new --vectors bad.fvecs
	: >empty.fvecs
	refused new empty.fvecs 'empty' -- lineup enrol new --vectors empty.fvecs
}

dimension_over_the_limit()
{
	vectors random bad.npy 1 4097 1
	refused_vectors bad.npy '4096'
	vectors random most.npy 1 4096 1
	lineup enrol most --vectors most.npy
	lineup search most --probes most.npy -k 1 --format tsv >found
	grep -q '1.000000$' found
}

no_rows()
{
	vectors header none.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }" 0
	small_gallery
	refused g 'row' -- lineup enrol g --vectors none.npy
	refused new 'row' -- lineup enrol new --vectors none.npy
	status 0 lineup search g --probes none.npy --format tsv
	[ ! -s out ]
}

unknown_kind_of_file()
{
	small_gallery
	cp good.npy bad.bin
	refused_vectors bad.bin 'ending|known'
	refused g 'directory' -- lineup enrol g --vectors .
	refused g 'missing.npy' 'No such file' -- lineup enrol g --vectors missing.npy
	refused new 'missing.npy' 'No such file' -- lineup enrol new --vectors missing.npy
	refused g 'missing.csv' 'No such file' -- lineup enrol g --vectors good.npy --subjects missing.csv
}

# refused_subjects REGEX...: the file bad.csv, for the four rows of good.npy.
refused_subjects()
{
	[ -e g ] || small_gallery
	refused g bad.csv "$@" -- lineup enrol g --vectors good.npy --subjects bad.csv
	refused new bad.csv "$@" -- lineup enrol new --vectors good.npy --subjects bad.csv
}

fewer_subjects_than_rows()
{
	printf 'subject\na\nb\nc\n' >bad.csv
	refused_subjects 'fewer subjects' 'row 3' good.npy
}

more_subjects_than_rows()
{
	printf 'subject\na\nb\nc\nd\ne\n' >bad.csv
	refused_subjects 'more subjects' good.npy
}

id_too_long()
{
	printf 'subject\na\n%065d\nc\nd\n' 7 >bad.csv
	refused_subjects 'line 3' '64'
	printf 'subject\na\n%064d\nc\nd\n' 7 >fits.csv
	lineup enrol g --vectors good.npy --subjects fits.csv
}

id_not_utf8()
{
	printf 'subject\na\nb\n\xc3\x28\nd\n' >bad.csv
	refused_subjects 'line 4' 'UTF-8'
}

id_with_a_control_character()
{
	printf 'subject\na\tb\nb\nc\nd\n' >bad.csv
	refused_subjects 'line 2' 'control'
}

id_empty()
{
	printf 'subject,lists\na,\nb,\n,x\nd,\n' >bad.csv
	refused_subjects 'line 4' 'empty'
}

no_column_of_subjects()
{
	printf 'name\na\nb\nc\nd\n' >bad.csv
	refused_subjects 'line 1' 'subject'
}

bad_list_or_time_of_a_row()
{
	printf 'subject,lists,expires\na,,\nb,not a list,\nc,,\nd,,\n' >bad.csv
	refused_subjects 'line 3' 'not a list'
	printf 'subject,lists,expires\na,,\nb,,tomorrow\nc,,\nd,,\n' >bad.csv
	refused_subjects 'line 3' 'tomorrow'
}

the_65th_list()
{
	small_gallery
	names=$(seq -s, -f 'l%g' 1 63)
	lineup enrol g --vectors good.npy --lists "$names"
	refused g '64' -- lineup enrol g --vectors good.npy --lists another
	refused g '64' -- lineup enrol g --vectors good.npy --lists "$names,a,b"
}

model_mismatch()
{
	small_gallery
	refused g 'model' "'?m'?" -- lineup enrol g --vectors good.npy --model other
	refused g 'model' -- lineup search g --probes good.npy --model other
	refused g 'model' -- lineup verify g --probes good.npy --subject 0 --model other
	refused g 'model' -- lineup delete g --subject 0 --model other
	lineup search g --probes good.npy --model m
}

model_id_too_long()
{
	small_gallery
	refused new '64' -- lineup enrol new --vectors good.npy --model "$(printf %065d 1)"
}

unknown_list()
{
	small_gallery
	refused g 'blue' -- lineup search g --probes good.npy --lists red,blue
}

bad_list_name()
{
	small_gallery
	for names in '' ',' 'red,' ',red' 'a b' "$(printf %033d 1)"; do
		refused g '--lists' -- lineup search g --probes good.npy --lists "$names"
		refused g '--lists' -- lineup enrol g --vectors good.npy --lists "$names"
	done
}

k_out_of_range()
{
	small_gallery
	for k in 0 4097 99999999999999999999; do
		refused g '-k' "$k" -- lineup search g --probes good.npy -k "$k"
	done
	lineup search g --probes good.npy -k 4096
}

threads_out_of_range()
{
	small_gallery
	for threads in 0 257; do
		refused g '--threads' "$threads" -- lineup search g --probes good.npy --threads "$threads"
	done
}

threshold_that_is_no_cosine()
{
	small_gallery
	refused g '--threshold' '1.5' -- lineup search g --probes good.npy --threshold 1.5
}

unknown_backend()
{
	small_gallery
	refused g 'abacus' -- lineup search g --probes good.npy --backend abacus
}

backend_of_another_architecture()
{
	small_gallery
	case $(uname -m) in
	x86_64) refused g 'neon' -- lineup search g --probes good.npy --backend neon ;;
	*) refused g 'avx2' -- lineup search g --probes good.npy --backend avx2 ;;
	esac
}

unknown_subject_or_template()
{
	small_gallery
	refused g 'nobody' -- lineup delete g --subject nobody
	refused g '17' -- lineup delete g --template 17
	refused g '3' -- lineup delete g --template 3
	refused g 'nobody' -- lineup verify g --probes good.npy --subject nobody
	refused g '64' -- lineup verify g --probes good.npy --subject "$(printf %065d 1)"
}

operation_id_of_zeros()
{
	small_gallery
	refused g '--op-id' -- lineup enrol g --vectors good.npy --op-id 00000000000000000000000000000000
}

no_gallery()
{
	small_gallery
	for command in 'search none --probes good.npy' 'verify none --probes good.npy --subject a' 'delete none --subject a' \
		'compact none' 'info none' 'check none' 'export none --vectors o.npy'; do
		# shellcheck disable=SC2086 # words
		refused none none -- lineup $command
	done
	mkdir empty
	refused empty empty -- lineup enrol empty --vectors good.npy
	refused good.npy good.npy -- lineup info good.npy
}

newer_format_version()
{
	small_gallery
	# MANIFEST: magic[8], version, crc. Whatever the rest means to a newer version, this one says it is too new.
	printf '\002' | dd of=g/MANIFEST bs=1 seek=8 conv=notrunc status=none
	for command in 'search g --probes good.npy' 'info g' 'check g' 'enrol g --vectors good.npy' 'delete g --subject 0'; do
		# shellcheck disable=SC2086 # words
		status 1 lineup $command
		says 'MANIFEST' 'version 2|format 2|newer'
	done
}

second_writer()
{
	small_gallery
	mkfifo rows
	"$LINEUP" enrol g --vectors - <rows >/dev/null &
	exec 3>rows
	head -c 128 good.npy >&3
	# The lock tells who holds it; to try it would take it away from him.
	until grep -qw $! g/lock; do
		kill -0 $!
		sleep 0.01
	done
	status 1 lineup enrol g --vectors good.npy
	says "$!"
	status 1 lineup delete g --subject 0
	says "$!"
	lineup search g --probes good.npy >/dev/null
	tail -c +129 good.npy >&3
	exec 3>&-
	wait $!
	lineup info g --format json >info
	equal "$(field templates info)" 7
}

facts wrong_dimension second_dimension_in_one_file not_a_number infinity zero_vector bad_row_far_into_the_file truncated_npy_header \
	oversized_npy_header negative_shape overflowing_shape fortran_order wrong_dtype wrong_number_of_dimensions \
	fewer_bytes_than_the_shape_says more_bytes_than_the_shape_says truncated_fvecs dimension_over_the_limit no_rows \
	unknown_kind_of_file fewer_subjects_than_rows more_subjects_than_rows id_too_long id_not_utf8 id_with_a_control_character \
	id_empty no_column_of_subjects bad_list_or_time_of_a_row the_65th_list model_mismatch model_id_too_long unknown_list \
	bad_list_name k_out_of_range threads_out_of_range threshold_that_is_no_cosine unknown_backend \
	backend_of_another_architecture unknown_subject_or_template operation_id_of_zeros no_gallery newer_format_version second_writer
