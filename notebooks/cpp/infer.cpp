// infer PLAN INPUT.bin OUTPUT.bin BATCH [--plugin LIB.so]: one batch of float32 through a plan.
// Prints the median time of the network alone; the copies to the GPU and back are not in it.
#include "common.h"

using namespace nvinfer1;

constexpr int kWARM_UP = 10, kRUNS = 101;

// The one tensor of a side: names, types and shapes stand in the plan.
static std::string tensorOf(ICudaEngine const& engine, TensorIOMode mode) {
    Words names;
    for (int i = 0; i < engine.getNbIOTensors(); ++i) {
        char const* name = engine.getIOTensorName(i);
        if (engine.getTensorIOMode(name) == mode) names.emplace_back(name);
    }
    if (names.size() != 1 || engine.getTensorDataType(names[0].c_str()) != DataType::kFLOAT)
        fail("the plan must have one input and one output, both of float32");
    return names[0];
}

// Of the profiles that hold the batch the one whose optimum is nearest to it; shape becomes the input's.
static int profileFor(ICudaEngine const& engine, char const* input, int batch, Dims& shape) {
    int best = -1, nearest = 0;
    std::string held;
    for (int i = 0; i < engine.getNbOptimizationProfiles(); ++i) {
        Dims const least = engine.getProfileShape(input, i, OptProfileSelector::kMIN);
        Dims const optimum = engine.getProfileShape(input, i, OptProfileSelector::kOPT);
        Dims const most = engine.getProfileShape(input, i, OptProfileSelector::kMAX);
        held += (i ? ", " : "") + std::to_string(least.d[0]) + " to " + std::to_string(most.d[0]);
        int const distance = std::abs(static_cast<int>(optimum.d[0]) - batch);
        if (batch < least.d[0] || batch > most.d[0] || (best >= 0 && distance >= nearest)) continue;
        best = i, nearest = distance, shape = optimum;
    }
    if (best < 0) fail("batch " + std::to_string(batch) + " is outside of every profile of the plan: " + held);
    shape.d[0] = batch;
    return best;
}

static size_t bytesOf(Dims const& shape) {
    size_t bytes = sizeof(float);
    for (int i = 0; i < shape.nbDims; ++i) bytes *= shape.d[i];
    return bytes;
}

static void infer(Words words) {
    std::string const plugin = take(words, "--plugin", 1);
    if (words.size() != 4) fail("usage: infer PLAN INPUT.bin OUTPUT.bin BATCH [--plugin LIB.so]");
    int const batch = std::atoi(words[3].c_str());
    auto const plan = readFile(words[0]), source = readFile(words[1]);
    needGpu();
    if (!plugin.empty()) loadPlugin(plugin);

    Log log;
    std::unique_ptr<IRuntime> runtime{createInferRuntime(log)};
    if (!runtime) fail("TensorRT " + version() + " cannot start: " + log.errors);
    std::unique_ptr<ICudaEngine> engine{runtime->deserializeCudaEngine(plan.data(), plan.size())};
    if (!engine) fail(words[0] + " is no plan for TensorRT " + version() + " and this GPU: " + log.errors);

    auto const input = tensorOf(*engine, TensorIOMode::kINPUT), output = tensorOf(*engine, TensorIOMode::kOUTPUT);
    Dims shape{};
    int const profile = profileFor(*engine, input.c_str(), batch, shape);
    if (source.size() != bytesOf(shape))
        fail(words[1] + " has " + std::to_string(source.size()) + " bytes, and " + input + " " + text(shape) + " takes "
            + std::to_string(bytesOf(shape)));

    cudaStream_t stream{};
    check(cudaStreamCreate(&stream), "a stream");
    std::unique_ptr<IExecutionContext> context{engine->createExecutionContext()};
    if (!context || !context->setOptimizationProfileAsync(profile, stream)
        || !context->setInputShape(input.c_str(), shape))
        fail("TensorRT cannot prepare the execution: " + log.errors);
    std::vector<char> result(bytesOf(context->getTensorShape(output.c_str())));

    void *in = nullptr, *out = nullptr;
    check(cudaMalloc(&in, source.size()), "memory for the input");
    check(cudaMalloc(&out, result.size()), "memory for the output");
    context->setTensorAddress(input.c_str(), in);
    context->setTensorAddress(output.c_str(), out);
    check(cudaMemcpyAsync(in, source.data(), source.size(), cudaMemcpyHostToDevice, stream), "the copy of the input");

    cudaEvent_t begin{}, end{};
    check(cudaEventCreate(&begin), "an event");
    check(cudaEventCreate(&end), "an event");
    std::vector<float> times;
    for (int i = 0; i < kWARM_UP + kRUNS; ++i) {
        check(cudaEventRecord(begin, stream), "an event");
        if (!context->enqueueV3(stream)) fail("TensorRT cannot run the plan: " + log.errors);
        check(cudaEventRecord(end, stream), "an event");
        check(cudaEventSynchronize(end), "the execution");
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin, end), "an event");
        if (i >= kWARM_UP) times.push_back(milliseconds);
    }
    std::sort(times.begin(), times.end());

    check(cudaMemcpyAsync(result.data(), out, result.size(), cudaMemcpyDeviceToHost, stream), "the copy of the output");
    check(cudaStreamSynchronize(stream), "the copy of the output");
    writeFile(words[2], result.data(), result.size());
    std::cout << "{\"tensorrt\": \"" << version() << "\", \"profile\": " << profile << ", \"batch\": " << batch
              << ", \"milliseconds\": " << times[kRUNS / 2] << "}\n";
    cudaFree(in), cudaFree(out);
}

int main(int count, char** given) { return run(infer, count, given); }
