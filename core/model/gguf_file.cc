#include "core/model/gguf_file.h"

#include <bit>
#include <cstring>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/safetensors.h"

namespace quire {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they lie");

constexpr char kMagic[] = {'G', 'G', 'U', 'F'};
constexpr uint32_t kMaxRank = 4;
constexpr uint32_t kDefaultAlignment = 32;
constexpr uint32_t kMaxAlignment = 1 << 16;
constexpr char kAlignmentKey[] = "general.alignment";

// A name as the file has it, safe to print.
std::string Shown(std::string_view name) {
  const bool cut = name.size() > kGgufShownBytes;
  const std::string_view part = name.substr(0, kGgufShownBytes);
  return absl::StrCat("'", absl::CHexEscape(std::string(part)), cut ? "...'" : "'");
}

// Bytes of a number or a boolean; 0 for what has no fixed size or is no type.
size_t FixedBytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return 2;
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
    case GgufValueType::kFloat32:
      return 4;
    case GgufValueType::kUint64:
    case GgufValueType::kInt64:
    case GgufValueType::kFloat64:
      return 8;
    case GgufValueType::kString:
    case GgufValueType::kArray:
      break;
  }
  return 0;
}

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> file, std::string_view where, const GgufLimits& limits)
      : file_(file), where_(where), limits_(limits) {}

  absl::StatusOr<GgufFile> Parse();

 private:
  struct TensorPlace {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  absl::Status Error(std::string_view problem) const {
    return absl::InvalidArgumentError(absl::StrCat(where_, ": ", std::string(problem)));
  }
  absl::StatusOr<std::span<const std::byte>> Take(uint64_t bytes, std::string_view what);
  template <typename T>
  absl::StatusOr<T> Read(std::string_view what);
  absl::StatusOr<std::string_view> ReadString(uint64_t max_bytes, std::string_view what);

  absl::Status ReadVersion();
  absl::Status ReadCounts();
  absl::Status ReadPair();
  absl::StatusOr<GgufValue> ReadValue(const std::string& what);
  absl::Status SkipElements(const GgufValue& value, const std::string& what);
  absl::Status ReadTensor();
  absl::Status ReadShape(const std::string& what, GgufTensor* tensor);
  absl::StatusOr<uint64_t> TensorBytes(const std::string& what, const GgufTensor& tensor) const;
  absl::Status ReadAlignment();
  absl::Status PlaceTensors();

  const std::span<const std::byte> file_;
  const std::string where_;
  const GgufLimits& limits_;
  size_t position_ = 0;
  uint64_t num_tensors_ = 0;
  uint64_t num_keys_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  absl::flat_hash_set<std::string> tensor_names_;
  std::vector<TensorPlace> places_;
  GgufFile out_;
};

absl::StatusOr<GgufFile> GgufParser::Parse() {
  QUIRE_RETURN_IF_ERROR(ReadVersion());
  QUIRE_RETURN_IF_ERROR(ReadCounts());
  for (uint64_t i = 0; i < num_keys_; ++i) QUIRE_RETURN_IF_ERROR(ReadPair());
  QUIRE_RETURN_IF_ERROR(ReadAlignment());
  for (uint64_t i = 0; i < num_tensors_; ++i) QUIRE_RETURN_IF_ERROR(ReadTensor());
  QUIRE_RETURN_IF_ERROR(PlaceTensors());
  return std::move(out_);
}

absl::StatusOr<std::span<const std::byte>> GgufParser::Take(uint64_t bytes, std::string_view what) {
  if (bytes > file_.size() - position_) {
    return Error(absl::StrCat(std::string(what), " needs ", bytes, " bytes, but only ",
                              file_.size() - position_, " are left: the file is cut short"));
  }
  const auto taken = file_.subspan(position_, static_cast<size_t>(bytes));
  position_ += taken.size();
  return taken;
}

