// y [tokens, columns] = rows of table [rows, columns]; dtable's rows += dy's, in the order of the
// tokens.
#include "core/dispatch.h"

#include <algorithm>
#include <cstring>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/embedding/embedding.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// A piece is a block of columns: it alone writes them, so the order of the additions is the
// tokens'.
void EmbeddingBackward(const nl_embedding_arguments& a, int64_t begin, int64_t end) {
  for (int64_t t = 0; t < a.tokens; ++t) {
    AddScaledTo(1.0f, a.dy + t * a.columns + begin, a.dtable + a.indices[t] * a.columns + begin,
                end - begin);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(EmbeddingBackward);

namespace {

const nl_embedding_arguments& Check(const nl_embedding_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_embedding_arguments");
  RequireNotNegative(a.tokens, "tokens");
  RequireNotNegative(a.columns, "columns");
  RequireNotNegative(a.rows, "rows");
  RequireElements("tokens and columns", {a.tokens, a.columns});
  RequireElements("rows and columns", {a.rows, a.columns});
  return a;
}

// An index beyond the table would be a read, or a write, anywhere in memory.
void RequireIndices(const nl_embedding_arguments& a, int64_t begin, int64_t end) {
  RequireNotNull(a.indices, "indices");
  for (int64_t t = begin; t < end; ++t) {
    if (a.indices[t] < 0 || a.indices[t] >= a.rows) {
      const std::string name = "indices[" + std::to_string(t) + "]";
      const std::string allowed = "0 to " + std::to_string(a.rows - 1);
      ThrowValue(name.c_str(), a.indices[t], allowed.c_str());
    }
  }
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_embedding_forward(const nl_embedding_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments);
    nl::RequireRange(begin, end, a.tokens);
    if (begin == end || a.columns == 0) return;
    nl::RequireIndices(a, begin, end);
    nl::RequireNotNull(a.table, "table");
    nl::RequireNotNull(a.y, "y");
    for (int64_t t = begin; t < end; ++t) {
      std::memcpy(a.y + t * a.columns, a.table + a.indices[t] * a.columns,
                  static_cast<size_t>(a.columns) * sizeof(float));
    }
  });
}

int32_t nl_embedding_backward(const nl_embedding_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments);
    nl::RequireRange(begin, end, (a.columns + NL_COLUMN_BLOCK - 1) / NL_COLUMN_BLOCK);
    if (begin == end || a.tokens == 0) return;
    nl::RequireIndices(a, 0, a.tokens);
    nl::RequireNotNull(a.dy, "dy");
    nl::RequireNotNull(a.dtable, "dtable");
    NL_CALL(EmbeddingBackward)
    (a, begin * NL_COLUMN_BLOCK, std::min(a.columns, end * NL_COLUMN_BLOCK));
  });
}

}  // extern "C"

#endif  // HWY_ONCE
