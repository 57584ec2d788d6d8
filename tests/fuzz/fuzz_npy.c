// SPDX-License-Identifier: MIT
// Any bytes as a .npy file.
#include "fuzz_vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_vectors("f.npy", "f.npy: ", data, size);
	return 0;
}
