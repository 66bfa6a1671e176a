// C = epilogue(op(A) op(B) + bias) + scaled residual, or that added to C; README.md has the blocking.
// A [m, k], B [k, n], C [m, n] row-major, A and B also transposed; float32 accumulation, over k in
// order in blocks of at most kPackedDepth, twice that of bfloat16 in pairs, with one accumulator each (AMX: README.md).
// Writes C (adds to it when accumulating) and, for GELU, the pre-activation.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/product-inl.h"
#include "kernels/gemm/batch-inl.h"
#include "kernels/gemm/direct-inl.h"
#include "kernels/gemm/pack-inl.h"
#include "kernels/gemm/packed-inl.h"
#include "kernels/gemm/plan.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

TileSize SizeOfTile() { return {kTileRows, kTileColumns, kPackedDepth}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <utility>

#include "kernels/adam/adam.h"

namespace nested_learning {

NL_TARGET_TABLE(DirectPiece);
NL_TARGET_TABLE(PackPiece);
NL_TARGET_TABLE(PackedPiece);
NL_TARGET_TABLE(OwnPieces);
NL_TARGET_TABLE(BatchPieces);
NL_TARGET_TABLE(SizeOfTile);

TileSize PackedTileSize() { return NL_CALL(SizeOfTile)(); }

namespace {

// Where a block begins is the product of an axis and a number of blocks.
constexpr int64_t kLongestAxis = int64_t{1} << 34;

void RequireAdamWhereItIsTaken(const nl_gemm_arguments& g) {
  if (g.epilogue != NL_EPILOGUE_ADAM) {
    if (g.adam != nullptr) {
      throw Error(NL_INVALID_ARGUMENT, "adam is given, expected null without its epilogue");
    }
    return;
  }
  RequireAdam(RequireArguments(g.adam, "nl_adam_arguments"));
  if (g.c != nullptr || g.accumulate != 0 || g.bias != nullptr || g.pre_activation != nullptr ||
      g.residual != nullptr || g.adam->sums != nullptr) {
    throw Error(NL_INVALID_ARGUMENT,
                "c, accumulate, a bias, pre_activation, residual or sums is given, expected none "
                "where the product ends in Adam");
  }
}

const nl_gemm_arguments& RequireGemm(const nl_gemm_arguments* arguments) {
  const auto& g = RequireArguments(arguments, "nl_gemm_arguments");
  RequireNotNegative(g.m, "m");
  RequireNotNegative(g.n, "n");
  RequireNotNegative(g.k, "k");
  RequireElements("m and k", {g.m, g.k});
  RequireElements("k and n", {g.k, g.n});
  RequireElements("m and n", {g.m, g.n});
  for (const auto& [size, name] : {std::pair(g.m, "m"), std::pair(g.n, "n"), std::pair(g.k, "k")}) {
    if (size > kLongestAxis) ThrowValue(name, size, "at most 2^34");
  }
  RequireOneOf(g.epilogue, NL_EPILOGUE_ADAM, "epilogue");
  RequireOneOf(g.precision, NL_PRECISION_BFLOAT16, "precision");
  if (g.symmetric) {
    if (g.m != g.n) ThrowValue("n", g.n, "m, as the product is symmetric");
    if (g.epilogue != NL_EPILOGUE_NONE) {
      ThrowValue("epilogue", g.epilogue, "0, as the product is symmetric");
    }
    if (g.bias != nullptr) {
      throw Error(NL_INVALID_ARGUMENT, "bias is given, expected null, as the product is symmetric");
    }
  }
  if (g.m > 0 && g.n > 0) {
    if (g.k > 0) {
      RequireNotNull(g.a, "a");
      RequireNotNull(g.b, "b");
    }
    if (g.epilogue != NL_EPILOGUE_ADAM) RequireNotNull(g.c, "c");
    if (g.epilogue == NL_EPILOGUE_GELU_GRADIENT) RequireNotNull(g.pre_activation, "pre_activation");
  }
  RequireAdamWhereItIsTaken(g);
  return g;
}

nl_gemm_arguments Check(const nl_gemm_arguments* arguments) {
  return Simplified(RequireGemm(arguments));
}

// That nothing is asked for but a product, or one added to C.
void RequirePlain(const nl_gemm_arguments& g) {
  if (g.bias != nullptr || g.residual != nullptr || g.epilogue != NL_EPILOGUE_NONE ||
      g.precision != NL_PRECISION_FLOAT32 || g.symmetric != 0) {
    throw Error(
        NL_INVALID_ARGUMENT,
        "a bias, epilogue, residual, precision or symmetry is given, expected none in a batch");
  }
}

void Pieces(const nl_gemm_arguments& g, const GemmPlan& plan, int64_t pass, int64_t begin,
            int64_t end, const float* packed, float* workspace) {
  const bool own = plan.method == GemmMethod::kPacked && packed == nullptr;
  if (plan.staged || own) RequireNotNull(workspace, "workspace");
  if (own) {
    NL_CALL(OwnPieces)(g, plan, pass, begin, end, workspace);
    return;
  }
  for (int64_t piece = begin; piece < end; ++piece) {
    if (plan.method == GemmMethod::kPacked) {
      NL_CALL(PackedPiece)(g, plan, pass, piece, packed, workspace);
    } else {
      NL_CALL(DirectPiece)(g, plan, piece, workspace);
    }
  }
}

void RequirePass(int64_t pass, const GemmPlan& plan) {
  if (pass < 0 || pass >= plan.passes) {
    ThrowValue("pass", pass, "one of the plan's");
  }
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_gemm_plan(const nl_gemm_arguments* arguments, nl_gemm_sizes* sizes) {
  return nl::Export([&] {
    const nl_gemm_arguments g = nl::Check(arguments);
    const nl::GemmPlan plan = nl::PlanOf(g);
    nl::RequireArguments(sizes, "nl_gemm_sizes");
    sizes->passes = plan.passes;
    sizes->pack_pieces = plan.pack_pieces;
    sizes->pieces = plan.pieces;
    sizes->packed = nl::PackedFloats(g, plan);
    sizes->workspace = nl::WorkspaceFloats(plan);
  });
}

int32_t nl_gemm_pack(const nl_gemm_arguments* arguments, int64_t pass, int64_t begin, int64_t end,
                     float* packed) {
  return nl::Export([&] {
    const nl_gemm_arguments g = nl::Check(arguments);
    const nl::GemmPlan plan = nl::PlanOf(g);
    nl::RequireRange(begin, end, plan.pack_pieces);
    if (begin == end) return;
    nl::RequirePass(pass, plan);
    nl::RequireNotNull(packed, "packed");
    const auto pack = NL_CALL(PackPiece);
    for (int64_t piece = begin; piece < end; ++piece) (*pack)(g, plan, pass, piece, packed);
  });
}

int32_t nl_gemm(const nl_gemm_arguments* arguments, int64_t pass, int64_t begin, int64_t end,
                const float* packed, float* workspace) {
  return nl::Export([&] {
    const nl_gemm_arguments g = nl::Check(arguments);
    const nl::GemmPlan plan = nl::PlanOf(g);
    nl::RequireRange(begin, end, plan.pieces);
    if (begin == end) return;
    nl::RequirePass(pass, plan);
    nl::Pieces(g, plan, pass, begin, end, packed, workspace);
  });
}

int32_t nl_batched_gemm(const nl_gemm_arguments* arguments, int64_t batch, int64_t begin,
                        int64_t end) {
  return nl::Export([&] {
    const nl_gemm_arguments& g = nl::RequireGemm(arguments);
    nl::RequireNotNegative(batch, "batch");
    nl::RequireElements("batch, m and k", {batch, g.m, g.k});
    nl::RequireElements("batch, k and n", {batch, g.k, g.n});
    nl::RequireElements("batch, m and n", {batch, g.m, g.n});
    nl::RequireRange(begin, end, batch);
    nl::RequirePlain(g);
    if (g.m > 0 && g.n > 0) NL_CALL(BatchPieces)(g, begin, end);
  });
}

}  // extern "C"

#endif  // HWY_ONCE
