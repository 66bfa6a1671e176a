// The kernel of amx.h over the tile instructions, which whoever includes it defines as macros: the processor's (amx.cc), or
// those of a model (native/tests/gemm/amx). One instruction a line, as a test plants a fault at each.
//
//   NL_TILE_CONFIGURE(config)     ldtilecfg      NL_TILE_LOAD(tile, from, stride)   tileloadd
//   NL_TILE_RELEASE()             tilerelease    NL_TILE_STORE(tile, to, stride)    tilestored
//   NL_TILE_ZERO(tile)            tilezero       NL_TILE_MULTIPLY(sums, a, b)       tdpbf16ps
//   NL_TILE_FENCE()               what was written before it is there for the loads after it
//   NL_TILE_ATTR                  of every function that has them
//
// Tiles 0 .. 3 are the sums, row by row; 4 and 5 the upper and the lower rows of A; 6 and 7 the left and the right columns of B.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/gemm/amx.h"

namespace nested_learning {
namespace NL_TILE_NAMESPACE {
namespace {

// The memory operand of ldtilecfg.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfiguration) == 64);

// Static, as GCC's ldtilecfg does not tell that it reads all of it.
constexpr TileConfiguration kTileConfiguration;

NL_TILE_ATTR void ConfigureTiles() { NL_TILE_CONFIGURE(&kTileConfiguration); }

NL_TILE_ATTR void ReleaseTiles() { NL_TILE_RELEASE(); }

void CopyBlock(size_t rows, size_t columns, const float* from, size_t ld, float* to, size_t ldt) {
  for (size_t r = 0; r < rows; ++r) std::copy_n(from + r * ld, columns, to + r * ldt);
}

NL_TILE_ATTR void MultiplyTiles(bool add, size_t steps, const float* a, const float* b, float* c,
                                size_t ldc, size_t rows, size_t columns) {
  constexpr size_t kSide = 16;
  constexpr size_t kStrideOfA = kAmxPairs * sizeof(float);
  constexpr size_t kStrideOfB = kAmxColumns * sizeof(float);
  // Tiles are loaded and stored whole: at an edge of C elsewhere.
  alignas(64) float edge[kAmxRows * kAmxColumns];
  const bool whole = rows == kAmxRows && columns == kAmxColumns;
  float* sums = whole ? c : edge;
  const size_t ld = whole ? ldc : kAmxColumns;
  const size_t stride = ld * sizeof(float);
  if (add) {
    if (!whole) {
      std::fill_n(edge, kAmxRows * kAmxColumns, 0.0f);
      CopyBlock(rows, columns, c, ldc, edge, kAmxColumns);
      NL_TILE_FENCE();
    }
    NL_TILE_LOAD(0, sums, stride);
    NL_TILE_LOAD(1, sums + kSide, stride);
    NL_TILE_LOAD(2, sums + kSide * ld, stride);
    NL_TILE_LOAD(3, sums + kSide * ld + kSide, stride);
  } else {
    NL_TILE_ZERO(0);
    NL_TILE_ZERO(1);
    NL_TILE_ZERO(2);
    NL_TILE_ZERO(3);
  }
  for (size_t p = 0; p < steps; ++p, a += kAmxRows * kAmxPairs, b += kAmxColumns * kAmxPairs) {
    NL_TILE_LOAD(4, a, kStrideOfA);
    NL_TILE_LOAD(6, b, kStrideOfB);
    NL_TILE_MULTIPLY(0, 4, 6);
    NL_TILE_LOAD(7, b + kSide, kStrideOfB);
    NL_TILE_MULTIPLY(1, 4, 7);
    NL_TILE_LOAD(5, a + kSide * kAmxPairs, kStrideOfA);
    NL_TILE_MULTIPLY(2, 5, 6);
    NL_TILE_MULTIPLY(3, 5, 7);
  }
  NL_TILE_STORE(0, sums, stride);
  NL_TILE_STORE(1, sums + kSide, stride);
  NL_TILE_STORE(2, sums + kSide * ld, stride);
  NL_TILE_STORE(3, sums + kSide * ld + kSide, stride);
  if (!whole) CopyBlock(rows, columns, edge, kAmxColumns, c, ldc);
}

}  // namespace
}  // namespace NL_TILE_NAMESPACE
}  // namespace nested_learning
