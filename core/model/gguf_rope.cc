#include "core/model/gguf_rope.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"
#include "core/model/rope_reader.h"
#include "core/model/safetensors.h"
#include "kernels/api/float_convert.h"

namespace quire {
namespace {

class GgufRopeReader {
 public:
  GgufRopeReader(const GgufFields& fields, const std::string& architecture, ModelConfig* config)
      : fields_(fields),
        prefix_(absl::StrCat(architecture, ".rope.")),
        config_(*config),
        out_(config->rope) {}

  absl::Status Read();

 private:
  std::string Key(const char* name) const { return absl::StrCat(prefix_, name); }
  absl::Status ReadKind();
  absl::Status ReadYarn(double factor);
  absl::Status ReadFactors(const GgufTensor& tensor);

  const GgufFields& fields_;
  const std::string prefix_;
  const ModelConfig& config_;
  RopeConfig& out_;
};

absl::Status GgufRopeReader::Read() {
  QUIRE_ASSIGN_OR_RETURN(out_.theta, fields_.NumberOr(Key("freq_base"), 10000, 1, kMaxRopeTheta));
  const int64_t head_dim = config_.head_dim;
  QUIRE_RETURN_IF_ERROR(
      fields_.IntOr(Key("dimension_count"), head_dim, head_dim, head_dim).status());
  QUIRE_RETURN_IF_ERROR(ReadKind());
  for (const GgufTensor& tensor : fields_.file().tensors) {
    if (tensor.name == GgufRopeFactors()) return ReadFactors(tensor);
  }
  return absl::OkStatus();
}

absl::Status GgufRopeReader::ReadKind() {
  const std::string type_key = Key("scaling.type");
  QUIRE_ASSIGN_OR_RETURN(const std::string_view type, fields_.StringOr(type_key, "linear"));
  // The second name is an older one; no factor may be written as 0.
  const std::string factor_key =
      fields_.Has(Key("scaling.factor")) ? Key("scaling.factor") : Key("scale_linear");
  QUIRE_ASSIGN_OR_RETURN(const double factor, fields_.NumberOr(factor_key, 1, 0, kMaxRopeFactor));
  if (type == "yarn") return ReadYarn(factor);
  if (type == "none") return absl::OkStatus();
  if (type != "linear") return fields_.Error(type_key, "\"none\", \"linear\" or \"yarn\"");
  if (factor == 0 || factor == 1) return absl::OkStatus();
  if (factor < 1) return fields_.Error(factor_key, "0, for none, or 1 or more");
  out_.kind = RopeKind::kLinear;
  out_.factor = factor;
  return absl::OkStatus();
}

absl::Status GgufRopeReader::ReadYarn(double factor) {
  if (factor < 1) return fields_.Error(Key("scaling.factor"), "1 or more");
  if (out_.theta <= 1) return fields_.Error(Key("freq_base"), "above 1 with \"yarn\"");
  out_.kind = RopeKind::kYarn;
  out_.factor = factor;
  QUIRE_ASSIGN_OR_RETURN(out_.original_max_positions,
                         fields_.IntOr(Key("scaling.original_context_length"),
                                       config_.max_positions, 1, kMaxPositions));
  QUIRE_ASSIGN_OR_RETURN(out_.beta_fast, fields_.NumberOr(Key("scaling.yarn_beta_fast"), 32,
                                                          kMinRopeFactor, kMaxRopeFactor));
  QUIRE_ASSIGN_OR_RETURN(out_.beta_slow, fields_.NumberOr(Key("scaling.yarn_beta_slow"), 1,
                                                          kMinRopeFactor, kMaxRopeFactor));
  if (out_.beta_fast < out_.beta_slow) {
    return fields_.Error(Key("scaling.yarn_beta_fast"), "at least yarn_beta_slow");
  }
  out_.attention_factor = YarnScale(factor, 1);
  return absl::OkStatus();
}

// A divisor for each frequency is the longrope form, here the same for short and long contexts.
absl::Status GgufRopeReader::ReadFactors(const GgufTensor& tensor) {
  const auto error = [&](std::string_view problem) {
    return absl::InvalidArgumentError(
        absl::StrCat(fields_.where(), ": tensor '", tensor.name, "' ", std::string(problem)));
  };
  const auto count = static_cast<size_t>(config_.head_dim / 2);
  if (tensor.type->plain != kernels::DType::kF32 || tensor.shape.size() != 1 ||
      tensor.shape[0] != config_.head_dim / 2) {
    return error(absl::StrCat("has type ", tensor.type->name, " and shape ",
                              ShapeName(tensor.shape), ", but must be F32 with ", count,
                              " elements"));
  }
  if (out_.kind != RopeKind::kDefault) return error("comes with a scaling of another kind");
  std::vector<float> factors(count);
  kernels::ConvertToFloat(tensor.data.data(), kernels::DType::kF32, count, factors.data());
  if (!std::all_of(factors.begin(), factors.end(), IsRopeFactor)) {
    return error(absl::StrCat("has a factor outside [", kMinRopeFactor, ", ", kMaxRopeFactor, "]"));
  }
  out_.kind = RopeKind::kLongRope;
  out_.original_max_positions = config_.max_positions;
  out_.short_factors.assign(factors.begin(), factors.end());
  out_.long_factors = out_.short_factors;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadGgufRope(const GgufFields& fields, const std::string& architecture,
                          ModelConfig* config) {
  return GgufRopeReader(fields, architecture, config).Read();
}

}  // namespace quire
