#include "tests/testing.h"

using nl_testing::Buffer;

namespace {

class ColumnSum : public nl_testing::KernelTest {};

TEST_P(ColumnSum, Sums_AreAddedToTheOutput) {
  for (int64_t columns : nl_testing::Lengths()) {
    for (int64_t rows : {1, 3, 255, 256, 257, 600}) {
      const Buffer x = Buffer::Uniform(rows * columns, 1, -1, 1, 1);
      Buffer sums = Buffer::Uniform(columns, 2, -1, 1, 1);
      const Buffer before = sums;
      nl_column_sum_arguments a = {sizeof(a), 0, rows, columns, x.data(), sums.data()};
      const int64_t pieces = (columns + NL_COLUMN_BLOCK - 1) / NL_COLUMN_BLOCK;
      for (int64_t piece = pieces; piece-- > 0;) EXPECT_OK(nl_column_sum(&a, piece, piece + 1));
      for (int64_t j = 0; j < columns; ++j) {
        double sum = before[j], magnitude = std::abs(sum);
        for (int64_t i = 0; i < rows; ++i) {
          sum += x[i * columns + j];
          magnitude += std::abs(x[i * columns + j]);
        }
        nl_testing::ExpectNear(sum, sums[j], nl_testing::SumTolerance(rows + 1, magnitude), "sum");
      }
      sums.ExpectGuardsUntouched();
      if (HasFailure()) return;
    }
  }
}

NL_TEST_TARGETS(ColumnSum);

}  // namespace
