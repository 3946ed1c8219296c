#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/model/gguf_file.h"

namespace quire {

// Checked access to the metadata of a GGUF file, which must outlive it. Any width of integer will
// do for an integer, and any number for a real one. Errors are InvalidArgument:
// "<where>: key '<key>' must be <expectation>, found <value>".
class GgufFields {
 public:
  GgufFields(const GgufFile& file, std::string where) : file_(file), where_(std::move(where)) {}

  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  const std::string& where() const { return where_; }
  const GgufFile& file() const { return file_; }

  absl::StatusOr<int64_t> Int(std::string_view key, int64_t min, int64_t max) const;
  absl::StatusOr<int64_t> IntOr(std::string_view key, int64_t fallback, int64_t min,
                                int64_t max) const;
  absl::StatusOr<double> Number(std::string_view key, double min, double max) const;
  absl::StatusOr<double> NumberOr(std::string_view key, double fallback, double min,
                                  double max) const;
  absl::StatusOr<bool> BoolOr(std::string_view key, bool fallback) const;
  absl::StatusOr<std::string_view> String(std::string_view key) const;
  absl::StatusOr<std::string_view> StringOr(std::string_view key, std::string_view fallback) const;

  // Arrays. Ints also takes one integer, which then stands for all `count`.
  absl::StatusOr<std::vector<int64_t>> Ints(std::string_view key, size_t count, int64_t min,
                                            int64_t max) const;
  absl::StatusOr<std::vector<std::string_view>> Strings(std::string_view key,
                                                        size_t max_count) const;
  absl::StatusOr<std::vector<double>> Numbers(std::string_view key) const;

  absl::Status Error(std::string_view key, std::string_view expectation) const;

 private:
  const GgufValue* Find(std::string_view key) const;  // null when absent

  const GgufFile& file_;
  std::string where_;
};

}  // namespace quire
