#include "tests/testing.h"

using nl_testing::Buffer;

namespace {

class Embedding : public nl_testing::KernelTest {};

TEST_P(Embedding, ForwardAndBackward_MatchTheReference) {
  const std::vector<int32_t> tokens = {3, 0, 3, 4, 3};
  for (int64_t columns : nl_testing::Lengths()) {
    const Buffer table = Buffer::Uniform(5 * columns, 1, -1, 1, 1);
    const Buffer dy = Buffer::Uniform(5 * columns, 2, -1, 1, 2);
    Buffer y(5 * columns, 3), dtable = Buffer::Uniform(5 * columns, 3, -1, 1, 1);
    const Buffer before = dtable;
    nl_embedding_arguments a = {sizeof(a),    0,        5,         columns,      5, tokens.data(),
                                table.data(), y.data(), dy.data(), dtable.data()};
    EXPECT_OK(nl_embedding_forward(&a, 2, 5));
    EXPECT_OK(nl_embedding_forward(&a, 0, 2));
    const int64_t pieces = (columns + NL_COLUMN_BLOCK - 1) / NL_COLUMN_BLOCK;
    for (int64_t piece = pieces; piece-- > 0;)
      EXPECT_OK(nl_embedding_backward(&a, piece, piece + 1));
    for (int64_t t = 0; t < 5; ++t) {
      for (int64_t j = 0; j < columns; ++j) {
        EXPECT_EQ(table[tokens[static_cast<size_t>(t)] * columns + j], y[t * columns + j]);
        // The same additions in the same order: the same bits.
        float sum = before[t * columns + j];
        for (int64_t s = 0; s < 5; ++s) {
          if (tokens[static_cast<size_t>(s)] == t) sum += dy[s * columns + j];
        }
        EXPECT_EQ(sum, dtable[t * columns + j]);
      }
    }
    y.ExpectGuardsUntouched();
    dtable.ExpectGuardsUntouched();
  }
}

TEST_P(Embedding, IndexBeyondTheTable_IsRefused) {
  const std::vector<int32_t> tokens = {1, 5};
  const Buffer table = Buffer::Uniform(5 * 4, 1);
  Buffer y(2 * 4);
  nl_embedding_arguments a = {sizeof(a),    0,        2,       4,      5, tokens.data(),
                              table.data(), y.data(), nullptr, nullptr};
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_embedding_forward(&a, 0, 2));
  EXPECT_STREQ("indices[1] is 5, expected 0 to 4", nl_last_error());
  EXPECT_TRUE(std::isnan(y[0])) << "nothing is written before the check";
}

NL_TEST_TARGETS(Embedding);

}  // namespace