template <typename T>
absl::StatusOr<T> GgufParser::Read(std::string_view what) {
  QUIRE_ASSIGN_OR_RETURN(const auto bytes, Take(sizeof(T), what));
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

absl::StatusOr<std::string_view> GgufParser::ReadString(uint64_t max_bytes, std::string_view what) {
  QUIRE_ASSIGN_OR_RETURN(const auto length, Read<uint64_t>(what));
  if (length > max_bytes) {
    return Error(absl::StrCat(std::string(what), " has ", length, " bytes, more than the ",
                              max_bytes, " allowed"));
  }
  QUIRE_ASSIGN_OR_RETURN(const auto bytes, Take(length, what));
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

absl::Status GgufParser::ReadVersion() {
  if (file_.size() < sizeof(kMagic) || std::memcmp(file_.data(), kMagic, sizeof(kMagic)) != 0) {
    return Error("does not begin with 'GGUF', so it is no GGUF file");
  }
  position_ = sizeof(kMagic);
  QUIRE_ASSIGN_OR_RETURN(out_.version, Read<uint32_t>("the version"));
  if (out_.version == 2 || out_.version == 3) return absl::OkStatus();
  const bool big_endian = out_.version != 0 && (out_.version & 0xffff) == 0;
  return Error(absl::StrCat("is of version ", out_.version, big_endian ? " or big-endian" : "",
                            "; versions 2 and 3, little-endian, can be read"));
}

absl::Status GgufParser::ReadCounts() {
  QUIRE_ASSIGN_OR_RETURN(num_tensors_, Read<uint64_t>("the number of tensors"));
  QUIRE_ASSIGN_OR_RETURN(num_keys_, Read<uint64_t>("the number of keys"));
  if (num_tensors_ > limits_.max_tensors) {
    return Error(absl::StrCat("claims ", num_tensors_, " tensors, more than the ",
                              limits_.max_tensors, " allowed"));
  }
  if (num_keys_ > limits_.max_keys) {
    return Error(absl::StrCat("claims ", num_keys_, " keys of metadata, more than the ",
                              limits_.max_keys, " allowed"));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadPair() {
  const std::string number = absl::StrCat("key ", out_.metadata.size(), " of the metadata");
  QUIRE_ASSIGN_OR_RETURN(const std::string_view key, ReadString(limits_.max_name_bytes, number));
  const std::string what = absl::StrCat("key ", Shown(key));
  QUIRE_ASSIGN_OR_RETURN(const GgufValue value, ReadValue(what));
  if (out_.metadata.emplace(key, value).second) return absl::OkStatus();
  return Error(absl::StrCat(what, " is there twice"));
}

absl::StatusOr<GgufValue> GgufParser::ReadValue(const std::string& what) {
  GgufValue value;
  QUIRE_ASSIGN_OR_RETURN(const auto type, Read<uint32_t>(what));
  value.type = static_cast<GgufValueType>(type);
  if (value.type == GgufValueType::kArray) {
    value.is_array = true;
    QUIRE_ASSIGN_OR_RETURN(const auto element, Read<uint32_t>(what));
    value.type = static_cast<GgufValueType>(element);
    QUIRE_ASSIGN_OR_RETURN(value.count, Read<uint64_t>(what));
    if (value.type == GgufValueType::kArray) {
      return Error(absl::StrCat(what, " is an array of arrays, which no model needs"));
    }
    if (value.count > limits_.max_array_elements) {
      return Error(absl::StrCat(what, " is an array of ", value.count, " elements, more than the ",
                                limits_.max_array_elements, " allowed"));
    }
  }
  if (value.type != GgufValueType::kString && FixedBytes(value.type) == 0) {
    return Error(absl::StrCat(what, " is of type ", static_cast<uint32_t>(value.type),
                              ", which GGUF does not have"));
  }
  const size_t begin = position_;
  QUIRE_RETURN_IF_ERROR(SkipElements(value, what));
  value.data = file_.subspan(begin, position_ - begin);
  return value;
}

absl::Status GgufParser::SkipElements(const GgufValue& value, const std::string& what) {
  const size_t element_bytes = FixedBytes(value.type);
  if (element_bytes > 0) return Take(value.count * element_bytes, what).status();
  for (uint64_t i = 0; i < value.count; ++i) {
    QUIRE_RETURN_IF_ERROR(ReadString(limits_.max_string_bytes, what).status());
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadTensor() {
  GgufTensor tensor;
  const std::string number = absl::StrCat("the name of tensor ", out_.tensors.size());
  QUIRE_ASSIGN_OR_RETURN(const std::string_view name, ReadString(limits_.max_name_bytes, number));
  tensor.name = std::string(name);
  const std::string what = absl::StrCat("tensor ", Shown(name));
  if (!tensor_names_.insert(tensor.name).second) {
    return Error(absl::StrCat(what, " is there twice"));
  }
  QUIRE_RETURN_IF_ERROR(ReadShape(what, &tensor));
  QUIRE_ASSIGN_OR_RETURN(const auto type, Read<uint32_t>(what));
  tensor.type = FindGgufTensorType(type);
  if (tensor.type == nullptr) {
    return Error(absl::StrCat(what, " has type ", GgufTensorTypeName(type), "; ",
                              LoadableGgufTensorTypes(), " can be loaded"));
  }
  TensorPlace place;
  QUIRE_ASSIGN_OR_RETURN(place.offset, Read<uint64_t>(what));
  QUIRE_ASSIGN_OR_RETURN(place.bytes, TensorBytes(what, tensor));
  places_.push_back(place);
  out_.tensors.push_back(std::move(tensor));
  return absl::OkStatus();
}

absl::Status GgufParser::ReadShape(const std::string& what, GgufTensor* tensor) {
  QUIRE_ASSIGN_OR_RETURN(const auto rank, Read<uint32_t>(what));
  if (rank == 0 || rank > kMaxRank) {
    return Error(absl::StrCat(what, " has ", rank, " dimensions; 1 to ", kMaxRank, " are allowed"));
  }
  tensor->shape.resize(rank);
  for (uint32_t i = 0; i < rank; ++i) {
    QUIRE_ASSIGN_OR_RETURN(const auto size, Read<uint64_t>(what));
    if (size == 0 || size > uint64_t{INT64_MAX}) {
      return Error(absl::StrCat(what, " has a dimension of size ", size));
    }
    tensor->shape[rank - 1 - i] = static_cast<int64_t>(size);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> GgufParser::TensorBytes(const std::string& what,
                                                 const GgufTensor& tensor) const {
  const GgufTensorType& type = *tensor.type;
  if (tensor.shape.back() % type.block_elements != 0) {
    return Error(absl::StrCat(what, " has rows of ", tensor.shape.back(), ", no multiple of the ",
                              type.block_elements, " elements of a block of ", type.name));
  }
  int64_t bytes = tensor.shape.back() / type.block_elements;
  bool overflows = __builtin_mul_overflow(bytes, type.block_bytes, &bytes);
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
    overflows = overflows || __builtin_mul_overflow(bytes, tensor.shape[i], &bytes);
  }
  if (!overflows) return static_cast<uint64_t>(bytes);
  return Error(absl::StrCat(what, " has shape ", ShapeName(tensor.shape),
                            ", whose size in bytes does not fit 63 bits"));
}

absl::Status GgufParser::ReadAlignment() {
  const auto it = out_.metadata.find(kAlignmentKey);
  if (it == out_.metadata.end()) return absl::OkStatus();
  uint32_t alignment = 0;
  if (it->second.type == GgufValueType::kUint32 && !it->second.is_array) {
    std::memcpy(&alignment, it->second.data.data(), sizeof(alignment));
  }
  if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
    return Error(absl::StrCat("key '", kAlignmentKey, "' must be a 32-bit power of two of at most ",
                              kMaxAlignment));
  }
  alignment_ = alignment;
  return absl::OkStatus();
}

// The data begins at the next aligned place of the file. Tensors follow in the order of the header.
absl::Status GgufParser::PlaceTensors() {
  const auto align = [this](uint64_t size) { return (size + alignment_ - 1) & ~(alignment_ - 1); };
  const uint64_t begin = align(position_);
  const std::span<const std::byte> data =
      file_.subspan(static_cast<size_t>(std::min<uint64_t>(begin, file_.size())));
  uint64_t expected = 0;
  uint64_t end = 0;
  for (size_t i = 0; i < places_.size(); ++i) {
    const std::string what = absl::StrCat("tensor ", Shown(out_.tensors[i].name));
    const auto [offset, bytes] = places_[i];
    if (offset != expected) {
      return Error(absl::StrCat(what, " is at offset ", offset, " of the data, but must be at ",
                                expected, ", aligned and behind the tensor before it"));
    }
    if (offset > data.size() || bytes > data.size() - offset) {
      return Error(absl::StrCat(what, " needs ", bytes, " bytes at offset ", offset,
                                " of the data, but there are only ", data.size(),
                                " bytes of it: the file is cut short"));
    }
    out_.tensors[i].data = data.subspan(static_cast<size_t>(offset), static_cast<size_t>(bytes));
    end = offset + bytes;
    expected = align(end);
  }
  if (data.size() <= expected) return absl::OkStatus();
  return Error(absl::StrCat(data.size() - expected, " bytes behind the data belong to no tensor"));
}

}  // namespace

absl::StatusOr<GgufFile> ParseGguf(std::span<const std::byte> file, std::string_view where,
                                   const GgufLimits& limits) {
  return GgufParser(file, where, limits).Parse();
}

}  // namespace quire
