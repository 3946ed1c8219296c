#include "core/model/quant_grouped.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/quant_tensors.h"

namespace quire {
namespace {

constexpr int64_t kWordBits = 32;

// Both formats put several codes into a 32-bit word. GPTQ's words hold consecutive inputs of an
// output, AWQ's outputs of an input, in this order, which suits its kernels.
constexpr int64_t kAwqPlaceOfOutput[] = {0, 4, 1, 5, 2, 6, 3, 7};

struct CodeReader {
  const SafetensorsEntry* words;
  int64_t words_a_row;
  int64_t bits;

  uint32_t At(int64_t row, int64_t word, int64_t place) const {
    const uint32_t mask = (uint32_t{1} << bits) - 1;
    return (QuantWord(*words, row * words_a_row + word) >> (place * bits)) & mask;
  }
};

// `index` along the packed dimension of consecutive codes, as in GPTQ.
struct InOrder {
  static int64_t Place(int64_t index, int64_t per_word) { return index % per_word; }
};
struct AwqOrder {
  static int64_t Place(int64_t index, int64_t per_word) {
    return kAwqPlaceOfOutput[index % per_word];
  }
};

// Zero points and scales of all groups, [groups, outputs].
struct GroupParameters {
  std::vector<float> zeros;
  std::vector<float> scales;
  std::vector<int32_t> group_of_input;
};

constexpr int64_t kInputsAtOnce = 16;  // so many floats are a cache line

class GroupedMatrix : public EncodedMatrix {
 public:
  GroupedMatrix(int64_t rows, int64_t cols, CodeReader codes, GroupParameters parameters)
      : EncodedMatrix(rows, cols), codes_(codes), parameters_(std::move(parameters)) {}

  // The file has outputs side by side, the matrix inputs: a few inputs of all outputs of the tile
  // are computed, then written output by output.
  void Decode(const MatrixTile& tile, float* out) const override {
    std::array<float, kInputsAtOnce * kTileRows> values;
    for (int64_t begin = 0; begin < tile.cols; begin += kInputsAtOnce) {
      const int64_t inputs = std::min(kInputsAtOnce, tile.cols - begin);
      for (int64_t k = 0; k < inputs; ++k) {
        DecodeInput(tile, tile.col + begin + k, values.data() + k * kTileRows);
      }
      for (int64_t n = 0; n < tile.rows; ++n) {
        float* row = out + n * tile.cols + begin;
        for (int64_t k = 0; k < inputs; ++k)
          row[k] = values[static_cast<size_t>(k * kTileRows + n)];
      }
    }
  }

 protected:
  // Codes of an input for `rows` outputs from `row` on.
  virtual void ReadCodes(int64_t input, int64_t row, int64_t rows, uint32_t* codes) const = 0;

  const CodeReader codes_;

 private:
  void DecodeInput(const MatrixTile& tile, int64_t input, float* values) const {
    std::array<uint32_t, kTileRows> codes;
    ReadCodes(input, tile.row, tile.rows, codes.data());
    const int64_t group = parameters_.group_of_input[static_cast<size_t>(input)];
    const float* zeros = parameters_.zeros.data() + group * rows() + tile.row;
    const float* scales = parameters_.scales.data() + group * rows() + tile.row;
    for (int64_t n = 0; n < tile.rows; ++n) {
      // Through int32_t, for which processors have a conversion.
      const auto code = static_cast<float>(static_cast<int32_t>(codes[static_cast<size_t>(n)]));
      values[n] = (code - zeros[n]) * scales[n];
    }
  }

  const GroupParameters parameters_;
};

class GptqMatrix final : public GroupedMatrix {
 public:
  using GroupedMatrix::GroupedMatrix;

 private:
  void ReadCodes(int64_t input, int64_t row, int64_t rows, uint32_t* codes) const override {
    const int64_t per_word = kWordBits / codes_.bits;
    const int64_t first = input / per_word * codes_.words_a_row + row;
    const int64_t shift = input % per_word * codes_.bits;
    const uint32_t mask = (uint32_t{1} << codes_.bits) - 1;
    for (int64_t n = 0; n < rows; ++n) {
      codes[n] = (QuantWord(*codes_.words, first + n) >> shift) & mask;
    }
  }
};

class AwqMatrix final : public GroupedMatrix {
 public:
  using GroupedMatrix::GroupedMatrix;

