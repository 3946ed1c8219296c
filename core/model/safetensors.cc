#include "core/model/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"
#include "core/model/json_fields.h"

namespace quire {
namespace {

using kernels::DType;
using nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr char kMetadataKey[] = "__metadata__";

struct DtypeInfo {
  const char* name;
  int64_t bytes;
  std::optional<DType> dtype;
};

constexpr DtypeInfo kDtypes[] = {
    {"F32", 4, DType::kF32},   {"F16", 2, DType::kF16},      {"BF16", 2, DType::kBF16},
    {"F64", 8, std::nullopt},  {"I64", 8, std::nullopt},     {"U64", 8, std::nullopt},
    {"I32", 4, std::nullopt},  {"U32", 4, std::nullopt},     {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},  {"I8", 1, std::nullopt},      {"U8", 1, std::nullopt},
    {"BOOL", 1, std::nullopt}, {"F8_E4M3", 1, std::nullopt}, {"F8_E5M2", 1, std::nullopt},
};

const DtypeInfo* FindDtype(const std::string& name) {
  const auto* it = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                [&](const DtypeInfo& candidate) { return name == candidate.name; });
  return it == std::end(kDtypes) ? nullptr : it;
}

absl::Status Bad(std::string_view where, std::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(absl::string_view(where.data(), where.size()), ": ",
                   absl::string_view(problem.data(), problem.size())));
}

// The header's text; empty data behind it is fine.
absl::StatusOr<std::string_view> HeaderText(std::span<const std::byte> file, std::string_view where,
                                            const SafetensorsLimits& limits) {
  static_assert(std::endian::native == std::endian::little, "the length is read as it lies");
  if (file.size() < kLengthBytes) return Bad(where, "too short to be a safetensors file");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > limits.max_header_bytes) {
    return Bad(where,
               absl::StrCat("the header claims ", length, " bytes, more than the ",
                            limits.max_header_bytes, " allowed; is this a safetensors file?"));
  }
  if (length > file.size() - kLengthBytes) {
    return Bad(where, absl::StrCat("the header claims ", length, " bytes but only ",
                                   file.size() - kLengthBytes, " follow; the file is cut short"));
  }
  return std::string_view(reinterpret_cast<const char*>(file.data()) + kLengthBytes,
                          static_cast<size_t>(length));
}

absl::StatusOr<std::vector<int64_t>> ReadShape(const JsonFields& fields,
                                               const SafetensorsLimits& limits) {
  const std::string expectation =
      absl::StrCat("a list of at most ", limits.max_rank, " sizes, each an integer >= 0");
  const json* list = fields.Find("shape");
  if (list == nullptr || !list->is_array() || list->size() > limits.max_rank) {
    return fields.Error("shape", expectation);
  }
  std::vector<int64_t> shape;
  for (const json& size : *list) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > uint64_t{INT64_MAX}) {
      return fields.Error("shape", expectation);
    }
    shape.push_back(size.get<int64_t>());
  }
  return shape;
}

absl::StatusOr<int64_t> ByteCount(const JsonFields& fields, const SafetensorsEntry& entry,
                                  int64_t element_bytes) {
  int64_t bytes = element_bytes;
  for (const int64_t size : entry.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return fields.Error("shape", "small enough that its size in bytes fits 63 bits");
    }
  }
  return bytes;
}

// Sets entry->data to the bytes that data_offsets names, which must be as many as the shape needs.
absl::Status ReadData(const JsonFields& fields, std::span<const std::byte> data,
                      int64_t element_bytes, SafetensorsEntry* entry) {
  const json* offsets = fields.Find("data_offsets");
  if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2 ||
      !offsets->at(0).is_number_unsigned() || !offsets->at(1).is_number_unsigned()) {
    return fields.Error("data_offsets", "[begin, end], two integers >= 0");
  }
  const auto begin = offsets->at(0).get<uint64_t>();
  const auto end = offsets->at(1).get<uint64_t>();
  if (begin > end || end > data.size()) {
    return fields.Error("data_offsets", absl::StrCat("increasing and within the ", data.size(),
                                                     " bytes of data in the file"));
  }
  QUIRE_ASSIGN_OR_RETURN(const int64_t bytes, ByteCount(fields, *entry, element_bytes));
  if (end - begin != static_cast<uint64_t>(bytes)) {
    return fields.Error("data_offsets",
                        absl::StrCat(bytes, " bytes apart, as dtype ", entry->dtype_name,
                                     " and shape ", ShapeName(entry->shape), " need"));
  }
  entry->data = data.subspan(begin, end - begin);
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsEntry> ReadEntry(const std::string& name, const json& object,
                                           std::span<const std::byte> data, std::string_view where,
                                           const SafetensorsLimits& limits) {
  SafetensorsEntry entry;
  entry.name = name;
  const std::string place = absl::StrCat(std::string(where), ": tensor '", name, "'");
  if (!object.is_object()) return Bad(place, "must be described by an object");
  const JsonFields fields(object, place);
  QUIRE_ASSIGN_OR_RETURN(entry.dtype_name, fields.StringOr("dtype", ""));
  const DtypeInfo* dtype = FindDtype(entry.dtype_name);
  if (dtype == nullptr) return fields.Error("dtype", "a type that safetensors has, such as BF16");
  entry.dtype = dtype->dtype;
  QUIRE_ASSIGN_OR_RETURN(entry.shape, ReadShape(fields, limits));
  QUIRE_RETURN_IF_ERROR(ReadData(fields, data, dtype->bytes, &entry));
  return entry;
}

// The format wants the data covered exactly: hidden bytes could carry anything, and an overlap
// means that two names share memory.
absl::Status CheckCoverage(const std::vector<SafetensorsEntry>& sorted,
                           std::span<const std::byte> data, std::string_view where) {
  const std::byte* expected = data.data();
  for (const SafetensorsEntry& entry : sorted) {
    if (entry.data.data() != expected) {
      return Bad(where, absl::StrCat("tensor '", entry.name, "' starts at byte ",
                                     entry.data.data() - data.data(), " of the data, but ",
                                     expected - data.data(),
                                     " is where the tensor before it ends: no gaps and no "
                                     "overlaps are allowed"));
    }
    expected += entry.data.size();
  }
  const auto left = data.data() + data.size() - expected;
  if (left != 0) return Bad(where, absl::StrCat(left, " bytes of data belong to no tensor"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensors(std::span<const std::byte> file,
                                                               std::string_view where,
                                                               const SafetensorsLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const std::string_view text, HeaderText(file, where, limits));
  if (text.empty() || text.front() != '{') return Bad(where, "the header must start with '{'");
  QUIRE_ASSIGN_OR_RETURN(const json header, ParseJson(text, where));
  const std::span<const std::byte> data = file.subspan(kLengthBytes + text.size());

  std::vector<SafetensorsEntry> entries;
  entries.reserve(header.size());
  for (const auto& [name, object] : header.items()) {
    if (name == kMetadataKey) continue;
    QUIRE_ASSIGN_OR_RETURN(SafetensorsEntry entry, ReadEntry(name, object, data, where, limits));
    entries.push_back(std::move(entry));
  }
  // Empty tensors go first where several start at one place, so that they fit between neighbours.
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.data.data(), a.data.size()) < std::pair(b.data.data(), b.data.size());
  });
  QUIRE_RETURN_IF_ERROR(CheckCoverage(entries, data, where));
  return entries;
}

std::string ShapeName(std::span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace quire
