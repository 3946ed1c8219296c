#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/model/model_config.h"
#include "core/model/weight_source.h"

namespace quire::testing {

// What deploy/tools/make_quant_goldens.py wrote beside a quantized checkpoint.
struct QuantGolden {
  std::map<std::string, uint64_t> hashes;          // FNV-1a of a tensor's float32 bytes
  std::map<std::string, std::vector<float>> rows;  // its last row
  std::vector<std::vector<TokenId>> prompts;
  std::vector<std::vector<float>> logits;  // of transformers, [tokens, vocab]
};

std::string QuantGoldenDir(const std::string& name);
// Aborts with the reason when the file is missing or malformed.
QuantGolden ReadQuantGolden(const std::string& name);
// The tensors of a safetensors file that hold floats.
std::map<std::string, std::vector<float>> ReadFloats(const std::string& path);

uint64_t Fnv1a(const std::vector<float>& values);

// A tensor as a WeightSource handed it out.
struct FetchedTensor {
  TensorSpec spec;
  kernels::DType dtype = kernels::DType::kF32;
  std::vector<float> values = {};
};

// All tensors that a model of `config` asks for, in the order in which it does. With a null source
// they are zeros.
absl::StatusOr<std::vector<FetchedTensor>> FetchAll(const ModelConfig& config,
                                                    WeightSource* source);

// Writes them as an F32 model.safetensors.
void WriteSafetensors(const std::vector<FetchedTensor>& tensors, const std::string& path);

}  // namespace quire::testing
