// Whether AMX may be used here: the processor, the operating system, its permission and the user have a say.
#ifndef NESTED_LEARNING_KERNELS_GEMM_AMX_SUPPORT_H_
#define NESTED_LEARNING_KERNELS_GEMM_AMX_SUPPORT_H_

#include <cstdint>
#include <string>

// On Windows tiles would come without asking, or by EnableProcessOptionalXStateFeatures, and on macOS not at all: neither was
// tried, so neither has them.
#if defined(__x86_64__) && defined(__linux__) && \
    (defined(__clang__) ? __clang_major__ >= 11 : __GNUC__ >= 11)
#define NL_AMX_COMPILED 1
#endif

namespace nested_learning {

// NESTED_LEARNING_AMX.
enum class AmxWish {
  kWherePossible,  // not set
  kOff,            // "off"
  kOn              // "on": an error where it cannot be had
};

// Throws for any other text.
AmxWish ParseAmxWish(const char* text);

enum class AmxPermission { kNotAsked, kGranted, kRefused };

// What decides, apart from what is made of it.
struct AmxFacts {
  bool compiled = false;     // this build has the kernel
  bool avx3 = false;         // the target in use is AVX3
  uint32_t features = 0;     // CPUID leaf 7, EDX
  uint64_t saved = 0;        // XCR0; 0 without OSXSAVE
  uint32_t palettes = 0;     // CPUID leaf 0x1D: the last palette
  uint32_t palette[3] = {};  // EAX, EBX and ECX of its subleaf 1: the first palette
  AmxPermission permission = AmxPermission::kNotAsked;
  int error = 0;  // where it is refused: errno
};

// Why products do not use AMX, in a few words; null where nothing stands against it. A permission that was not asked for yet
// is no obstacle.
const char* AmxObstacle(AmxWish wish, const AmxFacts& facts);

// The same for people, with what the system said; empty for null.
std::string DescribeAmxObstacle(AmxWish wish, const AmxFacts& facts);

// Those of this process. ask: where nothing else stands against it the operating system is asked for its permission, once in
// a process, whose threads all have it then.
AmxFacts FactsOfThisProcess(bool ask);

// Whether products use it, asking for the permission. Throws where it is "on" and cannot be had.
bool UsesAmx();

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_GEMM_AMX_SUPPORT_H_
