// Made by ./build.sh generate from native/kernels/*/*.cuh: do not edit.
#include <cstddef>

#include "kernels/adam/adam.cuh"
#include "kernels/cross_entropy/cross_entropy.cuh"
#include "kernels/elementwise/elementwise.cuh"
#include "kernels/gemm/gemm.cuh"
#include "kernels/gemm_adam/gemm_adam.cuh"
#include "kernels/scan/scan.cuh"
#include "kernels/self_modifying/self_modifying.cuh"
#include "nested_learning.h"

// Of structs that derive from another.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

#define ANEW "not what the generated files say: ./build.sh generate"
#define IS(expression, value) static_assert((expression) == (value), ANEW)
#define AT(type, field, offset) IS(offsetof(type, field), offset)

namespace nested_learning {

IS(sizeof(AdamConstants), 64);
AT(AdamConstants, seed, 0);
AT(AdamConstants, step, 8);
AT(AdamConstants, beta1, 16);
AT(AdamConstants, rest1, 20);
AT(AdamConstants, beta2, 24);
AT(AdamConstants, rest2, 28);
AT(AdamConstants, rate, 32);
AT(AdamConstants, root_scale, 36);
AT(AdamConstants, l2, 40);
AT(AdamConstants, decay, 44);
AT(AdamConstants, epsilon, 48);
AT(AdamConstants, gradient_scale, 52);
AT(AdamConstants, bfloat16, 56);
AT(AdamConstants, clear, 60);

IS(sizeof(AdamTensor), 112);
AT(AdamTensor, w, 0);
AT(AdamTensor, g, 8);
AT(AdamTensor, m, 16);
AT(AdamTensor, v, 24);
AT(AdamTensor, count, 32);
AT(AdamTensor, constants, 40);
AT(AdamTensor, first_block, 104);
AT(AdamTensor, blocks, 108);

IS(sizeof(AdamArguments), 3608);
AT(AdamArguments, tensors, 0);
AT(AdamArguments, parts, 3584);
AT(AdamArguments, changes, 3592);
AT(AdamArguments, count, 3600);
AT(AdamArguments, reserved, 3604);

IS(kAdamThreads, 256);
IS(kAdamTensors, 32);

IS(sizeof(CrossEntropyArguments), 72);
AT(CrossEntropyArguments, logits, 0);
AT(CrossEntropyArguments, targets, 8);
AT(CrossEntropyArguments, losses, 16);
AT(CrossEntropyArguments, log_sums, 24);
AT(CrossEntropyArguments, d_losses, 32);
AT(CrossEntropyArguments, d_logits, 40);
AT(CrossEntropyArguments, count, 48);
AT(CrossEntropyArguments, classes, 56);
AT(CrossEntropyArguments, gradient_scale, 64);
AT(CrossEntropyArguments, reserved, 68);

IS(kCrossEntropyThreads, 256);

IS(static_cast<int>(CudaActivation::kSigmoid), NL_SIGMOID);
IS(static_cast<int>(CudaActivation::kSoftplus), NL_SOFTPLUS);
IS(static_cast<int>(CudaActivation::kLogSigmoid), NL_LOG_SIGMOID);
IS(static_cast<int>(CudaActivation::kGelu), NL_GELU);

IS(sizeof(ElementwiseArguments), 40);
AT(ElementwiseArguments, x, 0);
AT(ElementwiseArguments, y, 8);
AT(ElementwiseArguments, z, 16);
AT(ElementwiseArguments, count, 24);
AT(ElementwiseArguments, factor, 32);
AT(ElementwiseArguments, function, 36);

IS(sizeof(SumArguments), 32);
AT(SumArguments, x, 0);
AT(SumArguments, parts, 8);
AT(SumArguments, result, 16);
AT(SumArguments, count, 24);

IS(kElementwiseThreads, 256);

IS(static_cast<int>(CudaEpilogue::kNone), NL_EPILOGUE_NONE);
IS(static_cast<int>(CudaEpilogue::kGelu), NL_EPILOGUE_GELU);
IS(static_cast<int>(CudaEpilogue::kGeluGradient), NL_EPILOGUE_GELU_GRADIENT);

IS(sizeof(GemmArguments), 128);
AT(GemmArguments, a, 0);
AT(GemmArguments, b, 8);
AT(GemmArguments, c, 16);
AT(GemmArguments, bias, 24);
AT(GemmArguments, pre_activation, 32);
AT(GemmArguments, residual, 40);
AT(GemmArguments, batch_a, 48);
AT(GemmArguments, batch_b, 56);
AT(GemmArguments, batch_c, 64);
AT(GemmArguments, m, 72);
AT(GemmArguments, n, 76);
AT(GemmArguments, k, 80);
AT(GemmArguments, batches, 84);
AT(GemmArguments, row_a, 88);
AT(GemmArguments, row_b, 92);
AT(GemmArguments, row_c, 96);
AT(GemmArguments, scale, 100);
AT(GemmArguments, residual_scale, 104);
AT(GemmArguments, epilogue, 108);
AT(GemmArguments, accumulate, 112);
AT(GemmArguments, symmetric, 116);
AT(GemmArguments, transpose_a, 120);
AT(GemmArguments, transpose_b, 124);

IS(kGemmStages, 4);
IS(kGemmExactDepth, 8);
IS(kGemmTensorDepth, 16);

IS(GemmThreads(false, 128), 128);
IS(GemmThreads(true, 1), 128);
IS(GemmThreads(false, 16), 128);
IS(GemmThreads(true, 33), 128);
IS(GemmThreads(false, 64), 128);
IS(GemmThreads(true, 100), 128);

IS(GemmSharedBytes(false, 128), 65536);
IS(GemmSharedBytes(true, 1), 1280);
IS(GemmSharedBytes(false, 16), 8192);
IS(GemmSharedBytes(true, 33), 9472);
IS(GemmSharedBytes(false, 64), 32768);
IS(GemmSharedBytes(true, 100), 26624);

IS(sizeof(GemmAdamArguments), 144);
AT(GemmAdamArguments, x, 0);
AT(GemmAdamArguments, dy, 8);
AT(GemmAdamArguments, adam, 16);
AT(GemmAdamArguments, m, 128);
AT(GemmAdamArguments, n, 132);
AT(GemmAdamArguments, k, 136);
AT(GemmAdamArguments, reserved, 140);

IS(static_cast<int>(CudaScanRead::kAfter), NL_READ_AFTER);
IS(static_cast<int>(CudaScanRead::kBefore), NL_READ_BEFORE);
IS(static_cast<int>(CudaScanRead::kChunkStart), NL_READ_CHUNK_START);

IS(sizeof(ScanArguments), 360);
AT(ScanArguments, q, 0);
AT(ScanArguments, k, 8);
AT(ScanArguments, u, 16);
AT(ScanArguments, values, 24);
AT(ScanArguments, log_alpha, 32);
AT(ScanArguments, erase, 40);
AT(ScanArguments, mu, 48);
AT(ScanArguments, theta, 56);
AT(ScanArguments, s0, 64);
AT(ScanArguments, p0, 72);
AT(ScanArguments, start, 80);
AT(ScanArguments, o, 88);
AT(ScanArguments, s, 96);
AT(ScanArguments, p, 104);
AT(ScanArguments, states, 112);
AT(ScanArguments, momenta, 120);
AT(ScanArguments, next_start, 128);
AT(ScanArguments, d_o, 136);
AT(ScanArguments, d_s, 144);
AT(ScanArguments, d_p, 152);
AT(ScanArguments, d_next_start, 160);
AT(ScanArguments, w, 168);
AT(ScanArguments, y, 176);
AT(ScanArguments, d_states, 184);
AT(ScanArguments, d_momenta, 192);
AT(ScanArguments, d_q, 200);
AT(ScanArguments, d_k, 208);
AT(ScanArguments, d_u, 216);
AT(ScanArguments, d_values, 224);
AT(ScanArguments, d_log_alpha, 232);
AT(ScanArguments, d_erase, 240);
AT(ScanArguments, d_mu, 248);
AT(ScanArguments, d_theta, 256);
AT(ScanArguments, d_s0, 264);
AT(ScanArguments, d_p0, 272);
AT(ScanArguments, d_start, 280);
AT(ScanArguments, read_tokens, 288);
AT(ScanArguments, write_tokens, 296);
AT(ScanArguments, batch, 304);
AT(ScanArguments, time, 308);
AT(ScanArguments, heads, 312);
AT(ScanArguments, key_dim, 316);
AT(ScanArguments, value_dim, 320);
AT(ScanArguments, chunk, 324);
AT(ScanArguments, phase, 328);
AT(ScanArguments, read_first, 332);
AT(ScanArguments, read_dim, 336);
AT(ScanArguments, read, 340);
AT(ScanArguments, frozen, 344);
AT(ScanArguments, state_chunks, 348);
AT(ScanArguments, scale, 352);
AT(ScanArguments, reserved, 356);

IS(kScanThreads, 256);
IS(kScanChunk, 64);
IS(kScanMaxKeyDim, 128);
IS(kScanWritesColumns, 64);
IS(kScanTokensColumns, 32);
IS(kScanDecodeThreads, 128);
IS(kScanDecodeColumns, 32);
IS(kScanT, 68);
IS(kScanCoefficients, 844);

IS(ScanColumns(false), 64);
IS(ScanColumns(true), 32);
IS(ScanColumns(false), 64);
IS(ScanColumns(true), 32);
IS(ScanColumns(false), 64);
IS(ScanColumns(true), 32);

IS(ScanBlocks(1, 128, 100), 2);
IS(ScanBlocks(16, 1, 128), 16);
IS(ScanBlocks(33, 16, 1), 528);
IS(ScanBlocks(64, 33, 16), 192);
IS(ScanBlocks(100, 64, 33), 200);
IS(ScanBlocks(128, 100, 64), 256);

IS(ScanRow(1), 36);
IS(ScanRow(16), 36);
IS(ScanRow(33), 68);
IS(ScanRow(64), 68);
IS(ScanRow(100), 132);
IS(ScanRow(128), 132);

IS(ScanW(1), 9);
IS(ScanW(16), 24);
IS(ScanW(33), 41);
IS(ScanW(64), 72);
IS(ScanW(100), 108);
IS(ScanW(128), 136);

IS(ScanKeys(1), 16);
IS(ScanKeys(16), 16);
IS(ScanKeys(33), 48);
IS(ScanKeys(64), 64);
IS(ScanKeys(100), 112);
IS(ScanKeys(128), 128);

IS(ScanWritesFloats(1, 128, false), 18380);
IS(ScanWritesFloats(16, 1, true), 8364);
IS(ScanWritesFloats(33, 16, false), 12236);
IS(ScanWritesFloats(64, 33, true), 17420);
IS(ScanWritesFloats(100, 64, false), 26316);
IS(ScanWritesFloats(128, 100, true), 48204);

IS(ScanWritesSharedBytes(1, true), 57648);
IS(ScanWritesSharedBytes(16, false), 53040);
IS(ScanWritesSharedBytes(33, true), 84272);
IS(ScanWritesSharedBytes(64, false), 75056);
IS(ScanWritesSharedBytes(100, true), 137520);
IS(ScanWritesSharedBytes(128, false), 109872);

IS(ScanSharedBytes(1, true), 71984);
IS(ScanSharedBytes(16, false), 79664);
IS(ScanSharedBytes(33, true), 98608);
IS(ScanSharedBytes(64, false), 109872);
IS(ScanSharedBytes(100, true), 151856);
IS(ScanSharedBytes(128, false), 161072);

IS(ScanTokensSharedBytes(1), 99216);
IS(ScanTokensSharedBytes(16), 99216);
IS(ScanTokensSharedBytes(33), 117648);
IS(ScanTokensSharedBytes(64), 117648);
IS(ScanTokensSharedBytes(100), 159632);
IS(ScanTokensSharedBytes(128), 159632);

IS(sizeof(SelfModifyingChunk), 96);
AT(SelfModifyingChunk, x, 0);
AT(SelfModifyingChunk, s, 8);
AT(SelfModifyingChunk, k, 16);
AT(SelfModifyingChunk, v, 24);
AT(SelfModifyingChunk, inverse_norms, 32);
AT(SelfModifyingChunk, gate_inputs, 40);
AT(SelfModifyingChunk, x_batch, 48);
AT(SelfModifyingChunk, s_head, 56);
AT(SelfModifyingChunk, heads, 64);
AT(SelfModifyingChunk, dim, 68);
AT(SelfModifyingChunk, rows, 72);
AT(SelfModifyingChunk, count, 76);
AT(SelfModifyingChunk, flags, 80);
AT(SelfModifyingChunk, erase_factor, 84);
AT(SelfModifyingChunk, eta_scale, 88);
AT(SelfModifyingChunk, reserved, 92);

IS(sizeof(SelfModifyingProjectArguments), 136);
AT(SelfModifyingProjectArguments, theta, 96);
AT(SelfModifyingProjectArguments, erase, 104);
AT(SelfModifyingProjectArguments, log_alpha, 112);
AT(SelfModifyingProjectArguments, eta_bias, 120);
AT(SelfModifyingProjectArguments, alpha_bias, 124);
AT(SelfModifyingProjectArguments, norm_epsilon, 128);
AT(SelfModifyingProjectArguments, reserved2, 132);

IS(sizeof(SelfModifyingProjectBackwardArguments), 152);
AT(SelfModifyingProjectBackwardArguments, dk, 96);
AT(SelfModifyingProjectBackwardArguments, dv, 104);
AT(SelfModifyingProjectBackwardArguments, d_theta, 112);
AT(SelfModifyingProjectBackwardArguments, d_erase, 120);
AT(SelfModifyingProjectBackwardArguments, d_log_alpha, 128);
AT(SelfModifyingProjectBackwardArguments, dx, 136);
AT(SelfModifyingProjectBackwardArguments, ds, 144);

IS(kSelfModifyingThreads, 256);
IS(kSelfModifyingMaxDim, 128);
IS(kSelfModifyingChunk, 64);
IS(kSelfModifyingRows, 32);
IS(kSelfModifyingColumns, 64);
IS(kSelfModifyingNormalizeValues, 1);

IS(SelfModifyingWidth(1), 32);
IS(SelfModifyingWidth(16), 32);
IS(SelfModifyingWidth(33), 64);
IS(SelfModifyingWidth(64), 64);
IS(SelfModifyingWidth(100), 128);
IS(SelfModifyingWidth(128), 128);

IS(SelfModifyingGroups(1), 1);
IS(SelfModifyingGroups(16), 1);
IS(SelfModifyingGroups(33), 2);
IS(SelfModifyingGroups(64), 2);
IS(SelfModifyingGroups(100), 4);
IS(SelfModifyingGroups(128), 4);

IS(SelfModifyingProjectBlocks(1, 128), 8);
IS(SelfModifyingProjectBlocks(16, 1), 32);
IS(SelfModifyingProjectBlocks(33, 16), 66);
IS(SelfModifyingProjectBlocks(64, 33), 256);
IS(SelfModifyingProjectBlocks(100, 64), 400);
IS(SelfModifyingProjectBlocks(128, 100), 1024);

IS(SelfModifyingColumnBlocks(1), 2);
IS(SelfModifyingColumnBlocks(16), 2);
IS(SelfModifyingColumnBlocks(33), 2);
IS(SelfModifyingColumnBlocks(64), 2);
IS(SelfModifyingColumnBlocks(100), 4);
IS(SelfModifyingColumnBlocks(128), 4);

IS(SelfModifyingProjectBackwardBlocks(1, 128, 100, true), 8);
IS(SelfModifyingProjectBackwardBlocks(16, 1, 128, false), 32);
IS(SelfModifyingProjectBackwardBlocks(33, 16, 1, true), 99);
IS(SelfModifyingProjectBackwardBlocks(64, 33, 16, false), 128);
IS(SelfModifyingProjectBackwardBlocks(100, 64, 33, true), 400);
IS(SelfModifyingProjectBackwardBlocks(128, 100, 64, false), 512);

IS(SelfModifyingProjectSharedBytes(1), 7424);
IS(SelfModifyingProjectSharedBytes(16), 7424);
IS(SelfModifyingProjectSharedBytes(33), 22912);
IS(SelfModifyingProjectSharedBytes(64), 27520);
IS(SelfModifyingProjectSharedBytes(100), 78464);
IS(SelfModifyingProjectSharedBytes(128), 87168);

IS(SelfModifyingProjectBackwardSharedBytes(1), 29184);
IS(SelfModifyingProjectBackwardSharedBytes(16), 29184);
IS(SelfModifyingProjectBackwardSharedBytes(33), 37376);
IS(SelfModifyingProjectBackwardSharedBytes(64), 37376);
IS(SelfModifyingProjectBackwardSharedBytes(100), 85760);
IS(SelfModifyingProjectBackwardSharedBytes(128), 85760);

}  // namespace nested_learning
