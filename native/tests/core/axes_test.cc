// Every export that takes a shape, with each axis 0 and 1 long, pairs of axes, and all of them: it ends, says so when it
// refuses, and writes every element of its results and no other.
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "tests/testing.h"

namespace {

using nl_testing::Buffer;

template <class T>
T Sized() {
  T arguments = {};
  arguments.size = sizeof(T);
  return arguments;
}

// A shape with each of these axes 0 and 1, with each pair of them 0 and 0 or 1, and with all.
template <class T, class I>
std::vector<T> ShortAxes(const T& usual, const std::vector<I T::*>& axes) {
  std::vector<T> cases(2, usual);
  for (I T::* axis : axes) cases[0].*axis = 0, cases[1].*axis = 1;
  for (I T::* first : axes) {
    for (I length : {0, 1}) {
      T one = usual;
      one.*first = length;
      cases.push_back(one);
      for (I T::* second : axes) {
        T two = usual;
        two.*second = length;
        two.*first = 0;
        if (second != first) cases.push_back(two);
      }
    }
  }
  return cases;
}

class Axes : public nl_testing::KernelTest {
 protected:
  Axes() {
    for (int64_t i = 0; i < gates_.count(); ++i) gates_[i] = 0.25f;
    for (int64_t i = 0; i < decays_.count(); ++i) decays_[i] = -0.125f;
  }

  const float* In() const { return in_.data(); }

  // A result of `count` elements.
  float* Out(int64_t count) {
    outputs_.emplace_back(count);
    return outputs_.back().data();
  }

  float* Sum(int64_t count) {
    outputs_.push_back(Buffer::Uniform(count, 5));
    return outputs_.back().data();
  }

  // Of `floats` elements, all NaN.
  float* Workspace(int64_t floats) {
    work_.emplace_back(floats);
    return work_.back().data();
  }

  void EndCase(const std::string& name) {
    for (const Buffer& output : outputs_) {
      output.ExpectGuardsUntouched();
      for (int64_t i = 0; i < output.count(); ++i) {
        ASSERT_TRUE(std::isfinite(output[i])) << name << ": element " << i << " of "
                                              << output.count() << " is " << output[i];
      }
    }
    for (const Buffer& work : work_) work.ExpectGuardsUntouched();
    outputs_.clear();
    work_.clear();
  }

  Buffer in_ = Buffer::Uniform(1 << 14, 3, -0.5f, 0.5f), gates_{1 << 10}, decays_{1 << 10};
  // Elements stay where they are.
  std::vector<Buffer> outputs_ = Reserved(), work_ = Reserved();

