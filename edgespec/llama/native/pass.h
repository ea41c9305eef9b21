// A pass through a graph, and where its threads wait for each other.

#pragma once

#include "ggml-cpu-impl.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#if defined(__SSE2__)
#    include <immintrin.h>
#endif

namespace few_rows {

// OpenMP's barrier, which ggml waits at, asks the operating system to wake others even where nobody sleeps. Here threads only look
// at one number, and sleep where that takes long, as when another program has the processor that the last thread needs.
class Meeting {
public:
    void wait(int threads) {
        if (threads == 1) {
            return;
        }
        const int round = round_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_seq_cst);
            if (asleep_.load(std::memory_order_seq_cst) > 0) {
                { const std::lock_guard<std::mutex> guard(lock_); }
                is_over_.notify_all();
            }
            return;
        }
        const int patience = threads > processors() ? LITTLE_PATIENCE : PATIENCE;
        for (int looks = 0; round_.load(std::memory_order_acquire) == round; looks++) {
            if (looks >= patience) {
                sleep(round);
                return;
            }
            relax();
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

    static int processors() {
        static const int count = static_cast<int>(std::thread::hardware_concurrency());
        return count;
    }

    void sleep(int round) {
        std::unique_lock<std::mutex> guard(lock_);
        asleep_.fetch_add(1, std::memory_order_seq_cst);
        is_over_.wait(guard, [&] { return round_.load(std::memory_order_seq_cst) != round; });
        asleep_.fetch_sub(1, std::memory_order_relaxed);
    }

    // Looks before a thread sleeps: some 200 us, and 2 where there are more threads than processors.
    static constexpr int PATIENCE = 10000, LITTLE_PATIENCE = 100;

    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<int> round_{0};
    std::atomic<int> asleep_{0};
    std::mutex lock_;
    std::condition_variable is_over_;
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
