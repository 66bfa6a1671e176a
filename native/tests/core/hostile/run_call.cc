// A random call run, and what is wrong with it afterwards.
#include <cctype>
#include <cstring>
#include <sstream>

#include "nested_learning.h"
#include "tests/core/hostile/random_call.h"

namespace nl_testing {

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
