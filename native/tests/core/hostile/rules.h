// What the header says in words, for whoever makes calls out of its declarations: how many elements a pointer leads to, how
// many pieces a function has, which settings there are. A test fails where something is declared that is not here.
#ifndef NESTED_LEARNING_TESTS_CORE_HOSTILE_RULES_H_
#define NESTED_LEARNING_TESTS_CORE_HOSTILE_RULES_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace nl_testing {

// The number of a word, from 0 on, the same for as long as the process runs.
size_t WordOf(const std::string& name);
constexpr size_t kMostWords = 256;

// A product, such as "batch time/64 4": names, numbers, and names divided by a number, rounded up.
struct Product {
  struct Factor {
    bool is_number;
    size_t word;
    int64_t number;  // itself, or a name's divisor
  };
  Product(const char* words);  // NOLINT: written as a string

  std::vector<Factor> factors;
};

// Where a product is beyond what a test has memory for.
constexpr int64_t kTooMany = INT64_MAX;
// The product of what the words stand for: 0 where a factor is negative or 0.
int64_t ValueOf(const Product& product, const int64_t (&values)[kMostWords]);

struct FunctionRule {
  // "elements": as many as the caller has, without a limit that could be checked. Empty: it has none.
  Product pieces = "";
  // The functions that say what it needs; what they give has the names of their parameters, or of nl_gemm_sizes.
  std::vector<std::string> plans;
  // Of parameters that are pointers to numbers.
  std::map<std::string, Product> shapes;
};

// Of every pointer in a struct, by "struct.field".
const std::map<std::string, Product>& Shapes();
// What a setting may be, the least and the greatest, by "struct.field".
const std::map<std::string, std::pair<int64_t, int64_t>>& Settings();
// Of every pointer to int32_t, by "struct.field": the least of the numbers that it leads to, and the dimension that they are
// all less than.
const std::map<std::string, std::pair<int64_t, std::string>>& Indices();
// Of every function that returns a status.
const std::map<std::string, FunctionRule>& FunctionRules();
// Those that return none.
const std::vector<std::string>& PlainFunctions();
// An output, and an input that it may be: "struct.output", "input", and the functions that allow it, all where there is none.
struct Alias {
  std::string output, input;
  std::vector<std::string> functions;
};
const std::vector<Alias>& Aliases();

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_CORE_HOSTILE_RULES_H_
