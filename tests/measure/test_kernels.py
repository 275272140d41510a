"""Names of kernels: which of them multiply, and in which precision."""

import pytest

from accelkit.measure import kernels


@pytest.mark.parametrize(
    ("kernel", "precision"),
    [
        ("sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc", "tf32"),
        ("cutlass_80_tensorop_s1688gemm_128x128", "tf32"),
        ("sm90_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc", "fp16"),
        ("turing_h1688cudnn_256x64_ldg8_relu", "fp16"),
        ("sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32", "int8"),
        ("ampere_sgemm_128x64_nn", "fp32"),
        ("ampere_fp16_s16816gemm_fp16_128x128_ldg8", "fp16"),
        ("turing_fp16_s1688gemm_fp16_128x128", "fp16"),
        ("ampere_bf16_s16816gemm_bf16_128x256", "bf16"),
        ("sm80_xmma_gemm_s16816", "tf32"),
        ("my_gemm", "unseen"),
    ],
)
def test_a_kernels_name_says_its_precision(kernel, precision):
    assert kernels.multiplies(kernel) and kernels.precision(kernel) == precision


@pytest.mark.parametrize(
    "name",
    [
        "triton_poi_fused_convolution_relu_3",
        "void cudnn::ops::nchwToNhwcKernel<float, float, float, false, true>",
        "void at::native::vectorized_elementwise_kernel<4>",
    ],
)
def test_what_moves_data_does_not_multiply(name):
    assert not kernels.multiplies(name)
