#include "server/rpc/capacity_codec.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/capacity/group_dial.h"
#include "core/text/quoted.h"
#include "kernels/api/dtype_names.h"
#include "server/rpc/id_fields.h"

namespace quire::server {
namespace {

constexpr int kMaxCounts = 64;
constexpr int kMaxForms = 8;

absl::Status CheckNumber(absl::string_view field, int number, int most) {
  if (number <= most) return absl::OkStatus();
  return InvalidField(field, absl::StrCat(": ", number, " are more than ", most));
}

absl::StatusOr<std::vector<int32_t>> DecodeCounts(
    absl::string_view field, const google::protobuf::RepeatedField<uint32_t>& values, int most,
    int32_t high) {
  QUIRE_RETURN_IF_ERROR(CheckNumber(field, values.size(), most));
  std::vector<int32_t> counts;
  for (const uint32_t value : values) {
    QUIRE_ASSIGN_OR_RETURN(const int32_t count, DecodeCount(field, value, 1, high));
    counts.push_back(count);
  }
  return counts;
}

absl::StatusOr<kernels::DType> DecodeKvDType(const std::string& name) {
  if (const auto dtype = kernels::DTypeOf(name); dtype.has_value()) return *dtype;
  return InvalidField(
      "kv_dtypes", absl::StrCat(": ", Quoted(name), " is none of bf16, f32, f16, fp8_e4m3, int8"));
}

absl::StatusOr<CapacityQuestion> DecodeQuestion(const v1::PlanCapacityRequest& request,
                                                const ServedCapacity& served) {
  constexpr int32_t kAny = std::numeric_limits<int32_t>::max();
  CapacityQuestion question;
  question.memory_bytes = served.kv_bytes;
  if (request.has_kv_bytes()) {
    question.memory_bytes = static_cast<int64_t>(
        std::min<uint64_t>(request.kv_bytes(), std::numeric_limits<int64_t>::max()));
  }
  question.max_context_tokens = served.max_context_tokens;
  question.in_flight_tokens = served.in_flight_tokens;
  QUIRE_ASSIGN_OR_RETURN(question.kv_groups,
                         DecodeCounts("kv_groups", request.kv_groups(), kMaxCounts, kAny));
  if (question.kv_groups.empty()) question.kv_groups = GroupCounts(*served.config);
  QUIRE_ASSIGN_OR_RETURN(question.block_tokens,
                         DecodeCounts("block_tokens", request.block_tokens(), kMaxForms, kAny));
  if (question.block_tokens.empty()) question.block_tokens = {served.layouts->at(0).block_tokens};
  QUIRE_ASSIGN_OR_RETURN(question.context_tokens,
                         DecodeCounts("context_tokens", request.context_tokens(), kMaxCounts,
                                      served.max_context_tokens));
  if (question.context_tokens.empty()) {
    question.context_tokens = DefaultContexts(served.max_context_tokens);
  }
  QUIRE_RETURN_IF_ERROR(CheckNumber("kv_dtypes", request.kv_dtypes_size(), kMaxForms));
  for (const std::string& name : request.kv_dtypes()) {
    QUIRE_ASSIGN_OR_RETURN(const kernels::DType dtype, DecodeKvDType(name));
    question.kv_dtypes.push_back(dtype);
  }
  if (question.kv_dtypes.empty()) question.kv_dtypes = {served.layouts->at(0).dtype};
  return question;
}

void EncodeRow(const CapacityRow& row, const ServedCapacity& served, v1::CapacityRow* out) {
  const KvLayout& first = row.classes.front();
  const KvLayout& own = served.layouts->front();
  out->mutable_kv_groups()->Assign(row.kv_groups.begin(), row.kv_groups.end());
  out->set_served(row.own_groups && first.dtype == own.dtype &&
                  first.block_tokens == own.block_tokens);
  out->set_kv_dtype(kernels::DTypeName(first.dtype));
  out->set_block_tokens(static_cast<uint32_t>(first.block_tokens));
  out->set_token_bytes(TokenBytes(row.classes));
  out->set_kv_bytes(static_cast<uint64_t>(row.pool.bytes));
  for (size_t c = 0; c < row.classes.size(); ++c) {
    v1::KvClassCapacity* const blocks = out->add_classes();
    blocks->set_window(static_cast<uint32_t>(row.classes[c].window));
    blocks->set_block_bytes(row.classes[c].BlockBytes());
    blocks->set_blocks(static_cast<uint64_t>(row.pool.blocks[c]));
  }
  out->mutable_sequences()->Assign(row.sequences.begin(), row.sequences.end());
}

void EncodeTenants(const TenantRoster& tenants, const CapacityQuestion& question,
                   const ServedCapacity& served, v1::PlanCapacityResponse* response) {
  for (size_t i = 0; i < tenants.entries.size(); ++i) {
    const TenantPolicy& policy = tenants.entries[i].settings.policy;
    if (policy.kv_reserved_bytes == 0 && policy.kv_limit_bytes == 0) continue;
    v1::TenantCapacity* const tenant = response->add_tenants();
    tenant->set_id(static_cast<uint32_t>(i));
    tenant->set_name(policy.name);
    tenant->set_reserved_bytes(static_cast<uint64_t>(policy.kv_reserved_bytes));
    tenant->set_limit_bytes(static_cast<uint64_t>(policy.kv_limit_bytes));
    for (const int32_t context : question.context_tokens) {
      const int64_t bytes = PromisedKvBytes(*served.layouts, context, served.in_flight_tokens);
      tenant->add_reserved_sequences(static_cast<uint64_t>(policy.kv_reserved_bytes / bytes));
      if (policy.kv_limit_bytes == 0) continue;
      tenant->add_limit_sequences(static_cast<uint64_t>(policy.kv_limit_bytes / bytes));
    }
  }
}

}  // namespace

absl::StatusOr<v1::PlanCapacityResponse> AnswerPlanCapacity(const v1::PlanCapacityRequest& request,
                                                            const ServedCapacity& served,
                                                            const TenantRoster& tenants) {
  QUIRE_ASSIGN_OR_RETURN(const CapacityQuestion question, DecodeQuestion(request, served));
  QUIRE_ASSIGN_OR_RETURN(const std::vector<CapacityRow> rows,
                         PlanCapacity(*served.config, question));
  v1::PlanCapacityResponse response;
  response.set_model(served.config->name);
  response.set_query_heads(static_cast<uint32_t>(served.config->num_heads));
  response.mutable_context_tokens()->Assign(question.context_tokens.begin(),
                                            question.context_tokens.end());
  for (const CapacityRow& row : rows) EncodeRow(row, served, response.add_rows());
  EncodeTenants(tenants, question, served, &response);
  return response;
}

}  // namespace quire::server
