#include "tests/core/hostile/rules.h"

#include <cstdlib>
#include <sstream>

#include "nested_learning.h"

namespace nl_testing {

size_t WordOf(const std::string& name) {
  static std::map<std::string, size_t> words;
  const size_t word = words.emplace(name, words.size()).first->second;
  if (word >= kMostWords) std::abort();
  return word;
}

Product::Product(const char* words) {
  std::istringstream in(words);
  for (std::string word; in >> word;) {
    const size_t slash = word.find('/');
    if (slash != std::string::npos) {
      factors.push_back({false, WordOf(word.substr(0, slash)), std::stoll(word.substr(slash + 1))});
    } else if (word[0] >= '0' && word[0] <= '9') {
      factors.push_back({true, 0, std::stoll(word)});
    } else {
      factors.push_back({false, WordOf(word), 1});
    }
  }
}

int64_t ValueOf(const Product& product, const int64_t (&values)[kMostWords]) {
  constexpr int64_t kLimit = 1 << 20;
  int64_t all = 1;
  bool too_many = false;
  for (const Product::Factor& factor : product.factors) {
    int64_t one = factor.number;
    if (!factor.is_number) {
      const int64_t of = values[factor.word];
      one = of <= 0 ? 0 : (of - 1) / factor.number + 1;
    }
    if (one == 0) return 0;
    too_many = too_many || one > kLimit / all;
    if (!too_many) all *= one;
  }
  return too_many ? kTooMany : all;
}

const std::map<std::string, Product>& Shapes() {
  static const std::map<std::string, Product> shapes = {
      {"nl_elementwise_arguments.x", "elements"},
      {"nl_elementwise_arguments.y", "elements"},
      {"nl_elementwise_arguments.z", "elements"},

      {"nl_gemm_arguments.a", "products m k"},
      {"nl_gemm_arguments.b", "products k n"},
      {"nl_gemm_arguments.c", "products m n"},
      {"nl_gemm_arguments.bias", "n"},
      {"nl_gemm_arguments.pre_activation", "m n"},
      {"nl_gemm_arguments.residual", "m n"},

      {"nl_column_sum_arguments.x", "rows columns"},
      {"nl_column_sum_arguments.sums", "columns"},

      {"nl_norm_arguments.x", "rows columns"},
      {"nl_norm_arguments.gain", "columns"},
      {"nl_norm_arguments.bias", "columns"},
      {"nl_norm_arguments.y", "rows columns"},
      {"nl_norm_arguments.dy", "rows columns"},
      {"nl_norm_arguments.dx", "rows columns"},
      {"nl_norm_arguments.dgain", "rows/32 columns"},
      {"nl_norm_arguments.dbias", "rows/32 columns"},

      {"nl_convolution_arguments.x", "batch time channels"},
      {"nl_convolution_arguments.weight", "channels 4"},
      {"nl_convolution_arguments.bias", "channels"},
      {"nl_convolution_arguments.state", "batch 3 channels"},
      {"nl_convolution_arguments.y", "batch time channels"},
      {"nl_convolution_arguments.dy", "batch time channels"},
      {"nl_convolution_arguments.dx", "batch time channels"},
      {"nl_convolution_arguments.dweight", "channels 4"},
      {"nl_convolution_arguments.dbias", "channels"},

      {"nl_embedding_arguments.indices", "tokens"},
      {"nl_embedding_arguments.table", "rows columns"},
      {"nl_embedding_arguments.y", "tokens columns"},
      {"nl_embedding_arguments.dy", "tokens columns"},
      {"nl_embedding_arguments.dtable", "rows columns"},

      {"nl_cross_entropy_arguments.logits", "rows columns"},
      {"nl_cross_entropy_arguments.targets", "rows"},
      {"nl_cross_entropy_arguments.losses", "rows"},
      {"nl_cross_entropy_arguments.log_sums", "rows"},
      {"nl_cross_entropy_arguments.dlosses", "rows"},
      {"nl_cross_entropy_arguments.dlogits", "rows columns"},

      {"nl_adam_arguments.w", "elements"},
      {"nl_adam_arguments.g", "elements"},
      {"nl_adam_arguments.m", "elements"},
      {"nl_adam_arguments.v", "elements"},
      {"nl_adam_arguments.sums", "2"},

      {"nl_moment_arguments.w", "elements"},
      {"nl_moment_arguments.g", "elements"},
      {"nl_moment_arguments.m", "elements"},
      {"nl_moment_arguments.v", "elements"},
      {"nl_moment_arguments.start", "elements"},
      {"nl_moment_arguments.sums", "2"},

      {"nl_ridge_arguments.rows", "32 features/8 ridge_panels"},
      {"nl_ridge_arguments.x", "samples 8 features/8"},
      {"nl_ridge_arguments.f", "samples 8 features/8"},
      {"nl_ridge_arguments.v", "samples 8 features/8"},
      {"nl_ridge_arguments.o", "samples outputs"},
      {"nl_ridge_arguments.e", "samples outputs"},
      {"nl_ridge_arguments.w", "features outputs"},
      {"nl_ridge_arguments.w_low", "features outputs"},

      {"nl_scan_arguments.q", "batch time heads key_dim"},
      {"nl_scan_arguments.k", "batch time heads key_dim"},
      {"nl_scan_arguments.u", "batch time heads value_dim"},
      {"nl_scan_arguments.log_alpha", "batch time heads"},
      {"nl_scan_arguments.erase", "batch time heads"},
      {"nl_scan_arguments.mu", "batch time heads"},
      {"nl_scan_arguments.theta", "batch time heads"},
      {"nl_scan_arguments.s0", "batch heads key_dim value_dim"},
      {"nl_scan_arguments.p0", "batch heads key_dim value_dim"},
      {"nl_scan_arguments.o", "batch time heads value_dim"},
      {"nl_scan_arguments.s", "batch heads key_dim value_dim"},
      {"nl_scan_arguments.p", "batch heads key_dim value_dim"},
      {"nl_scan_arguments.states", "batch heads chunks key_dim value_dim"},
      {"nl_scan_arguments.momenta", "batch heads chunks key_dim value_dim"},
      {"nl_scan_arguments.chunk_start", "batch heads key_dim value_dim"},
      {"nl_scan_arguments.next_chunk_start", "batch heads key_dim value_dim"},
      {"nl_scan_gradients.d_o", "batch time heads value_dim"},
      {"nl_scan_gradients.d_s", "batch heads key_dim value_dim"},
      {"nl_scan_gradients.d_p", "batch heads key_dim value_dim"},
      {"nl_scan_gradients.dq", "batch time heads key_dim"},
      {"nl_scan_gradients.dk", "batch time heads key_dim"},
      {"nl_scan_gradients.du", "batch time heads value_dim"},
      {"nl_scan_gradients.d_log_alpha", "batch time heads"},
      {"nl_scan_gradients.d_erase", "batch time heads"},
      {"nl_scan_gradients.d_mu", "batch time heads"},
      {"nl_scan_gradients.d_theta", "batch time heads"},
      {"nl_scan_gradients.ds0", "batch heads key_dim value_dim"},
      {"nl_scan_gradients.dp0", "batch heads key_dim value_dim"},
      {"nl_scan_gradients.d_next_chunk_start", "batch heads key_dim value_dim"},
      {"nl_scan_gradients.d_chunk_start", "batch heads key_dim value_dim"},

      {"nl_self_modifying_arguments.x", "batch time heads dim"},
      {"nl_self_modifying_arguments.q", "batch time heads dim"},
      {"nl_self_modifying_arguments.s0", "batch heads dim state_columns"},
      {"nl_self_modifying_arguments.o", "batch time heads dim"},
      {"nl_self_modifying_arguments.s", "batch heads dim state_columns"},
      {"nl_self_modifying_arguments.states", "batch heads chunks dim state_columns"},
      {"nl_self_modifying_arguments.chunk_start", "batch heads dim state_columns"},
      {"nl_self_modifying_arguments.next_chunk_start", "batch heads dim state_columns"},
      {"nl_self_modifying_gradients.d_o", "batch time heads dim"},
      {"nl_self_modifying_gradients.d_s", "batch heads dim state_columns"},
      {"nl_self_modifying_gradients.dx", "batch time heads dim"},
      {"nl_self_modifying_gradients.dq", "batch time heads dim"},
      {"nl_self_modifying_gradients.ds0", "batch heads dim state_columns"},
      {"nl_self_modifying_gradients.d_next_chunk_start", "batch heads dim state_columns"},
      {"nl_self_modifying_gradients.d_chunk_start", "batch heads dim state_columns"},

      {"nl_deep_memory_arguments.q", "batch time heads dim"},
      {"nl_deep_memory_arguments.k", "batch time heads dim"},
      {"nl_deep_memory_arguments.v", "batch time heads dim"},
      {"nl_deep_memory_arguments.log_alpha", "batch time heads"},
      {"nl_deep_memory_arguments.theta", "batch time heads"},
      {"nl_deep_memory_arguments.erase", "batch time heads"},
      {"nl_deep_memory_arguments.mu", "batch time heads"},
      {"nl_deep_memory_arguments.w1_start", "batch heads hidden dim"},
      {"nl_deep_memory_arguments.w2_start", "batch heads dim hidden"},
      {"nl_deep_memory_arguments.p1_start", "batch heads hidden dim"},
      {"nl_deep_memory_arguments.p2_start", "batch heads dim hidden"},
      {"nl_deep_memory_arguments.chunk_start1", "batch heads hidden dim"},
      {"nl_deep_memory_arguments.chunk_start2", "batch heads dim hidden"},
      {"nl_deep_memory_arguments.o", "batch time heads dim"},
      {"nl_deep_memory_arguments.w1", "batch heads hidden dim"},
      {"nl_deep_memory_arguments.w2", "batch heads dim hidden"},
      {"nl_deep_memory_arguments.p1", "batch heads hidden dim"},
      {"nl_deep_memory_arguments.p2", "batch heads dim hidden"},
      {"nl_deep_memory_arguments.next_chunk_start1", "batch heads hidden dim"},
      {"nl_deep_memory_arguments.next_chunk_start2", "batch heads dim hidden"},
      {"nl_deep_memory_arguments.saved_w1", "batch heads chunks hidden dim"},
      {"nl_deep_memory_arguments.saved_w2", "batch heads chunks dim hidden"},
      {"nl_deep_memory_arguments.saved_p1", "batch heads chunks hidden dim"},
      {"nl_deep_memory_arguments.saved_p2", "batch heads chunks dim hidden"},
      {"nl_deep_memory_gradients.d_o", "batch time heads dim"},
      {"nl_deep_memory_gradients.d_w1", "batch heads hidden dim"},
      {"nl_deep_memory_gradients.d_w2", "batch heads dim hidden"},
      {"nl_deep_memory_gradients.d_p1", "batch heads hidden dim"},
      {"nl_deep_memory_gradients.d_p2", "batch heads dim hidden"},
      {"nl_deep_memory_gradients.d_next_chunk_start1", "batch heads hidden dim"},
      {"nl_deep_memory_gradients.d_next_chunk_start2", "batch heads dim hidden"},
      {"nl_deep_memory_gradients.dq", "batch time heads dim"},
      {"nl_deep_memory_gradients.dk", "batch time heads dim"},
      {"nl_deep_memory_gradients.dv", "batch time heads dim"},
      {"nl_deep_memory_gradients.d_log_alpha", "batch time heads"},
      {"nl_deep_memory_gradients.d_theta", "batch time heads"},
      {"nl_deep_memory_gradients.d_erase", "batch time heads"},
      {"nl_deep_memory_gradients.d_mu", "batch time heads"},
      {"nl_deep_memory_gradients.d_w1_start", "batch heads hidden dim"},
      {"nl_deep_memory_gradients.d_w2_start", "batch heads dim hidden"},
      {"nl_deep_memory_gradients.d_p1_start", "batch heads hidden dim"},
      {"nl_deep_memory_gradients.d_p2_start", "batch heads dim hidden"},
      {"nl_deep_memory_gradients.d_chunk_start1", "batch heads hidden dim"},
      {"nl_deep_memory_gradients.d_chunk_start2", "batch heads dim hidden"},

      {"nl_attention_arguments.q", "batch time heads key_dim"},
      {"nl_attention_arguments.k", "batch keys heads key_dim"},
      {"nl_attention_arguments.v", "batch keys heads value_dim"},
      {"nl_attention_arguments.o", "batch time heads value_dim"},
      {"nl_attention_arguments.log_sums", "batch time heads"},
      {"nl_attention_gradients.d_o", "batch time heads value_dim"},
      {"nl_attention_gradients.dq", "batch time heads key_dim"},
      {"nl_attention_gradients.dk", "batch keys heads key_dim"},
      {"nl_attention_gradients.dv", "batch keys heads value_dim"},
      {"nl_attention_gradients.dq_parts", "dq_parts"},
  };
  return shapes;
}

const std::map<std::string, std::pair<int64_t, int64_t>>& Settings() {
  static const std::map<std::string, std::pair<int64_t, int64_t>> settings = {
      {"nl_elementwise_arguments.activation", {NL_SIGMOID, NL_GELU}},
      {"nl_gemm_arguments.transpose_a", {0, 1}},
      {"nl_gemm_arguments.transpose_b", {0, 1}},
      {"nl_gemm_arguments.epilogue", {NL_EPILOGUE_NONE, NL_EPILOGUE_ADAM}},
      {"nl_gemm_arguments.accumulate", {0, 1}},
      {"nl_gemm_arguments.precision", {NL_PRECISION_FLOAT32, NL_PRECISION_BFLOAT16}},
      {"nl_gemm_arguments.symmetric", {0, 1}},
      {"nl_norm_arguments.kind", {NL_NORM_RMS, NL_NORM_L2}},
      {"nl_adam_arguments.decoupled", {0, 1}},
      {"nl_adam_arguments.moments", {NL_MOMENTS_FLOAT32, NL_MOMENTS_BFLOAT16}},
      {"nl_adam_arguments.clear_gradient", {0, 1}},
      {"nl_adam_arguments.step", {1, 1000}},
      {"nl_adam_arguments.seed", {0, INT64_MAX - 1}},
      {"nl_moment_arguments.clear_gradient", {0, 1}},
      {"nl_ridge_arguments.samples", {1, NL_RIDGE_GROUP}},
      {"nl_scan_arguments.chunk", {1, 9}},
      {"nl_scan_arguments.read", {NL_READ_AFTER, NL_READ_CHUNK_START}},
      {"nl_scan_arguments.write", {NL_WRITE_GIVEN, NL_WRITE_FROZEN_L2}},
      {"nl_scan_arguments.phase", {0, 8}},
      {"nl_self_modifying_arguments.chunk", {1, 9}},
      {"nl_self_modifying_arguments.objective", {NL_OBJECTIVE_L2, NL_OBJECTIVE_DOT}},
      {"nl_self_modifying_arguments.read", {NL_READ_AFTER, NL_READ_CHUNK_START}},
      {"nl_self_modifying_arguments.phase", {0, 8}},
      {"nl_self_modifying_arguments.flags",
       {0, NL_SELF_MODIFYING_NORMALIZE_VALUES | NL_SELF_MODIFYING_EXACT_GRADIENT}},
      {"nl_deep_memory_arguments.chunk", {1, 9}},
      {"nl_deep_memory_arguments.phase", {0, 8}},
      {"nl_deep_memory_arguments.objective", {NL_OBJECTIVE_L2, NL_OBJECTIVE_DOT}},
      {"nl_deep_memory_arguments.read", {NL_READ_AFTER, NL_READ_CHUNK_START}},
      {"nl_deep_memory_arguments.flags", {0, NL_DEEP_MEMORY_RESIDUAL}},
  };
  return settings;
}

const std::map<std::string, std::pair<int64_t, std::string>>& Indices() {
  static const std::map<std::string, std::pair<int64_t, std::string>> indices = {
      {"nl_embedding_arguments.indices", {0, "rows"}},
      {"nl_cross_entropy_arguments.targets", {-1, "columns"}},
  };
  return indices;
}

const std::map<std::string, FunctionRule>& FunctionRules() {
  const auto plan = [] { return FunctionRule(); };
  const auto of = [](const char* pieces) { return FunctionRule{pieces, {}, {}}; };
  const auto memory = [](const char* pieces, std::vector<std::string> plans) {
    return FunctionRule{pieces, std::move(plans), {{"workspace", "floats"}}};
  };
  static const std::map<std::string, FunctionRule> rules = {
      {"nl_target_current", plan()},
      {"nl_target_choose", plan()},
      {"nl_activation_forward", of("elements")},
      {"nl_activation_backward", of("elements")},
      {"nl_add_scaled", of("elements")},
      {"nl_multiply", of("elements")},
      {"nl_scale", of("elements")},
      {"nl_sum_of_squares", {"count/16384", {}, {{"x", "count"}, {"sums", "count/16384"}}}},
      {"nl_gemm_plan", plan()},
      {"nl_gemm_pack", {"pack_pieces", {"nl_gemm_plan"}, {{"packed", "packed"}}}},
      {"nl_gemm", {"pieces", {"nl_gemm_plan"}, {{"packed", "packed"}, {"workspace", "workspace"}}}},
      {"nl_batched_gemm", of("batch")},
      {"nl_column_sum", of("columns/64")},
      {"nl_norm_forward", of("rows")},
      {"nl_norm_backward", of("rows/32")},
      {"nl_convolution_workspace", plan()},
      {"nl_convolution_forward",
       {"batch time/64", {"nl_convolution_workspace"}, {{"workspace", "workspace"}}}},
      {"nl_convolution_backward_input",
       {"batch time/64", {"nl_convolution_workspace"}, {{"workspace", "workspace"}}}},
      {"nl_convolution_backward_weight", of("channels/64")},
      {"nl_embedding_forward", of("tokens")},
      {"nl_embedding_backward", of("columns/64")},
      {"nl_cross_entropy_forward", of("rows")},
      {"nl_cross_entropy_backward", of("rows")},
      {"nl_cross_entropy_with_gradient", {"rows", {}, {{"workspace", "columns"}}}},
      {"nl_adam_commit", of("elements")},
      {"nl_moment_commit", of("elements")},
      {"nl_ridge_read_rows", of("features/32")},
      {"nl_ridge_read_outputs", of("outputs/64")},
      {"nl_ridge_write", of("features/64")},
      {"nl_scan_forward_pieces", plan()},
      {"nl_scan_forward_workspace", plan()},
      {"nl_scan_backward_workspace", plan()},
      {"nl_scan_forward",
       memory("pieces", {"nl_scan_forward_pieces", "nl_scan_forward_workspace"})},
      {"nl_scan_backward", memory("batch heads", {"nl_scan_backward_workspace"})},
      {"nl_self_modifying_forward_workspace", plan()},
      {"nl_self_modifying_backward_workspace", plan()},
      {"nl_self_modifying_forward", memory("batch heads", {"nl_self_modifying_forward_workspace"})},
      {"nl_self_modifying_backward",
       memory("batch heads", {"nl_self_modifying_backward_workspace"})},
      {"nl_deep_memory_forward_workspace", plan()},
      {"nl_deep_memory_backward_workspace", plan()},
      {"nl_deep_memory_forward", memory("batch heads", {"nl_deep_memory_forward_workspace"})},
      {"nl_deep_memory_backward", memory("batch heads", {"nl_deep_memory_backward_workspace"})},
      {"nl_attention_forward_plan", plan()},
      {"nl_attention_forward",
       {"pieces", {"nl_attention_forward_plan"}, {{"workspace", "workspace"}}}},
      {"nl_attention_backward_plan", plan()},
      {"nl_attention_backward",
       {"pieces", {"nl_attention_backward_plan"}, {{"workspace", "workspace"}}}},
      {"nl_attention_backward_sum", {"batch time", {"nl_attention_backward_plan"}, {}}},
  };
  return rules;
}

const std::vector<std::string>& PlainFunctions() {
  static const std::vector<std::string> functions = {
      "nl_abi_version", "nl_last_error",       "nl_struct_size", "nl_target_count",
      "nl_target_name", "nl_target_supported", "nl_amx_obstacle"};
  return functions;
}

const std::vector<Alias>& Aliases() {
  static const std::vector<Alias> aliases = {
      {"nl_elementwise_arguments.z", "x", {"nl_activation_forward", "nl_multiply", "nl_scale"}},
      {"nl_elementwise_arguments.z", "y", {"nl_activation_backward", "nl_multiply"}},
      {"nl_gemm_arguments.c", "residual", {"nl_gemm_plan", "nl_gemm_pack", "nl_gemm"}},
      {"nl_norm_arguments.y", "x", {}},
      {"nl_norm_arguments.dx", "dy", {}},
      {"nl_cross_entropy_arguments.dlogits", "logits", {}},
      {"nl_scan_arguments.s", "s0", {"nl_scan_forward"}},
      {"nl_scan_arguments.p", "p0", {"nl_scan_forward"}},
      {"nl_self_modifying_arguments.s", "s0", {"nl_self_modifying_forward"}},
      {"nl_deep_memory_arguments.w1", "w1_start", {"nl_deep_memory_forward"}},
      {"nl_deep_memory_arguments.w2", "w2_start", {"nl_deep_memory_forward"}},
      {"nl_deep_memory_arguments.p1", "p1_start", {"nl_deep_memory_forward"}},
      {"nl_deep_memory_arguments.p2", "p2_start", {"nl_deep_memory_forward"}},
  };
  return aliases;
}

}  // namespace nl_testing
