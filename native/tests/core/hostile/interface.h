// The C interface as tables, so that tests can call all of it: made of the header (tests/core/interface.inc).
#ifndef NESTED_LEARNING_TESTS_CORE_HOSTILE_INTERFACE_H_
#define NESTED_LEARNING_TESTS_CORE_HOSTILE_INTERFACE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace nl_testing {

enum class Kind { kInt32, kUint32, kInt64, kUint64, kFloat, kDouble, kPointer };

struct Field {
  std::string name;
  std::string type;  // of a pointer, what it leads to
  Kind kind;
  bool is_const;  // what a pointer leads to
  size_t offset;
};

struct Struct {
  std::string name;
  size_t size;
  std::vector<Field> fields;

  const Field* Find(const std::string& field) const;
};

struct Parameter {
  std::string type, name;
};

struct Function {
  std::string name;
  size_t arity;
  std::vector<Parameter> parameters;
  // Its parameters in 64 bits each, pointers as their addresses.
  std::function<int64_t(const uint64_t*)> call;

  // The position of a parameter of this type, or -1.
  int Find(const std::string& type) const;
};

struct Interface {
  std::vector<Struct> structs;
  std::vector<Function> functions;

  static const Interface& Get();
  const Struct* FindStruct(const std::string& name) const;
  const Function* FindFunction(const std::string& name) const;
  // The struct whose name a parameter's type, such as "const nl_scan_arguments*", ends in; or null.
  const Struct* StructOf(const Parameter& parameter) const;
};

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_CORE_HOSTILE_INTERFACE_H_
