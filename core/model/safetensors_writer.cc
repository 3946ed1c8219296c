#include "core/model/safetensors_writer.h"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/model/safetensors.h"

namespace quire {
namespace {

using nlohmann::ordered_json;

// Readers that view the data in place want it aligned for every type.
constexpr size_t kDataAlignment = 8;

std::string HeaderText(std::span<const OutputTensor> tensors, const SafetensorsMetadata& metadata) {
  ordered_json header = ordered_json::object();
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  int64_t offset = 0;
  for (const OutputTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype_name},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + kDataAlignment - 1) / kDataAlignment * kDataAlignment, ' ');
  return text;
}

}  // namespace

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(const std::string& path,
                                                            std::span<const OutputTensor> tensors,
                                                            const SafetensorsMetadata& metadata) {
  const std::string header = HeaderText(tensors, metadata);
  if (header.size() > SafetensorsLimits().max_header_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", tensors.size(), " tensors make a header of ", header.size(),
                     " bytes, more than the ", SafetensorsLimits().max_header_bytes,
                     " that readers take; write smaller shards"));
  }
  int64_t bytes = 0;
  for (const OutputTensor& tensor : tensors) bytes += tensor.bytes;

  static_assert(std::endian::native == std::endian::little, "the length is written as it lies");
  const uint64_t length = header.size();
  QUIRE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  QUIRE_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(&length, 1))));
  QUIRE_RETURN_IF_ERROR(file.Write(header));
  return SafetensorsWriter(std::move(file), bytes);
}

absl::Status SafetensorsWriter::Append(std::span<const std::byte> data) {
  missing_ -= static_cast<int64_t>(data.size());
  QUIRE_CHECK(missing_ >= 0) << -missing_ << " bytes more than the header says";
  return file_.Write(data);
}

absl::Status SafetensorsWriter::Finish() {
  QUIRE_CHECK(missing_ == 0) << missing_ << " bytes less than the header says";
  return file_.Close();
}

}  // namespace quire
