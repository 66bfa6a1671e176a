#include "tests/core/hostile/random_call.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "nested_learning.h"

namespace nl_testing {
namespace {

constexpr size_t kStore = size_t{1} << 20;
// Of scratch memory no more is filled and compared.
constexpr size_t kKeptOfScratch = 2048;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A class of contents: ordinary numbers, one in `often` of which is one of these.
std::vector<float> Contents(uint64_t seed, int often, const std::vector<float>& others) {
  Random random(seed);
  std::vector<float> numbers(kContents);
  for (float& x : numbers) {
    x = static_cast<float>(random.Below(1 << 24)) * 0x1p-23f - 1;
    if (!others.empty() && random.Below(often) == 0) {
      x = others[static_cast<size_t>(random.Below(static_cast<int64_t>(others.size())))];
    }
  }
  return numbers;
}

bool IsScratch(const std::string& name) { return name == "workspace" || name == "packed"; }

}  // namespace

RandomCall::RandomCall() : store_(kStore) {
  contents_.push_back(Contents(1, 1, {}));
  contents_.push_back(Contents(2, 16, {kNaN}));
  contents_.push_back(Contents(3, 8, {kInfinity, -kInfinity}));
  contents_.push_back(Contents(4, 2, {0x1p-140f, -0x1p-130f, 0x1p-149f}));
  // Total decay, with ordinary gates between.
  contents_.push_back(Contents(5, 2, {-kInfinity, 0.0f, -0.0f, -87.0f}));
  contents_.push_back(Contents(6, 4, {3e38f, -3e38f, 1e20f, -1e-20f}));
  contents_.push_back(Contents(7, 1, {0.0f}));
}

void RandomCall::Make(const PreparedFunction& function, uint64_t seed, Manner manner) {
  memory_.Clear();
  blocks_.clear();
  forbidden_.clear();
  shapes_.clear();
  stored_ = 0;
  function_ = &function;
  seed_ = seed;
  random_ = Random(seed);
  manner_ = manner;
  is_impossible_ = are_plans_refused_ = is_to_be_refused_ = false;
  are_indices_valid_ = true;
  arguments_ = gradients_ = sizes_ = {};
  std::memset(values_, 0, sizeof(values_));
  slots_.assign(function.parameters.size(), 0);
  pieces_ = 0;

  ChooseNumbers();
  KeepWithinBudget();
  AgreeOnNumbers();
  if (manner == Manner::kHostile) SpoilNumbers();
  Derive();
  FindNegativeSizes();
  if (arguments_.of != nullptr) PlacePointers(arguments_);
  if (arguments_.of != nullptr) PlaceStruct(arguments_);
  RunPlans();
  if (gradients_.of != nullptr) PlacePointers(gradients_);
  if (gradients_.of != nullptr) PlaceStruct(gradients_);
  if (sizes_.of != nullptr) PlaceStruct(sizes_);
  PlaceParameters();
  caller_ =
      manner == Manner::kThreads
          ? nullptr
          : &callers_[static_cast<size_t>(
                random_.Chance(50) ? 0 : random_.Below(static_cast<int64_t>(callers_.size())))];
}

// ---- Memory ----

uint8_t* RandomCall::Store(size_t bytes) {
  stored_ = (stored_ + 7) / 8 * 8;
  if (stored_ + bytes > kStore) std::abort();
  uint8_t* at = store_.data() + stored_;
  stored_ += bytes;
  return at;
}

bool RandomCall::IsNull() {
  switch (manner_) {
    case Manner::kNulls:
      return random_.Chance(25);
    case Manner::kHostile:
      return random_.Chance(6);
    default:
      return false;
  }
}

bool RandomCall::IsForbidden(const PreparedField& field) const {
  return std::find(forbidden_.begin(), forbidden_.end(), field.field->name) != forbidden_.end();
}

size_t RandomCall::ElementSize(const std::string& type) const {
  static const size_t moments = WordOf("moments");
  if (type == "double" || type == "int64_t") return 8;
  if (type == "void") return values_[moments] == NL_MOMENTS_BFLOAT16 ? 2 : 4;
  return 4;
}

uint64_t RandomCall::PlaceBytes(const std::string& name, size_t bytes, const uint8_t* original,
                                size_t kept, bool is_const, size_t alignment) {
  if (!memory_.Fits(bytes)) {
    is_impossible_ = true;
    bytes = kept = 0;
  }
  // No alignment but the elements' own is asked for.
  const size_t offset = alignment * static_cast<size_t>(random_.Below(64 / alignment));
  uint8_t* data = memory_.Take(bytes, offset);
  if (kept > 0) std::memcpy(data, original, kept);
  blocks_.push_back({name, data, bytes, original, kept, is_const});
  return reinterpret_cast<uintptr_t>(data);
}

uint64_t RandomCall::PlaceNumbers(const std::string& name, const Product& shape, size_t element,
                                  bool is_const) {
  int64_t count = ValueOf(shape, values_);
  if (count == kTooMany) {
    is_impossible_ = true;
    count = 0;
  }
  const size_t bytes = static_cast<size_t>(count) * element;
  const auto& numbers =
      contents_[static_cast<size_t>(manner_ == Manner::kThreads || random_.Chance(70)
                                        ? 0
                                        : random_.Below(static_cast<int64_t>(contents_.size())))];
  const size_t kept =
      std::min(bytes, IsScratch(name) ? kKeptOfScratch : kMostFilled * sizeof(float));
  const auto from = static_cast<size_t>(random_.Below(kContents / 2));
  return PlaceBytes(name, bytes, reinterpret_cast<const uint8_t*>(numbers.data() + from), kept,
                    is_const, random_.Chance(50) ? 64 : element);
}

uint64_t RandomCall::PlaceIndices(const PreparedField& field) {
  int64_t count = ValueOf(*field.shape, values_);
  const int64_t limit = values_[field.limit];
  if (count == kTooMany || count > 4096) {
    is_impossible_ = true;
    count = 0;
  }
  const bool is_wild = manner_ == Manner::kHostile && random_.Chance(25);
  uint8_t* numbers = Store(static_cast<size_t>(count) * sizeof(int32_t));
  for (int64_t i = 0; i < count; ++i) {
    int64_t index =
        limit > 0 && limit < INT32_MAX ? field.low + random_.Below(limit - field.low) : 0;
    constexpr int32_t kWild[] = {INT32_MIN, -2, -1, 0, 10, INT32_MAX};
    if (is_wild && random_.Chance(20)) index = random_.OneOf(kWild);
    if (index < field.low || index >= limit) are_indices_valid_ = false;
    Put(numbers, static_cast<size_t>(i) * sizeof(int32_t), static_cast<int32_t>(index));
  }
  return PlaceBytes("." + field.field->name, static_cast<size_t>(count) * sizeof(int32_t), numbers,
                    static_cast<size_t>(count) * sizeof(int32_t), true, sizeof(int32_t));
}

uint64_t RandomCall::PlaceNested(const PreparedField& field) {
  Image nested;
  nested.of = field.nested;
  FillImage(nested);
  static const Product result = "m n";
  static const size_t elements = WordOf("elements");
  values_[elements] = ValueOf(result, values_);
  PlacePointers(nested);
  PlaceStruct(nested);
  return nested.address;
}

void RandomCall::PlacePointers(Image& image) {
  for (const PreparedField& field : image.of->fields) {
    if (field.role != Role::kNumbers && field.role != Role::kStruct) continue;
    // Threads would share what is written for each call.
    const bool is_of_a_call =
        manner_ == Manner::kThreads && field.field->name == "sums" && field.field->type == "double";
    uint64_t address = 0;
    if (!IsForbidden(field) && !is_of_a_call && !IsNull()) {
      if (field.role == Role::kStruct) {
        address = PlaceNested(field);
      } else if (field.limit > 0) {
        address = PlaceIndices(field);
      } else {
        const bool is_read = field.field->is_const || function_->pieces == nullptr ||
                             (function_->has_gradients && &image == &arguments_);
        address = PlaceNumbers("." + field.field->name, *field.shape,
                               ElementSize(field.field->type), is_read);
      }
    }
    Put(image.bytes, field.field->offset, address);
  }
  for (const PreparedAlias& alias : function_->aliases) {
    if (&image != &arguments_ || manner_ == Manner::kThreads || !random_.Chance(15)) continue;
    const auto input = GetAt<uint64_t>(image.bytes, alias.input->field->offset);
    const auto output = GetAt<uint64_t>(image.bytes, alias.output->field->offset);
    if (input == 0 || output == 0) continue;
    Put(image.bytes, alias.output->field->offset, input);
    for (Block& block : blocks_) {
      if (reinterpret_cast<uintptr_t>(block.data) == input && function_->pieces != nullptr) {
        block.is_const = false;
      }
    }
  }
}

void RandomCall::PlaceStruct(Image& image) {
  const auto size = static_cast<uint32_t>(image.of->of->size);
  size_t bytes = size;
  if (manner_ == Manner::kHostile && random_.Chance(12)) {
    const uint32_t kClaimed[] = {0, 4, size / 2, size - 8, size - 1, size + 8, UINT32_MAX};
    const uint32_t claimed = random_.OneOf(kClaimed);
    Put(image.bytes, 0, claimed);
    bytes = std::max<size_t>(sizeof(uint32_t), std::min(claimed, size));
    is_to_be_refused_ = is_to_be_refused_ || claimed < size;
  }
  image.address = PlaceBytes(image.of->of->name, bytes, image.bytes, bytes, &image != &sizes_, 8);
  const bool is_nested = &image != &arguments_ && &image != &gradients_ && &image != &sizes_;
  if (!is_nested && (manner_ == Manner::kHostile || manner_ == Manner::kNulls) &&
      random_.Chance(3)) {
    image.address = 0;
    is_to_be_refused_ = true;
  }
}

uint64_t RandomCall::PlaceText() {
  std::string text;
  if (random_.Chance(20)) return 0;
  if (random_.Chance(50)) {
    const auto& structs = prepared_.structs;
    text =
        structs[static_cast<size_t>(random_.Below(static_cast<int64_t>(structs.size())))].of->name;
    if (random_.Chance(50)) text.resize(static_cast<size_t>(random_.Below(text.size() + 1)));
  } else {
    for (int64_t i = random_.Below(40); i > 0; --i) {
      text.push_back(static_cast<char>(1 + random_.Below(255)));
    }
  }
  uint8_t* bytes = Store(text.size() + 1);
  std::memcpy(bytes, text.c_str(), text.size() + 1);
  return PlaceBytes("text", text.size() + 1, bytes, text.size() + 1, true, 1);
}

// ---- Plans and pieces ----

void RandomCall::RunPlans() {
  for (const PreparedFunction* plan : function_->plans) {
    std::vector<uint64_t> slots(plan->parameters.size());
    int64_t results[4] = {};
    uint8_t sizes[64] = {};
    size_t used = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
      const PreparedParameter& p = plan->parameters[i];
      if (p.form == Form::kArguments) {
        slots[i] = arguments_.address;
      } else if (p.form == Form::kSizes && p.of->of->size <= sizeof(sizes)) {
        Put(sizes, 0, static_cast<uint32_t>(p.of->of->size));
        slots[i] = reinterpret_cast<uintptr_t>(sizes);
      } else if (p.form == Form::kResult && used < 4) {
        slots[i] = reinterpret_cast<uintptr_t>(&results[used++]);
      } else {
        std::abort();
      }
    }
    const bool is_refused = plan->function->call(slots.data()) != NL_OK;
    are_plans_refused_ = are_plans_refused_ || is_refused;
    used = 0;
    for (const PreparedParameter& p : plan->parameters) {
      if (p.form == Form::kResult) values_[p.word] = results[used++];
      if (p.form != Form::kSizes) continue;
      for (const PreparedField& field : p.of->fields) {
        if (field.role == Role::kDimension) {
          values_[field.word] = GetAt<int64_t>(sizes, field.field->offset);
        }
      }
    }
  }
}

