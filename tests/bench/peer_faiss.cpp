// SPDX-License-Identifier: MIT
// The same exact search by lineup and by faiss's flat index, in turns in one process: peer_faiss [rows] [dim] [rounds] [batch,..].
//
// Both hold the same unit vectors in memory and use the same number of threads. faiss multiplies with OpenBLAS from 20 probes a call on; OpenBLAS may not know the
// CPU and choose a slow kernel, so this prints which one it runs: set OPENBLAS_CORETYPE (SkylakeX for AVX-512, Zen or Haswell for AVX2) to what is fastest.
// OMP_WAIT_POLICY=passive keeps faiss's idle threads from taking the CPU from lineup's.
#include <faiss/IndexFlat.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "lineup.h"

extern "C" char *openblas_get_corename(void);

namespace {

constexpr uint32_t K = 10;

double seconds_now()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> v)
{
	std::sort(v.begin(), v.end());
	return v[v.size() / 2];
}

void say(void *, enum lineup_log_level, const char *message)
{
	fprintf(stderr, "%s\n", message);
}

void must(int err, const char *what)
{
	if (err) {
		fprintf(stderr, "peer_faiss: %s: %s\n", what, strerror(-err));
		exit(1);
	}
}

/* Unit rows, as float32 is able to. */
std::vector<float> unit_rows(size_t rows, uint32_t dim, uint32_t seed)
{
	std::mt19937_64 random(seed);
	std::normal_distribution<float> normal;
	std::vector<float> v(rows * dim);

	for (size_t r = 0; r < rows; r++) {
		double square = 0;

		for (uint32_t i = 0; i < dim; i++) {
			v[r * dim + i] = normal(random);
			square += double(v[r * dim + i]) * v[r * dim + i];
		}
		for (uint32_t i = 0; i < dim; i++)
			v[r * dim + i] = float(v[r * dim + i] / sqrt(square));
	}
	return v;
}

/* A resident gallery of @rows in a directory that is removed at once: its open files stay. */
struct lineup_searcher *lineup_of(struct lineup_ctx *ctx, const std::vector<float> &rows, uint32_t dim)
{
	std::string directory = std::string(getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp") + "/peer-faiss-XXXXXX";
	struct lineup_gallery_create_options create = {};
	struct lineup_enrol_batch batch = {};
	struct lineup_search_setup setup = {};
	struct lineup_gallery *gallery;
	struct lineup_enrol *enrol;
	struct lineup_searcher *searcher;
	std::string path;

	if (!mkdtemp(directory.data()))
		must(-errno, directory.c_str());
	path = directory + "/gallery";
	create.size = sizeof(create);
	create.dim = dim;
	must(lineup_gallery_create(ctx, path.c_str(), &create, &gallery), "create");
	batch.vectors = { rows.data(), rows.size() / dim, dim, LINEUP_FLOAT32 };
	must(lineup_enrol_begin(gallery, nullptr, &enrol), "enrol");
	must(lineup_enrol_add(enrol, &batch), "enrol");
	must(lineup_enrol_commit(enrol, nullptr), "enrol");
	setup.size = sizeof(setup);
	setup.residency = LINEUP_RESIDENT;
	must(lineup_searcher_create(gallery, &setup, &searcher), "searcher");
	lineup_gallery_close(gallery);
	if (system(("rm -rf " + directory).c_str()))
		fprintf(stderr, "peer_faiss: %s stays\n", directory.c_str());
	return searcher;
}

/* How many of lineup's answers faiss has too. faiss adds in float32: a tie of its sums may fall the other way. */
double shared(const std::vector<struct lineup_candidate> &ours, const std::vector<faiss::Index::idx_t> &theirs, size_t probes)
{
	size_t hits = 0;

	for (size_t p = 0; p < probes; p++)
		for (uint32_t i = 0; i < K; i++)
			for (uint32_t j = 0; j < K; j++)
				hits += uint64_t(theirs[p * K + j]) == ours[p * K + i].template_id;
	return double(hits) / double(probes * K);
}

} // namespace

int main(int argc, char **argv)
{
	size_t rows = argc > 1 ? strtoull(argv[1], nullptr, 10) : 1000000;
	uint32_t dim = argc > 2 ? uint32_t(atoi(argv[2])) : 512;
	int rounds = argc > 3 ? atoi(argv[3]) : 7;
	std::string batches = argc > 4 ? argv[4] : "1,16,256,1024";
	struct lineup_ctx_options options = {};
	struct lineup_ctx *ctx;

	options.size = sizeof(options);
	options.log = say;
	must(lineup_ctx_create(&options, &ctx), "context");
	std::vector<float> gallery = unit_rows(rows, dim, 1), probes = unit_rows(1024, dim, 2);
	struct lineup_searcher *searcher = lineup_of(ctx, gallery, dim);
	faiss::IndexFlatIP flat(dim);

	flat.add(faiss::Index::idx_t(rows), gallery.data());
	printf("%zu rows of %u, k = %u, faiss %d.%d.%d flat inner product, %d threads, OpenBLAS kernel %s, medians of %d rounds\n", rows, dim, K,
	       FAISS_VERSION_MAJOR, FAISS_VERSION_MINOR, FAISS_VERSION_PATCH, omp_get_max_threads(), openblas_get_corename(), rounds);
	printf("probes   lineup Mcmp/s   faiss Mcmp/s   lineup/faiss   answers shared\n");
	for (char *word = strtok(batches.data(), ","); word; word = strtok(nullptr, ",")) {
		uint32_t batch = uint32_t(atoi(word));
		std::vector<struct lineup_candidate> ours(size_t(batch) * K);
		std::vector<uint32_t> counts(batch);
		std::vector<float> scores(size_t(batch) * K);
		std::vector<faiss::Index::idx_t> theirs(size_t(batch) * K);
		std::vector<double> lineup_seconds, faiss_seconds, ratio;
		double agree = 1;

		if (batch < 1 || batch > 1024) {
			fprintf(stderr, "peer_faiss: %s probes: 1 to 1024\n", word);
			return 2;
		}
		for (int round = 0; round < rounds; round++) {
			const float *first = probes.data() + size_t(round) * batch % (1024 - batch + 1) * dim;
			struct lineup_matrix matrix = { first, batch, dim, LINEUP_FLOAT32 };
			struct lineup_search_options search = {};
			double begin = seconds_now(), middle;

			search.size = sizeof(search);
			search.k = K;
			must(lineup_search(searcher, &matrix, &search, ours.data(), counts.data(), nullptr), "search");
			middle = seconds_now();
			flat.search(batch, first, K, scores.data(), theirs.data());
			lineup_seconds.push_back(middle - begin);
			faiss_seconds.push_back(seconds_now() - middle);
			ratio.push_back(faiss_seconds.back() / lineup_seconds.back());
			agree = std::min(agree, shared(ours, theirs, batch));
		}
		printf("%6u   %13.1f   %12.1f   %12.2f   %14.5f\n", batch, double(rows) * batch / median(lineup_seconds) / 1e6,
		       double(rows) * batch / median(faiss_seconds) / 1e6, median(ratio), agree);
		fflush(stdout);
	}
	lineup_searcher_destroy(searcher);
	lineup_ctx_destroy(ctx);
	return 0;
}
