#include "core/model/step_buffers.h"

#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/model/device_memory.h"

namespace quire {
namespace {

using kernels::BatchCapacity;
using kernels::BatchCounts;
using kernels::BatchView;
using kernels::SampledToken;
using kernels::TokenLogprob;

constexpr size_t kAlignment = 64;

// Places for arrays, one after the other.
class Places {
 public:
  explicit Places(size_t begin) : end_(begin) {}
  template <typename T>
  size_t Take(int64_t count) {
    const size_t at = end_;
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    end_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  size_t end() const { return end_; }

 private:
  size_t end_;
};

// A batch's arrays whose sizes follow from the capacity, from the beginning of the memory.
struct BatchPlaces {
  size_t counts, token_ids, positions, q_start, kv_len, logit_rows;
  size_t table_start[kernels::kMaxCacheClasses];
  size_t end;

  BatchPlaces(const BatchCapacity& capacity, int32_t num_classes) {
    Places places(0);
    counts = places.Take<BatchCounts>(1);
    token_ids = places.Take<int32_t>(capacity.tokens);
    positions = places.Take<int32_t>(capacity.tokens);
    q_start = places.Take<int32_t>(int64_t{capacity.sequences} + 1);
    kv_len = places.Take<int32_t>(capacity.sequences);
    logit_rows = places.Take<int32_t>(capacity.logit_rows);
    for (int32_t c = 0; c < num_classes; ++c) {
      table_start[c] = places.Take<int32_t>(int64_t{capacity.sequences} + 1);
    }
    end = places.end();
  }
};

template <typename T>
void Put(const std::vector<T>& values, int64_t capacity, std::byte* to) {
  QUIRE_CHECK(values.size() <= static_cast<size_t>(capacity))
      << values.size() << " entries in a place for " << capacity;
  if (!values.empty()) std::memcpy(to, values.data(), values.size() * sizeof(T));
}

}  // namespace

absl::StatusOr<StepBuffers> StepBuffers::Create(kernels::Device* device,
                                                const BatchCapacity& capacity,
                                                int32_t cache_classes, int64_t history,
                                                const SamplingCapacity& sampling) {
  StepBuffers b;
  b.capacity_ = capacity;
  b.num_classes_ = cache_classes;
  b.max_history_ = history;
  b.sampling_ = sampling;
  Places places(BatchPlaces(capacity, cache_classes).end);
  for (int32_t c = 0; c < cache_classes; ++c) {
    b.tables_at_[static_cast<size_t>(c)] = places.Take<uint32_t>(capacity.table_entries);
  }
  b.sampling_at_ = places.Take<kernels::SamplingRow>(capacity.logit_rows);
  places.Take<int32_t>(history);
  places.Take<kernels::LogitEdit>(sampling.edits);
  places.Take<int32_t>(sampling.allowed);
  b.sampled_at_ = places.Take<SampledToken>(capacity.logit_rows);
  b.alternatives_at_ =
      places.Take<TokenLogprob>(int64_t{capacity.logit_rows} * sampling.alternatives);
  QUIRE_ASSIGN_OR_RETURN(b.device_, AllocateOnDevice(device, places.end(), "a step's input"));
  QUIRE_RETURN_IF_ERROR(FromDevice(
      device->AllocateHost(places.end(), &b.host_),
      absl::StrCat("allocating ", places.end(), " bytes of the host for a step's input")));
  return b;
}

void StepBuffers::CopyToDevice(size_t begin, size_t end, kernels::Device* device) const {
  if (begin == end) return;
  device->CopyToDevice(device_.data() + begin, host_.data() + begin, end - begin);
}

BatchView StepBuffers::UploadBatch(const BatchInput& input, const BatchCapacity& capacity,
                                   kernels::Device* device) {
  QUIRE_CHECK(capacity.tokens <= capacity_.tokens && capacity.sequences <= capacity_.sequences);
  QUIRE_CHECK(capacity.logit_rows <= capacity_.logit_rows &&
              capacity.table_entries <= capacity_.table_entries);
  QUIRE_CHECK(input.num_classes == num_classes_) << input.num_classes << " cache classes";
  const BatchPlaces places(capacity, num_classes_);
  std::byte* const host = host_.data();
  std::memcpy(host + places.counts, &input.counts, sizeof(input.counts));
  Put(input.token_ids, capacity.tokens, host + places.token_ids);
  Put(input.positions, capacity.tokens, host + places.positions);
  Put(input.q_start, int64_t{capacity.sequences} + 1, host + places.q_start);
  Put(input.kv_len, capacity.sequences, host + places.kv_len);
  Put(input.logit_rows, capacity.logit_rows, host + places.logit_rows);
  BatchView view{.capacity = capacity,
                 .counts = OnDevice<const BatchCounts>(places.counts),
                 .token_ids = OnDevice<const int32_t>(places.token_ids),
                 .positions = OnDevice<const int32_t>(places.positions),
                 .q_start = OnDevice<const int32_t>(places.q_start),
                 .kv_len = OnDevice<const int32_t>(places.kv_len),
                 .logit_rows = OnDevice<const int32_t>(places.logit_rows),
                 .tables = {},
                 .num_classes = num_classes_};
  for (size_t c = 0; c < static_cast<size_t>(num_classes_); ++c) {
    const BlockTables& tables = input.tables[c];
    Put(tables.start, int64_t{capacity.sequences} + 1, host + places.table_start[c]);
    Put(tables.offsets, capacity.table_entries, host + tables_at_[c]);
    CopyToDevice(tables_at_[c], tables_at_[c] + tables.offsets.size() * sizeof(uint32_t), device);
    view.tables[c] = {.start = OnDevice<const int32_t>(places.table_start[c]),
                      .offsets = OnDevice<const uint32_t>(tables_at_[c])};
  }
  CopyToDevice(0, places.end, device);
  return view;
}

SamplingView StepBuffers::UploadSampling(const BatchInput& input, kernels::Device* device) {
  Places places(sampling_at_);
  const auto put = [&](const auto& values, int64_t capacity) {
    using Value = typename std::decay_t<decltype(values)>::value_type;
    const size_t at = places.Take<Value>(static_cast<int64_t>(values.size()));
    Put(values, capacity, host_.data() + at);
    return OnDevice<const Value>(at);
  };
  SamplingView view;
  view.rows = put(input.sampling, capacity_.logit_rows);
  view.history = put(input.history, max_history_);
  view.edits = put(input.edits, sampling_.edits);
  view.allowed = put(input.allowed, sampling_.allowed);
  CopyToDevice(sampling_at_, places.end(), device);
  return view;
}

void StepBuffers::DownloadSampled(int32_t rows, bool with_alternatives, kernels::Device* device) {
  const auto count = static_cast<size_t>(rows);
  device->CopyToHost(host_.data() + sampled_at_, device_.data() + sampled_at_,
                     count * sizeof(SampledToken));
  if (!with_alternatives) return;
  device->CopyToHost(host_.data() + alternatives_at_, device_.data() + alternatives_at_,
                     count * static_cast<size_t>(max_alternatives()) * sizeof(TokenLogprob));
}

SampledToken* StepBuffers::sampled() const { return OnDevice<SampledToken>(sampled_at_); }

TokenLogprob* StepBuffers::alternatives() const { return OnDevice<TokenLogprob>(alternatives_at_); }

std::span<const SampledToken> StepBuffers::host_sampled() const {
  return {reinterpret_cast<const SampledToken*>(host_.data() + sampled_at_),
          static_cast<size_t>(capacity_.logit_rows)};
}

std::span<const TokenLogprob> StepBuffers::host_alternatives() const {
  return {reinterpret_cast<const TokenLogprob*>(host_.data() + alternatives_at_),
          static_cast<size_t>(capacity_.logit_rows) * static_cast<size_t>(max_alternatives())};
}

}  // namespace quire
