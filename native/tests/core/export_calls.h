// A call of every function that the library exports, on small shapes.
#ifndef NESTED_LEARNING_TESTS_CORE_EXPORT_CALLS_H_
#define NESTED_LEARNING_TESTS_CORE_EXPORT_CALLS_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing.h"

namespace nl_testing {

// A call of an export that succeeds, and one that fails; null where it cannot fail.
struct ExportCall {
  std::function<int32_t()> success, failure;
};

// Small shapes: B = 1, T = 5, H = 1, D = 4, chunks of 4.
class ExportCalls {
 public:
  ExportCalls() {
    for (Buffer* b : {&x_, &y_, &z_, &more_}) *b = Buffer::Uniform(b->count(), 7, 0.25f, 1);
    for (int64_t i = 0; i < gate_.count(); ++i) gate_[i] = -0.125f;
    AddElementwise();
    AddRows();
    AddProducts();
    AddCommits();
    AddScans();
    AddMemories();
    AddAttention();
    AddStatus();
  }

  const std::map<std::string, ExportCall>& All() const { return calls_; }
  float* results() { return out_.data(); }
  int64_t result_count() const { return out_.count(); }

 private:
  template <class T>
  static T Sized() {
    T arguments = {};
    arguments.size = sizeof(T);
    return arguments;
  }

  void Add(const char* name, std::function<int32_t()> success, std::function<int32_t()> failure) {
    calls_[name] = {std::move(success), std::move(failure)};
  }

  void AddElementwise() {
    auto a = Sized<nl_elementwise_arguments>();
    a.activation = NL_GELU;
    a.factor = 1.0f / 3;
    a.x = x_.data();
    a.y = y_.data();
    a.z = out_.data();
    const auto wrong = [](auto function) { return [function] { return function(nullptr, 0, 1); }; };
    Add(
        "nl_activation_forward", [a] { return nl_activation_forward(&a, 0, 40); },
        wrong(nl_activation_forward));
    Add(
        "nl_activation_backward", [a] { return nl_activation_backward(&a, 0, 40); },
        wrong(nl_activation_backward));
    Add(
        "nl_add_scaled", [a] { return nl_add_scaled(&a, 0, 40); }, wrong(nl_add_scaled));
    Add(
        "nl_multiply", [a] { return nl_multiply(&a, 0, 40); }, wrong(nl_multiply));
    Add(
        "nl_scale", [a] { return nl_scale(&a, 0, 40); }, wrong(nl_scale));
    Add(
        "nl_sum_of_squares", [this] { return nl_sum_of_squares(x_.data(), 40, doubles_, 0, 1); },
        [] { return nl_sum_of_squares(nullptr, 40, nullptr, 0, 1); });
  }

