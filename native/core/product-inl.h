// Small matrix products on one thread, operands where they lie. Per target.
//
//   Product<kTransposeA, kTransposeB>(into, m, n, k, a, lda, b, ldb, c, ldc)
//     C = op(A) op(B),  C += op(A) op(B)  or  C -= op(A) op(B)
//     op(A) [m, k]: A is [m, k], or [k, m] when transposed;  op(B) [k, n]: B is [k, n], or [n, k] when transposed;
//     lda, ldb, ldc: distance in floats from a row to the next. C overlaps neither operand.
//
// Nothing is packed but a transposed B, block by block, in 32 KiB of stack: meant for operands that fit the second-level
// cache. Each element's sum runs over k in order, with one accumulator for each block of kDepth, but for a
// transposed B and m <= kFewRows, where lanes are summed apart; float32 throughout. k = 0 gives zeros.
#if defined(NESTED_LEARNING_CORE_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_PRODUCT_INL_H_
#undef NESTED_LEARNING_CORE_PRODUCT_INL_H_
#else
#define NESTED_LEARNING_CORE_PRODUCT_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

enum class Into { kSet, kAdd, kSubtract };

// A tile of C is kTileRows rows by kTileVectors vectors of accumulators. 32 vector registers hold 12 x 2 and what feeds
// them; 16 hold 6 x 2. Either is enough independent sums to keep two multiply-adds of latency 4 or 5 busy.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr size_t kTileRows = 12;
#elif HWY_TARGET == HWY_SCALAR
constexpr size_t kTileRows = 4;
#else
constexpr size_t kTileRows = 6;
#endif
constexpr size_t kTileVectors = 2;
constexpr size_t kTileColumns = kTileVectors * kLanes;
// Up to this many rows leave most of a tile's registers free, and tiles are made wider instead.
constexpr size_t kFlatRows = 2;
constexpr size_t kFlatVectors = kTileRows * kTileVectors / kFlatRows / 2;
// Up to this many rows a transposed B is not worth transposing: dot products, kDotRows rows by 4.
constexpr size_t kFewRows = 8;
constexpr size_t kDotRows = kTileRows == 12 ? 4 : 2;
// The depth of a packed block of a transposed B.
constexpr size_t kDepth = 256;

// Compiled in product.cc alone: the tiles are many, and unrolling them is most of a build.

template <bool kTransposeA, bool kTransposeB>
void Product(Into into, size_t m, size_t n, size_t k, const float* a, size_t lda, const float* b,
             size_t ldb, float* c, size_t ldc);

// All m rows by the n <= kTileColumns columns of one panel of B, which is readable over whole vectors when kPadded.
template <bool kTransposeA, bool kPadded>
void Panel(Into into, size_t m, size_t n, size_t k, const float* a, size_t lda, const float* b,
           size_t ldb, float* c, size_t ldc);

// to [k, n] = the transpose of from [n, k], ldt and ld floats from a row to the next.
void Transpose(size_t n, size_t k, const float* from, size_t ld, float* to, size_t ldt);

// to [k, kTileColumns] = transpose of the n rows of from [n, k]; columns from n on become zeros.
void PackTransposed(size_t n, size_t k, const float* from, size_t ld, float* to);

// Few rows of A by a transposed B, neither packed: dot products.
void ProductOfDots(Into into, size_t m, size_t n, size_t k, const float* a, size_t lda,
                   const float* b, size_t ldb, float* c, size_t ldc);

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
