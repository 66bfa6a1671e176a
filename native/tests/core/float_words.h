// The floating-point environment of a caller: its control and status words, and environments that it may have.
#ifndef NESTED_LEARNING_TESTS_CORE_FLOAT_WORDS_H_
#define NESTED_LEARNING_TESTS_CORE_FLOAT_WORDS_H_

#include <cstdint>
#include <ostream>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace nl_testing {

struct Words {
  uint64_t control = 0, status = 0;
  bool operator==(const Words&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Words& words) {
  return out << std::hex << words.control << " / " << words.status << std::dec;
}

struct Caller {
  const char* name;
  Words words;
};

#if defined(__x86_64__) || defined(_M_X64)

// MXCSR is both; beside it the words of the x87.
inline Words GetWords() {
  Words words;
  words.control = _mm_getcsr();
#if !defined(_MSC_VER)
  uint16_t control, status;
  __asm__ volatile("fnstcw %0\n\tfnstsw %1" : "=m"(control), "=m"(status));
  words.status = static_cast<uint64_t>(control) << 16 | status;
#endif
  return words;
}

inline void SetWords(const Words& words) { _mm_setcsr(static_cast<unsigned>(words.control)); }

inline std::vector<Caller> Callers() {
  const uint64_t x87 = GetWords().status;
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

inline Words GetWords() {
  Words words;
  __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(words.control), "=r"(words.status));
  return words;
}

inline void SetWords(const Words& words) {
  __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(words.control), "r"(words.status));
}

inline std::vector<Caller> Callers() {
  return {{"default", {0, 0}},
          {"flushing", {uint64_t{1} << 24, 0}},
          {"rounding down", {uint64_t{2} << 22, 0}},
          {"rounding to zero", {uint64_t{3} << 22, 0}},
          {"every exception raised", {0, 0x9F}},
          {"one exception raised, rounding up", {uint64_t{1} << 22, 0x01}}};
}

#endif

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_CORE_FLOAT_WORDS_H_