void RandomCall::ChoosePieces() {
  static const size_t begin = WordOf("begin"), end = WordOf("end"), pass = WordOf("pass"),
                      passes = WordOf("passes");
  values_[pass] = values_[passes] > 1 ? random_.Below(values_[passes]) : 0;
  pieces_ = are_plans_refused_ ? random_.Below(4) : ValueOf(*function_->pieces, values_);
  if (pieces_ == kTooMany) {
    is_impossible_ = true;
    pieces_ = 0;
  }
  if (manner_ == Manner::kThreads) return;
  int64_t first = 0, last = pieces_;
  if (random_.Chance(25)) {
    first = random_.Below(pieces_ + 1);
    last = first + random_.Below(pieces_ - first + 1);
  }
  if (is_impossible_) first = last = 0;
  if (manner_ == Manner::kHostile && random_.Chance(20)) {
    const int64_t wrong[][2] = {{-1, last},        {last + 1, last},       {INT64_MIN, last},
                                {INT64_MAX, 0},    {INT64_MAX, INT64_MAX}, {0, -1},
                                {last, INT64_MIN}, {first, pieces_ + 1},   {INT64_MIN, INT64_MAX},
                                {first, INT64_MAX}};
    // What is beyond the elements of the caller's memory cannot be told.
    const auto& chosen = wrong[random_.Below(function_->is_bounded ? 10 : 7)];
    if (!is_impossible_ || chosen[0] < 0 || chosen[0] >= chosen[1]) {
      first = chosen[0];
      last = chosen[1];
    }
  }
  if (manner_ == Manner::kHostile && random_.Chance(10)) {
    const int64_t wrong[] = {-1, values_[passes], INT64_MIN, INT64_MAX};
    values_[pass] = random_.OneOf(wrong);
  }
  values_[begin] = first;
  values_[end] = last;
  const bool is_beyond = function_->is_bounded && !is_impossible_ && last > pieces_;
  is_to_be_refused_ = is_to_be_refused_ || first < 0 || last < first || is_beyond;
}

