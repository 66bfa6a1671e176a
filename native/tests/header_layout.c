/* Made by ./build.sh generate from native/include/nested_learning.h: do not edit. */
#include <stddef.h>

#include "nested_learning.h"

#define ANEW "not what the generated files say: ./build.sh generate"
#define IS(expression, value) _Static_assert((expression) == (value), ANEW)
#define AT(type, field, offset) IS(offsetof(type, field), offset)

IS(NL_ABI_VERSION, 4);
IS(NL_SUM_BLOCK, 16384);
IS(NL_COLUMN_BLOCK, 64);
IS(NL_NORM_BLOCK, 32);
IS(NL_CONVOLUTION_TIME, 64);
IS(NL_CONVOLUTION_CHANNELS, 64);
IS(NL_RIDGE_PANEL, 8);
IS(NL_RIDGE_GROUP, 8);
IS(NL_RIDGE_ROWS, 32);
IS(NL_RIDGE_COLUMNS, 64);
IS(NL_MAX_CHUNK, 256);

IS(NL_OK, 0);
IS(NL_INVALID_ARGUMENT, 1);
IS(NL_UNSUPPORTED_TARGET, 2);
IS(NL_OUT_OF_MEMORY, 3);
IS(NL_INTERNAL_ERROR, 4);

IS(NL_SIGMOID, 0);
IS(NL_SOFTPLUS, 1);
IS(NL_LOG_SIGMOID, 2);
IS(NL_GELU, 3);

IS(NL_EPILOGUE_NONE, 0);
IS(NL_EPILOGUE_GELU, 1);
IS(NL_EPILOGUE_GELU_GRADIENT, 2);
IS(NL_EPILOGUE_ADAM, 3);

IS(NL_PRECISION_FLOAT32, 0);
IS(NL_PRECISION_BFLOAT16, 1);

IS(NL_NORM_RMS, 0);
IS(NL_NORM_LAYER, 1);
IS(NL_NORM_L2, 2);

IS(NL_MOMENTS_FLOAT32, 0);
IS(NL_MOMENTS_BFLOAT16, 1);

IS(NL_READ_AFTER, 0);
IS(NL_READ_BEFORE, 1);
IS(NL_READ_CHUNK_START, 2);

IS(NL_WRITE_GIVEN, 0);
IS(NL_WRITE_SCALED, 1);
IS(NL_WRITE_FROZEN_L2, 2);

IS(NL_OBJECTIVE_L2, 0);
IS(NL_OBJECTIVE_DOT, 1);

IS(NL_SELF_MODIFYING_NORMALIZE_VALUES, 1);
IS(NL_SELF_MODIFYING_EXACT_GRADIENT, 2);

IS(NL_DEEP_MEMORY_RESIDUAL, 1);

IS(sizeof(nl_elementwise_arguments), 40);
AT(nl_elementwise_arguments, size, 0);
AT(nl_elementwise_arguments, activation, 4);
AT(nl_elementwise_arguments, factor, 8);
AT(nl_elementwise_arguments, reserved, 12);
AT(nl_elementwise_arguments, x, 16);
AT(nl_elementwise_arguments, y, 24);
AT(nl_elementwise_arguments, z, 32);

IS(sizeof(nl_gemm_arguments), 112);
AT(nl_gemm_arguments, size, 0);
AT(nl_gemm_arguments, transpose_a, 4);
AT(nl_gemm_arguments, transpose_b, 8);
AT(nl_gemm_arguments, epilogue, 12);
AT(nl_gemm_arguments, accumulate, 16);
AT(nl_gemm_arguments, precision, 20);
AT(nl_gemm_arguments, m, 24);
AT(nl_gemm_arguments, n, 32);
AT(nl_gemm_arguments, k, 40);
AT(nl_gemm_arguments, a, 48);
AT(nl_gemm_arguments, b, 56);
AT(nl_gemm_arguments, c, 64);
AT(nl_gemm_arguments, bias, 72);
AT(nl_gemm_arguments, pre_activation, 80);
AT(nl_gemm_arguments, residual, 88);
AT(nl_gemm_arguments, residual_scale, 96);
AT(nl_gemm_arguments, symmetric, 100);
AT(nl_gemm_arguments, adam, 104);

