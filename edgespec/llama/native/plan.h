// A graph of ggml's in steps: which nodes are done in one go, and where the threads have to meet.

#pragma once

#include "planned_nodes.h"
#include "steps.h"

#include <algorithm>
#include <vector>

namespace few_rows {

class Planner {
public:
    // The steps of a graph's nodes, in an order that computes the same. A node that is left to ggml is a step without a function.
    Planner(const ggml_cgraph * graph, size_t scratch_bytes, Elsewhere & elsewhere)
        : scratch_bytes_(scratch_bytes), nodes_(graph, elsewhere) {}

    std::vector<Step> plan() {
        std::vector<Step> steps;
        steps.reserve(nodes_.size());
        for (size_t i = 0; i < nodes_.size(); i++) {
            if (nodes_[i].is_done) {
                continue;
            }
            use_.clear();
            steps.emplace_back();
            Step & step = steps.back();
            step.node = nodes_[i].tensor;
            if (!plan_norm(i, step) && !plan_products(i, nodes_[i].tensor->src[1], {}, step)) {
                take(i);
                step.kind = Step::NODE;
                step.function = function_of(step.node);
            }
            step.meets = use_.needs(since_) || use_.overwrites(since_) || since_.shares_scratch(use_);
            if (step.meets) {
                since_.clear();
            }
            since_.add(use_);
        }
        return steps;
    }

private:
    void take(size_t i) {
        nodes_[i].is_done = true;
        use_.add(nodes_[i].use);
    }

    bool plan_norm(size_t i, Step & step) {
        ggml_tensor * node = nodes_[i].tensor;
        // What ggml ends the process for is left to it, so that a trial with a few tokens finds it.
        if (node->op != GGML_OP_RMS_NORM || !is_float_rows(node->src[0]) || !is_float_rows(node) || !(epsilon_of(node) >= 0.0f)) {
            return false;
        }
        step.norm.norm = node;
        const size_t next = i + 1;
        const bool is_scaled = next < nodes_.size() && !nodes_[next].is_done && scales(nodes_[next].tensor, node);
        if (is_scaled) {
            step.norm.scaled = nodes_[next].tensor;
        }
        const size_t after = is_scaled ? i + 2 : i + 1;
        if (after < nodes_.size() && nodes_[after].tensor->src[1] == step.norm.result() && !nodes_[after].is_done &&
            plan_products(after, step.norm.result(), step.norm, step)) {
            nodes_[i].is_done = true;
            nodes_[after - 1].is_done = true;
            return true;
        }
        use_.clear();
        step.kind = Step::NORM;
        use_.read(range_of(node->src[0]));
        use_.write(range_of(step.norm.result()));
        nodes_[i].is_done = true;
        nodes_[after - 1].is_done = true;
        return true;
    }

    static bool is_float_rows(const ggml_tensor * tensor) {
        return has_floats(tensor) && tensor->nb[0] == sizeof(float);
    }

    // Whether a product multiplies each row of a norm, which nothing else reads, with the same weights.
    bool scales(const ggml_tensor * product, const ggml_tensor * norm) const {
        if (product->op != GGML_OP_MUL || (product->src[0] == norm) == (product->src[1] == norm) || nodes_.uses_of(norm) != 1) {
            return false;
        }
        const ggml_tensor * weights = product->src[product->src[0] == norm ? 1 : 0];
        return is_float_rows(weights) && ggml_nelements(weights) == norm->ne[0] && weights->ne[0] == norm->ne[0] &&
               is_float_rows(product) && ggml_are_same_shape(product, norm);
    }

    // From node `i` on, the products of the same rows, and what follows each.
    bool plan_products(size_t i, const ggml_tensor * rows, const Norm & norm, Step & step) {
        const AnyPanelMatrix * matrix = product_of(nodes_[i].tensor, rows);
        if (matrix == nullptr) {
            return false;
        }
        step.kind = Step::PRODUCTS;
        step.products.start(rows, norm);
        taken_.clear();
        last_.clear();
        read_ = range_of(norm.norm ? norm.rows() : rows);
        for (size_t j = i; j < std::min(i + FORESIGHT, nodes_.size()); j++) {
            ggml_tensor * node = nodes_[j].tensor;
            matrix = product_of(node, rows);
            is_in_the_way_ = false;
            if (nodes_[j].is_done || (matrix == nullptr && node->op != GGML_OP_ADD && node->op != GGML_OP_GLU) ||
                !can_come_forward(i, j)) {
                continue;
            }
            const auto add = [&] {
                return matrix != nullptr ? add_product(nodes_[j].tensor, matrix, step.products)
                                         : add_follower(nodes_[j].tensor, step.products);
            };
            if ((!is_in_the_way_ && add()) || (is_in_the_way_ && nodes_.move_elsewhere(j) && add())) {
                taken_.back().number = j;
            }
        }
        if (taken_.empty() ||
            (norm.norm != nullptr && (!step.products.is_few() || nodes_.uses_of(norm.result()) != step.products.count()))) {
            return false;
        }
        for (const Taken & taken : taken_) {
            nodes_[taken.number].is_done = true;
            use_.write(range_of(taken.tensor));
            for (const ggml_tensor * operand : taken.operands) {
                if (operand != nullptr) {
                    use_.read(range_of(operand));
                }
            }
        }
        use_.read(read_);
        if (!step.products.is_few()) {
            use_.use({Scratch::WHOLE, 0});
        }
        return true;
    }