 private:
  static std::vector<Buffer> Reserved() {
    std::vector<Buffer> buffers;
    buffers.reserve(64);
    return buffers;
  }
};

NL_TEST_TARGETS(Axes);

TEST_P(Axes, Scan_EndsAndWritesEverything) {
  auto usual = Sized<nl_scan_arguments>();
  usual.batch = 2, usual.time = 9, usual.heads = 3, usual.key_dim = 5, usual.value_dim = 6;
  usual.chunk = 4, usual.scale = 0.7f;
  const std::vector<int32_t nl_scan_arguments::*> axes = {
      &nl_scan_arguments::batch, &nl_scan_arguments::time, &nl_scan_arguments::heads,
      &nl_scan_arguments::key_dim, &nl_scan_arguments::value_dim};
  for (int rule = 0; rule < 8; ++rule) {
    for (nl_scan_arguments a : ShortAxes(usual, axes)) {
      const bool frozen = rule & 1, gated = rule & 2, inside = frozen && (rule & 4);
      a.write = frozen ? NL_WRITE_FROZEN_L2 : NL_WRITE_GIVEN;
      a.read = rule & 4 ? NL_READ_BEFORE : NL_READ_AFTER;
      a.phase = inside ? 3 : 0;
      const int64_t rows = int64_t{a.batch} * a.time * a.heads, heads = int64_t{a.batch} * a.heads;
      const int64_t state = heads * a.key_dim * a.value_dim;
      const int64_t chunks = a.time == 0 ? 0 : (a.phase + a.time + a.chunk - 1) / a.chunk;
      a.q = a.k = a.u = a.s0 = In();
      a.theta = frozen ? gates_.data() : nullptr;
      if (gated) a.erase = a.mu = gates_.data(), a.log_alpha = decays_.data(), a.p0 = In();
      if (inside) a.chunk_start = In();
      a.o = Out(rows * a.value_dim), a.s = Out(state), a.states = Out(state * chunks);
      if (gated) a.p = Out(state), a.momenta = Out(state * chunks);
      if (frozen) a.next_chunk_start = Out(state);
      auto g = Sized<nl_scan_gradients>();
      g.d_o = g.d_s = In();
      g.dq = Out(rows * a.key_dim), g.dk = Out(rows * a.key_dim), g.du = Out(rows * a.value_dim);
      g.ds0 = Out(state);
      if (gated) {
        g.d_log_alpha = Out(rows), g.d_erase = Out(rows), g.d_mu = Out(rows), g.dp0 = Out(state);
      }
      if (frozen) g.d_theta = Out(rows);
      if (inside) g.d_chunk_start = Out(state);
      int64_t pieces = 0, floats = 0;
      EXPECT_OK(nl_scan_forward_pieces(&a, &pieces));
      EXPECT_OK(nl_scan_forward_workspace(&a, &floats));
      EXPECT_OK(nl_scan_forward(&a, 0, pieces, Workspace(floats)));
      EXPECT_OK(nl_scan_backward_workspace(&a, &floats));
      EXPECT_OK(nl_scan_backward(&a, &g, 0, heads, Workspace(floats)));
      EndCase("scan of rule " + std::to_string(rule));
    }
  }
}

TEST_P(Axes, SelfModifying_EndsAndWritesEverything) {
  auto usual = Sized<nl_self_modifying_arguments>();
  usual.batch = 2, usual.time = 9, usual.heads = 3, usual.dim = 5, usual.chunk = 4;
  usual.eta_scale = 0.1f, usual.norm_epsilon = 1e-6f;
  const std::vector<int32_t nl_self_modifying_arguments::*> axes = {
      &nl_self_modifying_arguments::batch, &nl_self_modifying_arguments::time,
      &nl_self_modifying_arguments::heads, &nl_self_modifying_arguments::dim};
  for (int rule = 0; rule < 4; ++rule) {
    for (nl_self_modifying_arguments a : ShortAxes(usual, axes)) {
      a.objective = rule & 1, a.phase = rule & 2 ? 1 : 0;
      const int64_t heads = int64_t{a.batch} * a.heads, tokens = heads * a.time * a.dim;
      const int64_t state = heads * a.dim * (3 * a.dim + 2);
      const int64_t chunks = a.time == 0 ? 0 : (a.phase + a.time + a.chunk - 1) / a.chunk;
      a.x = a.q = a.s0 = In();
      if (a.phase > 0) a.chunk_start = In();
      int64_t floats = 0;
      const int32_t status = nl_self_modifying_forward_workspace(&a, &floats);
      if (a.dim == 0) {
        EXPECT_EQ(NL_INVALID_ARGUMENT, status);
        EXPECT_STREQ("dim is 0, expected at least 1", nl_last_error());
        continue;
      }
      EXPECT_EQ(NL_OK, status) << nl_last_error();
      a.o = Out(tokens), a.s = Out(state), a.states = Out(state * chunks);
      a.next_chunk_start = Out(state);
      auto g = Sized<nl_self_modifying_gradients>();
      g.d_o = g.d_s = In();
      g.dx = Out(tokens), g.dq = Out(tokens), g.ds0 = Out(state);
      if (a.phase > 0) g.d_chunk_start = Out(state);
      EXPECT_OK(nl_self_modifying_forward(&a, 0, heads, Workspace(floats)));
      EXPECT_OK(nl_self_modifying_backward_workspace(&a, &floats));
      EXPECT_OK(nl_self_modifying_backward(&a, &g, 0, heads, Workspace(floats)));
      EndCase("self-modifying of rule " + std::to_string(rule));
    }
  }
}

TEST_P(Axes, DeepMemory_EndsAndWritesEverything) {
  using Arguments = nl_deep_memory_arguments;
  auto usual = Sized<Arguments>();
  usual.batch = 2, usual.time = 9, usual.heads = 3, usual.dim = 5, usual.hidden = 6;
  usual.chunk = 4, usual.flags = NL_DEEP_MEMORY_RESIDUAL, usual.norm_epsilon = 1e-6f;
  const std::vector<int32_t Arguments::*> axes = {&Arguments::batch, &Arguments::time,
                                                  &Arguments::heads, &Arguments::dim,
                                                  &Arguments::hidden};
  for (int rule = 0; rule < 4; ++rule) {
    for (Arguments a : ShortAxes(usual, axes)) {
      const bool gated = rule & 1;
      a.phase = rule & 2 ? 2 : 0;
      const int64_t heads = int64_t{a.batch} * a.heads, rows = heads * a.time;
      const int64_t tokens = rows * a.dim, state = heads * a.dim * a.hidden;
      const int64_t chunks = a.time == 0 ? 0 : (a.phase + a.time + a.chunk - 1) / a.chunk;
      a.q = a.k = a.v = a.w1_start = a.w2_start = In();
      if (gated) a.erase = a.mu = a.theta = gates_.data(), a.log_alpha = decays_.data();
      if (a.phase > 0) a.chunk_start1 = a.chunk_start2 = In();
      int64_t floats = 0;
      const int32_t status = nl_deep_memory_forward_workspace(&a, &floats);
      if (a.dim == 0 || a.hidden == 0) {
        EXPECT_EQ(NL_INVALID_ARGUMENT, status);
        const char* axis = a.dim == 0 ? "dim" : "hidden";
        EXPECT_EQ(axis + std::string(" is 0, expected at least 1"), nl_last_error());
        continue;
      }
      a.o = Out(tokens), a.w1 = Out(state), a.w2 = Out(state);
      a.saved_w1 = Out(state * chunks), a.saved_w2 = Out(state * chunks);
      if (gated) {
        a.p1 = Out(state), a.p2 = Out(state);
        a.saved_p1 = Out(state * chunks), a.saved_p2 = Out(state * chunks);
      }
      auto g = Sized<nl_deep_memory_gradients>();
      g.d_o = g.d_w1 = In();
      g.dq = Out(tokens), g.dk = Out(tokens), g.dv = Out(tokens);
      g.d_w1_start = Out(state), g.d_w2_start = Out(state);
      if (gated) {
        g.d_log_alpha = Out(rows), g.d_theta = Out(rows), g.d_erase = Out(rows), g.d_mu = Out(rows);
      }
      EXPECT_EQ(NL_OK, status) << nl_last_error();
      EXPECT_OK(nl_deep_memory_forward(&a, 0, heads, Workspace(floats)));
      EXPECT_OK(nl_deep_memory_backward_workspace(&a, &floats));
      EXPECT_OK(nl_deep_memory_backward(&a, &g, 0, heads, Workspace(floats)));
      EndCase("deep memory of rule " + std::to_string(rule));
    }
  }
}

TEST_P(Axes, Attention_EndsAndWritesEverything) {
  using Arguments = nl_attention_arguments;
  auto usual = Sized<Arguments>();
  usual.batch = 2, usual.time = 6, usual.keys = 9, usual.heads = 3, usual.key_dim = 5;
  usual.value_dim = 7, usual.scale = 0.4f;
  const std::vector<int32_t Arguments::*> axes = {&Arguments::batch,   &Arguments::time,
                                                  &Arguments::keys,    &Arguments::heads,
                                                  &Arguments::key_dim, &Arguments::value_dim};
  for (Arguments a : ShortAxes(usual, axes)) {
    const int64_t heads = int64_t{a.batch} * a.heads;
    const int64_t queries = heads * a.time, keys = heads * a.keys;
    a.q = a.k = a.v = In();
    int64_t pieces = 0, floats = 0, parts = 0;
    const int32_t status = nl_attention_forward_plan(&a, &pieces, &floats);
    if (a.key_dim == 0 || a.value_dim == 0 || a.keys < a.time) {
      EXPECT_EQ(NL_INVALID_ARGUMENT, status);
      const char* axis = a.key_dim == 0 ? "key_dim" : a.value_dim == 0 ? "value_dim" : "keys";
      EXPECT_NE(std::string::npos, std::string(nl_last_error()).find(axis)) << nl_last_error();
      continue;
    }
    EXPECT_EQ(NL_OK, status) << nl_last_error();
    a.o = Out(queries * a.value_dim), a.log_sums = Out(queries);
    EXPECT_OK(nl_attention_forward(&a, 0, pieces, Workspace(floats)));
    EXPECT_OK(nl_attention_backward_plan(&a, &pieces, &floats, &parts));
    auto g = Sized<nl_attention_gradients>();
    g.d_o = In();
    g.dq = Out(queries * a.key_dim), g.dk = Out(keys * a.key_dim), g.dv = Out(keys * a.value_dim);
    g.dq_parts = Workspace(parts);
    EXPECT_OK(nl_attention_backward(&a, &g, 0, pieces, Workspace(floats)));
    EXPECT_OK(nl_attention_backward_sum(&a, &g, 0, int64_t{a.batch} * a.time));
    EndCase("attention");
  }
}

TEST_P(Axes, Products_EndAndWriteEverything) {
  using Arguments = nl_gemm_arguments;
  auto usual = Sized<Arguments>();
  usual.m = 33, usual.n = 40, usual.k = 50;
  const std::vector<int64_t Arguments::*> axes = {&Arguments::m, &Arguments::n, &Arguments::k};
  for (int rule = 0; rule < 8; ++rule) {
    for (Arguments g : ShortAxes(usual, axes)) {
      g.transpose_a = rule & 1, g.transpose_b = rule >> 1 & 1, g.precision = rule >> 2;
      g.a = g.b = In();
      if (g.precision == 0) {
        const int64_t batch = 3;
        g.c = Out(batch * g.m * g.n);
        EXPECT_OK(nl_batched_gemm(&g, batch, 0, batch));
        EXPECT_OK(nl_batched_gemm(&g, 0, 0, 0));
      }
      g.bias = g.residual = In();
      g.residual_scale = 0.5f;
      g.c = Out(g.m * g.n);
      auto sizes = Sized<nl_gemm_sizes>();
      EXPECT_OK(nl_gemm_plan(&g, &sizes));
      float* packed = Workspace(sizes.packed);
      float* workspace = Workspace(sizes.workspace);
      for (int64_t pass = 0; pass < sizes.passes; ++pass) {
        EXPECT_OK(nl_gemm_pack(&g, pass, 0, sizes.pack_pieces, packed));
        EXPECT_OK(nl_gemm(&g, pass, 0, sizes.pieces, packed, workspace));
      }
      EndCase("product of rule " + std::to_string(rule));
    }
  }
}

TEST_P(Axes, Rows_EndAndWriteEverything) {
  const int32_t indices[] = {0, 0, 0, 0, 0};
  for (int64_t rows : {0, 1, 5}) {
    for (int64_t columns : {0, 1, 70}) {
      const std::string name = std::to_string(rows) + " rows of " + std::to_string(columns);
      auto sum = Sized<nl_column_sum_arguments>();
      sum.rows = rows, sum.columns = columns, sum.x = In(), sum.sums = Sum(columns);
      EXPECT_OK(nl_column_sum(&sum, 0, (columns + NL_COLUMN_BLOCK - 1) / NL_COLUMN_BLOCK));
      EndCase("column sum, " + name);

      for (int32_t kind : {NL_NORM_RMS, NL_NORM_LAYER, NL_NORM_L2}) {
        auto norm = Sized<nl_norm_arguments>();
        norm.kind = kind, norm.epsilon = 0.1f, norm.rows = rows, norm.columns = columns;
        norm.x = norm.dy = In(), norm.gain = kind == NL_NORM_L2 ? nullptr : In();
        norm.y = Out(rows * columns), norm.dx = Out(rows * columns);
        const int64_t blocks = (rows + NL_NORM_BLOCK - 1) / NL_NORM_BLOCK;
        norm.dgain = kind == NL_NORM_L2 ? nullptr : Out(blocks * columns);
        norm.dbias = kind == NL_NORM_LAYER ? Out(blocks * columns) : nullptr;
        EXPECT_OK(nl_norm_forward(&norm, 0, rows));
        EXPECT_OK(nl_norm_backward(&norm, 0, blocks));
        EndCase("norm, " + name);
      }

      auto entropy = Sized<nl_cross_entropy_arguments>();
      entropy.rows = rows, entropy.columns = columns, entropy.gradient_scale = 1;
      entropy.logits = entropy.dlosses = In(), entropy.targets = indices;
      if (columns == 0) {
        EXPECT_EQ(NL_INVALID_ARGUMENT, nl_cross_entropy_forward(&entropy, 0, rows));
        EXPECT_STREQ("columns is 0, expected at least 1", nl_last_error());
      } else {
        entropy.losses = Out(rows), entropy.log_sums = Out(rows);
        entropy.dlogits = Out(rows * columns);
        EXPECT_OK(nl_cross_entropy_forward(&entropy, 0, rows));
        EXPECT_OK(nl_cross_entropy_backward(&entropy, 0, rows));
        EXPECT_OK(nl_cross_entropy_with_gradient(&entropy, 0, rows, Workspace(columns)));
        EndCase("cross-entropy, " + name);
      }

      for (int64_t table : {1, 4}) {
        auto embedding = Sized<nl_embedding_arguments>();
        embedding.tokens = rows, embedding.columns = columns, embedding.rows = table;
        embedding.indices = indices, embedding.table = embedding.dy = In();
        embedding.y = Out(rows * columns), embedding.dtable = Sum(table * columns);
        EXPECT_OK(nl_embedding_forward(&embedding, 0, rows));
        EXPECT_OK(nl_embedding_backward(&embedding, 0,
                                        (columns + NL_COLUMN_BLOCK - 1) / NL_COLUMN_BLOCK));
        EndCase("embedding, " + name);
      }
    }
  }
}

TEST_P(Axes, Convolution_EndsAndWritesEverything) {
  using Arguments = nl_convolution_arguments;
  auto usual = Sized<Arguments>();
  usual.batch = 2, usual.time = 6, usual.channels = 10;
  const std::vector<int64_t Arguments::*> axes = {&Arguments::batch, &Arguments::time,
                                                  &Arguments::channels};
  for (Arguments a : ShortAxes(usual, axes)) {
    const int64_t count = a.batch * a.time * a.channels;
    a.x = a.weight = a.bias = a.state = a.dy = In();
    a.y = Out(count), a.dx = Out(count);
    a.dweight = Sum(4 * a.channels), a.dbias = Sum(a.channels);
    int64_t floats = 0;
    EXPECT_OK(nl_convolution_workspace(&a, &floats));
    float* workspace = Workspace(floats);
    const int64_t pieces =
        a.batch * ((a.time + NL_CONVOLUTION_TIME - 1) / NL_CONVOLUTION_TIME);
    EXPECT_OK(nl_convolution_forward(&a, 0, pieces, workspace));
    EXPECT_OK(nl_convolution_backward_input(&a, 0, pieces, workspace));
    EXPECT_OK(nl_convolution_backward_weight(
        &a, 0, (a.channels + NL_CONVOLUTION_CHANNELS - 1) / NL_CONVOLUTION_CHANNELS));
    EndCase("convolution");
  }
}

TEST_P(Axes, Elements_EndAndWriteEverything) {
  for (int64_t count : {0, 1}) {
    auto a = Sized<nl_elementwise_arguments>();
    a.activation = NL_GELU, a.factor = 0.5f, a.x = a.y = In();
    a.z = Sum(count);
    EXPECT_OK(nl_activation_forward(&a, 0, count));
    EXPECT_OK(nl_activation_backward(&a, 0, count));
    EXPECT_OK(nl_add_scaled(&a, 0, count));
    EXPECT_OK(nl_multiply(&a, 0, count));
    EXPECT_OK(nl_scale(&a, 0, count));
    double sums[2] = {-1, -1};
    EXPECT_OK(nl_sum_of_squares(In(), count, sums, 0, count == 0 ? 0 : 1));
    EXPECT_EQ(count == 0 ? -1 : static_cast<double>(*In()) * *In(), sums[0]);

    auto adam = Sized<nl_adam_arguments>();
    adam.learning_rate = 1e-3f, adam.epsilon = 1e-8f, adam.gradient_scale = 1, adam.step = 1;
    adam.beta1 = 0.9, adam.beta2 = 0.999, adam.correction1 = 0.1, adam.correction2 = 0.001;
    Buffer m(count), v(count);
    for (int64_t i = 0; i < count; ++i) m[i] = v[i] = 1;
    adam.w = Sum(count), adam.g = Sum(count), adam.m = m.data(), adam.v = v.data();
    adam.sums = sums;
    EXPECT_OK(nl_adam_commit(&adam, 0, count));
    EXPECT_EQ(count == 0, sums[0] == 0);
    auto moment = Sized<nl_moment_arguments>();
    moment.gradient_scale = moment.read_gradient = 1, moment.learning_rate = 1e-3f;
    moment.w = Sum(count), moment.g = Sum(count);
    moment.sums = sums;
    EXPECT_OK(nl_moment_commit(&moment, 0, count));
    EXPECT_EQ(count == 0, sums[0] == 0);
    EndCase("elements");
  }
}

}  // namespace
