// Every export leaves the caller's floating-point environment as it was, on success and on failure, whatever it was; and
// computes the same in each.
#include "testing.h"

#include <functional>
#include <map>
#include <ostream>
#include <set>

#if defined(__ELF__) && defined(__linux__)
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace {

using nl_testing::Buffer;

// ---- The environment: control and status words ----

struct Words {
  uint64_t control = 0, status = 0;
  bool operator==(const Words&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Words& words) {
  return out << std::hex << words.control << " / " << words.status << std::dec;
}

struct Caller {
  const char* name;
  Words words;
};

#if defined(__x86_64__) || defined(_M_X64)

// MXCSR is both; beside it the words of the x87.
Words Get() {
  Words words;
  words.control = _mm_getcsr();
#if !defined(_MSC_VER)
  uint16_t control, status;
  __asm__ volatile("fnstcw %0\n\tfnstsw %1" : "=m"(control), "=m"(status));
  words.status = static_cast<uint64_t>(control) << 16 | status;
#endif
  return words;
}

void Set(const Words& words) { _mm_setcsr(static_cast<unsigned>(words.control)); }

std::vector<Caller> Callers() {
  const uint64_t x87 = Get().status;
  return {{"default", {0x1F80, x87}},
          {"flushing", {0x9FC0, x87}},
          {"flushing results only", {0x9F80, x87}},
          {"rounding down", {0x3F80, x87}},
          {"rounding to zero", {0x7F80, x87}},
          {"every exception raised", {0x1FBF, x87}},
          {"one exception raised, rounding up", {0x5F81, x87}},
          // An inexact result would end the process.
          {"every exception trapped", {0x0000, x87}}};
}

#elif defined(__aarch64__)

Words Get() {
  Words words;
  __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(words.control), "=r"(words.status));
  return words;
}

void Set(const Words& words) {
  __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(words.control), "r"(words.status));
}

std::vector<Caller> Callers() {
  return {{"default", {0, 0}},
          {"flushing", {uint64_t{1} << 24, 0}},
          {"rounding down", {uint64_t{2} << 22, 0}},
          {"rounding to zero", {uint64_t{3} << 22, 0}},
          {"every exception raised", {0, 0x9F}},
          {"one exception raised, rounding up", {uint64_t{1} << 22, 0x01}}};
}

#endif

// ---- What is called ----

// A call of an export that succeeds, and one that fails; null where it cannot fail.
struct Call {
  std::function<int32_t()> success, failure;
};

// Small shapes: B = 1, T = 5, H = 1, D = 4, chunks of 4.
class Calls {
 public:
  Calls() {
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

  const std::map<std::string, Call>& All() const { return calls_; }
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
    d.residual = 1, d.norm_epsilon = 1e-6f;
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
        "nl_amx_obstacle", [] { return nl_amx_obstacle(0) == nl_amx_obstacle(0) ? 0 : 1; }, nullptr);
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
  int64_t count_ = 0;
  int32_t target_ = 0;
  std::map<std::string, Call> calls_;
};

constexpr int32_t Calls::kIndices[];

class FloatEnvironment : public nl_testing::KernelTest {};

TEST_P(FloatEnvironment, EveryExport_LeavesTheCallersAsItWas) {
  Calls calls;
  const Words own = Get();
  for (const auto& [name, call] : calls.All()) {
    for (const Caller& caller : Callers()) {
      for (const bool succeeds : {true, false}) {
        const auto& run = succeeds ? call.success : call.failure;
        if (!run) continue;
        Set(caller.words);
        const int32_t status = run();
        const Words after = Get();
        Set(own);
        EXPECT_EQ(caller.words, after)
            << name << ", " << caller.name << (succeeds ? "" : ", failing");
        EXPECT_EQ(succeeds, status == NL_OK)
            << name << ", " << caller.name << ": " << nl_last_error();
      }
    }
  }
}

