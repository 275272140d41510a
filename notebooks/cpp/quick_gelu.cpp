// TensorRT's side of the plugin QuickGelu, for the operator of that name in ONNX Runtime's domain com.microsoft.
//
// TensorRT's ONNX parser takes an operator that it does not know for a plugin: it asks for a creator of the operator's
// name, of the version "1" and of the empty namespace, unless the node has the attributes plugin_version and
// plugin_namespace, and does not look at the operator's domain. Of the node's attributes it passes on those that the
// creator names, and leaves out one that the node lacks.
#include "quick_gelu.h"

#include <NvInfer.h>

#include <cstring>
#include <string>
#include <utility>

using namespace nvinfer1;

namespace {
constexpr char const *kNAME = "QuickGelu", *kVERSION = "1";
constexpr float kALPHA = 1.702F;  // the operator's default

float alphaFrom(PluginFieldCollection const* fields) {
    for (int i = 0; i < fields->nbFields; ++i)
        if (!std::strcmp(fields->fields[i].name, "alpha")) return *static_cast<float const*>(fields->fields[i].data);
    return kALPHA;
}

// Row-major float32 or float16, the output as the input; first is the input.
bool fits(PluginTensorDesc const& tensor, PluginTensorDesc const& first) {
    bool const known = tensor.type == DataType::kFLOAT || tensor.type == DataType::kHALF;
    return known && tensor.format == TensorFormat::kLINEAR && tensor.type == first.type;
}

int run(PluginTensorDesc const& tensor, void const* in, void* out, float alpha, cudaStream_t stream) {
    int64_t count = 1;
    for (int i = 0; i < tensor.dims.nbDims; ++i) count *= tensor.dims.d[i];
    return launchQuickGelu(in, out, count, tensor.type == DataType::kHALF, alpha, stream);
}

// The attributes that a creator takes.
struct Fields {
    PluginField field{"alpha", nullptr, PluginFieldType::kFLOAT32, 1};
    PluginFieldCollection collection{1, &field};
};
}  // namespace

#if NV_TENSORRT_MAJOR < 10
#include "quick_gelu_v2.h"
#else
#include "quick_gelu_v3.h"
#endif

REGISTER_TENSORRT_PLUGIN(QuickGeluCreator);
