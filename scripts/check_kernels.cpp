// Compares edgespec's kernels with sums over dequantized weights, and a row's bits with those of the same row in other batches.
//
//     check_kernels make INPUT          random weights and rows, quantized here, for every machine to compute the same
//     check_kernels run INPUT OUTPUT    prints a line for each case, writes all results; exit code 1 where one is wrong
//
// Built by scripts/check_kernels.py.

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

extern "C" const char * edgespec_kernels_isa(void);
extern "C++" ggml_backend_buffer_type_t edgespec_buffer_type(void);

namespace {

// Rows of a matrix are no multiple of a panel's, and of most types their length is none of 256.
constexpr int64_t ROWS = 16, MATRIX_ROWS = 100, EXPERTS = 4, USED = 2;
constexpr int64_t HEAD = 64, HEADS = 4, KV_HEADS = 2, PLACES = 256;
constexpr float MOST_ERROR = 0.02f;  // Root mean square, as a share of the results'.

constexpr ggml_type TYPES[] = {
    GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0, GGML_TYPE_IQ4_NL, GGML_TYPE_MXFP4,
    GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_XS,
};
constexpr ggml_type CACHE_TYPES[] = {GGML_TYPE_F16, GGML_TYPE_Q8_0};

int64_t length_of(ggml_type type) {
    return ggml_blck_size(type) == 256 ? 768 : 800;
}

std::mt19937 randoms(20260);

std::vector<float> random_floats(int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> all(count);
    for (float & value : all) {
        value = normal(randoms);
    }
    return all;
}

std::vector<char> quantize(ggml_type type, const std::vector<float> & from, int64_t length) {
    const int64_t rows = static_cast<int64_t>(from.size()) / length;
    std::vector<char> to(rows * ggml_row_size(type, length));
    ggml_quantize_chunk(type, from.data(), to.data(), 0, rows, length, nullptr);
    return to;
}

std::vector<float> dequantize(ggml_type type, const std::vector<char> & from, int64_t length) {
    const size_t bytes = ggml_row_size(type, length);
    std::vector<float> to(from.size() / bytes * length);
    for (size_t row = 0; row < from.size() / bytes; row++) {
        ggml_get_type_traits(type)->to_float(from.data() + row * bytes, to.data() + row * length, length);
    }
    return to;
}

template <typename T>
void write(std::FILE * file, const std::vector<T> & all) {
    const uint64_t count = all.size();
    std::fwrite(&count, sizeof count, 1, file);
    std::fwrite(all.data(), sizeof(T), all.size(), file);
}

template <typename T>
std::vector<T> read(std::FILE * file) {
    uint64_t count = 0;
    if (std::fread(&count, sizeof count, 1, file) != 1) {
        std::fprintf(stderr, "the input ends too early\n");
        std::exit(2);
    }
    std::vector<T> all(count);
    if (std::fread(all.data(), sizeof(T), count, file) != count) {
        std::exit(2);
    }
    return all;
}

void make(std::FILE * file) {
    for (ggml_type type : TYPES) {
        const int64_t length = length_of(type);
        write(file, quantize(type, random_floats(EXPERTS * MATRIX_ROWS * length), length));
        write(file, random_floats(ROWS * length));
    }
    for (ggml_type type : CACHE_TYPES) {
        write(file, quantize(type, random_floats(KV_HEADS * PLACES * HEAD), HEAD));
        write(file, quantize(type, random_floats(KV_HEADS * PLACES * HEAD), HEAD));
        write(file, random_floats(HEADS * ROWS * HEAD));
    }
}

// One operation on tensors that it is given data for.
class Graph {
public:
    explicit Graph(int n_threads) : backend_(ggml_backend_cpu_init()) {
        ggml_backend_cpu_set_n_threads(backend_, n_threads);
        ctx_ = ggml_init({1024 * 1024, nullptr, true});
    }
    ~Graph() {
        for (ggml_backend_buffer_t buffer : buffers_) {
            ggml_backend_buffer_free(buffer);
        }
        ggml_free(ctx_);
        ggml_backend_free(backend_);
    }
    Graph(const Graph &) = delete;
    Graph & operator=(const Graph &) = delete;

    ggml_context * context() { return ctx_; }

    ggml_tensor * tensor(
        ggml_type type, const std::vector<int64_t> & shape, const void * data,
        ggml_backend_buffer_type_t where = ggml_backend_cpu_buffer_type()) {
        ggml_tensor * made = ggml_new_tensor(ctx_, type, static_cast<int>(shape.size()), shape.data());
        place(made, where);
        ggml_backend_tensor_set(made, data, 0, ggml_nbytes(made));
        return made;
    }

