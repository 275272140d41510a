// The kernel of the plugin QuickGelu.
#include "quick_gelu.h"

#include <cuda_fp16.h>

#include <algorithm>

template <typename Element>
__global__ void kernel(Element const* in, Element* out, int64_t count, float alpha) {
    int64_t const step = int64_t{gridDim.x} * blockDim.x;
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step)
        out[i] = static_cast<Element>(quickGelu(static_cast<float>(in[i]), alpha));
}

template <typename Element>
static void launch(void const* in, void* out, int64_t count, float alpha, cudaStream_t stream) {
    int const threads = 256, blocks = static_cast<int>(std::min<int64_t>((count + threads - 1) / threads, 1 << 16));
    kernel<<<blocks, threads, 0, stream>>>(static_cast<Element const*>(in), static_cast<Element*>(out), count, alpha);
}

int launchQuickGelu(void const* in, void* out, int64_t count, bool half, float alpha, cudaStream_t stream) {
    if (count == 0) return cudaSuccess;  // a launch without blocks is an error
    half ? launch<__half>(in, out, count, alpha, stream) : launch<float>(in, out, count, alpha, stream);
    return cudaGetLastError();
}
