// A stand-in for cuBLAS: what ILGPU.Algorithms calls of it for a product of float32, on memory of the stand-in driver's device,
// which is the host's.
#include <cstdint>
#include <mutex>

#include "cuda/emulator.h"

#define NL_CUBLAS extern "C" __attribute__((visibility("default"))) int

namespace {

// Of cublas_api.h.
enum Status { kSuccess = 0, kNotInitialized = 1, kInvalidValue = 7 };
enum Operation { kNonTranspose = 0, kTranspose = 1 };
enum Math { kDefaultMath = 0, kTensorFloat32 = 3 };

struct Handle {
  void* stream = nullptr;
  int pointer_mode = 0, atomics_mode = 0, math_mode = kDefaultMath;
};

std::mutex g_lock;
int g_products = 0, g_status = kSuccess;

}  // namespace

// ---- for tests ----

// Products so far.
NL_CUBLAS nl_stand_in_cublas_products() {
  const std::lock_guard lock(g_lock);
  return g_products;
}

// The status of every creation and product from now on.
NL_CUBLAS nl_stand_in_cublas_fail(int status) {
  const std::lock_guard lock(g_lock);
  g_status = status;
  return kSuccess;
}

// ---- the library ----

NL_CUBLAS cublasCreate_v2(Handle** handle) {
  const std::lock_guard lock(g_lock);
  if (g_status == kSuccess) *handle = new Handle;
  return g_status;
}

NL_CUBLAS cublasDestroy_v2(Handle* handle) {
  delete handle;
  return kSuccess;
}

NL_CUBLAS cublasGetVersion_v2(Handle*, int* version) {
  *version = 120304;
  return kSuccess;
}

NL_CUBLAS cublasGetStream_v2(Handle* handle, void** stream) {
  *stream = handle->stream;
  return kSuccess;
}

NL_CUBLAS cublasSetStream_v2(Handle* handle, void* stream) {
  handle->stream = stream;
  return kSuccess;
}

NL_CUBLAS cublasGetPointerMode_v2(Handle* handle, int* mode) {
  *mode = handle->pointer_mode;
  return kSuccess;
}

NL_CUBLAS cublasSetPointerMode_v2(Handle* handle, int mode) {
  handle->pointer_mode = mode;
  return kSuccess;
}

NL_CUBLAS cublasGetAtomicsMode(Handle* handle, int* mode) {
  *mode = handle->atomics_mode;
  return kSuccess;
}

NL_CUBLAS cublasSetAtomicsMode(Handle* handle, int mode) {
  handle->atomics_mode = mode;
  return kSuccess;
}

NL_CUBLAS cublasGetMathMode(Handle* handle, int* mode) {
  *mode = handle->math_mode;
  return kSuccess;
}

NL_CUBLAS cublasSetMathMode(Handle* handle, int mode) {
  if (mode != kDefaultMath && mode != kTensorFloat32) return kInvalidValue;
  handle->math_mode = mode;
  return kSuccess;
}

// C [m, n] ← α op(A) op(B) + β C, all of them column after column.
NL_CUBLAS cublasSgemm_v2(Handle* handle, int operation_a, int operation_b, int m, int n, int k,
                         const float* alpha, const float* a, int row_a, const float* b, int row_b,
                         const float* beta, float* c, int row_c) {
  const std::lock_guard lock(g_lock);
  if (!handle) return kNotInitialized;
  if (g_status != kSuccess) return g_status;
  const bool transpose_a = operation_a == kTranspose, transpose_b = operation_b == kTranspose;
  if (m < 0 || n < 0 || k < 0 || row_a < (transpose_a ? k : m) || row_b < (transpose_b ? n : k) ||
      row_c < m || handle->pointer_mode != 0)
    return kInvalidValue;
  g_products++;
  const auto operand = [handle](float x) {
    return handle->math_mode == kTensorFloat32 ? std::bit_cast<float>(RoundToTf32(x)) : x;
  };
  for (int j = 0; j < n; j++) {
    for (int i = 0; i < m; i++) {
      double sum = 0;
      for (int l = 0; l < k; l++) {
        const int64_t at_a = transpose_a ? l + int64_t{1} * i * row_a : i + int64_t{1} * l * row_a;
        const int64_t at_b = transpose_b ? j + int64_t{1} * l * row_b : l + int64_t{1} * j * row_b;
        sum += double{operand(a[at_a])} * operand(b[at_b]);
      }
      float* const at = &c[i + int64_t{1} * j * row_c];
      // Without β, C is not read.
      *at = static_cast<float>(*alpha * sum + (*beta == 0 ? 0 : double{*beta} * *at));
    }
  }
  return kSuccess;
}
