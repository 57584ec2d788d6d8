// SPDX-License-Identifier: MIT
// Any bytes as an .fvecs and as a .bvecs file, and as standard input, which may be either of .npy and .fvecs.
#include "fuzz_vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_vectors("f.fvecs", "f.fvecs: ", data, size);
	fuzz_vectors("f.bvecs", "f.bvecs: ", data, size);
	fuzz_vectors("-", "standard input: ", data, size);
	return 0;
}
