// What numbers a random call has: its sizes, settings and scalars.
#include <algorithm>
#include <limits>

#include "nested_learning.h"
#include "tests/core/hostile/random_call.h"

namespace nl_testing {

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
                      state = WordOf("state_columns"), dim = WordOf("dim"),
                      features = WordOf("features"), panels = WordOf("ridge_panels");
  values_[chunks] = values_[chunk] > 0 && values_[time] > 0
                        ? (values_[phase] + values_[time] + values_[chunk] - 1) / values_[chunk]
                        : 0;
  values_[state] = 3 * values_[dim] + 2;
  values_[panels] = values_[features] > 0 ? (values_[features] - 1) / NL_RIDGE_PANEL + 2 : 0;
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

}  // namespace nl_testing
