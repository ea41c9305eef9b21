// The nodes of a graph of ggml's that are to be computed, and the memory that each of them reads and writes.

#pragma once

#include "ggml-impl.h"
#include "memory_use.h"
#include "steps.h"

#include <algorithm>
#include <climits>
#include <memory>
#include <utility>
#include <vector>

namespace few_rows {

// Nodes that a step looks ahead for what it can do as well.
constexpr size_t FORESIGHT = 16;

// Memory and tensors of ggml's that a plan needs besides those of the graph.
class Elsewhere {
public:
    ggml_tensor * copy(const ggml_tensor * tensor) {
        tensors_.push_back(std::make_unique<ggml_tensor>(*tensor));
        return tensors_.back().get();
    }
    char * place(size_t bytes) {
        places_.push_back(std::make_unique<Line[]>((bytes + sizeof(Line) - 1) / sizeof(Line)));
        return places_.back()[0].bytes;
    }

private:
    struct alignas(64) Line {
        char bytes[64];
    };

    std::vector<std::unique_ptr<ggml_tensor>> tensors_;
    std::vector<std::unique_ptr<Line[]>> places_;
};

class PlannedNodes {
public:
    struct Planned {
        ggml_tensor * tensor;
        int number;  // In the graph.
        bool is_done;
        MemoryUse use;
    };

    PlannedNodes(const ggml_cgraph * graph, Elsewhere & elsewhere) : graph_(graph), elsewhere_(elsewhere) {
        for (int i = 0; i < graph->n_nodes; i++) {
            ggml_tensor * node = graph->nodes[i];
            if (!ggml_op_is_empty(node->op) && (node->flags & GGML_TENSOR_FLAG_COMPUTE) && !ggml_is_empty(node)) {
                nodes_.push_back({node, i, false, {}});
                see(node, nodes_.back().use);
            }
        }
    }

    size_t size() const { return nodes_.size(); }
    Planned & operator[](size_t i) { return nodes_[i]; }
    const Planned & operator[](size_t i) const { return nodes_[i]; }

    // How many nodes read a tensor; more than any number where the caller does.
    int uses_of(const ggml_tensor * tensor) const {
        if (tensor->flags & GGML_TENSOR_FLAG_OUTPUT) {
            return INT_MAX;
        }
        const size_t place = ggml_hash_find(&graph_->visited_hash_set, tensor);
        return ggml_bitset_get(graph_->visited_hash_set.used, place) ? graph_->use_counts[place] : INT_MAX;
    }

    // Has a node write elsewhere than where ggml planned, which is where another node of the step writes or reads. Not if more than
    // one node reads it, or if that is not near, or ggml's.
    bool move_elsewhere(size_t i) {
        const ggml_tensor * node = nodes_[i].tensor;
        if (ggml_nelements(node) > FEW_VALUES || uses_of(node) != 1) {
            return false;
        }
        for (size_t j = i + 1; j < std::min(i + 1 + FORESIGHT, nodes_.size()); j++) {
            for (int s = 0; s < GGML_MAX_SRC; s++) {
                if (is_nothing_but(nodes_[j].tensor->src[s], node)) {
                    return !nodes_[j].is_done && function_of(nodes_[j].tensor) != nullptr && move_elsewhere(i, j, s);
                }
            }
        }
        return false;
    }

private:
    static void see(const ggml_tensor * node, MemoryUse & use) {
        use.write(range_of(node));
        const AnyPanelMatrix * matrix = panels_of_product(node);
        for (int i = matrix ? 1 : 0; i < GGML_MAX_SRC; i++) {
            if (node->src[i] != nullptr) {
                use.read(range_of(node->src[i]));
            }
        }
        if (matrix != nullptr || node->op == GGML_OP_FLASH_ATTN_EXT) {
            use.use({Scratch::WHOLE, 0});
        } else if (node->op == GGML_OP_ROPE) {
            use.use({Scratch::OWN_PARTS, node->ne[0]});
        }
    }

    // Whether a source is a node, or views of views of it that are read once.
    bool is_nothing_but(const ggml_tensor * source, const ggml_tensor * node) const {
        while (source != nullptr && source != node && source->view_src == node && uses_of(source) == 1) {
            source = source->src[0];
        }
        return source == node;
    }

    // With source `s` of node `reader`, which is the node or a view of it.
    bool move_elsewhere(size_t i, size_t reader, int s) {
        ggml_tensor *moved = elsewhere_.copy(nodes_[i].tensor), *reading = elsewhere_.copy(nodes_[reader].tensor);
        const ggml_tensor * source = reading->src[s];
        ggml_tensor * seen = moved;
        moved->data = elsewhere_.place(ggml_nbytes(moved));
        if (source != nodes_[i].tensor) {
            seen = elsewhere_.copy(source);
            seen->data = static_cast<char *>(moved->data) +
                         (static_cast<const char *>(source->data) - static_cast<const char *>(nodes_[i].tensor->data));
            seen->src[0] = seen->view_src = moved;
        }
        reading->src[s] = seen;
        for (const auto & [place, tensor] : {std::pair(i, moved), std::pair(reader, reading)}) {
            nodes_[place].tensor = tensor;
            nodes_[place].use.clear();
            see(tensor, nodes_[place].use);
        }
        return true;
    }

    const ggml_cgraph * graph_;
    Elsewhere & elsewhere_;
    std::vector<Planned> nodes_;
};

}  // namespace few_rows
