// SPDX-License-Identifier: MIT
// IEEE 754 binary16 in integers, the same on every compiler and CPU.
#include <string.h>

#include "internal.h"

float lineup_half_to_float(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023, bits;
	float value;

	if (exponent == 31) {
		bits = sign | 0x7f800000 | fraction << 13;
	} else if (exponent) {
		bits = sign | (exponent + 112) << 23 | fraction << 13;
	} else {
		value = (float)fraction * 0x1p-24f; /* subnormal or zero, exact */
		memcpy(&bits, &value, sizeof(bits));
		bits |= sign;
	}
	memcpy(&value, &bits, sizeof(value));
	return value;
}

uint16_t lineup_half_from_float(float value)
{
	uint32_t bits, sign, magnitude;

	memcpy(&bits, &value, sizeof(bits));
	sign = bits >> 16 & 0x8000;
	magnitude = bits & 0x7fffffff;
	if (magnitude > 0x7f800000)
		return (uint16_t)(sign | 0x7e00); /* NaN */
	if (magnitude >= 0x477ff000)
		return (uint16_t)(sign | 0x7c00); /* 65520 and more round to infinity */
	if (magnitude >= 0x38800000) { /* normal: drop 13 bits, ties to even */
		uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);

		return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
	}
	/* Subnormal: the unit is 2^-24. Adding 0.5 puts that unit in the last bit of the float's fraction, rounded to even. */
	memcpy(&value, &magnitude, sizeof(value));
	value += 0.5f;
	memcpy(&magnitude, &value, sizeof(magnitude));
	return (uint16_t)(sign | (magnitude - 0x3f000000));
}