TEST_P(FloatEnvironment, Results_DoNotDependOnTheCallers) {
  const Words own = Get();
  for (const char* name : {"nl_activation_forward", "nl_norm_forward", "nl_scan_forward",
                           "nl_batched_gemm", "nl_attention_forward", "nl_deep_memory_forward"}) {
    std::vector<float> expected;
    for (const Caller& caller : Callers()) {
      Calls calls;
      Set(caller.words);
      calls.All().at(name).success();
      Set(own);
      const std::vector<float> actual(calls.results(), calls.results() + calls.result_count());
      if (expected.empty()) expected = actual;
      EXPECT_EQ(0, std::memcmp(expected.data(), actual.data(), actual.size() * sizeof(float)))
          << name << ", " << caller.name;
    }
  }
}

// The kernels' environment is that of the export alone: subnormal numbers are zeros in it, and the caller's own are not.
TEST_P(FloatEnvironment, SubnormalNumbers_AreZeroInsideAlone) {
  const volatile float least = std::numeric_limits<float>::min();
  Buffer x(3);
  x[0] = 0x1p-140f, x[1] = least, x[2] = -least;
  auto a = nl_elementwise_arguments{};
  a.size = sizeof(a);
  a.x = x.data(), a.z = x.data();
  a.factor = 0.5f;
  EXPECT_OK(nl_scale(&a, 1, 3));
  EXPECT_EQ(0.0f, x[1]) << "flushed";
  EXPECT_TRUE(x[2] == 0 && std::signbit(x[2])) << "flushed, with its sign";
  a.factor = 0x1p20f;
  EXPECT_OK(nl_scale(&a, 0, 1));
  EXPECT_EQ(0.0f, x[0]) << "read as zero";
  EXPECT_GT(least * 0.5f, 0.0f) << "the caller's is as it was";
}

NL_TEST_TARGETS(FloatEnvironment);

#if defined(__ELF__) && defined(__linux__)

// The library's own functions, out of its table of dynamic symbols.
std::set<std::string> Exports() {
  std::set<std::string> names;
  Dl_info info;
  if (!dladdr(reinterpret_cast<const void*>(&nl_abi_version), &info)) return names;
  // The address may be that of a jump in the program itself; the library's comes from the loader.
  void* symbol = dlsym(RTLD_DEFAULT, "nl_abi_version");
  link_map* map = nullptr;
  Dl_info own;
  if (!dladdr1(symbol, &own, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP)) return names;
  const ElfW(Sym)* symbols = nullptr;
  const char* strings = nullptr;
  const uint32_t* hash = nullptr;
  for (const ElfW(Dyn)* entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
    const auto address = entry->d_un.d_ptr;
    if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(address);
    if (entry->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(address);
    if (entry->d_tag == DT_GNU_HASH) hash = reinterpret_cast<const uint32_t*>(address);
  }
  if (!symbols || !strings || !hash) return names;
  // The exported symbols are the hashed ones: those from `first` on, a chain for each bucket, ended by an odd hash.
  const uint32_t buckets = hash[0], first = hash[1], filter = hash[2];
  const uint32_t* bucket = hash + 4 + filter * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
  const uint32_t* chain = bucket + buckets;
  for (uint32_t i = 0; i < buckets; ++i) {
    if (bucket[i] == 0) continue;
    for (uint32_t s = bucket[i];; ++s) {
      const std::string name = strings + symbols[s].st_name;
      if (symbols[s].st_shndx != SHN_UNDEF && name.rfind("nl_", 0) == 0) names.insert(name);
      if (chain[s - first] & 1) break;
    }
  }
  return names;
}

TEST(FloatEnvironmentCalls, AreOfEveryExport) {
  std::set<std::string> called;
  const Calls calls;
  for (const auto& entry : calls.All()) called.insert(entry.first);
  EXPECT_EQ(Exports(), called);
}

#endif

}  // namespace
