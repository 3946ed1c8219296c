#include "tests/golden/quant_golden.h"

#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/model/mapped_file.h"
#include "core/model/safetensors.h"
#include "core/model/weights.h"
#include "kernels/api/device_factory.h"
#include "kernels/api/float_convert.h"

namespace quire::testing {
namespace {

using kernels::DType;

template <typename T>
std::vector<T> Elements(const SafetensorsEntry& entry) {
  std::vector<T> values(entry.data.size() / sizeof(T));
  std::memcpy(values.data(), entry.data.data(), entry.data.size());
  return values;
}

template <typename Use>
void ForTensors(const std::string& path, const Use& use) {
  const auto file = MappedFile::Open(path);
  QUIRE_CHECK(file.ok()) << file.status().ToString();
  const auto parsed = ParseSafetensors(file->bytes(), path, {});
  QUIRE_CHECK(parsed.ok()) << parsed.status().ToString();
  for (const SafetensorsEntry& entry : *parsed) use(entry);
}

// Hands out what another source has, or zeros, and keeps a copy.
class RecordingSource final : public WeightSource {
 public:
  explicit RecordingSource(WeightSource* inner) : inner_(inner) {}

  absl::StatusOr<std::vector<kernels::HostMatrix>> Fetch(
      std::span<const TensorSpec> specs) override {
    zeros_.clear();
    absl::StatusOr<std::vector<kernels::HostMatrix>> matrices =
        inner_ != nullptr ? inner_->Fetch(specs) : Zeros(specs);
    if (!matrices.ok()) return matrices;
    for (size_t i = 0; i < specs.size(); ++i) {
      const kernels::HostMatrix& matrix = (*matrices)[i];
      FetchedTensor tensor{.spec = specs[i], .dtype = matrix.dtype};
      tensor.values.resize(static_cast<size_t>(matrix.rows * matrix.cols));
      kernels::ConvertToFloat(matrix.data, matrix.dtype, tensor.values.size(),
                              tensor.values.data());
      tensors.push_back(std::move(tensor));
    }
    return matrices;
  }
  absl::Status CheckComplete() const override {
    return inner_ != nullptr ? inner_->CheckComplete() : absl::OkStatus();
  }

  std::vector<FetchedTensor> tensors;

 private:
  std::vector<kernels::HostMatrix> Zeros(std::span<const TensorSpec> specs) {
    std::vector<kernels::HostMatrix> matrices;
    for (const TensorSpec& spec : specs) {
      zeros_.emplace_back(static_cast<size_t>(spec.rows * spec.cols));
      matrices.push_back({.data = zeros_.back().data(),
                          .dtype = DType::kF32,
                          .rows = spec.rows,
                          .cols = spec.cols});
    }
    return matrices;
  }

  WeightSource* const inner_;
  std::vector<std::vector<float>> zeros_;
};

}  // namespace

std::string QuantGoldenDir(const std::string& name) {
  return absl::StrCat(QUIRE_SOURCE_DIR "/tests/golden/data/quant/", name);
}

QuantGolden ReadQuantGolden(const std::string& name) {
  QuantGolden golden;
  std::map<std::string, std::vector<TokenId>> prompts;
  std::map<std::string, std::vector<float>> logits;
  ForTensors(QuantGoldenDir(name) + "/expected.safetensors", [&](const SafetensorsEntry& entry) {
    const size_t dot = entry.name.find('.');
    const std::string kind = entry.name.substr(0, dot);
    const std::string rest = entry.name.substr(dot + 1);
    if (kind == "fnv") golden.hashes[rest] = Elements<uint64_t>(entry).at(0);
    if (kind == "row") golden.rows[rest] = Elements<float>(entry);
    if (kind == "prompt") prompts[rest] = Elements<TokenId>(entry);
    if (kind == "logits") logits[rest] = Elements<float>(entry);
  });
  for (const auto& [number, ids] : prompts) {
    golden.prompts.push_back(ids);
    golden.logits.push_back(logits.at(number));
  }
  QUIRE_CHECK(!golden.hashes.empty() && !golden.prompts.empty()) << name;
  return golden;
}

std::map<std::string, std::vector<float>> ReadFloats(const std::string& path) {
  std::map<std::string, std::vector<float>> tensors;
  ForTensors(path, [&](const SafetensorsEntry& entry) {
    if (entry.dtype_name == "F32") tensors[entry.name] = Elements<float>(entry);
    if (entry.dtype_name != "U8") return;
    for (const std::byte b : entry.data) {
      tensors[entry.name].push_back(std::to_integer<uint8_t>(b));
    }
  });
  return tensors;
}

uint64_t Fnv1a(const std::vector<float>& values) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte b : std::as_bytes(std::span(values))) {
    hash = (hash ^ std::to_integer<uint64_t>(b)) * 0x100000001b3;
  }
  return hash;
}

absl::StatusOr<std::vector<FetchedTensor>> FetchAll(const ModelConfig& config,
                                                    WeightSource* source) {
  std::unique_ptr<kernels::Device> device;
  QUIRE_CHECK(kernels::CreateDevice({.kind = "cpu", .threads = 1}, &device).ok());
  RecordingSource recording(source);
  const auto weights = LoadWeights(config, &recording, device.get(), DType::kF32, {});
  if (!weights.ok()) return weights.status();
  return std::move(recording.tensors);
}

void WriteSafetensors(const std::vector<FetchedTensor>& tensors, const std::string& path) {
  std::string header = "{";
  std::string data;
  for (const FetchedTensor& tensor : tensors) {
    const size_t begin = data.size();
    const auto bytes = std::as_bytes(std::span(tensor.values));
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::string shape = tensor.spec.vector
                                  ? absl::StrCat(tensor.spec.cols)
                                  : absl::StrCat(tensor.spec.rows, ",", tensor.spec.cols);
    absl::StrAppend(&header, begin == 0 ? "" : ",", "\"", tensor.spec.name,
                    "\":{\"dtype\":\"F32\",\"shape\":[", shape, "],\"data_offsets\":[", begin, ",",
                    data.size(), "]}");
  }
  header += "}";
  const uint64_t length = header.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file << header << data;
}

}  // namespace quire::testing
