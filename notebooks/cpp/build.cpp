// build ONNX PLAN MIN:OPT:MAX [--fp16] [--plugin LIB.so]: a plan from an ONNX file, for batches from MIN to MAX.
// The steps of accelkit/engine/building.py. Without --fp16 nothing is rounded, to TF32 neither.
#include "common.h"

#include <NvOnnxParser.h>

#include <chrono>
#include <cstdio>

using namespace nvinfer1;

struct End {
    void operator()(nvonnxparser::IParser* parser) const {
#if NV_TENSORRT_MAJOR < 10
        parser->destroy();  // delete calls by the header's order of functions, and the wheel of 8.6.0 was built by another
#else
        delete parser;
#endif
    }
};
using Parser = std::unique_ptr<nvonnxparser::IParser, End>;

// Fills the network. The weights in it belong to the parser, which must live until the plan is built.
static Parser parse(INetworkDefinition& network, Log& log, std::string const& onnx) {
    Parser parser{nvonnxparser::createParser(network, log)};
    if (parser->parseFromFile(onnx.c_str(), static_cast<int>(ILogger::Severity::kERROR))) return parser;
    std::string reasons;
    for (int i = 0; i < parser->getNbErrors(); ++i) reasons += parser->getError(i)->desc() + std::string("; ");
    fail("TensorRT " + version() + " cannot read " + onnx + ": " + (reasons.empty() ? log.errors : reasons));
}

// One profile: each input's batch goes from the first to the last of three, and kernels are chosen for the second.
static void setProfile(
    IBuilder& builder, IBuilderConfig& config, INetworkDefinition const& network, int const* batches) {
    IOptimizationProfile* profile = builder.createOptimizationProfile();
    for (int i = 0; i < network.getNbInputs(); ++i) {
        ITensor const* input = network.getInput(i);
        Dims shape = input->getDimensions();
        if (shape.nbDims < 1 || shape.d[0] != -1 || std::count(shape.d, shape.d + shape.nbDims, -1) != 1)
            fail("the batch alone may be free, and the input " + std::string(input->getName()) + " is " + text(shape));
        auto const set = [&](OptProfileSelector which, int batch) {
            shape.d[0] = batch;
            profile->setDimensions(input->getName(), which, shape);
        };
        set(OptProfileSelector::kMIN, batches[0]);
        set(OptProfileSelector::kOPT, batches[1]);
        set(OptProfileSelector::kMAX, batches[2]);
    }
    if (config.addOptimizationProfile(profile) < 0) fail("TensorRT refuses the profile");
}

static void build(Words words) {
    std::string const plugin = take(words, "--plugin", 1);
    bool const fp16 = !take(words, "--fp16", 0).empty();
    if (words.size() != 3) fail("usage: build ONNX PLAN MIN:OPT:MAX [--fp16] [--plugin LIB.so]");
    int batches[3];
    char rest;
    if (std::sscanf(words[2].c_str(), "%d:%d:%d%c", batches, batches + 1, batches + 2, &rest) != 3 || batches[0] < 1
        || !std::is_sorted(batches, batches + 3))
        fail("'" + words[2] + "' is no profile: write three rising batches, such as 1:16:64");
    readFile(words[0]);
    needGpu();
    if (!plugin.empty()) loadPlugin(plugin);

    auto const start = std::chrono::steady_clock::now();
    Log log;
    std::unique_ptr<IBuilder> builder{createInferBuilder(log)};
    if (!builder) fail("TensorRT " + version() + " cannot start a builder: " + log.errors);
#if NV_TENSORRT_MAJOR < 10
    auto const flags = 1U << static_cast<int>(NetworkDefinitionCreationFlag::kEXPLICIT_BATCH);
#else
    auto const flags = 0U;  // the batch is always a dimension of the network
#endif
    std::unique_ptr<INetworkDefinition> network{builder->createNetworkV2(flags)};
    std::unique_ptr<IBuilderConfig> config{builder->createBuilderConfig()};
    auto const parser = parse(*network, log, words[0]);
    setProfile(*builder, *config, *network, batches);

    config->setProfilingVerbosity(ProfilingVerbosity::kDETAILED);  // the inspector then tells each layer's precision
    config->setMemoryPoolLimit(MemoryPoolType::kWORKSPACE, size_t{4} << 30);  // bytes; else all that the GPU has
    std::string set = fp16 ? "\"TF32\"" : "";  // on unless it is cleared
    if (!fp16) config->clearFlag(BuilderFlag::kTF32);
#if NV_TENSORRT_MAJOR < 11  // from 11 on the types in the ONNX file alone decide
    if (fp16) config->setFlag(BuilderFlag::kFP16), set = "\"FP16\", " + set;
#endif
#if NV_TENSORRT_MAJOR < 10
    config->setTacticSources(0);  // no kernels from cuBLAS and cuDNN, which 10 and later leave out by themselves
#endif
    std::unique_ptr<IHostMemory> plan{builder->buildSerializedNetwork(*network, *config)};
    if (!plan) fail("TensorRT " + version() + " cannot build " + words[0] + ": " + log.errors);
    writeFile(words[1], plan->data(), plan->size());
    std::chrono::duration<double> const seconds = std::chrono::steady_clock::now() - start;
    std::cout << "{\"tensorrt\": \"" << version() << "\", \"flags\": [" << set << "], \"bytes\": " << plan->size()
              << ", \"seconds\": " << seconds.count() << "}\n";
}

int main(int count, char** given) { return run(build, count, given); }