IS(sizeof(nl_gemm_sizes), 48);
AT(nl_gemm_sizes, size, 0);
AT(nl_gemm_sizes, reserved, 4);
AT(nl_gemm_sizes, passes, 8);
AT(nl_gemm_sizes, pack_pieces, 16);
AT(nl_gemm_sizes, pieces, 24);
AT(nl_gemm_sizes, packed, 32);
AT(nl_gemm_sizes, workspace, 40);

IS(sizeof(nl_column_sum_arguments), 40);
AT(nl_column_sum_arguments, size, 0);
AT(nl_column_sum_arguments, reserved, 4);
AT(nl_column_sum_arguments, rows, 8);
AT(nl_column_sum_arguments, columns, 16);
AT(nl_column_sum_arguments, x, 24);
AT(nl_column_sum_arguments, sums, 32);

IS(sizeof(nl_norm_arguments), 96);
AT(nl_norm_arguments, size, 0);
AT(nl_norm_arguments, kind, 4);
AT(nl_norm_arguments, rows, 8);
AT(nl_norm_arguments, columns, 16);
AT(nl_norm_arguments, epsilon, 24);
AT(nl_norm_arguments, reserved, 28);
AT(nl_norm_arguments, x, 32);
AT(nl_norm_arguments, gain, 40);
AT(nl_norm_arguments, bias, 48);
AT(nl_norm_arguments, y, 56);
AT(nl_norm_arguments, dy, 64);
AT(nl_norm_arguments, dx, 72);
AT(nl_norm_arguments, dgain, 80);
AT(nl_norm_arguments, dbias, 88);

IS(sizeof(nl_convolution_arguments), 104);
AT(nl_convolution_arguments, size, 0);
AT(nl_convolution_arguments, reserved, 4);
AT(nl_convolution_arguments, batch, 8);
AT(nl_convolution_arguments, time, 16);
AT(nl_convolution_arguments, channels, 24);
AT(nl_convolution_arguments, x, 32);
AT(nl_convolution_arguments, weight, 40);
AT(nl_convolution_arguments, bias, 48);
AT(nl_convolution_arguments, state, 56);
AT(nl_convolution_arguments, y, 64);
AT(nl_convolution_arguments, dy, 72);
AT(nl_convolution_arguments, dx, 80);
AT(nl_convolution_arguments, dweight, 88);
AT(nl_convolution_arguments, dbias, 96);

IS(sizeof(nl_embedding_arguments), 72);
AT(nl_embedding_arguments, size, 0);
AT(nl_embedding_arguments, reserved, 4);
AT(nl_embedding_arguments, tokens, 8);
AT(nl_embedding_arguments, columns, 16);
AT(nl_embedding_arguments, rows, 24);
AT(nl_embedding_arguments, indices, 32);
AT(nl_embedding_arguments, table, 40);
AT(nl_embedding_arguments, y, 48);
AT(nl_embedding_arguments, dy, 56);
AT(nl_embedding_arguments, dtable, 64);

IS(sizeof(nl_cross_entropy_arguments), 72);
AT(nl_cross_entropy_arguments, size, 0);
AT(nl_cross_entropy_arguments, gradient_scale, 4);
AT(nl_cross_entropy_arguments, rows, 8);
AT(nl_cross_entropy_arguments, columns, 16);
AT(nl_cross_entropy_arguments, logits, 24);
AT(nl_cross_entropy_arguments, targets, 32);
AT(nl_cross_entropy_arguments, losses, 40);
AT(nl_cross_entropy_arguments, log_sums, 48);
AT(nl_cross_entropy_arguments, dlosses, 56);
AT(nl_cross_entropy_arguments, dlogits, 64);

