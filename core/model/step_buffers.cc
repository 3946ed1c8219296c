#include "core/model/step_buffers.h"

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/model/device_memory.h"

namespace quire {
namespace {

using kernels::BatchCounts;
using kernels::DeviceBuffer;

template <typename T>
void Upload(const std::vector<T>& values, const DeviceBuffer& buffer, kernels::Device* device) {
  const size_t bytes = values.size() * sizeof(T);
  QUIRE_CHECK(bytes <= buffer.bytes()) << bytes << " bytes for a buffer of " << buffer.bytes();
  if (bytes > 0) device->CopyToDevice(buffer.data(), values.data(), bytes);
}

}  // namespace

absl::StatusOr<StepBuffers> StepBuffers::Create(kernels::Device* device,
                                                const kernels::BatchCapacity& capacity,
                                                int32_t cache_classes, int64_t history,
                                                const SamplingCapacity& sampling) {
  StepBuffers b;
  b.capacity_ = capacity;
  b.num_classes_ = cache_classes;
  b.max_alternatives_ = sampling.alternatives;
  const auto tokens = static_cast<size_t>(capacity.tokens);
  const auto sequences = static_cast<size_t>(capacity.sequences);
  const auto entries = static_cast<size_t>(capacity.table_entries);
  const auto rows = static_cast<size_t>(capacity.logit_rows);
  const struct {
    DeviceBuffer* buffer;
    size_t bytes;
  } parts[] = {
      {&b.counts_, sizeof(BatchCounts)},
      {&b.token_ids_, tokens * sizeof(int32_t)},
      {&b.positions_, tokens * sizeof(int32_t)},
      {&b.q_start_, (sequences + 1) * sizeof(int32_t)},
      {&b.kv_len_, sequences * sizeof(int32_t)},
      {&b.logit_rows_, rows * sizeof(int32_t)},
      {&b.sampling_, rows * sizeof(kernels::SamplingRow)},
      {&b.history_, static_cast<size_t>(history) * sizeof(int32_t)},
      {&b.edits_, static_cast<size_t>(sampling.edits) * sizeof(kernels::LogitEdit)},
      {&b.allowed_, static_cast<size_t>(sampling.allowed) * sizeof(int32_t)},
      {&b.sampled_, rows * sizeof(kernels::SampledToken)},
      {&b.alternatives_,
       rows * static_cast<size_t>(sampling.alternatives) * sizeof(kernels::TokenLogprob)},
  };
  for (const auto& part : parts) {
    if (part.bytes == 0) continue;
    QUIRE_ASSIGN_OR_RETURN(*part.buffer, AllocateOnDevice(device, part.bytes, "a step's input"));
  }
  for (int32_t c = 0; c < cache_classes; ++c) {
    BlockTableBuffers& tables = b.tables_[static_cast<size_t>(c)];
    QUIRE_ASSIGN_OR_RETURN(tables.start, AllocateOnDevice(device, (sequences + 1) * sizeof(int32_t),
                                                          "a step's block tables"));
    QUIRE_ASSIGN_OR_RETURN(tables.offsets, AllocateOnDevice(device, entries * sizeof(uint32_t),
                                                            "a step's block tables"));
  }
  return b;
}

kernels::BatchView StepBuffers::UploadBatch(const BatchInput& input, kernels::Device* device) {
  device->CopyToDevice(counts_.data(), &input.counts, sizeof(input.counts));
  Upload(input.token_ids, token_ids_, device);
  Upload(input.positions, positions_, device);
  Upload(input.q_start, q_start_, device);
  Upload(input.kv_len, kv_len_, device);
  Upload(input.logit_rows, logit_rows_, device);
  QUIRE_CHECK(input.num_classes == num_classes_) << input.num_classes << " cache classes";
  kernels::BatchView view{.capacity = capacity_,
                          .counts = counts_.as<const BatchCounts>(),
                          .token_ids = token_ids_.as<const int32_t>(),
                          .positions = positions_.as<const int32_t>(),
                          .q_start = q_start_.as<const int32_t>(),
                          .kv_len = kv_len_.as<const int32_t>(),
                          .logit_rows = logit_rows_.as<const int32_t>(),
                          .tables = {},
                          .num_classes = num_classes_};
  for (size_t c = 0; c < static_cast<size_t>(num_classes_); ++c) {
    Upload(input.tables[c].start, tables_[c].start, device);
    Upload(input.tables[c].offsets, tables_[c].offsets, device);
    view.tables[c] = {.start = tables_[c].start.as<const int32_t>(),
                      .offsets = tables_[c].offsets.as<const uint32_t>()};
  }
  return view;
}

void StepBuffers::UploadSampling(const BatchInput& input, kernels::Device* device) {
  Upload(input.sampling, sampling_, device);
  Upload(input.history, history_, device);
  Upload(input.edits, edits_, device);
  Upload(input.allowed, allowed_, device);
}

size_t StepBuffers::bytes() const {
  size_t bytes = counts_.bytes() + token_ids_.bytes() + positions_.bytes() + q_start_.bytes() +
                 kv_len_.bytes() + logit_rows_.bytes() + sampling_.bytes() + history_.bytes() +
                 edits_.bytes() + allowed_.bytes() + sampled_.bytes() + alternatives_.bytes();
  for (const BlockTableBuffers& tables : tables_) {
    bytes += tables.start.bytes() + tables.offsets.bytes();
  }
  return bytes;
}

}  // namespace quire
