// The plugin QuickGelu for TensorRT 8.6, included by quick_gelu.cpp.
#pragma once

namespace {
class QuickGelu : public IPluginV2DynamicExt {
public:
    explicit QuickGelu(float alpha, std::string space = "") : alpha_(alpha), namespace_(std::move(space)) {}

    // While a plan is built: types, formats and shapes.
    int getNbOutputs() const noexcept override { return 1; }
    DataType getOutputDataType(int, DataType const* inputs, int) const noexcept override { return inputs[0]; }
    DimsExprs getOutputDimensions(int, DimsExprs const* inputs, int, IExprBuilder&) noexcept override {
        return inputs[0];
    }
    bool supportsFormatCombination(int at, PluginTensorDesc const* all, int, int) noexcept override {
        return fits(all[at], all[0]);
    }
    void configurePlugin(DynamicPluginTensorDesc const*, int, DynamicPluginTensorDesc const*, int) noexcept override {}
    size_t getWorkspaceSize(PluginTensorDesc const*, int, PluginTensorDesc const*, int) const noexcept override {
        return 0;
    }

    // While it runs.
    int initialize() noexcept override { return 0; }
    void terminate() noexcept override {}
    int enqueue(PluginTensorDesc const* inputs, PluginTensorDesc const*, void const* const* in, void* const* out, void*,
        cudaStream_t stream) noexcept override {
        return run(inputs[0], in[0], out[0], alpha_, stream);
    }

    // What a plan keeps of it.
    size_t getSerializationSize() const noexcept override { return sizeof(alpha_); }
    void serialize(void* buffer) const noexcept override { std::memcpy(buffer, &alpha_, sizeof(alpha_)); }

    // What it is called, and its copies.
    char const* getPluginType() const noexcept override { return kNAME; }
    char const* getPluginVersion() const noexcept override { return kVERSION; }
    char const* getPluginNamespace() const noexcept override { return namespace_.c_str(); }
    void setPluginNamespace(char const* space) noexcept override { namespace_ = space; }
    QuickGelu* clone() const noexcept override { return new QuickGelu(alpha_, namespace_); }
    void destroy() noexcept override { delete this; }

private:
    float alpha_;
    std::string namespace_;
};

class QuickGeluCreator : public IPluginCreator {
public:
    char const* getPluginName() const noexcept override { return kNAME; }
    char const* getPluginVersion() const noexcept override { return kVERSION; }
    char const* getPluginNamespace() const noexcept override { return namespace_.c_str(); }
    void setPluginNamespace(char const* space) noexcept override { namespace_ = space; }
    PluginFieldCollection const* getFieldNames() noexcept override { return &fields_.collection; }
    QuickGelu* createPlugin(char const*, PluginFieldCollection const* fields) noexcept override {
        return new QuickGelu(alphaFrom(fields), namespace_);
    }
    QuickGelu* deserializePlugin(char const*, void const* data, size_t size) noexcept override {
        float alpha;
        if (size != sizeof(alpha)) return nullptr;
        std::memcpy(&alpha, data, size);
        return new QuickGelu(alpha, namespace_);
    }

private:
    Fields fields_;
    std::string namespace_;
};
}  // namespace
