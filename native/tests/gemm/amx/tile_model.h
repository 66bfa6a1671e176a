// The tile instructions of AMX that the kernel uses, as Intel's manual describes them ("Intel 64 and IA-32 Architectures Software
// Developer's Manual", volume 2, LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TILERELEASE and TDPBF16PS), in plain C++. What a
// processor would answer with #GP or #UD is an exception here. Each thread has its tiles.
#ifndef NESTED_LEARNING_TESTS_GEMM_AMX_TILE_MODEL_H_
#define NESTED_LEARNING_TESTS_GEMM_AMX_TILE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>

#include "kernels/gemm/amx.h"

namespace nl_testing {

struct TileFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class TileModel {
 public:
  static constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;

  // The calling thread's.
  static TileModel& OfThisThread();

  void Configure(const void* configuration);
  void Release();
  void Zero(int tile);
  void Load(int tile, const void* from, size_t stride);
  void Store(int tile, void* to, size_t stride) const;
  void Multiply(int sums, int a, int b);

  bool configured() const { return configured_; }

 private:
  struct Tile {
    int rows = 0, row_bytes = 0;
    uint8_t data[kRows][kRowBytes] = {};
  };

  const Tile& Named(int tile, const char* instruction) const;
  Tile& Named(int tile, const char* instruction);

  bool configured_ = false;
  Tile tiles_[kTiles];
};

// acc + x y as the processor rounds it: once, to nearest even; subnormal operands and results are zeros.
float MultiplyAddFlushed(float x, float y, float acc);
float AddFlushed(float x, float y);

// ---- The kernel over the model ----

// A place in the kernel's source with a tile instruction, and an operand of it: 0 to leave the instruction out, else the tile
// operand, from 1 on, that is another tile.
struct FaultSite {
  int line;
  std::string instruction;
  int operand;
  bool operator<(const FaultSite& other) const {
    return line != other.line ? line < other.line : operand < other.operand;
  }
};

// Every fault that could be planted where the kernel has passed so far, on any thread.
std::set<FaultSite> FaultSitesPassed();
// Plants it, until null follows. Not while products run.
void PlantFault(const FaultSite* fault);

const nested_learning::AmxTiles& ModelTiles();

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_GEMM_AMX_TILE_MODEL_H_
