// A pass through a graph, and where its threads wait for each other.

#pragma once

#include "ggml-cpu-impl.h"

#include <atomic>
#include <thread>

#if defined(__SSE2__)
#    include <immintrin.h>
#endif

namespace few_rows {

// OpenMP's barrier, which ggml waits at, asks the operating system to wake others even where nobody sleeps. Here threads only look at
// one number, and let others run when it takes long, as on a processor that has more to do than these threads.
class Meeting {
public:
    void wait(int threads) {
        if (threads == 1) {
            return;
        }
        const int round = round_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int looks = 0; round_.load(std::memory_order_acquire) == round; looks++) {
            if (looks < PATIENCE) {
                relax();
            } else {
                std::this_thread::yield();
            }
        }
    }

private:
    static void relax() {
#if defined(__SSE2__)
        _mm_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }

    // Looks before others may run: some 100 us.
    static constexpr int PATIENCE = 10000;

    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<int> round_{0};
};

// One computation of a graph.
struct Pass {
    int64_t number;  // No other one of this process has it.
    Meeting meeting;
};
// Whose steps this thread does; null while ggml itself goes from node to node.
extern thread_local Pass * pass;

// Waits for all threads of the pass.
inline void meet_others(const ggml_compute_params * params) {
    if (pass != nullptr) {
        pass->meeting.wait(params->nth);
    } else {
        ggml_barrier(params->threadpool);
    }
}

}  // namespace few_rows
