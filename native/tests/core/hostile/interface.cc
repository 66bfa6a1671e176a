#include "tests/core/hostile/interface.h"

#include <type_traits>
#include <utility>

#include "nested_learning.h"

namespace nl_testing {
namespace {

template <class T>
constexpr Kind KindOf() {
  if constexpr (std::is_same_v<T, int32_t>) return Kind::kInt32;
  if constexpr (std::is_same_v<T, uint32_t>) return Kind::kUint32;
  if constexpr (std::is_same_v<T, int64_t>) return Kind::kInt64;
  if constexpr (std::is_same_v<T, uint64_t>) return Kind::kUint64;
  if constexpr (std::is_same_v<T, float>) return Kind::kFloat;
  if constexpr (std::is_same_v<T, double>) return Kind::kDouble;
  if constexpr (std::is_pointer_v<T>) return Kind::kPointer;
}

template <class T>
T From(uint64_t bits) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(static_cast<uintptr_t>(bits));
  } else {
    static_assert(std::is_integral_v<T>, "a parameter is a whole number or a pointer");
    return static_cast<T>(bits);
  }
}

template <class TResult, class... TParameters, size_t... I>
int64_t CallWith(TResult (*function)(TParameters...), const uint64_t* slots,
                 std::index_sequence<I...>) {
  static_cast<void>(slots);
  if constexpr (std::is_pointer_v<TResult>) {
    return static_cast<int64_t>(
        reinterpret_cast<uintptr_t>(function(From<TParameters>(slots[I])...)));
  } else {
    return function(From<TParameters>(slots[I])...);
  }
}

template <class TResult, class... TParameters>
Function Make(const char* name, TResult (*function)(TParameters...)) {
  return {name, sizeof...(TParameters), {}, [function](const uint64_t* slots) {
            return CallWith(function, slots, std::index_sequence_for<TParameters...>());
          }};
}

Interface MakeInterface() {
  Interface made;
  const auto add = [&](const char* name, const char* type, Kind kind, bool is_const,
                       size_t offset) {
    made.structs.back().fields.push_back({name, type, kind, is_const, offset});
  };
#define STRUCT(type) made.structs.push_back({#type, sizeof(type), {}});
#define VALUE(of, type, field)                              \
  static_assert(std::is_same_v<decltype(of::field), type>); \
  add(#field, #type, KindOf<type>(), false, offsetof(of, field));
#define INPUT(of, type, field)                                     \
  static_assert(std::is_same_v<decltype(of::field), const type*>); \
  add(#field, #type, Kind::kPointer, true, offsetof(of, field));
#define OUTPUT(of, type, field)                              \
  static_assert(std::is_same_v<decltype(of::field), type*>); \
  add(#field, #type, Kind::kPointer, false, offsetof(of, field));
#define FUNCTION(function) made.functions.push_back(Make(#function, &function));
#define PARAMETER(type, name) made.functions.back().parameters.push_back({#type, #name});
#include "tests/core/interface.inc"
#undef STRUCT
#undef VALUE
#undef INPUT
#undef OUTPUT
#undef FUNCTION
#undef PARAMETER
  return made;
}

template <class T>
const T* FindIn(const std::vector<T>& all, const std::string& name) {
  for (const T& one : all) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

}  // namespace

const Field* Struct::Find(const std::string& field) const { return FindIn(fields, field); }

int Function::Find(const std::string& type) const {
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].type == type) return static_cast<int>(i);
  }
  return -1;
}

const Interface& Interface::Get() {
  static const Interface made = MakeInterface();
  return made;
}

const Struct* Interface::FindStruct(const std::string& name) const { return FindIn(structs, name); }

const Function* Interface::FindFunction(const std::string& name) const {
  return FindIn(functions, name);
}

const Struct* Interface::StructOf(const Parameter& parameter) const {
  std::string type = parameter.type;
  if (type.empty() || type.back() != '*') return nullptr;
  type.pop_back();
  if (type.rfind("const ", 0) == 0) type.erase(0, 6);
  return FindStruct(type);
}

}  // namespace nl_testing