    std::vector<float> compute(ggml_tensor * result) {
        place(result, ggml_backend_cpu_buffer_type());
        ggml_cgraph * graph = ggml_new_graph(ctx_);
        ggml_build_forward_expand(graph, result);
        if (ggml_backend_graph_compute(backend_, graph) != GGML_STATUS_SUCCESS) {
            std::exit(2);
        }
        std::vector<float> values(ggml_nelements(result));
        ggml_backend_tensor_get(result, values.data(), 0, ggml_nbytes(result));
        return values;
    }

private:
    void place(ggml_tensor * tensor, ggml_backend_buffer_type_t where) {
        buffers_.push_back(ggml_backend_buft_alloc_buffer(where, ggml_backend_buft_get_alloc_size(where, tensor)));
        ggml_backend_tensor_alloc(buffers_.back(), tensor, ggml_backend_buffer_get_base(buffers_.back()));
    }

    ggml_backend_t backend_;
    ggml_context * ctx_;
    std::vector<ggml_backend_buffer_t> buffers_;
};

std::vector<float> multiply(ggml_type type, const std::vector<char> & weights, const float * rows, int64_t n, int n_threads) {
    Graph graph(n_threads);
    const int64_t length = length_of(type);
    ggml_tensor * matrix = graph.tensor(type, {length, MATRIX_ROWS}, weights.data(), edgespec_buffer_type());
    return graph.compute(ggml_mul_mat(graph.context(), matrix, graph.tensor(GGML_TYPE_F32, {length, n}, rows)));
}

int expert_of(int64_t row, int64_t slot) {
    return static_cast<int>((row / 3 + 2 * slot + row * slot) % EXPERTS);
}

std::vector<float> multiply_experts(
    ggml_type type, const std::vector<char> & weights, const float * rows, int64_t n, int n_threads) {
    Graph graph(n_threads);
    const int64_t length = length_of(type);
    std::vector<int32_t> chosen;
    for (int64_t row = 0; row < n; row++) {
        for (int64_t slot = 0; slot < USED; slot++) {
            chosen.push_back(expert_of(row, slot));
        }
    }
    ggml_tensor * matrix = graph.tensor(type, {length, MATRIX_ROWS, EXPERTS}, weights.data(), edgespec_buffer_type());
    ggml_tensor * factors = graph.tensor(GGML_TYPE_F32, {length, 1, n}, rows);
    return graph.compute(
        ggml_mul_mat_id(graph.context(), matrix, factors, graph.tensor(GGML_TYPE_I32, {USED, n}, chosen.data())));
}

// Row r sees all places up to this one: text before the batch, and the batch's own.
int64_t seen_by(int64_t row) {
    return PLACES - ROWS + row;
}

std::vector<float> attend(
    ggml_type type, const std::vector<char> & keys, const std::vector<char> & values, const std::vector<float> & queries,
    int64_t n, int n_threads) {
    Graph graph(n_threads);
    std::vector<float> of_batch;
    for (int64_t head = 0; head < HEADS; head++) {
        of_batch.insert(of_batch.end(), queries.begin() + head * ROWS * HEAD, queries.begin() + (head * ROWS + n) * HEAD);
    }
    std::vector<ggml_fp16_t> mask;
    for (int64_t row = 0; row < n; row++) {
        for (int64_t place = 0; place < PLACES; place++) {
            mask.push_back(ggml_fp32_to_fp16(place <= seen_by(row) ? 0.0f : -INFINITY));
        }
    }
    return graph.compute(ggml_flash_attn_ext(
        graph.context(), graph.tensor(GGML_TYPE_F32, {HEAD, n, HEADS}, of_batch.data()),
        graph.tensor(type, {HEAD, PLACES, KV_HEADS}, keys.data()), graph.tensor(type, {HEAD, PLACES, KV_HEADS}, values.data()),
        graph.tensor(GGML_TYPE_F16, {PLACES, n}, mask.data()), 1.0f / std::sqrt(static_cast<float>(HEAD)), 0.0f, 0.0f));
}

double dot(const float * a, const float * b, int64_t length) {
    double sum = 0.0;
    for (int64_t i = 0; i < length; i++) {
        sum += static_cast<double>(a[i]) * b[i];
    }
    return sum;
}

std::vector<float> expected_attention(
    const std::vector<float> & keys, const std::vector<float> & values, const std::vector<float> & queries) {
    std::vector<float> all(ROWS * HEADS * HEAD);
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t head = 0; head < HEADS; head++) {
            const int64_t first = head / (HEADS / KV_HEADS) * PLACES;
            std::vector<double> sums(HEAD);
            double total = 0.0;
            for (int64_t place = 0; place <= seen_by(row); place++) {
                const double weight = std::exp(
                    dot(&queries[(head * ROWS + row) * HEAD], &keys[(first + place) * HEAD], HEAD) / std::sqrt(1.0 * HEAD));
                total += weight;
                for (int64_t d = 0; d < HEAD; d++) {
                    sums[d] += weight * values[(first + place) * HEAD + d];
                }
            }
            for (int64_t d = 0; d < HEAD; d++) {
                all[(row * HEADS + head) * HEAD + d] = static_cast<float>(sums[d] / total);
            }
        }
    }
    return all;
}

