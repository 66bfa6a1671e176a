#include "tests/gemm/amx/tile_model.h"

#include <cfloat>
#include <cmath>
#include <cstring>
#include <mutex>

namespace nl_testing {
namespace {

// Kinds of fault as the manual names them.
[[noreturn]] void GeneralProtection(const std::string& what) { throw TileFault("#GP " + what); }
[[noreturn]] void UndefinedInstruction(const std::string& what) { throw TileFault("#UD " + what); }

// By its bits, as a comparison may itself count subnormal numbers as zeros.
float Flushed(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return (bits & 0x7F800000u) == 0 ? std::copysign(0.0f, x) : x;
}

float FromBFloat16(const uint8_t* bytes) {
  uint32_t bits = 0;
  std::memcpy(reinterpret_cast<uint8_t*>(&bits) + 2, bytes, 2);
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

}  // namespace

float MultiplyAddFlushed(float x, float y, float acc) {
  x = Flushed(x);
  y = Flushed(y);
  acc = Flushed(acc);
  const float sum = std::fma(x, y, acc);
  if (!(std::abs(sum) <= FLT_MIN)) return sum;
  // A result is tiny if it is so after rounding to 24 bits with whatever exponent: below the middle between the least normal
  // number and the one before it. The exact sum is rest + high, as in double precision both products and carries are exact.
  const double product = static_cast<double>(x) * y;
  const double high = product + acc;
  const double carry = high - product;
  const double rest = (product - (high - carry)) + (acc - carry);
  constexpr double kMiddle = FLT_MIN - 0x1p-151;
  const double size = std::abs(high), beyond = high < 0 ? -rest : rest;
  const bool tiny = size < kMiddle || (size == kMiddle && beyond < 0);
  if (!tiny) return std::copysign(FLT_MIN, sum);
  return high == 0 && rest == 0 ? sum : std::copysign(0.0f, static_cast<float>(high + rest));
}

float AddFlushed(float x, float y) { return MultiplyAddFlushed(1.0f, x, y); }

TileModel& TileModel::OfThisThread() {
  thread_local TileModel model;
  return model;
}

const TileModel::Tile& TileModel::Named(int tile, const char* instruction) const {
  const std::string what = std::string(instruction) + " of tile " + std::to_string(tile);
  if (!configured_) UndefinedInstruction(what + ": tiles are not configured");
  if (tile < 0 || tile >= kTiles) UndefinedInstruction(what + ": there is none");
  if (tiles_[tile].rows == 0 || tiles_[tile].row_bytes == 0) {
    UndefinedInstruction(what + ": it is not configured");
  }
  return tiles_[tile];
}

TileModel::Tile& TileModel::Named(int tile, const char* instruction) {
  return const_cast<Tile&>(static_cast<const TileModel*>(this)->Named(tile, instruction));
}

void TileModel::Configure(const void* configuration) {
  uint8_t bytes[64];
  std::memcpy(bytes, configuration, sizeof(bytes));
  if (bytes[0] > 1) GeneralProtection("ldtilecfg: there is no palette " + std::to_string(bytes[0]));
  for (int i = 0; i < 64; ++i) {
    const bool reserved =
        (i >= 2 && i < 16) || (i >= 16 + 2 * kTiles && i < 48) || i >= 48 + kTiles;
    if (reserved && bytes[i] != 0) {
      GeneralProtection("ldtilecfg: byte " + std::to_string(i) + " is reserved");
    }
  }
  if (bytes[1] >= kRows) GeneralProtection("ldtilecfg: start_row is " + std::to_string(bytes[1]));
  if (bytes[0] == 0) {
    Release();
    return;
  }
  Tile tiles[kTiles];
  for (int i = 0; i < kTiles; ++i) {
    tiles[i].rows = bytes[48 + i];
    tiles[i].row_bytes = bytes[16 + 2 * i] | bytes[17 + 2 * i] << 8;
    const std::string what = "ldtilecfg: tile " + std::to_string(i);
    if (tiles[i].rows > kRows) GeneralProtection(what + " has too many rows");
    if (tiles[i].row_bytes > kRowBytes) GeneralProtection(what + " has too long rows");
    if ((tiles[i].rows == 0) != (tiles[i].row_bytes == 0)) {
      GeneralProtection(what + " has either no rows or no bytes in them");
    }
  }
  std::memcpy(tiles_, tiles, sizeof(tiles));
  configured_ = true;
}

void TileModel::Release() {
  configured_ = false;
  for (Tile& tile : tiles_) tile = Tile();
}

void TileModel::Zero(int tile) {
  Tile& t = Named(tile, "tilezero");
  std::memset(t.data, 0, sizeof(t.data));
}

void TileModel::Load(int tile, const void* from, size_t stride) {
  Tile& t = Named(tile, "tileloadd");
  std::memset(t.data, 0, sizeof(t.data));
  for (int r = 0; r < t.rows; ++r) {
    std::memcpy(t.data[r], static_cast<const uint8_t*>(from) + static_cast<size_t>(r) * stride,
                static_cast<size_t>(t.row_bytes));
  }
}

void TileModel::Store(int tile, void* to, size_t stride) const {
  const Tile& t = Named(tile, "tilestored");
  for (int r = 0; r < t.rows; ++r) {
    std::memcpy(static_cast<uint8_t*>(to) + static_cast<size_t>(r) * stride, t.data[r],
                static_cast<size_t>(t.row_bytes));
  }
}

void TileModel::Multiply(int sums, int a, int b) {
  Tile& c = Named(sums, "tdpbf16ps");
  const Tile& x = Named(a, "tdpbf16ps");
  const Tile& y = Named(b, "tdpbf16ps");
  if (sums == a || sums == b || a == b) UndefinedInstruction("tdpbf16ps: a tile is there twice");
  if (c.row_bytes % 4 != 0 || x.row_bytes % 4 != 0 || y.row_bytes % 4 != 0) {
    UndefinedInstruction("tdpbf16ps: rows are not of whole sums or pairs");
  }
  if (c.rows != x.rows || c.row_bytes != y.row_bytes || x.row_bytes / 4 != y.rows) {
    UndefinedInstruction("tdpbf16ps: the sizes of its tiles do not go together");
  }
  for (int m = 0; m < c.rows; ++m) {
    for (int n = 0; n < c.row_bytes / 4; ++n) {
      // The first and the second of each pair have sums of their own.
      float even = 0, odd = 0;
      for (int k = 0; k < y.rows; ++k) {
        even = MultiplyAddFlushed(FromBFloat16(&x.data[m][4 * k]), FromBFloat16(&y.data[k][4 * n]),
                                  even);
        odd = MultiplyAddFlushed(FromBFloat16(&x.data[m][4 * k + 2]),
                                 FromBFloat16(&y.data[k][4 * n + 2]), odd);
      }
      float sum;
      std::memcpy(&sum, &c.data[m][4 * n], sizeof(sum));
      sum = AddFlushed(sum, AddFlushed(even, odd));
      std::memcpy(&c.data[m][4 * n], &sum, sizeof(sum));
    }
  }
}

// ---- The kernel over the model ----

namespace {

std::mutex g_sites_lock;
std::set<FaultSite> g_sites;
const FaultSite* g_fault = nullptr;

// Operands of an instruction in a place, after the fault that may be planted there; whether it is to be left out.
template <size_t kOperands>
bool LeftOut(int line, const char* instruction, int (&tiles)[kOperands]) {
  if (g_fault == nullptr) {
    const std::lock_guard<std::mutex> lock(g_sites_lock);
    for (size_t i = 0; i <= kOperands; ++i) {
      g_sites.insert({line, instruction, static_cast<int>(i)});
    }
    return false;
  }
  if (g_fault->line != line) return false;
  if (g_fault->operand == 0) return true;
  int& tile = tiles[g_fault->operand - 1];
  tile = (tile + 1) % TileModel::kTiles;
  return false;
}

bool LeftOut(int line, const char* instruction) {
  if (g_fault == nullptr) {
    const std::lock_guard<std::mutex> lock(g_sites_lock);
    g_sites.insert({line, instruction, 0});
  }
  return g_fault != nullptr && g_fault->line == line;
}

void Configure(int line, const void* configuration) {
  if (!LeftOut(line, "ldtilecfg")) TileModel::OfThisThread().Configure(configuration);
}

void Release(int line) {
  if (!LeftOut(line, "tilerelease")) TileModel::OfThisThread().Release();
}

void Zero(int line, int tile) {
  int tiles[] = {tile};
  if (!LeftOut(line, "tilezero", tiles)) TileModel::OfThisThread().Zero(tiles[0]);
}

void Load(int line, int tile, const void* from, size_t stride) {
  int tiles[] = {tile};
  if (!LeftOut(line, "tileloadd", tiles)) TileModel::OfThisThread().Load(tiles[0], from, stride);
}

void Store(int line, int tile, void* to, size_t stride) {
  int tiles[] = {tile};
  if (!LeftOut(line, "tilestored", tiles)) TileModel::OfThisThread().Store(tiles[0], to, stride);
}

void Multiply(int line, int sums, int a, int b) {
  int tiles[] = {sums, a, b};
  if (!LeftOut(line, "tdpbf16ps", tiles)) {
    TileModel::OfThisThread().Multiply(tiles[0], tiles[1], tiles[2]);
  }
}

}  // namespace

std::set<FaultSite> FaultSitesPassed() {
  const std::lock_guard<std::mutex> lock(g_sites_lock);
  return g_sites;
}

void PlantFault(const FaultSite* fault) { g_fault = fault; }

}  // namespace nl_testing

#define NL_TILE_NAMESPACE amx_model
#define NL_TILE_ATTR
#define NL_TILE_CONFIGURE(config) nl_testing::Configure(__LINE__, config)
#define NL_TILE_RELEASE() nl_testing::Release(__LINE__)
#define NL_TILE_ZERO(tile) nl_testing::Zero(__LINE__, tile)
#define NL_TILE_LOAD(tile, from, stride) nl_testing::Load(__LINE__, tile, from, stride)
#define NL_TILE_STORE(tile, to, stride) nl_testing::Store(__LINE__, tile, to, stride)
#define NL_TILE_MULTIPLY(sums, a, b) nl_testing::Multiply(__LINE__, sums, a, b)
#define NL_TILE_FENCE() static_cast<void>(0)
#include "kernels/gemm/amx-inl.h"

namespace nl_testing {

const nested_learning::AmxTiles& ModelTiles() {
  using namespace nested_learning::amx_model;
  static constexpr nested_learning::AmxTiles tiles = {ConfigureTiles, ReleaseTiles, MultiplyTiles};
  return tiles;
}

}  // namespace nl_testing
