// SPDX-License-Identifier: MIT
// CRC-32C against a bit-by-bit oracle, published vectors, and itself in pieces.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Not only linked: the way without the instruction is chosen by a static, and must be tested on machines that have it. */
#include "../../userspace/lib/crc32c.c"

enum { LENGTH_MAX = 4096, ALIGNMENTS = 8, LARGE = 100003 };

static uint8_t bytes[LARGE + ALIGNMENTS] __attribute__((aligned(64)));

static int fill(void **state)
{
	uint64_t x = 88172645463325252;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = (uint8_t)(x >> 32);
	}
	return 0;
}

/* The register of the definition: one bit at a time, the polynomial 0x1edc6f41 reflected. @reg is not complemented. */
static uint32_t bitwise(uint32_t reg, uint8_t byte)
{
	reg ^= byte;
	for (int bit = 0; bit < 8; bit++)
		reg = reg >> 1 ^ (reg & 1 ? 0x82f63b78 : 0);
	return reg;
}

static uint32_t oracle(const uint8_t *p, size_t size)
{
	uint32_t reg = 0xffffffff;

	for (size_t i = 0; i < size; i++)
		reg = bitwise(reg, p[i]);
	return ~reg;
}

static void published_vectors_hold(void **state)
{
	uint8_t block[32];

	(void)state;
	assert_int_equal(lineup_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(lineup_crc32c(0, "", 0), 0);
	/* RFC 3720, B.4 */
	memset(block, 0, sizeof(block));
	assert_int_equal(lineup_crc32c(0, block, sizeof(block)), 0x8a9136aa);
	memset(block, 0xff, sizeof(block));
	assert_int_equal(lineup_crc32c(0, block, sizeof(block)), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof(block); i++)
		block[i] = i;
	assert_int_equal(lineup_crc32c(0, block, sizeof(block)), 0x46dd794e);
	for (uint8_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(31 - i);
	assert_int_equal(lineup_crc32c(0, block, sizeof(block)), 0x113fdb5c);
}

static void every_length_at_every_alignment_agrees_with_the_oracle(void **state)
{
	(void)state;
	for (size_t at = 0; at < ALIGNMENTS; at++) {
		uint32_t reg = 0xffffffff;

		for (size_t size = 0; size <= LENGTH_MAX; size++) {
			assert_int_equal(lineup_crc32c(0, bytes + at, size), ~reg);
			reg = bitwise(reg, bytes[at + size]);
		}
	}
}

static void a_large_block_agrees_with_the_oracle(void **state)
{
	(void)state;
	for (size_t at = 0; at < ALIGNMENTS; at++)
		assert_int_equal(lineup_crc32c(0, bytes + at, LARGE), oracle(bytes + at, LARGE));
}

static void tables_agree_with_the_oracle_where_the_instruction_is_absent(void **state)
{
	bool kept = hardware;

	hardware = false;
	published_vectors_hold(state);
	every_length_at_every_alignment_agrees_with_the_oracle(state);
	a_large_block_agrees_with_the_oracle(state);
	hardware = kept;
}

static void pieces_give_the_crc_of_the_whole(void **state)
{
	enum { SIZE = 7000 };
	uint32_t whole = oracle(bytes, SIZE), crc = 0;

	(void)state;
	for (size_t cut = 0; cut <= SIZE; cut += 7)
		assert_int_equal(lineup_crc32c(lineup_crc32c(0, bytes, cut), bytes + cut, SIZE - cut), whole);
	for (size_t i = 0; i < SIZE; i++)
		crc = lineup_crc32c(crc, bytes + i, 1);
	assert_int_equal(crc, whole);
}

static void any_flipped_bit_changes_the_crc(void **state)
{
	enum { SIZE = 3500 };
	uint32_t whole = lineup_crc32c(0, bytes, SIZE);

	(void)state;
	for (size_t bit = 0; bit < 8 * SIZE; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(lineup_crc32c(0, bytes, SIZE), whole);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(lineup_crc32c(0, bytes, SIZE), whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors_hold),
		cmocka_unit_test(every_length_at_every_alignment_agrees_with_the_oracle),
		cmocka_unit_test(a_large_block_agrees_with_the_oracle),
		cmocka_unit_test(tables_agree_with_the_oracle_where_the_instruction_is_absent),
		cmocka_unit_test(pieces_give_the_crc_of_the_whole),
		cmocka_unit_test(any_flipped_bit_changes_the_crc),
	};

	return cmocka_run_group_tests_name("crc32c", tests, fill, NULL);
}