class Checks {
public:
    explicit Checks(std::FILE * output) : output_(output) {}

    // `run` computes the first rows of all, with some threads.
    void check(
        const std::string & name, const std::vector<float> & expected, const std::function<std::vector<float>(int64_t, int)> & run) {
        const std::vector<float> whole = run(ROWS, 1);
        double error = 0.0, square = 0.0;
        for (size_t i = 0; i < expected.size(); i++) {
            error += std::pow(whole[i] - expected[i], 2);
            square += std::pow(expected[i], 2);
        }
        const double share = std::sqrt(error / square);
        bool is_same = true;
        for (int64_t rows = 1; rows <= ROWS; rows++) {
            const std::vector<float> part = run(rows, 1 + static_cast<int>(rows % 3));
            is_same = is_same && std::memcmp(part.data(), whole.data(), part.size() * sizeof(float)) == 0;
        }
        const bool is_right = share < MOST_ERROR && is_same;
        std::printf("%-16s error %.5f  %s%s\n", name.c_str(), share, is_same ? "same bits in every batch" : "OTHER BITS IN ANOTHER BATCH",
                    is_right ? "" : "  WRONG");
        are_right_ = are_right_ && is_right;
        write(output_, whole);
    }

    bool are_right() const { return are_right_; }

private:
    std::FILE * output_;
    bool are_right_ = true;
};

void check_products(Checks & checks, std::FILE * input, ggml_type type) {
    const int64_t length = length_of(type);
    const auto weights = read<char>(input);
    const auto rows = read<float>(input);
    const std::vector<float> all = dequantize(type, weights, length);
    std::vector<float> expected, of_experts;
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t i = 0; i < MATRIX_ROWS; i++) {
            expected.push_back(static_cast<float>(dot(&all[i * length], &rows[row * length], length)));
        }
        for (int64_t slot = 0; slot < USED; slot++) {
            for (int64_t i = 0; i < MATRIX_ROWS; i++) {
                const int64_t at = expert_of(row, slot) * MATRIX_ROWS + i;
                of_experts.push_back(static_cast<float>(dot(&all[at * length], &rows[row * length], length)));
            }
        }
    }
    checks.check(ggml_type_name(type), expected, [&](int64_t n, int n_threads) {
        return multiply(type, weights, rows.data(), n, n_threads);
    });
    checks.check(std::string(ggml_type_name(type)) + " experts", of_experts, [&](int64_t n, int n_threads) {
        return multiply_experts(type, weights, rows.data(), n, n_threads);
    });
}

void check_attention(Checks & checks, std::FILE * input, ggml_type type) {
    const auto keys = read<char>(input), values = read<char>(input);
    const auto queries = read<float>(input);
    const auto expected = expected_attention(dequantize(type, keys, HEAD), dequantize(type, values, HEAD), queries);
    checks.check(std::string(ggml_type_name(type)) + " cache", expected, [&](int64_t n, int n_threads) {
        return attend(type, keys, values, queries, n, n_threads);
    });
}

}  // namespace

int main(int argc, char ** argv) {
    ggml_cpu_init();
    if (argc == 3 && std::strcmp(argv[1], "make") == 0) {
        std::FILE * file = std::fopen(argv[2], "wb");
        make(file);
        return std::fclose(file);
    }
    if (argc != 4 || std::strcmp(argv[1], "run") != 0) {
        std::fprintf(stderr, "usage: check_kernels make INPUT | run INPUT OUTPUT\n");
        return 2;
    }
    std::FILE *input = std::fopen(argv[2], "rb"), *output = std::fopen(argv[3], "wb");
    std::printf("kernels: %s\n", edgespec_kernels_isa());
    Checks checks(output);
    for (ggml_type type : TYPES) {
        check_products(checks, input, type);
    }
    for (ggml_type type : CACHE_TYPES) {
        check_attention(checks, input, type);
    }
    std::fclose(output);
    return checks.are_right() && *edgespec_kernels_isa() != '\0' ? 0 : 1;
}