    const AnyPanelMatrix * product_of(const ggml_tensor * node, const ggml_tensor * rows) const {
        return node->op == GGML_OP_MUL_MAT && node->src[1] == rows && is_float_rows(rows) ? panels_of_product(node) : nullptr;
    }

    // Whether a node needs nothing that lies between node `from` and it and is not done. What lies between may need the memory
    // that the node writes to: then it has to be moved.
    bool can_come_forward(size_t from, size_t node) {
        for (size_t j = from; j < node; j++) {
            const bool is_taken =
                std::any_of(taken_.begin(), taken_.end(), [&](const Taken & taken) { return taken.number == j; });
            if (!nodes_[j].is_done && !is_taken) {
                if (nodes_[node].use.needs(nodes_[j].use)) {
                    return false;
                }
                is_in_the_way_ = is_in_the_way_ || nodes_[node].use.overwrites(nodes_[j].use);
            }
        }
        return true;
    }

    bool add_product(ggml_tensor * node, const AnyPanelMatrix * matrix, Products & products) {
        const int i = products.count();
        const size_t bytes = products.quantized_bytes() + matrix->quantized_bytes(node->src[0], ggml_nrows(node->src[1]));
        if (i > 0 && (i == Products::MOST || makes_logits(node) || makes_logits(products[0]) ||
                      bytes + SPARE_BYTES > scratch_bytes_)) {
            return false;
        }
        return take_along({node, {}, i, 0}, [&] {
            products.add(node, matrix);
            last_.push_back(node);
        });
    }

    // Sums with another tensor, and gated units of two neighbouring products.
    bool add_follower(ggml_tensor * node, Products & products) {
        const ggml_tensor *a = node->src[0], *b = node->src[1];
        if (!is_matrix_of_floats(node) || !is_matrix_of_floats(a) || !is_matrix_of_floats(b)) {
            return false;
        }
        const auto place = [&](const ggml_tensor * tensor) {
            return static_cast<int>(std::find(last_.begin(), last_.end(), tensor) - last_.begin());
        };
        const int none = static_cast<int>(last_.size()), left = place(a), right = place(b);
        int i = std::min(left, right);
        if (node->op == GGML_OP_ADD) {
            const ggml_tensor * other = left < right ? b : a;
            if (i == none || std::max(left, right) != none || makes_logits(products[i]) || !products.can_follow(i) ||
                !ggml_are_same_shape(node, last_[i]) || other->ne[0] != node->ne[0] ||
                (other->ne[1] != 1 && other->ne[1] != node->ne[1])) {
                return false;
            }
        } else {
            i = std::max(left, right);
            if (ggml_get_glu_op(node) != GGML_GLU_OP_SWIGLU || i == none || std::abs(left - right) != 1 || !products.can_join(i) ||
                node->ne[0] % PANEL_ROWS != 0) {
                return false;
            }
        }
        return take_along({node, {a, b}, i, 0}, [&] {
            products.follow(i, node);
            last_[i] = node;
            if (node->op == GGML_OP_GLU) {
                last_[i - 1] = nullptr;
                for (Taken & taken : taken_) {
                    taken.chain = taken.chain == i - 1 ? i : taken.chain;
                }
            }
        });
    }

    static bool is_matrix_of_floats(const ggml_tensor * tensor) {
        return tensor != nullptr && is_float_rows(tensor) && ggml_is_matrix(tensor);
    }

    // A node of the step at hand: a product, or what is done with each of its numbers, which are a chain.
    struct Taken {
        ggml_tensor * tensor;
        const ggml_tensor * operands[2];  // Which are read number by number.
        int chain;
        size_t number;
    };

    // Takes a node into the step, unless it writes what other chains read, or reads what they write.
    template <typename Add>
    bool take_along(const Taken & one, const Add & add) {
        is_in_the_way_ = true;
        const bool is_gate = one.tensor->op == GGML_OP_GLU;
        const auto is_in_chain = [&](const Taken & other) {
            return other.chain == one.chain || (is_gate && other.chain == one.chain - 1);
        };
        const auto clash = [&](const ggml_tensor * written, const ggml_tensor * other, bool is_same_chain) {
            const bool is_in_place =
                other->data == written->data && other->nb[1] == written->nb[1] && ggml_are_same_shape(other, written);
            return range_of(other).meets(range_of(written)) && !(is_same_chain && is_in_place);
        };
        if (range_of(one.tensor).meets(read_)) {
            return false;
        }
        for (const Taken & other : taken_) {
            bool clashes = clash(one.tensor, other.tensor, is_in_chain(other));
            for (int i = 0; i < 2; i++) {
                clashes |= other.operands[i] && clash(one.tensor, other.operands[i], is_in_chain(other));
                clashes |= one.operands[i] && !is_in_chain(other) && clash(other.tensor, one.operands[i], false);
            }
            if (clashes) {
                return false;
            }
        }
        for (const ggml_tensor * operand : one.operands) {
            if (operand != nullptr && clash(one.tensor, operand, true)) {
                return false;
            }
        }
        is_in_the_way_ = false;
        add();
        taken_.push_back(one);
        return true;
    }

    // Of what rows take quantized: each kind of them begins at a cache line.
    static constexpr size_t SPARE_BYTES = 64 * Products::MOST + 64;

    size_t scratch_bytes_;
    PlannedNodes nodes_;
    bool is_in_the_way_ = false;  // Whether a node writes where others of its step, or those before it, read or write.
    MemoryUse use_, since_;
    Range read_{};  // The rows that the products of the step at hand have in common.
    std::vector<Taken> taken_;
    std::vector<ggml_tensor *> last_;  // What each product of the step at hand has become.
};

}  // namespace few_rows
