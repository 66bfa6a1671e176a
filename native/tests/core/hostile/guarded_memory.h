// Memory in parts between guards. Under the address sanitizer guards are poisoned: neither read nor written, to the byte
// behind a part. Without it a write into them is found afterwards.
#ifndef NESTED_LEARNING_TESTS_CORE_HOSTILE_GUARDED_MEMORY_H_
#define NESTED_LEARNING_TESTS_CORE_HOSTILE_GUARDED_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace nl_testing {

class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes)
      : memory_(std::make_unique<uint8_t[]>(bytes + kAlignment)), bytes_(bytes) {
    start_ = memory_.get();
    start_ += (kAlignment - reinterpret_cast<uintptr_t>(start_) % kAlignment) % kAlignment;
    std::memset(start_, kGuardByte, bytes_);
    Poison(start_, bytes_);
  }
  ~GuardedMemory() { Unpoison(start_, bytes_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  // Takes every part back. Their contents stay.
  void Clear() {
    Poison(start_, used_);
    used_ = 0;
    guards_.clear();
  }

  // So many bytes, `offset` of them from a cache line's start: what the last user of the place left there.
  uint8_t* Take(size_t bytes, size_t offset = 0) {
    const size_t at = used_ + kGuard + offset;
    const size_t end = at + bytes;
    if (end + 2 * kGuard > bytes_) std::abort();
    Guard(used_, at);
    used_ = (end + kGuard + kAlignment - 1) / kAlignment * kAlignment;
    Guard(end, used_);
    Unpoison(start_ + at, bytes);
    return start_ + at;
  }

  bool Fits(size_t bytes) const { return used_ + bytes + 4 * kGuard <= bytes_; }

  bool GuardsAreUntouched() const {
#if !defined(__SANITIZE_ADDRESS__)
    for (const auto& [begin, end] : guards_) {
      for (size_t i = begin; i < end; ++i) {
        if (start_[i] != kGuardByte) return false;
      }
    }
#endif
    return true;
  }

 private:
  static constexpr size_t kAlignment = 64, kGuard = 64;
  static constexpr uint8_t kGuardByte = 0xA5;

  void Guard([[maybe_unused]] size_t begin, [[maybe_unused]] size_t end) {
#if !defined(__SANITIZE_ADDRESS__)
    std::memset(start_ + begin, kGuardByte, end - begin);
    guards_.emplace_back(begin, end);
#endif
  }

  static void Poison([[maybe_unused]] const void* start, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    ASAN_POISON_MEMORY_REGION(start, bytes);
#endif
  }
  static void Unpoison([[maybe_unused]] const void* start, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(start, bytes);
#endif
  }

  std::unique_ptr<uint8_t[]> memory_;
  uint8_t* start_;
  size_t bytes_, used_ = 0;
  std::vector<std::pair<size_t, size_t>> guards_;
};

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_CORE_HOSTILE_GUARDED_MEMORY_H_
