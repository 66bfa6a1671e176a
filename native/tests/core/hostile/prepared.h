// The interface and the rules of it together, in the form that calls are made from.
#ifndef NESTED_LEARNING_TESTS_CORE_HOSTILE_PREPARED_H_
#define NESTED_LEARNING_TESTS_CORE_HOSTILE_PREPARED_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tests/core/hostile/interface.h"
#include "tests/core/hostile/rules.h"

namespace nl_testing {

enum class Role { kSize, kReserved, kDimension, kSetting, kScalar, kNumbers, kStruct };

struct PreparedStruct;

struct PreparedField {
  const Field* field;
  Role role;
  size_t word;
  int64_t low = 0, high = 0;       // of a setting; low also of indices
  size_t limit = 0;                // of indices: the word that they are less than
  const Product* shape = nullptr;  // of numbers
  const PreparedStruct* nested = nullptr;
};

struct PreparedStruct {
  const Struct* of;
  std::vector<PreparedField> fields;
};

enum class Form {
  kArguments,  // a struct that is read
  kGradients,  // the same, whose shapes are the arguments'
  kSizes,      // a struct that is written
  kBegin,
  kEnd,
  kPass,
  kCount,     // a number that shapes depend on
  kResult,    // a pointer to one number
  kNumbers,   // a pointer to many
  kPosition,  // a small number that names something
  kText
};

struct PreparedParameter {
  const Parameter* parameter;
  Form form;
  size_t word;
  const PreparedStruct* of = nullptr;
  const Product* shape = nullptr;
};

struct PreparedAlias {
  const PreparedField *output, *input;
};

struct PreparedFunction {
  const Function* function;
  bool returns_status = false;
  bool has_gradients = false;
  bool is_bounded = false;  // whether pieces beyond its work can be told
  const Product* pieces = nullptr;
  std::vector<PreparedParameter> parameters;
  std::vector<const PreparedFunction*> plans;
  std::vector<PreparedAlias> aliases;
  std::set<std::string> names;  // one of which a message of it has
};

struct Prepared {
  std::vector<PreparedStruct> structs;
  std::vector<PreparedFunction> functions;
  // What is declared in a form, or without a rule, that calls cannot be made of; and rules of what is not declared.
  std::vector<std::string> unknown;

  static const Prepared& Get();
};

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_CORE_HOSTILE_PREPARED_H_
