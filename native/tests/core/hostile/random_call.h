// A call of an export with arguments made at random from a seed, and what is to hold after it.
#ifndef NESTED_LEARNING_TESTS_CORE_HOSTILE_RANDOM_CALL_H_
#define NESTED_LEARNING_TESTS_CORE_HOSTILE_RANDOM_CALL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/core/float_words.h"
#include "tests/core/hostile/guarded_memory.h"
#include "tests/core/hostile/prepared.h"

namespace nl_testing {

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  // 0 to count - 1.
  int64_t Below(int64_t count) {
    return static_cast<int64_t>(Next() % static_cast<uint64_t>(count));
  }
  bool Chance(int percent) { return Below(100) < percent; }
  template <class T, size_t kCount>
  T OneOf(const T (&values)[kCount]) {
    return values[Below(kCount)];
  }

 private:
  uint64_t state_;
};

template <class T>
inline void Put(uint8_t* image, size_t offset, T value) {
  std::memcpy(image + offset, &value, sizeof(value));
}

template <class T>
inline T GetAt(const uint8_t* image, size_t offset) {
  T value;
  std::memcpy(&value, image + offset, sizeof(value));
  return value;
}

// The numbers of each class of contents, and how many of them at most are filled of a block, and compared.
constexpr size_t kContents = 1 << 15;
constexpr int64_t kMostFilled = kContents / 2;

enum class Manner {
  kSound,    // everything as the header wants it, and nothing null
  kNulls,    // the same with axes of 0 and with nulls, where they are allowed and where not
  kHostile,  // some of it is wrong
  kThreads   // sound and larger, for several threads at once
};

// Memory that a call is given.
struct Block {
  std::string name;
  uint8_t* data;
  size_t bytes;
  const uint8_t* original;  // its first `kept` bytes before the call
  size_t kept;
  bool is_const;  // not to be written by this function
};

class RandomCall {
 public:
  RandomCall();

  void Make(const PreparedFunction& function, uint64_t seed, Manner manner);
  // In the environment of some caller. What the function returned.
  int64_t Run();
  // What is wrong with the call that was run, one sentence each.
  std::vector<std::string> Faults(int64_t result) const;
  std::string Describe() const;

  // For calls by pieces: the call with these in place of its own.
  int64_t RunPieces(int64_t pass, int64_t begin, int64_t end, void* workspace) const;
  // Another function with the same parameters that it has.
  int64_t RunOther(const PreparedFunction& other, int64_t pass, int64_t begin, int64_t end) const;
  void Restore();
  const PreparedFunction& function() const { return *function_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  int64_t pieces() const { return pieces_; }
  // What a plan gave under this name.
  int64_t Planned(const char* name) const { return values_[WordOf(name)]; }
  // Whether a parameter is not null.
  bool IsGiven(const char* parameter) const;
  size_t workspace_bytes() const;

 private:
  struct Image {
    const PreparedStruct* of = nullptr;
    uint8_t* bytes = nullptr;
    uint64_t address = 0;
  };

  // In this order.
  void ChooseNumbers();
  void FillImage(Image& image);
  void KeepWithinBudget();
  void AgreeOnNumbers();
  void AgreeOnProduct();
  void SpoilNumbers();
  void FindNegativeSizes();
  void PlacePointers(Image& image);
  void PlaceStruct(Image& image);
  void RunPlans();
  void ChoosePieces();
  void PlaceParameters();

  int64_t Dimension();
  double Scalar(const std::string& name);
  bool IsNull();
  bool IsForbidden(const PreparedField& field) const;
  bool ShareInput(Image& image, const PreparedField& field);
  void SetNumber(Image& image, const PreparedField& field, int64_t value);
  int64_t Number(const Image& image, const PreparedField& field) const;
  const PreparedField* Find(const Image& image, const char* name) const;
  void Derive();
  uint64_t PlaceNumbers(const std::string& name, const Product& shape, size_t element,
                        bool is_const);
  uint64_t PlaceIndices(const PreparedField& field);
  uint64_t PlaceNested(const PreparedField& field);
  uint64_t PlaceText();
  uint64_t PlaceBytes(const std::string& name, size_t bytes, const uint8_t* original, size_t kept,
                      bool is_const, size_t alignment);
  size_t ElementSize(const std::string& type) const;
  int64_t Elements() const;
  uint8_t* Store(size_t bytes);
  Image* ImageOf(Form form);

  const Prepared& prepared_ = Prepared::Get();
  const std::vector<Caller> callers_ = Callers();
  GuardedMemory memory_{size_t{64} << 20};
  std::vector<std::vector<float>> contents_;  // a vector of numbers for each class of them
  std::vector<uint8_t> store_;

  const PreparedFunction* function_ = nullptr;
  uint64_t seed_ = 0;
  Random random_{0};
  Manner manner_ = Manner::kSound;
  size_t stored_ = 0;
  std::vector<Block> blocks_;
  std::vector<uint64_t> slots_;
  std::vector<const Product*> shapes_;  // of all pointers, for the budget
  Image arguments_, gradients_, sizes_;
  int64_t values_[kMostWords];
  std::vector<std::string> forbidden_;  // fields that are to be null
  int64_t pieces_ = 0;
  bool is_impossible_ = false;  // more memory is asked for than there is
  bool are_indices_valid_ = true;
  bool are_plans_refused_ = false;
  bool is_to_be_refused_ = false;
  const Caller* caller_ = nullptr;
  Words words_before_, words_after_;
};

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_CORE_HOSTILE_RANDOM_CALL_H_