  void AddRows() {
    auto column = Sized<nl_column_sum_arguments>();
    column.rows = 5, column.columns = 8;
    column.x = x_.data(), column.sums = out_.data();
    Add(
        "nl_column_sum", [column] { return nl_column_sum(&column, 0, 1); },
        [] { return nl_column_sum(nullptr, 0, 1); });

    auto norm = Sized<nl_norm_arguments>();
    norm.kind = NL_NORM_LAYER, norm.epsilon = 1e-5f;
    norm.rows = 5, norm.columns = 8;
    norm.x = x_.data(), norm.y = out_.data(), norm.dy = y_.data(), norm.dx = out_.data();
    Add(
        "nl_norm_forward", [norm] { return nl_norm_forward(&norm, 0, 5); },
        [] { return nl_norm_forward(nullptr, 0, 5); });
    Add(
        "nl_norm_backward", [norm] { return nl_norm_backward(&norm, 0, 1); },
        [] { return nl_norm_backward(nullptr, 0, 1); });

    auto convolution = Sized<nl_convolution_arguments>();
    convolution.batch = 1, convolution.time = 5, convolution.channels = 8;
    convolution.x = x_.data(), convolution.weight = y_.data(), convolution.y = out_.data();
    convolution.dy = z_.data(), convolution.dx = out_.data(), convolution.dweight = out_.data();
    Add(
        "nl_convolution_workspace",
        [this, convolution] { return nl_convolution_workspace(&convolution, &count_); },
        [] { return nl_convolution_workspace(nullptr, nullptr); });
    Add(
        "nl_convolution_forward",
        [this, convolution] { return nl_convolution_forward(&convolution, 0, 1, work_.data()); },
        [] { return nl_convolution_forward(nullptr, 0, 1, nullptr); });
    Add(
        "nl_convolution_backward_input",
        [this, convolution] {
          return nl_convolution_backward_input(&convolution, 0, 1, work_.data());
        },
        [] { return nl_convolution_backward_input(nullptr, 0, 1, nullptr); });
    Add(
        "nl_convolution_backward_weight",
        [convolution] { return nl_convolution_backward_weight(&convolution, 0, 1); },
        [] { return nl_convolution_backward_weight(nullptr, 0, 1); });

    auto ridge = Sized<nl_ridge_arguments>();
    ridge.samples = 1, ridge.features = 3, ridge.outputs = 2;
    ridge.rows = numbers_.data(), ridge.x = numbers_.data() + 64, ridge.v = numbers_.data() + 72;
    ridge.f = numbers_.data() + 80, ridge.o = numbers_.data() + 96, ridge.e = numbers_.data() + 72;
    ridge.w = out_.data(), ridge.w_low = out_.data() + 6;
    Add(
        "nl_ridge_read_rows", [ridge] { return nl_ridge_read_rows(&ridge, 0, 1); },
        [] { return nl_ridge_read_rows(nullptr, 0, 1); });
    Add(
        "nl_ridge_read_outputs", [ridge] { return nl_ridge_read_outputs(&ridge, 0, 1); },
        [] { return nl_ridge_read_outputs(nullptr, 0, 1); });
    Add(
        "nl_ridge_write", [ridge] { return nl_ridge_write(&ridge, 0, 1); },
        [] { return nl_ridge_write(nullptr, 0, 1); });

    auto embedding = Sized<nl_embedding_arguments>();
    embedding.tokens = 5, embedding.columns = 8, embedding.rows = 5;
    embedding.indices = kIndices, embedding.table = x_.data(), embedding.y = out_.data();
    embedding.dy = y_.data(), embedding.dtable = out_.data();
    Add(
        "nl_embedding_forward", [embedding] { return nl_embedding_forward(&embedding, 0, 5); },
        [] { return nl_embedding_forward(nullptr, 0, 1); });
    Add(
        "nl_embedding_backward", [embedding] { return nl_embedding_backward(&embedding, 0, 1); },
        [] { return nl_embedding_backward(nullptr, 0, 1); });

    auto entropy = Sized<nl_cross_entropy_arguments>();
    entropy.rows = 5, entropy.columns = 8, entropy.gradient_scale = 1.0f / 3;
    entropy.logits = x_.data(), entropy.targets = kIndices, entropy.losses = more_out_.data();
    entropy.log_sums = z_.data(), entropy.dlosses = y_.data(), entropy.dlogits = out_.data();
    auto forward = entropy;
    forward.log_sums = more_out_.data() + 8;
    Add(
        "nl_cross_entropy_forward", [forward] { return nl_cross_entropy_forward(&forward, 0, 5); },
        [] { return nl_cross_entropy_forward(nullptr, 0, 1); });
    Add(
        "nl_cross_entropy_backward",
        [entropy] { return nl_cross_entropy_backward(&entropy, 0, 5); },
        [] { return nl_cross_entropy_backward(nullptr, 0, 1); });
    Add(
        "nl_cross_entropy_with_gradient",
        [this, forward] { return nl_cross_entropy_with_gradient(&forward, 0, 5, work_.data()); },
        [] { return nl_cross_entropy_with_gradient(nullptr, 0, 1, nullptr); });
  }

