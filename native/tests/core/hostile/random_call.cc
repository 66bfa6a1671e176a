#include "tests/core/hostile/random_call.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "nested_learning.h"

namespace nl_testing {
namespace {

constexpr size_t kContents = 1 << 15;  // numbers of each class
constexpr size_t kStore = size_t{1} << 20;
// What is filled of a block, and compared.
constexpr int64_t kMostFilled = kContents / 2;
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

template <class T>
void Put(uint8_t* image, size_t offset, T value) {
  std::memcpy(image + offset, &value, sizeof(value));
}

template <class T>
T GetAt(const uint8_t* image, size_t offset) {
  T value;
  std::memcpy(&value, image + offset, sizeof(value));
  return value;
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

// ---- Numbers ----

RandomCall::Image* RandomCall::ImageOf(Form form) {
  return form == Form::kArguments   ? &arguments_
         : form == Form::kGradients ? &gradients_
         : form == Form::kSizes     ? &sizes_
                                    : nullptr;
}

int64_t RandomCall::Dimension() {
  if (manner_ == Manner::kThreads) {
    constexpr int64_t kSizes[] = {2, 3, 4, 7, 9, 20, 40, 70, 130};
    return random_.OneOf(kSizes);
  }
  if (manner_ != Manner::kSound && random_.Chance(8)) return 0;
  constexpr int64_t kLarge[] = {15, 16, 17, 31, 33, 65, 130};
  if (random_.Chance(6)) return random_.OneOf(kLarge);
  return 1 + std::min(random_.Below(9), random_.Below(9));
}

double RandomCall::Scalar(const std::string& name) {
  const bool is_sound = manner_ == Manner::kSound || manner_ == Manner::kThreads;
  // What is added so that nothing is divided by zero may have to be above it.
  if (is_sound && name.find("epsilon") != std::string::npos) return 1e-6;
  if (manner_ == Manner::kThreads || random_.Chance(70))
    return static_cast<double>(random_.Below(1000)) / 1000;
  constexpr double kOthers[] = {0,
                                -1,
                                2.5,
                                1e-3,
                                1e-40,
                                1e30,
                                std::numeric_limits<double>::quiet_NaN(),
                                std::numeric_limits<double>::infinity(),
                                -std::numeric_limits<double>::infinity()};
  return random_.OneOf(kOthers);
}

void RandomCall::SetNumber(Image& image, const PreparedField& field, int64_t value) {
  const size_t at = field.field->offset;
  switch (field.field->kind) {
    case Kind::kInt32:
    case Kind::kUint32:
      Put(image.bytes, at, static_cast<uint32_t>(value));
      break;
    default:
      Put(image.bytes, at, value);
  }
  values_[field.word] = Number(image, field);
}

int64_t RandomCall::Number(const Image& image, const PreparedField& field) const {
  const size_t at = field.field->offset;
  switch (field.field->kind) {
    case Kind::kInt32:
      return GetAt<int32_t>(image.bytes, at);
    case Kind::kUint32:
      return GetAt<uint32_t>(image.bytes, at);
    default:
      return GetAt<int64_t>(image.bytes, at);
  }
}

void RandomCall::FillImage(Image& image) {
  image.bytes = Store(image.of->of->size);
  std::memset(image.bytes, 0, image.of->of->size);
  for (const PreparedField& field : image.of->fields) {
    const size_t at = field.field->offset;
    switch (field.role) {
      case Role::kSize:
        Put(image.bytes, at, static_cast<uint32_t>(image.of->of->size));
        break;
      case Role::kDimension:
        SetNumber(image, field, Dimension());
        break;
      case Role::kSetting:
        SetNumber(image, field, field.low + random_.Below(field.high - field.low + 1));
        break;
      case Role::kScalar:
        if (field.field->kind == Kind::kFloat) {
          Put(image.bytes, at, static_cast<float>(Scalar(field.field->name)));
        } else {
          Put(image.bytes, at, Scalar(field.field->name));
        }
        break;
      case Role::kNumbers:
        shapes_.push_back(field.shape);
        break;
      case Role::kReserved:
      case Role::kStruct:
        break;
    }
  }
}

void RandomCall::ChooseNumbers() {
  for (const PreparedParameter& p : function_->parameters) {
    if (p.form == Form::kCount) {
      values_[p.word] = Dimension();
      // More than one block of a sum.
      if (p.parameter->name == "count" && random_.Chance(manner_ == Manner::kThreads ? 100 : 1)) {
        values_[p.word] = 2 * NL_SUM_BLOCK - 2 + random_.Below(5);
      }
    }
    if (p.form == Form::kNumbers) shapes_.push_back(p.shape);
    Image* image = ImageOf(p.form);
    if (image == nullptr) continue;
    image->of = p.of;
    if (p.form == Form::kSizes) {
      image->bytes = Store(p.of->of->size);
      std::memset(image->bytes, 0, p.of->of->size);
      Put(image->bytes, 0, static_cast<uint32_t>(p.of->of->size));
    } else {
      FillImage(*image);
    }
  }
  static const size_t elements = WordOf("elements");
  values_[elements] = manner_ == Manner::kThreads ? 4000 + random_.Below(100) : random_.Below(40);
  Derive();
}

void RandomCall::Derive() {
  static const size_t chunks = WordOf("chunks"), chunk = WordOf("chunk"), phase = WordOf("phase"),
                      time = WordOf("time"), products = WordOf("products"), batch = WordOf("batch"),
                      state = WordOf("state_columns"), dim = WordOf("dim");
  values_[chunks] = values_[chunk] > 0 && values_[time] > 0
                        ? (values_[phase] + values_[time] + values_[chunk] - 1) / values_[chunk]
                        : 0;
  values_[state] = 3 * values_[dim] + 2;
  values_[products] = function_->function->name == "nl_batched_gemm" ? values_[batch] : 1;
}

int64_t RandomCall::Elements() const {
  int64_t all = 0;
  for (const Product* shape : shapes_) {
    const int64_t one = ValueOf(*shape, values_);
    // Threads' numbers are all filled, and compared.
    if (one == kTooMany || (manner_ == Manner::kThreads && one > kMostFilled)) return kTooMany;
    all += one;
  }
  return all;
}

// A call takes a time that grows with its numbers: halves axes until they are few.
void RandomCall::KeepWithinBudget() {
  const int64_t budget = manner_ == Manner::kThreads ? 60000 : random_.Chance(80) ? 1500 : 6000;
  while (arguments_.of != nullptr && Elements() > budget) {
    const auto& fields = arguments_.of->fields;
    const PreparedField& field =
        fields[static_cast<size_t>(random_.Below(static_cast<int64_t>(fields.size())))];
    if (field.role != Role::kDimension || values_[field.word] < 2) continue;
    SetNumber(arguments_, field, values_[field.word] / 2);
    Derive();
  }
}

const PreparedField* RandomCall::Find(const Image& image, const char* name) const {
  if (image.of == nullptr) return nullptr;
  for (const PreparedField& field : image.of->fields) {
    if (field.field->name == name) return &field;
  }
  return nullptr;
}

// What one number is to be because of another.
void RandomCall::AgreeOnNumbers() {
  if (arguments_.of == nullptr) return;
  const PreparedField* chunk = Find(arguments_, "chunk");
  if (chunk != nullptr) {
    const bool is_long = random_.Chance(manner_ == Manner::kThreads ? 80 : 10);
    if (is_long) SetNumber(arguments_, *chunk, 1 + random_.Below(NL_MAX_CHUNK));
    const PreparedField* phase = Find(arguments_, "phase");
    SetNumber(arguments_, *phase, Number(arguments_, *phase) % Number(arguments_, *chunk));
  }
  if (const PreparedField* keys = Find(arguments_, "keys")) {
    const int64_t time = Number(arguments_, *Find(arguments_, "time"));
    if (Number(arguments_, *keys) < time) SetNumber(arguments_, *keys, time + random_.Below(3));
  }
  if (arguments_.of->of->name == "nl_gemm_arguments") AgreeOnProduct();
}

void RandomCall::AgreeOnProduct() {
  const auto number = [&](const char* name) { return Number(arguments_, *Find(arguments_, name)); };
  const auto set = [&](const char* name, int64_t value) {
    SetNumber(arguments_, *Find(arguments_, name), value);
  };
  if (random_.Chance(60)) set("symmetric", 0);
  if (function_->function->name == "nl_batched_gemm") {
    for (const char* name : {"epilogue", "precision", "symmetric"}) set(name, 0);
    forbidden_ = {"bias", "residual", "adam"};
    return;
  }
  if (number("symmetric") != 0) {
    set("n", number("m"));
    set("epilogue", NL_EPILOGUE_NONE);
    forbidden_ = {"bias", "adam"};
  } else if (number("epilogue") == NL_EPILOGUE_ADAM) {
    set("accumulate", 0);
    forbidden_ = {"c", "bias", "pre_activation", "residual", "sums"};
  } else {
    forbidden_ = {"adam"};
  }
}

void RandomCall::SpoilNumbers() {
  // Large ones that could be are seldom: some plans look at every block.
  const auto size = [&] {
    constexpr int64_t kSizes[] = {INT32_MIN, INT64_MIN, -1,        0,
                                  1 << 24,   1 << 24,   INT64_MAX, int64_t{1} << 40};
    return random_.Chance(1) ? INT32_MAX : random_.OneOf(kSizes);
  };
  for (const PreparedParameter& p : function_->parameters) {
    if (p.form == Form::kCount && random_.Chance(25)) values_[p.word] = size();
  }
  if (random_.Chance(20)) forbidden_.clear();
  if (arguments_.of == nullptr) return;
  std::vector<const PreparedField*> fields;
  for (const PreparedField& field : arguments_.of->fields) {
    if (field.role == Role::kDimension || field.role == Role::kSetting) fields.push_back(&field);
    if (field.role == Role::kReserved) Put(arguments_.bytes, field.field->offset, ~uint32_t{0});
  }
  const int64_t spoilt = random_.Below(3);
  for (int64_t i = 0; i < spoilt && !fields.empty(); ++i) {
    const PreparedField& field =
        *fields[static_cast<size_t>(random_.Below(static_cast<int64_t>(fields.size())))];
    const int64_t beyond[] = {field.low - 1, field.high + 1, INT32_MIN, INT32_MAX, 1000};
    SetNumber(arguments_, field, field.role == Role::kDimension ? size() : random_.OneOf(beyond));
  }
}

void RandomCall::FindNegativeSizes() {
  for (const PreparedParameter& p : function_->parameters) {
    if (p.form == Form::kCount && values_[p.word] < 0) is_to_be_refused_ = true;
  }
  if (arguments_.of == nullptr) return;
  for (const PreparedField& field : arguments_.of->fields) {
    if (field.role == Role::kDimension && values_[field.word] < 0) is_to_be_refused_ = true;
  }
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

// ---- The call ----

int64_t RandomCall::Run() {
  words_before_ = caller_->words;
  const Words own = GetWords();
  SetWords(words_before_);
  const int64_t result = function_->function->call(slots_.data());
  words_after_ = GetWords();
  SetWords(own);
  return result;
}

int64_t RandomCall::RunPieces(int64_t pass, int64_t begin, int64_t end, void* workspace) const {
  std::vector<uint64_t> slots = slots_;
  for (size_t i = 0; i < slots.size(); ++i) {
    const PreparedParameter& p = function_->parameters[i];
    if (p.form == Form::kPass) slots[i] = static_cast<uint64_t>(pass);
    if (p.form == Form::kBegin) slots[i] = static_cast<uint64_t>(begin);
    if (p.form == Form::kEnd) slots[i] = static_cast<uint64_t>(end);
    if (p.parameter->name == "workspace") slots[i] = reinterpret_cast<uintptr_t>(workspace);
  }
  return function_->function->call(slots.data());
}

int64_t RandomCall::RunOther(const PreparedFunction& other, int64_t pass, int64_t begin,
                             int64_t end) const {
  std::vector<uint64_t> slots;
  for (const PreparedParameter& p : other.parameters) {
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (function_->parameters[i].parameter->name == p.parameter->name) {
        slots.push_back(p.form == Form::kPass    ? static_cast<uint64_t>(pass)
                        : p.form == Form::kBegin ? static_cast<uint64_t>(begin)
                        : p.form == Form::kEnd   ? static_cast<uint64_t>(end)
                                                 : slots_[i]);
      }
    }
  }
  if (slots.size() != other.parameters.size()) std::abort();
  return other.function->call(slots.data());
}

void RandomCall::Restore() {
  for (const Block& block : blocks_) {
    if (block.kept > 0) std::memcpy(block.data, block.original, block.kept);
  }
}

bool RandomCall::IsGiven(const char* parameter) const {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (function_->parameters[i].parameter->name == parameter) return slots_[i] != 0;
  }
  return false;
}

size_t RandomCall::workspace_bytes() const {
  for (const Block& block : blocks_) {
    if (block.name == "workspace") return block.bytes;
  }
  return 0;
}

std::vector<std::string> RandomCall::Faults(int64_t result) const {
  std::vector<std::string> faults;
  const std::string& name = function_->function->name;
  if (!(words_before_ == words_after_)) {
    std::ostringstream out;
    out << "the floating-point environment was " << words_before_ << " and is " << words_after_;
    faults.push_back(out.str());
  }
  const bool is_refused = function_->returns_status && result != NL_OK;
  const bool is_known = result == NL_OK || result == NL_INVALID_ARGUMENT ||
                        (name == "nl_target_choose" && result == NL_UNSUPPORTED_TARGET);
  if (function_->returns_status && !is_known) {
    faults.push_back("the status is " + std::to_string(result) + ": " + nl_last_error());
  }
  if (is_refused) {
    const std::string message = nl_last_error();
    bool names_one = false;
    for (size_t i = 0; i < message.size() && !names_one;) {
      size_t end = i;
      while (end < message.size() &&
             (std::isalnum(static_cast<unsigned char>(message[end])) || message[end] == '_')) {
        ++end;
      }
      names_one = end > i && function_->names.count(message.substr(i, end - i)) > 0;
      i = std::max(i + 1, end);
    }
    if (!names_one && result == NL_INVALID_ARGUMENT) {
      faults.push_back("the message names no argument: " + message);
    }
    if (manner_ == Manner::kSound && are_indices_valid_ && !is_impossible_ &&
        name != "nl_target_choose") {
      faults.push_back("a sound call is refused: " + message);
    }
  } else if (function_->returns_status) {
    if (are_plans_refused_) faults.push_back("its plan is refused, and it is not");
    if (is_to_be_refused_) faults.push_back("a size, a struct or pieces that cannot be are taken");
  }
  for (const Block& block : blocks_) {
    if ((is_refused || block.is_const) && block.kept > 0 &&
        std::memcmp(block.data, block.original, block.kept) != 0) {
      faults.push_back(block.name + " was written");
    }
  }
  if (!memory_.GuardsAreUntouched()) faults.push_back("something beside the memory was written");
  return faults;
}

std::string RandomCall::Describe() const {
  std::ostringstream out;
  out << function_->function->name << ", call " << seed_ << ", manner "
      << static_cast<int>(manner_);
  if (caller_ != nullptr) out << ", caller's environment: " << caller_->name;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const PreparedParameter& p = function_->parameters[i];
    const bool is_number = p.parameter->type.back() != '*';
    out << "\n  " << p.parameter->name << " = ";
    if (is_number) {
      out << static_cast<int64_t>(slots_[i]);
    } else {
      out << (slots_[i] == 0 ? "null" : "given");
    }
  }
  for (const Image* image : {&arguments_, &gradients_, &sizes_}) {
    if (image->bytes == nullptr) continue;
    out << "\n  " << image->of->of->name << ":";
    for (const PreparedField& field : image->of->fields) {
      const size_t at = field.field->offset;
      out << " " << field.field->name << "=";
      switch (field.field->kind) {
        case Kind::kFloat:
          out << GetAt<float>(image->bytes, at);
          break;
        case Kind::kDouble:
          out << GetAt<double>(image->bytes, at);
          break;
        case Kind::kPointer:
          out << (GetAt<uint64_t>(image->bytes, at) == 0 ? "null" : "given");
          break;
        default:
          out << Number(*image, field);
      }
    }
  }
  return out.str();
}

}  // namespace nl_testing
