// Reads a text with a model, in batches of several sizes, and goes on with it.
//
//     check_generation MODEL TEXT N_NEW OUTPUT    writes the text's logits and the new tokens; exit code 1 where a row has other
//                                                 bits in another size of batch
//
// Built by scripts/check_generation.py.

#include "llama.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern "C" const char * edgespec_kernels_isa(void);

namespace {

constexpr int N_THREADS = 2, MOST_TOKENS = 256;
constexpr size_t SIZES[] = {1, 3, 8};

void quiet(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        std::fputs(text, stderr);
    }
}

class Reader {
public:
    explicit Reader(llama_model * model) : vocabulary_(llama_vocab_n_tokens(llama_model_get_vocab(model))) {
        llama_context_params params = llama_context_default_params();
        params.n_ctx = params.n_batch = params.n_ubatch = MOST_TOKENS;
        params.n_threads = params.n_threads_batch = N_THREADS;
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
        context_ = llama_init_from_model(model, params);
        if (context_ == nullptr) {
            std::exit(2);
        }
    }

    ~Reader() { llama_free(context_); }

    void forget() {
        llama_memory_clear(llama_get_memory(context_), true);
        place_ = 0;
    }

    // The logits of each token, one row after the other.
    std::vector<float> read(const llama_token * tokens, size_t count) {
        llama_batch batch = llama_batch_init(static_cast<int32_t>(count), 0, 1);
        for (size_t i = 0; i < count; i++) {
            batch.token[i] = tokens[i];
            batch.pos[i] = place_++;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = 1;
        }
        batch.n_tokens = static_cast<int32_t>(count);
        if (llama_decode(context_, batch) != 0) {
            std::exit(2);
        }
        std::vector<float> rows;
        for (size_t i = 0; i < count; i++) {
            const float * row = llama_get_logits_ith(context_, static_cast<int32_t>(i));
            rows.insert(rows.end(), row, row + vocabulary_);
        }
        llama_batch_free(batch);
        return rows;
    }

    std::vector<float> read_anew(const std::vector<llama_token> & tokens, size_t size) {
        forget();
        std::vector<float> rows;
        for (size_t from = 0; from < tokens.size(); from += size) {
            const auto some = read(&tokens[from], std::min(size, tokens.size() - from));
            rows.insert(rows.end(), some.begin(), some.end());
        }
        return rows;
    }

    llama_token best(const std::vector<float> & rows) const {
        const auto last = rows.end() - vocabulary_;
        return static_cast<llama_token>(std::max_element(last, rows.end()) - last);
    }

private:
    llama_context * context_;
    int32_t vocabulary_;
    int32_t place_ = 0;
};

std::vector<llama_token> tokens_of(const llama_model * model, const std::string & text) {
    std::vector<llama_token> tokens(MOST_TOKENS / 2);
    const int32_t count = llama_tokenize(llama_model_get_vocab(model), text.data(), static_cast<int32_t>(text.size()),
        tokens.data(), static_cast<int32_t>(tokens.size()), true, false);
    if (count <= 0) {
        std::exit(2);
    }
    tokens.resize(count);
    return tokens;
}

template <typename T>
void write(std::FILE * file, const std::vector<T> & all) {
    std::fwrite(all.data(), sizeof(T), all.size(), file);
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: check_generation MODEL TEXT N_NEW OUTPUT\n");
        return 2;
    }
    llama_log_set(quiet, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    std::FILE * output = std::fopen(argv[4], "wb");
    if (model == nullptr || output == nullptr) {
        return 2;
    }
    const auto tokens = tokens_of(model, argv[2]);
    bool are_same = true;
    {
        Reader reader(model);
        for (size_t size : SIZES) {
            const auto rows = reader.read_anew(tokens, size), whole = reader.read_anew(tokens, tokens.size());
            are_same = are_same && std::memcmp(rows.data(), whole.data(), rows.size() * sizeof(float)) == 0;
        }
        auto rows = reader.read_anew(tokens, tokens.size());
        write(output, rows);
        std::vector<llama_token> written;
        for (long i = std::atol(argv[3]); i > 0; i--) {
            written.push_back(reader.best(rows));
            rows = reader.read(&written.back(), 1);
        }
        write(output, written);
    }
    std::printf("%s\n", edgespec_kernels_isa());
    llama_model_free(model);
    return std::fclose(output) == 0 && are_same ? 0 : 1;
}
