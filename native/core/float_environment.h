// The floating-point environment that kernels compute in: rounding to nearest, no exception trapped, subnormal numbers
// flushed to zero where they arise and counted as zero where they are read.
#ifndef NESTED_LEARNING_CORE_FLOAT_ENVIRONMENT_H_
#define NESTED_LEARNING_CORE_FLOAT_ENVIRONMENT_H_

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64) || defined(__SSE__)
#define NL_FLOAT_ENVIRONMENT_X86 1
#include <xmmintrin.h>
#elif defined(__aarch64__) || defined(_M_ARM64)
#define NL_FLOAT_ENVIRONMENT_ARM 1
#if defined(_MSC_VER) && !defined(__clang__)
#include <arm64intr.h>
#include <intrin.h>
#endif
#else
#error "How this processor flushes subnormal numbers is not known here"
#endif

namespace nested_learning {

// The kernels' environment for as long as it lives; then that of before, to the bit: control, and what exceptions were
// raised.
class FloatEnvironment {
 public:
#if NL_FLOAT_ENVIRONMENT_X86
  FloatEnvironment() noexcept : before_(_mm_getcsr()) { _mm_setcsr(kFlushing); }
  ~FloatEnvironment() { _mm_setcsr(before_); }
#else
  FloatEnvironment() noexcept : control_(Control()), status_(Status()) { SetControl(kFlushing); }
  ~FloatEnvironment() {
    SetControl(control_);
    SetStatus(status_);
  }
#endif
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
#if NL_FLOAT_ENVIRONMENT_X86
  // MXCSR: flush to zero (15), every exception masked (7 to 12), denormals are zero (6).
  static constexpr unsigned kFlushing = 0x9FC0;
  unsigned before_;
#else
  // FPCR: flush to zero (24), which is of operands too.
  static constexpr uint64_t kFlushing = uint64_t{1} << 24;
#if defined(_MSC_VER) && !defined(__clang__)
  static uint64_t Control() noexcept { return static_cast<uint64_t>(_ReadStatusReg(ARM64_FPCR)); }
  static uint64_t Status() noexcept { return static_cast<uint64_t>(_ReadStatusReg(ARM64_FPSR)); }
  static void SetControl(uint64_t value) noexcept {
    _WriteStatusReg(ARM64_FPCR, static_cast<int64_t>(value));
  }
  static void SetStatus(uint64_t value) noexcept {
    _WriteStatusReg(ARM64_FPSR, static_cast<int64_t>(value));
  }
#else
  static uint64_t Control() noexcept {
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static uint64_t Status() noexcept {
    uint64_t value;
    __asm__ volatile("mrs %0, fpsr" : "=r"(value));
    return value;
  }
  static void SetControl(uint64_t value) noexcept {
    __asm__ volatile("msr fpcr, %0" : : "r"(value));
  }
  static void SetStatus(uint64_t value) noexcept {
    __asm__ volatile("msr fpsr, %0" : : "r"(value));
  }
#endif
  uint64_t control_, status_;
#endif
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CORE_FLOAT_ENVIRONMENT_H_