IS(sizeof(nl_adam_arguments), 120);
AT(nl_adam_arguments, size, 0);
AT(nl_adam_arguments, decoupled, 4);
AT(nl_adam_arguments, moments, 8);
AT(nl_adam_arguments, clear_gradient, 12);
AT(nl_adam_arguments, learning_rate, 16);
AT(nl_adam_arguments, epsilon, 20);
AT(nl_adam_arguments, weight_decay, 24);
AT(nl_adam_arguments, gradient_scale, 28);
AT(nl_adam_arguments, beta1, 32);
AT(nl_adam_arguments, beta2, 40);
AT(nl_adam_arguments, correction1, 48);
AT(nl_adam_arguments, correction2, 56);
AT(nl_adam_arguments, step, 64);
AT(nl_adam_arguments, seed, 72);
AT(nl_adam_arguments, w, 80);
AT(nl_adam_arguments, g, 88);
AT(nl_adam_arguments, m, 96);
AT(nl_adam_arguments, v, 104);
AT(nl_adam_arguments, sums, 112);

IS(sizeof(nl_moment_arguments), 96);
AT(nl_moment_arguments, size, 0);
AT(nl_moment_arguments, clear_gradient, 4);
AT(nl_moment_arguments, gradient_scale, 8);
AT(nl_moment_arguments, keep1, 12);
AT(nl_moment_arguments, write1, 16);
AT(nl_moment_arguments, keep2, 20);
AT(nl_moment_arguments, write2, 24);
AT(nl_moment_arguments, read_moment, 28);
AT(nl_moment_arguments, read_gradient, 32);
AT(nl_moment_arguments, learning_rate, 36);
AT(nl_moment_arguments, decay, 40);
AT(nl_moment_arguments, epsilon, 44);
AT(nl_moment_arguments, w, 48);
AT(nl_moment_arguments, g, 56);
AT(nl_moment_arguments, m, 64);
AT(nl_moment_arguments, v, 72);
AT(nl_moment_arguments, start, 80);
AT(nl_moment_arguments, sums, 88);

IS(sizeof(nl_ridge_arguments), 88);
AT(nl_ridge_arguments, size, 0);
AT(nl_ridge_arguments, samples, 4);
AT(nl_ridge_arguments, features, 8);
AT(nl_ridge_arguments, outputs, 16);
AT(nl_ridge_arguments, rows, 24);
AT(nl_ridge_arguments, x, 32);
AT(nl_ridge_arguments, f, 40);
AT(nl_ridge_arguments, v, 48);
AT(nl_ridge_arguments, o, 56);
AT(nl_ridge_arguments, e, 64);
AT(nl_ridge_arguments, w, 72);
AT(nl_ridge_arguments, w_low, 80);

IS(sizeof(nl_scan_arguments), 176);
AT(nl_scan_arguments, size, 0);
AT(nl_scan_arguments, batch, 4);
AT(nl_scan_arguments, time, 8);
AT(nl_scan_arguments, heads, 12);
AT(nl_scan_arguments, key_dim, 16);
AT(nl_scan_arguments, value_dim, 20);
AT(nl_scan_arguments, chunk, 24);
AT(nl_scan_arguments, read, 28);
AT(nl_scan_arguments, write, 32);
AT(nl_scan_arguments, scale, 36);
AT(nl_scan_arguments, q, 40);
AT(nl_scan_arguments, k, 48);
AT(nl_scan_arguments, u, 56);
AT(nl_scan_arguments, log_alpha, 64);
AT(nl_scan_arguments, erase, 72);
AT(nl_scan_arguments, mu, 80);
AT(nl_scan_arguments, theta, 88);
AT(nl_scan_arguments, s0, 96);
AT(nl_scan_arguments, p0, 104);
AT(nl_scan_arguments, o, 112);
AT(nl_scan_arguments, s, 120);
AT(nl_scan_arguments, p, 128);
AT(nl_scan_arguments, states, 136);
AT(nl_scan_arguments, momenta, 144);
AT(nl_scan_arguments, chunk_start, 152);
AT(nl_scan_arguments, next_chunk_start, 160);
AT(nl_scan_arguments, phase, 168);
AT(nl_scan_arguments, reserved, 172);