void RandomCall::PlaceParameters() {
  const auto& parameters = function_->parameters;
  // Shapes first: a memory that there is not makes pieces empty.
  for (size_t i = 0; i < parameters.size(); ++i) {
    const PreparedParameter& p = parameters[i];
    const std::string& type = p.parameter->type;
    const bool is_const = type.rfind("const ", 0) == 0;
    if (p.form == Form::kNumbers) {
      const uint64_t address =
          PlaceNumbers(p.parameter->name, *p.shape, type == "double*" ? 8 : 4, is_const);
      // Without copies a product makes its own.
      const bool is_left_out = p.parameter->name == "packed" && is_const && random_.Chance(40);
      slots_[i] = IsNull() || is_left_out ? 0 : address;
    } else if (p.form == Form::kResult) {
      const size_t bytes = type == "int64_t*" ? 8 : 4;
      const uint64_t address =
          PlaceBytes(p.parameter->name, bytes,
                     reinterpret_cast<const uint8_t*>(contents_[0].data()), bytes, false, bytes);
      slots_[i] = IsNull() ? 0 : address;
    } else if (p.form == Form::kText) {
      slots_[i] = PlaceText();
    } else if (p.form == Form::kPosition) {
      constexpr int64_t kPositions[] = {0, 0, 1, 2, 3, -1, 99, INT32_MIN, INT32_MAX};
      slots_[i] = static_cast<uint64_t>(random_.OneOf(kPositions));
    } else if (const Image* image = ImageOf(p.form)) {
      slots_[i] = image->address;
    }
  }
  if (function_->pieces != nullptr) ChoosePieces();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Form form = parameters[i].form;
    if (form == Form::kBegin || form == Form::kEnd || form == Form::kPass || form == Form::kCount) {
      slots_[i] = static_cast<uint64_t>(values_[parameters[i].word]);
    }
  }
}

}  // namespace nl_testing
