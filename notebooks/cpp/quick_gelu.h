// QuickGelu of one element, and of a tensor on the GPU.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define EVERYWHERE __host__ __device__
#else
#define EVERYWHERE
#endif

// x * sigmoid(alpha * x), in float for a float16 too: alpha * x easily leaves what a float16 can hold.
EVERYWHERE inline float quickGelu(float x, float alpha) { return x / (1.0F + std::exp(-alpha * x)); }

// The same for `count` elements of float32, or of float16 where `half` is true; returns a cudaError_t.
int launchQuickGelu(void const* in, void* out, int64_t count, bool half, float alpha, struct CUstream_st* stream);
