#include "core/model/rope_reader.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/config_limits.h"
#include "core/model/json_fields.h"

namespace quire {
namespace {

using nlohmann::json;

constexpr double kGemma3Theta = 1e6;  // of layers without a window

// One rotation: `rope` holds its own fields, `top` those of the whole file.
class RopeReader {
 public:
  RopeReader(const JsonFields& top, const JsonFields& rope, const RopeDefaults& defaults,
             const ModelConfig& config)
      : top_(top), rope_(rope), defaults_(defaults), config_(config) {}

  absl::StatusOr<RopeConfig> Read();

 private:
  absl::Status ReadRotaryDim();
  absl::Status ReadKind();
  absl::Status ReadOriginalLength(int64_t min);
  absl::Status ReadFactor();
  absl::Status ReadLlama3();
  absl::Status ReadYarn();
  absl::Status ReadLongRope();
  absl::StatusOr<std::vector<double>> ReadFactors(const char* field);
  // How much longer the context is than the original one; `factor` where it is given.
  absl::Status ReadFactorOrRatio();

  const JsonFields& top_;
  const JsonFields& rope_;
  const RopeDefaults& defaults_;
  const ModelConfig& config_;
  RopeConfig out_;
};

absl::StatusOr<RopeConfig> RopeReader::Read() {
  for (const char* nested : {"full_attention", "sliding_attention"}) {
    if (rope_.Has(nested)) return rope_.Error(nested, "absent: all layers rotate alike here");
  }
  QUIRE_ASSIGN_OR_RETURN(out_.theta,
                         top_.NumberOr("rope_theta", defaults_.theta, 1, kMaxRopeTheta));
  QUIRE_ASSIGN_OR_RETURN(out_.theta, rope_.NumberOr("rope_theta", out_.theta, 1, kMaxRopeTheta));
  QUIRE_RETURN_IF_ERROR(ReadRotaryDim());
  QUIRE_RETURN_IF_ERROR(ReadKind());
  return out_;
}

absl::Status RopeReader::ReadRotaryDim() {
  const JsonFields& fields = rope_.Has("partial_rotary_factor") ? rope_ : top_;
  QUIRE_ASSIGN_OR_RETURN(const double part, fields.NumberOr("partial_rotary_factor", 1, 0, 1));
  if (part == 1) return absl::OkStatus();
  if (!defaults_.partial) return fields.Error("partial_rotary_factor", "1");
  out_.rotary_dim = static_cast<int32_t>(config_.head_dim * part);
  if (out_.rotary_dim < 2 || out_.rotary_dim % 2 != 0) {
    return fields.Error("partial_rotary_factor",
                        absl::StrCat("such that an even number of a head's ", config_.head_dim,
                                     " elements rotate"));
  }
  return absl::OkStatus();
}

absl::Status RopeReader::ReadKind() {
  const char* field = rope_.Has("rope_type") ? "rope_type" : "type";
  QUIRE_ASSIGN_OR_RETURN(std::string type, rope_.StringOr(field, "default"));
  if (defaults_.longrope_alone && (type == "su" || type == "yarn")) type = "longrope";
  if (type == "default") return absl::OkStatus();
  if (type == "linear") {
    out_.kind = RopeKind::kLinear;
    return ReadFactor();
  }
  if (type == "llama3") return ReadLlama3();
  if (type == "yarn") return ReadYarn();
  if (type == "longrope") return ReadLongRope();
  if (type == "dynamic") {
    return rope_.Error(field,
                       "another kind than \"dynamic\", which changes the keys of a text while it "
                       "grows; \"linear\" and \"yarn\" stretch it once and for all");
  }
  return rope_.Error(field,
                     "\"default\", \"linear\", \"llama3\", \"yarn\" or \"longrope\", the kinds "
                     "that are supported");
}

// Phi-3 keeps it at the top; where both are given, that one counts.
absl::Status RopeReader::ReadOriginalLength(int64_t min) {
  constexpr char kField[] = "original_max_position_embeddings";
  const int64_t fallback = defaults_.original_max_positions > 0 ? defaults_.original_max_positions
                                                                : config_.max_positions;
  const JsonFields& fields = top_.Has(kField) ? top_ : rope_;
  QUIRE_ASSIGN_OR_RETURN(out_.original_max_positions,
                         fields.IntOr(kField, fallback, min, kMaxPositions));
  return absl::OkStatus();
}

absl::Status RopeReader::ReadFactor() {
  QUIRE_ASSIGN_OR_RETURN(out_.factor, rope_.Number("factor", 1, kMaxRopeFactor));
  return absl::OkStatus();
}

absl::Status RopeReader::ReadFactorOrRatio() {
  const double ratio = static_cast<double>(config_.max_positions) / out_.original_max_positions;
  QUIRE_ASSIGN_OR_RETURN(out_.factor,
                         rope_.NumberOr("factor", ratio, kMinRopeFactor, kMaxRopeFactor));
  return absl::OkStatus();
}

absl::Status RopeReader::ReadLlama3() {
  out_.kind = RopeKind::kLlama3;
  QUIRE_RETURN_IF_ERROR(ReadFactor());
  QUIRE_ASSIGN_OR_RETURN(out_.low_freq_factor,
                         rope_.Number("low_freq_factor", 1e-6, kMaxRopeFactor));
  QUIRE_ASSIGN_OR_RETURN(out_.high_freq_factor,
                         rope_.Number("high_freq_factor", 1e-6, kMaxRopeFactor));
  if (out_.high_freq_factor <= out_.low_freq_factor) {
    return rope_.Error("high_freq_factor", "above low_freq_factor");
  }
  return ReadOriginalLength(1);
}

absl::Status RopeReader::ReadYarn() {
  out_.kind = RopeKind::kYarn;
  QUIRE_RETURN_IF_ERROR(ReadOriginalLength(1));
  QUIRE_RETURN_IF_ERROR(ReadFactorOrRatio());
  QUIRE_ASSIGN_OR_RETURN(out_.beta_fast,
                         rope_.NumberOr("beta_fast", 32, kMinRopeFactor, kMaxRopeFactor));
  QUIRE_ASSIGN_OR_RETURN(out_.beta_slow,
                         rope_.NumberOr("beta_slow", 1, kMinRopeFactor, kMaxRopeFactor));
  if (out_.beta_fast < out_.beta_slow) return rope_.Error("beta_fast", "at least beta_slow");
  QUIRE_ASSIGN_OR_RETURN(out_.truncate, rope_.BoolOr("truncate", true));
  if (out_.theta <= 1) return rope_.Error("rope_theta", "above 1 with \"yarn\"");
  QUIRE_ASSIGN_OR_RETURN(const double m, rope_.NumberOr("mscale", 0, 0, kMaxRopeFactor));
  QUIRE_ASSIGN_OR_RETURN(const double m_all,
                         rope_.NumberOr("mscale_all_dim", 0, 0, kMaxRopeFactor));
  const bool both = m > 0 && m_all > 0;
  const double scale =
      both ? YarnScale(out_.factor, m) / YarnScale(out_.factor, m_all) : YarnScale(out_.factor, 1);
  QUIRE_ASSIGN_OR_RETURN(out_.attention_factor,
                         rope_.NumberOr("attention_factor", scale, kMinRopeFactor, kMaxRopeFactor));
  return absl::OkStatus();
}

absl::Status RopeReader::ReadLongRope() {
  out_.kind = RopeKind::kLongRope;
  QUIRE_RETURN_IF_ERROR(ReadOriginalLength(2));
  QUIRE_RETURN_IF_ERROR(ReadFactorOrRatio());
  QUIRE_ASSIGN_OR_RETURN(out_.short_factors, ReadFactors("short_factor"));
  QUIRE_ASSIGN_OR_RETURN(out_.long_factors, ReadFactors("long_factor"));
  const double scale =
      out_.factor <= 1
          ? 1.0
          : std::sqrt(1 + std::log(out_.factor) / std::log(out_.original_max_positions));
  QUIRE_ASSIGN_OR_RETURN(out_.attention_factor,
                         rope_.NumberOr("attention_factor", scale, kMinRopeFactor, kMaxRopeFactor));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> RopeReader::ReadFactors(const char* field) {
  const int32_t rotary_dim = out_.rotary_dim > 0 ? out_.rotary_dim : config_.head_dim;
  const auto count = static_cast<size_t>(rotary_dim / 2);
  const std::string expectation =
      absl::StrCat("a list of ", count, " numbers in [", kMinRopeFactor, ", ", kMaxRopeFactor, "]");
  const json* list = rope_.Find(field);
  if (list == nullptr || !list->is_array() || list->size() != count) {
    return rope_.Error(field, expectation);
  }
  std::vector<double> factors;
  for (const json& value : *list) {
    if (!value.is_number() || !IsRopeFactor(value.get<double>())) {
      return rope_.Error(field, expectation);
    }
    factors.push_back(value.get<double>());
  }
  return factors;
}

const char* RopeField(const JsonFields& fields) {
  return fields.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
}

// The object under `field`; an empty one when absent.
absl::StatusOr<json> RopeObject(const JsonFields& fields, const char* field) {
  const json* object = fields.Find(field);
  if (object == nullptr) return json::object();
  if (!object->is_object()) return fields.Error(field, "an object");
  return *object;
}

absl::StatusOr<RopeConfig> ReadOne(const JsonFields& top, const JsonFields& parent,
                                   const char* field, const RopeDefaults& defaults,
                                   const ModelConfig& config) {
  QUIRE_ASSIGN_OR_RETURN(const json object, RopeObject(parent, field));
  const JsonFields rope(object, absl::StrCat(parent.where(), ": ", field));
  return RopeReader(top, rope, defaults, config).Read();
}

}  // namespace

double YarnScale(double factor, double m) {
  return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1.0;
}

bool IsRopeFactor(double factor) { return factor >= kMinRopeFactor && factor <= kMaxRopeFactor; }

absl::Status ReadRope(const JsonFields& fields, const RopeDefaults& defaults, ModelConfig* config) {
  QUIRE_ASSIGN_OR_RETURN(config->rope,
                         ReadOne(fields, fields, RopeField(fields), defaults, *config));
  return absl::OkStatus();
}

absl::Status ReadTwoRopes(const JsonFields& fields, ModelConfig* config) {
  const RopeDefaults defaults = {.theta = kGemma3Theta};
  const char* field = RopeField(fields);
  QUIRE_ASSIGN_OR_RETURN(const json object, RopeObject(fields, field));
  const JsonFields both(object, absl::StrCat(fields.where(), ": ", field));
  RopeConfig local;
  QUIRE_ASSIGN_OR_RETURN(local.theta,
                         fields.NumberOr("rope_local_base_freq", local.theta, 1, kMaxRopeTheta));
  if (both.Has("full_attention") || both.Has("sliding_attention")) {
    QUIRE_ASSIGN_OR_RETURN(config->rope,
                           ReadOne(fields, both, "full_attention", defaults, *config));
    // Not the top of the file, whose rope_theta is the other layers'.
    const json none = json::object();
    const RopeDefaults local_defaults = {.theta = local.theta};
    QUIRE_ASSIGN_OR_RETURN(config->window_rope,
                           ReadOne(JsonFields(none, fields.where()), both, "sliding_attention",
                                   local_defaults, *config));
    return absl::OkStatus();
  }
  QUIRE_ASSIGN_OR_RETURN(config->rope, ReadOne(fields, fields, field, defaults, *config));
  config->window_rope = local;
  return absl::OkStatus();
}

}  // namespace quire
