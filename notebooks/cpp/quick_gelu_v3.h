// The plugin QuickGelu for TensorRT 10 and 11, included by quick_gelu.cpp.
#pragma once

namespace {
class QuickGelu : public IPluginV3, public IPluginV3OneCore, public IPluginV3OneBuild, public IPluginV3OneRuntime {
public:
    explicit QuickGelu(float alpha) : alpha_(alpha) {}

    // While a plan is built: types, formats and shapes.
    int getNbOutputs() const noexcept override { return 1; }
    int getOutputDataTypes(DataType* outputs, int, DataType const* inputs, int) const noexcept override {
        outputs[0] = inputs[0];
        return 0;
    }
    int getOutputShapes(DimsExprs const* inputs, int, DimsExprs const*, int, DimsExprs* outputs, int,
        IExprBuilder&) noexcept override {
        outputs[0] = inputs[0];
        return 0;
    }
    bool supportsFormatCombination(int at, DynamicPluginTensorDesc const* all, int, int) noexcept override {
        return fits(all[at].desc, all[0].desc);
    }
    int configurePlugin(DynamicPluginTensorDesc const*, int, DynamicPluginTensorDesc const*, int) noexcept override {
        return 0;
    }

    // While it runs.
    IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }
    int onShapeChange(PluginTensorDesc const*, int, PluginTensorDesc const*, int) noexcept override { return 0; }
    int enqueue(PluginTensorDesc const* inputs, PluginTensorDesc const*, void const* const* in, void* const* out, void*,
        cudaStream_t stream) noexcept override {
        return run(inputs[0], in[0], out[0], alpha_, stream);
    }

    // What a plan keeps of it: the creator gets these fields back when the plan is loaded.
    PluginFieldCollection const* getFieldsToSerialize() noexcept override {
        fields_.field.data = &alpha_;
        return &fields_.collection;
    }

    // What it is called, and its copies.
    char const* getPluginName() const noexcept override { return kNAME; }
    char const* getPluginVersion() const noexcept override { return kVERSION; }
    char const* getPluginNamespace() const noexcept override { return ""; }
    QuickGelu* clone() noexcept override { return new QuickGelu(alpha_); }
    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
        if (type == PluginCapabilityType::kCORE) return static_cast<IPluginV3OneCore*>(this);
        if (type == PluginCapabilityType::kBUILD) return static_cast<IPluginV3OneBuild*>(this);
        return static_cast<IPluginV3OneRuntime*>(this);
    }

private:
    float alpha_;
    Fields fields_;
};

class QuickGeluCreator : public IPluginCreatorV3One {
public:
    char const* getPluginName() const noexcept override { return kNAME; }
    char const* getPluginVersion() const noexcept override { return kVERSION; }
    char const* getPluginNamespace() const noexcept override { return ""; }
    PluginFieldCollection const* getFieldNames() noexcept override { return &fields_.collection; }
    QuickGelu* createPlugin(char const*, PluginFieldCollection const* fields, TensorRTPhase) noexcept override {
        return new QuickGelu(alphaFrom(fields));
    }

private:
    Fields fields_;
};
}  // namespace