 private:
  void ReadCodes(int64_t input, int64_t row, int64_t rows, uint32_t* codes) const override {
    constexpr int64_t kPerWord = 8;
    const int64_t first = input * codes_.words_a_row + row / kPerWord;
    for (int64_t w = 0; w < rows / kPerWord; ++w) {
      const uint32_t word = QuantWord(*codes_.words, first + w);
      for (int64_t i = 0; i < kPerWord; ++i) {
        codes[w * kPerWord + i] = (word >> (4 * kAwqPlaceOfOutput[i])) & 0xf;
      }
    }
  }
};

absl::Status CheckDivides(const SafetensorsEntry& entry, int64_t size, const char* what,
                          int64_t unit, const char* units) {
  if (size % unit == 0) return absl::OkStatus();
  return QuantError(entry, absl::StrCat("belongs to a layer of ", size, " ", what,
                                        ", which is no multiple of ", units, ", ", unit));
}

template <typename Order>
std::vector<float> ReadZeros(const CodeReader& codes, int64_t groups, int64_t outputs,
                             float added) {
  std::vector<float> zeros;
  zeros.reserve(static_cast<size_t>(groups * outputs));
  const int64_t per_word = kWordBits / codes.bits;
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t output = 0; output < outputs; ++output) {
      const uint32_t code = codes.At(group, output / per_word, Order::Place(output, per_word));
      zeros.push_back(static_cast<float>(code) + added);
    }
  }
  return zeros;
}

absl::StatusOr<std::vector<int32_t>> ReadGroupIndex(const QuantConfig& config,
                                                    const GroupedTensors& tensors, int64_t inputs,
                                                    int64_t groups) {
  std::vector<int32_t> index;
  if (tensors.group_index == nullptr) {
    if (config.needs_group_index) {
      return QuantError(*tensors.codes, "comes without its 'g_idx', which desc_act calls for");
    }
    for (int64_t k = 0; k < inputs; ++k) {
      index.push_back(static_cast<int32_t>(k * groups / inputs));
    }
    return index;
  }
  const SafetensorsEntry& entry = *tensors.group_index;
  QUIRE_RETURN_IF_ERROR(CheckQuantTensor(entry, {"I32"}, {inputs}));
  for (int64_t k = 0; k < inputs; ++k) {
    const auto group = static_cast<int32_t>(QuantWord(entry, k));
    if (group < 0 || group >= groups) {
      return QuantError(entry, absl::StrCat("puts input ", k, " into group ", group, ", but there ",
                                            "are ", groups));
    }
    index.push_back(group);
  }
  return index;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EncodedMatrix>> OpenGrouped(const QuantConfig& config,
                                                           const GroupedTensors& tensors,
                                                           int64_t rows, int64_t cols) {
  const bool awq = config.method == QuantMethod::kAwq;
  const int64_t per_word = kWordBits / config.bits;
  const int64_t group_size = config.group_size == 0 ? cols : config.group_size;
  QUIRE_RETURN_IF_ERROR(CheckDivides(*tensors.codes, cols, "inputs", group_size, "group_size"));
  constexpr char kPerWord[] = "the codes in a word";
  QUIRE_RETURN_IF_ERROR(CheckDivides(*tensors.zeros, rows, "outputs", per_word, kPerWord));
  if (!awq) {
    QUIRE_RETURN_IF_ERROR(CheckDivides(*tensors.codes, cols, "inputs", per_word, kPerWord));
  }
  const int64_t groups = cols / group_size;
  const std::vector<int64_t> shape = awq ? std::vector<int64_t>{cols, rows / per_word}
                                         : std::vector<int64_t>{cols / per_word, rows};
  QUIRE_RETURN_IF_ERROR(CheckQuantTensor(*tensors.codes, {"I32", "U32"}, shape));
  QUIRE_RETURN_IF_ERROR(
      CheckQuantTensor(*tensors.zeros, {"I32", "U32"}, {groups, rows / per_word}));
  QUIRE_RETURN_IF_ERROR(CheckQuantTensor(*tensors.scales, {"F16", "BF16", "F32"}, {groups, rows}));

  GroupParameters parameters;
  QUIRE_ASSIGN_OR_RETURN(parameters.scales, ReadScales(*tensors.scales));
  QUIRE_ASSIGN_OR_RETURN(parameters.group_of_input, ReadGroupIndex(config, tensors, cols, groups));
  const CodeReader zeros{tensors.zeros, rows / per_word, config.bits};
  // Where zero points are stored less one, the largest code stands for one more than it: it does
  // not wrap around.
  parameters.zeros = awq ? ReadZeros<AwqOrder>(zeros, groups, rows, 0)
                         : ReadZeros<InOrder>(zeros, groups, rows, config.zeros_less_one ? 1 : 0);
  const CodeReader codes{tensors.codes, shape[1], config.bits};
  if (awq) return std::make_unique<AwqMatrix>(rows, cols, codes, std::move(parameters));
  return std::make_unique<GptqMatrix>(rows, cols, codes, std::move(parameters));
}

}  // namespace quire
