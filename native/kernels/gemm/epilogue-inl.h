// What is done with a product's sums: bias, GELU or its gradient, residual, Adam's step. Per target.
#if defined(NESTED_LEARNING_KERNELS_GEMM_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_GEMM_EPILOGUE_INL_H_
#undef NESTED_LEARNING_KERNELS_GEMM_EPILOGUE_INL_H_
#else
#define NESTED_LEARNING_KERNELS_GEMM_EPILOGUE_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/vector-inl.h"
#include "kernels/adam/adam-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// One vector of columns of one row, sums + bias in z, through the epilogue.
template <class TVector>
HWY_INLINE void Finish(const nl_gemm_arguments& g, bool accumulate, bool add_residual, VecF z,
                       size_t at, TVector vector) {
  if (g.epilogue == NL_EPILOGUE_GELU) {
    if (g.pre_activation != nullptr) vector(z, g.pre_activation + at);
    z = Gelu(z);
  } else if (g.epilogue == NL_EPILOGUE_GELU_GRADIENT) {
    z = hn::Mul(z, GeluGradient(vector(g.pre_activation + at)));
  }
  if (add_residual) z = hn::MulAdd(Constant(g.residual_scale), vector(g.residual + at), z);
  if (accumulate) z = hn::Add(vector(g.c + at), z);
  vector(z, g.c + at);
}

// Adam's step on rows x columns elements, the first of them at row i, column j of w.
void Commit(const nl_gemm_arguments& p, const float* sums, size_t ld, size_t i, size_t j,
            size_t rows, size_t columns) {
  const nl_adam_arguments& adam = *p.adam;
  const AdamStep step(adam);
  const bool clear = adam.clear_gradient != 0;
  for (size_t r = 0; r < rows; ++r, sums += ld) {
    const size_t at = (i + r) * static_cast<size_t>(p.n) + j;
    float* g = adam.g == nullptr ? nullptr : adam.g + at;
    AdamElements<0>(adam, step, at, columns, [sums, g, clear](auto vector, size_t s) HWY_ATTR {
      VecF gradient = vector(sums + s);
      if (g != nullptr) {
        gradient = hn::Add(gradient, vector(g + s));
        if (clear) vector(hn::Zero(F32()), g + s);
      }
      return gradient;
    });
  }
}

// The epilogue of rows x columns sums, the first of them at row i, column j of C. Sums that stand in C have what it held
// among them.
void Epilogue(const nl_gemm_arguments& g, const float* sums, size_t ld, size_t i, size_t j,
              size_t rows, size_t columns) {
  if (g.epilogue == NL_EPILOGUE_ADAM) {
    Commit(g, sums, ld, i, j, rows, columns);
    return;
  }
  const F32 d;
  const size_t n = static_cast<size_t>(g.n);
  const bool in_place = sums == g.c + i * n + j;
  const bool accumulate = g.accumulate && !in_place;
  const bool add_residual = g.residual != nullptr && !(in_place && g.residual == g.c);
  for (size_t r = 0; r < rows; ++r) {
    const size_t at = (i + r) * n + j;
    size_t s = 0;
    for (; s + kLanes <= columns; s += kLanes) {
      VecF z = hn::LoadU(d, sums + r * ld + s);
      if (g.bias != nullptr) z = hn::Add(z, hn::LoadU(d, g.bias + j + s));
      Finish(g, accumulate, add_residual, z, at + s, WholeVector());
    }
    if (s < columns) {
      const PartOfVector part{columns - s};
      VecF z = part(sums + r * ld + s);
      if (g.bias != nullptr) z = hn::Add(z, part(g.bias + j + s));
      Finish(g, accumulate, add_residual, z, at + s, part);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