  void AddProducts() {
    // Large enough that operands are packed.
    auto g = Sized<nl_gemm_arguments>();
    g.m = g.n = g.k = 160;
    g.a = large_a_.data(), g.b = large_b_.data(), g.c = large_c_.data();
    for (Buffer* b : {&large_a_, &large_b_}) *b = Buffer::Uniform(b->count(), 8);
    sizes_.size = sizeof(sizes_);
    ASSERT_EQ(NL_OK, nl_gemm_plan(&g, &sizes_)) << nl_last_error();
    packed_.resize(static_cast<size_t>(sizes_.packed) + 16);
    work_of_gemm_.resize(static_cast<size_t>(sizes_.workspace) + 16);
    Add(
        "nl_gemm_plan", [this, g] { return nl_gemm_plan(&g, &sizes_); },
        [] { return nl_gemm_plan(nullptr, nullptr); });
    Add(
        "nl_gemm_pack",
        [this, g] { return nl_gemm_pack(&g, 0, 0, sizes_.pack_pieces, packed_.data()); },
        [] { return nl_gemm_pack(nullptr, 0, 0, 1, nullptr); });
    Add(
        "nl_gemm",
        [this, g] {
          return nl_gemm(&g, 0, 0, sizes_.pieces, packed_.data(), work_of_gemm_.data());
        },
        [] { return nl_gemm(nullptr, 0, 0, 1, nullptr, nullptr); });
    auto batch = g;
    batch.m = batch.n = batch.k = 4;
    batch.a = x_.data(), batch.b = y_.data(), batch.c = out_.data();
    Add(
        "nl_batched_gemm", [batch] { return nl_batched_gemm(&batch, 2, 0, 2); },
        [] { return nl_batched_gemm(nullptr, 1, 0, 1); });
  }

  void AddCommits() {
    auto adam = Sized<nl_adam_arguments>();
    adam.learning_rate = 1e-3f, adam.epsilon = 1e-8f, adam.gradient_scale = 1;
    adam.beta1 = 0.9, adam.beta2 = 0.999, adam.correction1 = 0.1, adam.correction2 = 0.001;
    adam.step = 1;
    adam.w = out_.data(), adam.g = x_.data(), adam.m = more_out_.data(), adam.v = work_.data();
    adam.sums = doubles_;
    Add(
        "nl_adam_commit", [adam] { return nl_adam_commit(&adam, 0, 37); },
        [] { return nl_adam_commit(nullptr, 0, 1); });
    auto moment = Sized<nl_moment_arguments>();
    moment.gradient_scale = 1, moment.keep1 = 0.9f, moment.write1 = 0.1f, moment.keep2 = 0.99f;
    moment.write2 = 0.01f, moment.read_moment = 1, moment.learning_rate = 1e-3f;
    moment.epsilon = 1e-8f;
    moment.w = out_.data(), moment.g = x_.data(), moment.m = more_out_.data();
    moment.v = work_.data(), moment.sums = doubles_;
    Add(
        "nl_moment_commit", [moment] { return nl_moment_commit(&moment, 0, 37); },
        [] { return nl_moment_commit(nullptr, 0, 1); });
  }

  void AddScans() {
    auto a = Sized<nl_scan_arguments>();
    a.batch = 1, a.time = 5, a.heads = 1, a.key_dim = 4, a.value_dim = 4, a.chunk = 4;
    a.scale = 1.0f / 3;
    a.q = x_.data(), a.k = y_.data(), a.u = z_.data(), a.log_alpha = gate_.data();
    a.o = out_.data(), a.s = out_.data() + 20;
    a.states = more_.data();
    auto g = Sized<nl_scan_gradients>();
    g.d_o = z_.data(), g.dq = out_.data(), g.dk = out_.data() + 20, g.du = out_.data() + 40;
    auto forward = a;
    forward.states = nullptr;
    Add(
        "nl_scan_forward_pieces", [this, a] { return nl_scan_forward_pieces(&a, &count_); },
        [] { return nl_scan_forward_pieces(nullptr, nullptr); });
    Add(
        "nl_scan_forward_workspace", [this, a] { return nl_scan_forward_workspace(&a, &count_); },
        [] { return nl_scan_forward_workspace(nullptr, nullptr); });
    Add(
        "nl_scan_backward_workspace", [this, a] { return nl_scan_backward_workspace(&a, &count_); },
        [] { return nl_scan_backward_workspace(nullptr, nullptr); });
    Add(
        "nl_scan_forward",
        [this, forward] { return nl_scan_forward(&forward, 0, 1, work_.data()); },
        [] { return nl_scan_forward(nullptr, 0, 1, nullptr); });
    Add(
        "nl_scan_backward", [this, a, g] { return nl_scan_backward(&a, &g, 0, 1, work_.data()); },
        [] { return nl_scan_backward(nullptr, nullptr, 0, 1, nullptr); });
  }