IS(sizeof(nl_scan_gradients), 120);
AT(nl_scan_gradients, size, 0);
AT(nl_scan_gradients, reserved, 4);
AT(nl_scan_gradients, d_o, 8);
AT(nl_scan_gradients, d_s, 16);
AT(nl_scan_gradients, d_p, 24);
AT(nl_scan_gradients, dq, 32);
AT(nl_scan_gradients, dk, 40);
AT(nl_scan_gradients, du, 48);
AT(nl_scan_gradients, d_log_alpha, 56);
AT(nl_scan_gradients, d_erase, 64);
AT(nl_scan_gradients, d_mu, 72);
AT(nl_scan_gradients, d_theta, 80);
AT(nl_scan_gradients, ds0, 88);
AT(nl_scan_gradients, dp0, 96);
AT(nl_scan_gradients, d_next_chunk_start, 104);
AT(nl_scan_gradients, d_chunk_start, 112);

IS(sizeof(nl_self_modifying_arguments), 120);
AT(nl_self_modifying_arguments, size, 0);
AT(nl_self_modifying_arguments, batch, 4);
AT(nl_self_modifying_arguments, time, 8);
AT(nl_self_modifying_arguments, heads, 12);
AT(nl_self_modifying_arguments, dim, 16);
AT(nl_self_modifying_arguments, chunk, 20);
AT(nl_self_modifying_arguments, objective, 24);
AT(nl_self_modifying_arguments, read, 28);
AT(nl_self_modifying_arguments, eta_scale, 32);
AT(nl_self_modifying_arguments, eta_bias, 36);
AT(nl_self_modifying_arguments, alpha_bias, 40);
AT(nl_self_modifying_arguments, norm_epsilon, 44);
AT(nl_self_modifying_arguments, x, 48);
AT(nl_self_modifying_arguments, q, 56);
AT(nl_self_modifying_arguments, s0, 64);
AT(nl_self_modifying_arguments, o, 72);
AT(nl_self_modifying_arguments, s, 80);
AT(nl_self_modifying_arguments, states, 88);
AT(nl_self_modifying_arguments, chunk_start, 96);
AT(nl_self_modifying_arguments, next_chunk_start, 104);
AT(nl_self_modifying_arguments, phase, 112);
AT(nl_self_modifying_arguments, flags, 116);

IS(sizeof(nl_self_modifying_gradients), 64);
AT(nl_self_modifying_gradients, size, 0);
AT(nl_self_modifying_gradients, reserved, 4);
AT(nl_self_modifying_gradients, d_o, 8);
AT(nl_self_modifying_gradients, d_s, 16);
AT(nl_self_modifying_gradients, dx, 24);
AT(nl_self_modifying_gradients, dq, 32);
AT(nl_self_modifying_gradients, ds0, 40);
AT(nl_self_modifying_gradients, d_next_chunk_start, 48);
AT(nl_self_modifying_gradients, d_chunk_start, 56);

