// What infer and build share: TensorRT's reasons, files, plugins, and one line with exit code 2 for an error.
#pragma once

#include <NvInfer.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

using Words = std::vector<std::string>;

[[noreturn]] inline void fail(std::string const& reason) { throw std::runtime_error(reason); }

// A call of TensorRT that fails returns a null pointer or false; why stands in what it logged before.
class Log : public nvinfer1::ILogger {
public:
    std::string errors;

    void log(Severity severity, char const* text) noexcept override {
        std::lock_guard<std::mutex> lock(mutex_);  // the builder logs from several threads
        if (severity <= Severity::kERROR) errors += (errors.empty() ? "" : "; ") + std::string(text);
    }

private:
    std::mutex mutex_;
};

inline void check(cudaError_t status, char const* what) {
    if (status != cudaSuccess) fail(std::string(what) + ": " + cudaGetErrorString(status));
}

// TensorRT may end the process where there is no GPU: ask CUDA first.
inline void needGpu() {
    int count = 0;
    check(cudaGetDeviceCount(&count), "TensorRT needs an NVIDIA GPU, and none answers here");
}

// A plugin registers itself while its library is loaded, which must be before a parser or a plan asks for it.
inline void loadPlugin(std::string const& path) {
    if (!dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) fail(std::string("the plugin does not load: ") + dlerror());
}

inline std::vector<char> readFile(std::string const& path) {
    if (!std::filesystem::is_regular_file(path)) fail(path + " does not exist: give a file");
    std::vector<char> bytes(std::filesystem::file_size(path));
    if (!std::ifstream(path, std::ios::binary).read(bytes.data(), bytes.size())) fail(path + " cannot be read");
    return bytes;
}

inline void writeFile(std::string const& path, void const* data, size_t size) {
    std::ofstream file(path, std::ios::binary);
    if (!file.write(static_cast<char const*>(data), size).flush()) fail(path + " cannot be written");
}

inline std::string text(nvinfer1::Dims const& shape) {
    std::string sizes;
    for (int i = 0; i < shape.nbDims; ++i) sizes += (i ? "," : "") + std::to_string(shape.d[i]);
    return "[" + sizes + "]";
}

// That of the library: 8.6.0 calls itself 8600, and from 10 on 10.8.0 calls itself 100800.
inline std::string version() {
    int const number = getInferLibVersion(), major = number < 10000 ? 1000 : 10000;
    int const parts[] = {number / major, number % major / 100, number % 100};
    return std::to_string(parts[0]) + "." + std::to_string(parts[1]) + "." + std::to_string(parts[2]);
}

// Takes an option with its values out of the words; returns the last of them, and nothing without the option.
inline std::string take(Words& words, std::string const& option, int values) {
    auto const found = std::find(words.begin(), words.end(), option);
    if (words.end() - found <= values) return "";
    std::string const last = found[values];
    words.erase(found, found + values + 1);
    return last;
}

inline int run(void (*program)(Words), int count, char** given) {
    try {
        program(Words(given + 1, given + count));
        return 0;
    } catch (std::exception const& error) {
        std::string line = error.what();
        std::replace(line.begin(), line.end(), '\n', ' ');
        std::cerr << "Error: " << line << '\n';
        return 2;
    }
}
