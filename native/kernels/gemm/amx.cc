#include "kernels/gemm/amx.h"

#include <atomic>

#include "core/dispatch.h"
#include "kernels/gemm/amx_support.h"
#include "kernels/gemm/signal_stack.h"

#if defined(NL_AMX_COMPILED)

#include <immintrin.h>

// Named as a target's, which it is beside AVX3: native/tests/no_avx_in_baseline.sh looks at the names.
#define NL_TILE_NAMESPACE N_AVX3_AMX
#define NL_TILE_ATTR __attribute__((target("amx-tile,amx-bf16")))
#define NL_TILE_CONFIGURE(config) _tile_loadconfig(config)
#define NL_TILE_RELEASE() _tile_release()
#define NL_TILE_ZERO(tile) _tile_zero(tile)
#define NL_TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define NL_TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define NL_TILE_MULTIPLY(sums, a, b) _tile_dpbf16ps(sums, a, b)
#define NL_TILE_FENCE() __asm__ volatile("" ::: "memory")
#include "kernels/gemm/amx-inl.h"

namespace nested_learning {
namespace {

void Begin() {
  // Before the thread's first tile instruction, from which on its signal frames have room for tiles.
  RequireSignalStack();
  N_AVX3_AMX::ConfigureTiles();
}

constexpr AmxTiles kProcessorsTiles = {Begin, N_AVX3_AMX::ReleaseTiles, N_AVX3_AMX::MultiplyTiles};

}  // namespace

const AmxTiles* ProcessorsAmxTiles() { return &kProcessorsTiles; }

}  // namespace nested_learning

#else

namespace nested_learning {

const AmxTiles* ProcessorsAmxTiles() { return nullptr; }

}  // namespace nested_learning

#endif

namespace nested_learning {
namespace {

std::atomic<const AmxTiles*> g_tiles_of_tests{nullptr};
std::atomic<bool> g_any_size{false};

// From here on also float32 operands are copied: below it the copying takes longer than the products.
bool PaysTiles(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kRows = 48, kColumns = 128, kDepth = 32, kWork = 1 << 22;
  return m >= kRows && n >= kColumns && k >= kDepth &&
         static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) >= kWork;
}

}  // namespace

const AmxTiles* AmxTilesFor(int64_t m, int64_t n, int64_t k) {
  const AmxTiles* tiles = g_tiles_of_tests.load(std::memory_order_relaxed);
  if (tiles != nullptr && g_any_size.load(std::memory_order_relaxed)) return tiles;
  if (!PaysTiles(m, n, k)) return nullptr;
  if (tiles != nullptr) return tiles;
  return UsesAmx() ? ProcessorsAmxTiles() : nullptr;
}

void UseAmxTiles(const AmxTiles* tiles, bool any_size) {
  g_tiles_of_tests.store(tiles, std::memory_order_relaxed);
  g_any_size.store(any_size, std::memory_order_relaxed);
}

}  // namespace nested_learning
