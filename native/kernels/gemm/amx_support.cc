#include "kernels/gemm/amx_support.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/dispatch.h"

#if defined(NL_AMX_COMPILED)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace nested_learning {
namespace {

// CPUID leaf 7, EDX.
constexpr uint32_t kAmxBFloat16 = 1u << 22, kAmxTile = 1u << 24;
// XCR0: the configuration of the tiles, and what is in them.
constexpr uint32_t kTileData = 18;
constexpr uint64_t kTileState = uint64_t{1} << 17 | uint64_t{1} << kTileData;

// Eight tiles of 16 rows of 64 bytes, as CPUID leaf 0x1D says it.
bool HasExpectedTiles(const AmxFacts& facts) {
  const uint32_t tile_bytes = facts.palette[0] >> 16, row_bytes = facts.palette[1] & 0xFFFF;
  const uint32_t tiles = facts.palette[1] >> 16, rows = facts.palette[2] & 0xFFFF;
  return facts.palettes >= 1 && tile_bytes == 1024 && row_bytes == 64 && tiles == 8 && rows == 16;
}

struct Answer {
  AmxPermission permission;
  int error;
};

std::atomic<bool> g_asked{false};

#if defined(NL_AMX_COMPILED)

void ReadProcessor(AmxFacts& facts) {
  uint32_t a, b, c, d;
  __cpuid(0, a, b, c, d);
  const uint32_t leaves = a;
  __cpuid(1, a, b, c, d);
  if ((c >> 27 & 1) != 0) {  // OSXSAVE
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    facts.saved = static_cast<uint64_t>(high) << 32 | low;
  }
  if (leaves < 0x1D) return;
  __cpuid_count(7, 0, a, b, c, d);
  facts.features = d;
  __cpuid_count(0x1D, 0, facts.palettes, b, c, d);
  if (facts.palettes < 1) return;
  __cpuid_count(0x1D, 1, facts.palette[0], facts.palette[1], facts.palette[2], d);
}

Answer AskLinux() {
  // Of <asm/prctl.h>, which older systems have without them.
  constexpr int kGetPermission = 0x1022, kRequestPermission = 0x1023;
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) {
    return {AmxPermission::kRefused, errno};
  }
  uint64_t granted = 0;
  if (syscall(SYS_arch_prctl, kGetPermission, &granted) != 0) {
    return {AmxPermission::kRefused, errno};
  }
  return (granted >> kTileData & 1) != 0 ? Answer{AmxPermission::kGranted, 0}
                                         : Answer{AmxPermission::kRefused, EPERM};
}

#else

Answer AskLinux() { return {AmxPermission::kRefused, ENOSYS}; }

#endif

const Answer& AskOnce() {
  static const Answer answer = AskLinux();
  g_asked.store(true, std::memory_order_release);
  return answer;
}

AmxFacts ReadProcessor() {
  AmxFacts facts;
#if defined(NL_AMX_COMPILED)
  facts.compiled = true;
  ReadProcessor(facts);
#endif
  return facts;
}

AmxWish WishOfThisProcess() { return ParseAmxWish(std::getenv("NESTED_LEARNING_AMX")); }

}  // namespace

AmxWish ParseAmxWish(const char* text) {
  if (text == nullptr || *text == '\0') return AmxWish::kWherePossible;
  if (std::strcmp(text, "off") == 0) return AmxWish::kOff;
  if (std::strcmp(text, "on") == 0) return AmxWish::kOn;
  throw Error(NL_UNSUPPORTED_TARGET,
              std::string("NESTED_LEARNING_AMX is ") + text + ", expected off or on");
}

const char* AmxObstacle(AmxWish wish, const AmxFacts& facts) {
  if (wish == AmxWish::kOff) return "NESTED_LEARNING_AMX is off";
  if (!facts.compiled) return "not in this build, as it is for Linux on 64-bit x86";
  if ((facts.features & kAmxTile) == 0 || (facts.features & kAmxBFloat16) == 0) {
    return "not in this processor";
  }
  if ((facts.saved & kTileState) != kTileState) {
    return "the operating system does not keep its registers";
  }
  if (!HasExpectedTiles(facts)) return "the tiles of this processor have another size";
  if (!facts.avx3) return "the target in use is not AVX3";
  if (facts.permission == AmxPermission::kRefused) return "permission refused";
  return nullptr;
}

std::string DescribeAmxObstacle(AmxWish wish, const AmxFacts& facts) {
  const char* obstacle = AmxObstacle(wish, facts);
  if (obstacle == nullptr) return "";
  std::string text = obstacle;
  if (facts.error != 0 && facts.permission == AmxPermission::kRefused) {
    text += std::string(": ") + std::strerror(facts.error);
    // Linux looks at the stacks of all threads.
    if (facts.error == ENOSPC) text += " (on the alternate signal stack of a thread)";
  }
  return text;
}

AmxFacts FactsOfThisProcess(bool ask) {
  static const AmxFacts processor = ReadProcessor();
  AmxFacts facts = processor;
  facts.avx3 = CurrentTarget() == kAvx3;
  if (g_asked.load(std::memory_order_acquire) ||
      (ask && AmxObstacle(AmxWish::kWherePossible, facts) == nullptr)) {
    const Answer& answer = AskOnce();
    facts.permission = answer.permission;
    facts.error = answer.error;
  }
  return facts;
}

bool UsesAmx() {
  static const AmxWish wish = WishOfThisProcess();
  if (wish == AmxWish::kOff) return false;
  const AmxFacts facts = FactsOfThisProcess(true);
  if (AmxObstacle(wish, facts) == nullptr) return true;
  if (wish == AmxWish::kOn) {
    throw Error(NL_UNSUPPORTED_TARGET, "NESTED_LEARNING_AMX is on, but AMX cannot be used: " +
                                           DescribeAmxObstacle(wish, facts));
  }
  return false;
}

}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

const char* nl_amx_obstacle(int32_t ask) {
  // Fixed, as what is returned outlives the call.
  thread_local char text[256];
  try {
    const nl::AmxWish wish = nl::WishOfThisProcess();
    const nl::AmxFacts facts = nl::FactsOfThisProcess(ask != 0 && wish != nl::AmxWish::kOff);
    const std::string obstacle = nl::DescribeAmxObstacle(wish, facts);
    if (obstacle.empty()) return nullptr;
    std::snprintf(text, sizeof(text), "%s", obstacle.c_str());
  } catch (const std::exception& e) {
    std::snprintf(text, sizeof(text), "%s", e.what());
  } catch (...) {
    std::snprintf(text, sizeof(text), "unknown exception");
  }
  return text;
}

}  // extern "C"