  void AddMemories() {
    auto a = Sized<nl_self_modifying_arguments>();
    a.batch = 1, a.time = 5, a.heads = 1, a.dim = 4, a.chunk = 4;
    a.eta_scale = 0.1f, a.norm_epsilon = 1e-6f;
    a.x = x_.data(), a.q = y_.data(), a.s0 = more_.data(), a.o = out_.data();
    a.s = out_.data() + 20;
    auto g = Sized<nl_self_modifying_gradients>();
    g.d_o = z_.data(), g.dx = out_.data(), g.dq = out_.data() + 20;
    auto backward = a;
    backward.states = more_.data();
    Add(
        "nl_self_modifying_forward_workspace",
        [this, a] { return nl_self_modifying_forward_workspace(&a, &count_); },
        [] { return nl_self_modifying_forward_workspace(nullptr, nullptr); });
    Add(
        "nl_self_modifying_backward_workspace",
        [this, a] { return nl_self_modifying_backward_workspace(&a, &count_); },
        [] { return nl_self_modifying_backward_workspace(nullptr, nullptr); });
    Add(
        "nl_self_modifying_forward",
        [this, a] { return nl_self_modifying_forward(&a, 0, 1, work_.data()); },
        [] { return nl_self_modifying_forward(nullptr, 0, 1, nullptr); });
    Add(
        "nl_self_modifying_backward",
        [this, backward, g] {
          return nl_self_modifying_backward(&backward, &g, 0, 1, work_.data());
        },
        [] { return nl_self_modifying_backward(nullptr, nullptr, 0, 1, nullptr); });

    auto d = Sized<nl_deep_memory_arguments>();
    d.batch = 1, d.time = 5, d.heads = 1, d.dim = 4, d.hidden = 4, d.chunk = 4;
    d.flags = NL_DEEP_MEMORY_RESIDUAL, d.norm_epsilon = 1e-6f;
    d.q = x_.data(), d.k = y_.data(), d.v = z_.data(), d.log_alpha = gate_.data();
    d.theta = x_.data();
    d.erase = x_.data();
    d.w1_start = more_.data(), d.w2_start = more_.data() + 16;
    d.o = out_.data(), d.w1 = out_.data() + 20, d.w2 = out_.data() + 36;
    auto dg = Sized<nl_deep_memory_gradients>();
    dg.d_o = z_.data(), dg.dq = out_.data(), dg.dk = out_.data() + 20, dg.dv = out_.data() + 40;
    auto deep_backward = d;
    deep_backward.saved_w1 = more_.data(), deep_backward.saved_w2 = more_.data() + 32;
    Add(
        "nl_deep_memory_forward_workspace",
        [this, d] { return nl_deep_memory_forward_workspace(&d, &count_); },
        [] { return nl_deep_memory_forward_workspace(nullptr, nullptr); });
    Add(
        "nl_deep_memory_backward_workspace",
        [this, d] { return nl_deep_memory_backward_workspace(&d, &count_); },
        [] { return nl_deep_memory_backward_workspace(nullptr, nullptr); });
    Add(
        "nl_deep_memory_forward",
        [this, d] { return nl_deep_memory_forward(&d, 0, 1, work_.data()); },
        [] { return nl_deep_memory_forward(nullptr, 0, 1, nullptr); });
    Add(
        "nl_deep_memory_backward",
        [this, deep_backward, dg] {
          return nl_deep_memory_backward(&deep_backward, &dg, 0, 1, work_.data());
        },
        [] { return nl_deep_memory_backward(nullptr, nullptr, 0, 1, nullptr); });
  }

