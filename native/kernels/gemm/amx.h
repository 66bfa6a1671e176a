// Tiles of a product whose operands are bfloat16, for processors with AMX (AMX-TILE and AMX-BF16). README.md has the layout
// and the order of the sums.
#ifndef NESTED_LEARNING_KERNELS_GEMM_AMX_H_
#define NESTED_LEARNING_KERNELS_GEMM_AMX_H_

#include <cstddef>
#include <cstdint>

namespace nested_learning {

// A block of C is 2 x 2 tiles of 16 x 16 sums. A step of k is what one tile of an operand holds: 32 bfloat16 of 16 rows of A,
// or 16 pairs of 16 columns of B. Copies of the operands are counted in floats, each the place of a pair.
constexpr size_t kAmxRows = 32;
constexpr size_t kAmxColumns = 32;
constexpr size_t kAmxStep = 32;
constexpr size_t kAmxPairs = kAmxStep / 2;

// What multiplies tiles: the processor, or in tests a model of it.
struct AmxTiles {
  // Between these two the calling thread's tiles are configured.
  void (*begin)();
  void (*end)();
  // A block of C [rows, columns], both 1 .. 32, = A B, or added to it. a [steps, kAmxRows, kAmxPairs] and
  // b [steps, kAmxPairs, kAmxColumns] are whole whatever rows and columns are.
  void (*multiply)(bool add, size_t steps, const float* a, const float* b, float* c, size_t ldc,
                   size_t rows, size_t columns);
};

// The processor's; null where the compiler had no such instructions.
const AmxTiles* ProcessorsAmxTiles();

// Those that a product of bfloat16 operands should use, null for none: whether they can be had is found out by the first call
// and kept. Throws where NESTED_LEARNING_AMX asks for what cannot be had.
const AmxTiles* AmxTilesFor(int64_t m, int64_t n, int64_t k);

// For tests: these whatever the processor is, for products of any size or of those that AMX is meant for; null: as it was.
// Not while products run.
void UseAmxTiles(const AmxTiles* tiles, bool any_size);

// Tiles configured for as long as it lives; null: none.
class AmxScope {
 public:
  explicit AmxScope(const AmxTiles* tiles) : tiles_(tiles) {
    if (tiles_ != nullptr) tiles_->begin();
  }
  ~AmxScope() {
    if (tiles_ != nullptr) tiles_->end();
  }
  AmxScope(const AmxScope&) = delete;
  AmxScope& operator=(const AmxScope&) = delete;

 private:
  const AmxTiles* tiles_;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_GEMM_AMX_H_
