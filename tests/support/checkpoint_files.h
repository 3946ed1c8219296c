#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/model/checkpoint.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/safetensors_builder.h"

namespace quire::testing {

// A tensor as its file has it.
struct StoredTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string data;

  friend bool operator==(const StoredTensor&, const StoredTensor&) = default;
};
using StoredTensors = std::map<std::string, StoredTensor>;

// A safetensors file that holds them, in the order of their names.
inline std::string SafetensorsFile(const StoredTensors& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.data.size()}}};
    data += tensor.data;
  }
  return SafetensorsBytes(header.dump(), data);
}

// All tensors of a model's directory.
inline StoredTensors ReadTensors(const std::string& dir) {
  const auto checkpoint = Checkpoint::Open(dir);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  StoredTensors tensors;
  if (!checkpoint.ok()) return tensors;
  for (const std::string& name : checkpoint->Names()) {
    const SafetensorsEntry& entry = *checkpoint->Find(name);
    tensors[name] = {
        entry.dtype_name, entry.shape,
        std::string(reinterpret_cast<const char*>(entry.data.data()), entry.data.size())};
  }
  return tensors;
}

}  // namespace quire::testing