IS(sizeof(nl_deep_memory_arguments), 240);
AT(nl_deep_memory_arguments, size, 0);
AT(nl_deep_memory_arguments, batch, 4);
AT(nl_deep_memory_arguments, time, 8);
AT(nl_deep_memory_arguments, heads, 12);
AT(nl_deep_memory_arguments, dim, 16);
AT(nl_deep_memory_arguments, hidden, 20);
AT(nl_deep_memory_arguments, chunk, 24);
AT(nl_deep_memory_arguments, phase, 28);
AT(nl_deep_memory_arguments, objective, 32);
AT(nl_deep_memory_arguments, read, 36);
AT(nl_deep_memory_arguments, flags, 40);
AT(nl_deep_memory_arguments, norm_epsilon, 44);
AT(nl_deep_memory_arguments, q, 48);
AT(nl_deep_memory_arguments, k, 56);
AT(nl_deep_memory_arguments, v, 64);
AT(nl_deep_memory_arguments, log_alpha, 72);
AT(nl_deep_memory_arguments, theta, 80);
AT(nl_deep_memory_arguments, erase, 88);
AT(nl_deep_memory_arguments, mu, 96);
AT(nl_deep_memory_arguments, w1_start, 104);
AT(nl_deep_memory_arguments, w2_start, 112);
AT(nl_deep_memory_arguments, p1_start, 120);
AT(nl_deep_memory_arguments, p2_start, 128);
AT(nl_deep_memory_arguments, chunk_start1, 136);
AT(nl_deep_memory_arguments, chunk_start2, 144);
AT(nl_deep_memory_arguments, o, 152);
AT(nl_deep_memory_arguments, w1, 160);
AT(nl_deep_memory_arguments, w2, 168);
AT(nl_deep_memory_arguments, p1, 176);
AT(nl_deep_memory_arguments, p2, 184);
AT(nl_deep_memory_arguments, next_chunk_start1, 192);
AT(nl_deep_memory_arguments, next_chunk_start2, 200);
AT(nl_deep_memory_arguments, saved_w1, 208);
AT(nl_deep_memory_arguments, saved_w2, 216);
AT(nl_deep_memory_arguments, saved_p1, 224);
AT(nl_deep_memory_arguments, saved_p2, 232);

IS(sizeof(nl_deep_memory_gradients), 168);
AT(nl_deep_memory_gradients, size, 0);
AT(nl_deep_memory_gradients, reserved, 4);
AT(nl_deep_memory_gradients, d_o, 8);
AT(nl_deep_memory_gradients, d_w1, 16);
AT(nl_deep_memory_gradients, d_w2, 24);
AT(nl_deep_memory_gradients, d_p1, 32);
AT(nl_deep_memory_gradients, d_p2, 40);
AT(nl_deep_memory_gradients, d_next_chunk_start1, 48);
AT(nl_deep_memory_gradients, d_next_chunk_start2, 56);
AT(nl_deep_memory_gradients, dq, 64);
AT(nl_deep_memory_gradients, dk, 72);
AT(nl_deep_memory_gradients, dv, 80);
AT(nl_deep_memory_gradients, d_log_alpha, 88);
AT(nl_deep_memory_gradients, d_theta, 96);
AT(nl_deep_memory_gradients, d_erase, 104);
AT(nl_deep_memory_gradients, d_mu, 112);
AT(nl_deep_memory_gradients, d_w1_start, 120);
AT(nl_deep_memory_gradients, d_w2_start, 128);
AT(nl_deep_memory_gradients, d_p1_start, 136);
AT(nl_deep_memory_gradients, d_p2_start, 144);
AT(nl_deep_memory_gradients, d_chunk_start1, 152);
AT(nl_deep_memory_gradients, d_chunk_start2, 160);

IS(sizeof(nl_attention_arguments), 72);
AT(nl_attention_arguments, size, 0);
AT(nl_attention_arguments, batch, 4);
AT(nl_attention_arguments, time, 8);
AT(nl_attention_arguments, keys, 12);
AT(nl_attention_arguments, heads, 16);
AT(nl_attention_arguments, key_dim, 20);
AT(nl_attention_arguments, value_dim, 24);
AT(nl_attention_arguments, scale, 28);
AT(nl_attention_arguments, q, 32);
AT(nl_attention_arguments, k, 40);
AT(nl_attention_arguments, v, 48);
AT(nl_attention_arguments, o, 56);
AT(nl_attention_arguments, log_sums, 64);

IS(sizeof(nl_attention_gradients), 48);
AT(nl_attention_gradients, size, 0);
AT(nl_attention_gradients, reserved, 4);
AT(nl_attention_gradients, d_o, 8);
AT(nl_attention_gradients, dq, 16);
AT(nl_attention_gradients, dk, 24);
AT(nl_attention_gradients, dv, 32);
AT(nl_attention_gradients, dq_parts, 40);
