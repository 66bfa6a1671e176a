// That the model of the tile instructions does what the manual says, and refuses what a processor would.
#include <cstring>
#include <functional>

#include "tests/testing.h"
#include "tests/gemm/amx/tile_model.h"

using nl_testing::AddFlushed;
using nl_testing::MultiplyAddFlushed;
using nl_testing::TileFault;
using nl_testing::TileModel;

namespace {

struct Configuration {
  uint8_t bytes[64] = {1};
  void Tile(int tile, int rows, int row_bytes) {
    bytes[16 + 2 * tile] = static_cast<uint8_t>(row_bytes);
    bytes[17 + 2 * tile] = static_cast<uint8_t>(row_bytes >> 8);
    bytes[48 + tile] = static_cast<uint8_t>(rows);
  }
};

template <class TAction>
void ExpectFault(const std::string& message, TAction action) {
  try {
    action();
    ADD_FAILURE() << "expected " << message;
  } catch (const TileFault& e) {
    EXPECT_EQ(0u, std::string(e.what()).find(message)) << e.what();
  }
}

TEST(TileModel, Configuration_IsChecked) {
  TileModel model;
  const auto refused = [&](const std::string& message,
                           const std::function<void(Configuration&)>& spoil) {
    Configuration configuration;
    configuration.Tile(0, 16, 64);
    spoil(configuration);
    ExpectFault(message, [&] { model.Configure(configuration.bytes); });
    EXPECT_FALSE(model.configured());
  };
  refused("#GP ldtilecfg: there is no palette 2", [](Configuration& c) { c.bytes[0] = 2; });
  refused("#GP ldtilecfg: start_row is 16", [](Configuration& c) { c.bytes[1] = 16; });
  refused("#GP ldtilecfg: byte 2 is reserved", [](Configuration& c) { c.bytes[2] = 1; });
  refused("#GP ldtilecfg: byte 32 is reserved", [](Configuration& c) { c.bytes[32] = 64; });
  refused("#GP ldtilecfg: byte 56 is reserved", [](Configuration& c) { c.bytes[56] = 16; });
  refused("#GP ldtilecfg: tile 3 has too many rows", [](Configuration& c) { c.Tile(3, 17, 64); });
  refused("#GP ldtilecfg: tile 7 has too long rows", [](Configuration& c) { c.Tile(7, 16, 65); });
  refused("#GP ldtilecfg: tile 7 has too long rows", [](Configuration& c) { c.Tile(7, 16, 320); });
  refused("#GP ldtilecfg: tile 1 has either", [](Configuration& c) { c.Tile(1, 0, 64); });
  refused("#GP ldtilecfg: tile 1 has either", [](Configuration& c) { c.Tile(1, 16, 0); });
  Configuration none;
  none.bytes[0] = 0;
  model.Configure(none.bytes);
  EXPECT_FALSE(model.configured());
}

TEST(TileModel, UnconfiguredTiles_AreRefused) {
  TileModel model;
  uint8_t memory[1024] = {};
  ExpectFault("#UD tilezero of tile 0: tiles are not", [&] { model.Zero(0); });
  ExpectFault("#UD tileloadd of tile 1: tiles are not", [&] { model.Load(1, memory, 64); });
  ExpectFault("#UD tilestored of tile 2: tiles are not", [&] { model.Store(2, memory, 64); });
  ExpectFault("#UD tdpbf16ps of tile 3: tiles are not", [&] { model.Multiply(3, 4, 5); });
  Configuration configuration;
  configuration.Tile(0, 16, 64);
  model.Configure(configuration.bytes);
  model.Zero(0);
  ExpectFault("#UD tilezero of tile 1: it is not", [&] { model.Zero(1); });
  ExpectFault("#UD tilezero of tile 8: there is none", [&] { model.Zero(8); });
  ExpectFault("#UD tdpbf16ps of tile 4: it is not", [&] { model.Multiply(0, 4, 5); });
  model.Release();
  ExpectFault("#UD tilezero of tile 0: tiles are not", [&] { model.Zero(0); });
}

TEST(TileModel, Multiply_ChecksSizes) {
  const auto refused = [](const std::string& message, int rows_of_c, int bytes_of_c, int rows_of_a,
                          int bytes_of_a, int rows_of_b, int bytes_of_b) {
    TileModel model;
    Configuration configuration;
    configuration.Tile(0, rows_of_c, bytes_of_c);
    configuration.Tile(1, rows_of_a, bytes_of_a);
    configuration.Tile(2, rows_of_b, bytes_of_b);
    model.Configure(configuration.bytes);
    ExpectFault(message, [&] { model.Multiply(0, 1, 2); });
  };
  const std::string sizes = "#UD tdpbf16ps: the sizes";
  refused(sizes, 16, 64, 15, 64, 16, 64);
  refused(sizes, 16, 60, 16, 64, 16, 64);
  refused(sizes, 16, 64, 16, 64, 15, 64);
  refused(sizes, 16, 64, 16, 60, 16, 64);
  refused("#UD tdpbf16ps: rows", 16, 62, 16, 64, 16, 62);
  refused("#UD tdpbf16ps: rows", 16, 64, 16, 62, 15, 64);
  TileModel model;
  Configuration configuration;
  for (int i = 0; i < 3; ++i) configuration.Tile(i, 16, 64);
  model.Configure(configuration.bytes);
  model.Multiply(0, 1, 2);
  ExpectFault("#UD tdpbf16ps: a tile is there twice", [&] { model.Multiply(0, 0, 2); });
  ExpectFault("#UD tdpbf16ps: a tile is there twice", [&] { model.Multiply(0, 1, 0); });
  ExpectFault("#UD tdpbf16ps: a tile is there twice", [&] { model.Multiply(0, 1, 1); });
}

TEST(TileModel, LoadsAndStores_TakeRowsAsConfigured) {
  TileModel model;
  Configuration configuration;
  configuration.Tile(5, 3, 8);
  model.Configure(configuration.bytes);
  uint8_t from[40], to[40];
  for (int i = 0; i < 40; ++i) from[i] = static_cast<uint8_t>(i + 1);
  std::memset(to, 0, sizeof(to));
  model.Load(5, from, 10);
  model.Store(5, to, 12);
  for (int i = 0; i < 40; ++i) {
    const bool there = i < 36 && i % 12 < 8;
    EXPECT_EQ(there ? i / 12 * 10 + i % 12 + 1 : 0, to[i]) << i;
  }
  // A configuration sets all tiles to zero.
  model.Configure(configuration.bytes);
  model.Store(5, to, 12);
  EXPECT_EQ(0, to[0]);
}

TEST(TileModel, MultiplyAdds_AreRoundedOnce) {
  // A little more than half a unit, half a unit twice.
  const float x = 1 + 0x1p-7f, y = 0x1.02p-24f;
  EXPECT_EQ(1 + 0x1p-23f, MultiplyAddFlushed(x, y, 1));
  EXPECT_EQ(1, MultiplyAddFlushed(1, 0x1p-24f, 1));
  EXPECT_EQ(1 + 0x1p-22f, MultiplyAddFlushed(1, 0x1p-24f, 1 + 0x1p-23f));
}

TEST(TileModel, SubnormalNumbers_AreZeros) {
  const float least = std::numeric_limits<float>::min();
  EXPECT_EQ(0, MultiplyAddFlushed(0x1p-127f, 0x1p100f, 0));
  EXPECT_EQ(0, MultiplyAddFlushed(0x1p100f, 0x1p-127f, 0));
  EXPECT_EQ(1, MultiplyAddFlushed(1, 1, 0x1p-127f));
  EXPECT_EQ(0, MultiplyAddFlushed(0, 0, 0x1p-127f));
  EXPECT_EQ(0, MultiplyAddFlushed(0x1p-64f, 0x1p-64f, 0));
  EXPECT_TRUE(std::signbit(MultiplyAddFlushed(-0x1p-64f, 0x1p-64f, 0)));
  EXPECT_EQ(least, MultiplyAddFlushed(0x1p-63f, 0x1p-63f, 0));
  EXPECT_EQ(0, AddFlushed(least, -1.5f * least));
  // A product below the least normal number still counts in the sum that it is added to.
  EXPECT_EQ(0x1.000002p-126f, MultiplyAddFlushed(0x1p-75f, 0x1p-74f, least));
  // Just under the least normal number: what rounds to it with 24 bits stays, what does not is zero.
  EXPECT_EQ(least, MultiplyAddFlushed(-0x1p-76f, 0x1p-75f, least));
  EXPECT_EQ(0, MultiplyAddFlushed(-0x1.02p-76f, 0x1p-75f, least));
  EXPECT_EQ(0, MultiplyAddFlushed(-0x1p-75f, 0x1p-75f, least));
}

TEST(TileModel, NaNAndInfinity_FollowArithmetic) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(MultiplyAddFlushed(nan, 1, 1)));
  EXPECT_TRUE(std::isnan(MultiplyAddFlushed(1, 1, nan)));
  EXPECT_TRUE(std::isnan(MultiplyAddFlushed(infinity, 0, 1)));
  EXPECT_TRUE(std::isnan(MultiplyAddFlushed(infinity, 0x1p-127f, 1)));
  EXPECT_TRUE(std::isnan(MultiplyAddFlushed(infinity, 1, -infinity)));
  EXPECT_EQ(infinity, MultiplyAddFlushed(0x1p100f, 0x1p100f, 0));
}

// Bits of two pairs and two sums, done by hand.
TEST(TileModel, Multiply_AddsEvenAndOddPlacesApart) {
  TileModel model;
  Configuration configuration;
  configuration.Tile(0, 1, 4);
  configuration.Tile(1, 1, 8);
  configuration.Tile(2, 2, 4);
  model.Configure(configuration.bytes);
  const auto bits = [](float x) {
    uint32_t u;
    std::memcpy(&u, &x, sizeof(u));
    return static_cast<uint16_t>(u >> 16);
  };
  // 2^24 and 1 at even places, -2^24 and 1 at odd ones: one after the other, or pair by pair, they would give 2.
  const uint16_t a[] = {bits(0x1p24f), bits(-0x1p24f), bits(1), bits(1)};
  const uint16_t b[] = {bits(1), bits(1), bits(1), bits(1)};
  float c = 0;
  model.Load(0, &c, 4);
  model.Load(1, a, 8);
  model.Load(2, b, 4);
  model.Multiply(0, 1, 2);
  model.Store(0, &c, 4);
  // 2^24 + 1 is a tie and goes to 2^24; -2^24 + 1 is exact.
  EXPECT_EQ(1, c);
}

}  // namespace