  void AddAttention() {
    auto a = Sized<nl_attention_arguments>();
    a.batch = 1, a.time = 5, a.keys = 5, a.heads = 1, a.key_dim = 4, a.value_dim = 4;
    a.scale = 0.5f;
    a.q = x_.data(), a.k = y_.data(), a.v = z_.data(), a.o = out_.data();
    auto backward = a;
    backward.o = more_.data(), backward.log_sums = more_.data() + 20;
    auto g = Sized<nl_attention_gradients>();
    g.d_o = z_.data(), g.dq = out_.data(), g.dk = out_.data() + 20, g.dv = out_.data() + 40;
    g.dq_parts = more_out_.data();
    Add(
        "nl_attention_forward_plan",
        [this, a] { return nl_attention_forward_plan(&a, &count_, &count_); },
        [] { return nl_attention_forward_plan(nullptr, nullptr, nullptr); });
    Add(
        "nl_attention_forward", [this, a] { return nl_attention_forward(&a, 0, 1, work_.data()); },
        [] { return nl_attention_forward(nullptr, 0, 1, nullptr); });
    Add(
        "nl_attention_backward_plan",
        [this, a] { return nl_attention_backward_plan(&a, &count_, &count_, &count_); },
        [] { return nl_attention_backward_plan(nullptr, nullptr, nullptr, nullptr); });
    Add(
        "nl_attention_backward",
        [this, backward, g] { return nl_attention_backward(&backward, &g, 0, 1, work_.data()); },
        [] { return nl_attention_backward(nullptr, nullptr, 0, 1, nullptr); });
    Add(
        "nl_attention_backward_sum",
        [backward, g] { return nl_attention_backward_sum(&backward, &g, 0, 5); },
        [] { return nl_attention_backward_sum(nullptr, nullptr, 0, 1); });
  }

  // What returns no status: success is 0.
  void AddStatus() {
    Add(
        "nl_abi_version", [] { return nl_abi_version() - NL_ABI_VERSION; }, nullptr);
    Add(
        "nl_last_error", [] { return nl_last_error() == nullptr ? 1 : 0; }, nullptr);
    Add(
        "nl_struct_size", [] { return nl_struct_size("nl_gemm_arguments") == 0 ? 1 : 0; }, nullptr);
    Add(
        "nl_target_count", [] { return nl_target_count() > 0 ? 0 : 1; }, nullptr);
    Add(
        "nl_target_name", [] { return nl_target_name(0) == nullptr ? 1 : 0; }, nullptr);
    // Asks nothing of the system, and answers null where AMX is there.
    Add(
        "nl_amx_obstacle", [] { return nl_amx_obstacle(0) == nl_amx_obstacle(0) ? 0 : 1; },
        nullptr);
    Add(
        "nl_target_supported", [] { return nl_target_supported(0) - 1; }, nullptr);
    Add(
        "nl_target_current", [this] { return nl_target_current(&target_); },
        [] { return nl_target_current(nullptr); });
    Add(
        "nl_target_choose",
        [this] {
          const int32_t status = nl_target_current(&target_);
          return status != NL_OK ? status : nl_target_choose(target_);
        },
        [] { return nl_target_choose(99); });
  }

  static constexpr int32_t kIndices[] = {0, 1, 2, 1, 0};

  Buffer x_{256}, y_{256}, z_{256}, more_{4096}, gate_{64}, out_{4096}, more_out_{4096};
  Buffer work_{1 << 20};
  Buffer large_a_{160 * 160}, large_b_{160 * 160}, large_c_{160 * 160};
  std::vector<float> packed_, work_of_gemm_;
  nl_gemm_sizes sizes_ = {};
  double doubles_[2] = {};
  std::vector<double> numbers_ = std::vector<double>(128, 0.25);
  int64_t count_ = 0;
  int32_t target_ = 0;
  std::map<std::string, ExportCall> calls_;
};

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_CORE_EXPORT_CALLS_H_
