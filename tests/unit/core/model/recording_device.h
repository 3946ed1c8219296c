#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/api/device.h"
#include "kernels/api/ops.h"

namespace quire::testing {

// Packed weights that remember what they were made of.
class RecordedWeights final : public kernels::PackedWeights {
 public:
  RecordedWeights(const kernels::HostMatrix* parts, int num_parts, kernels::DType dtype)
      : compute(dtype) {
    for (int i = 0; i < num_parts; ++i) {
      const kernels::HostMatrix& part = parts[i];
      rows_ += part.rows;
      cols_ = part.cols;
      const auto* bytes = static_cast<const char*>(part.data);
      content.append(bytes, static_cast<size_t>(part.rows * part.cols) * DTypeBytes(part.dtype));
    }
  }
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return static_cast<size_t>(rows_ * cols_) * DTypeBytes(compute); }

  kernels::DType compute;
  std::string content;  // the parts' bytes, one after the other

 private:
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

// A device that computes nothing: it records which operations come in which order, what the step's
// input was, and samples token `id_base + row` for every row. Copies happen at once, so a step in
// flight has always run.
class RecordingDevice final : public kernels::Device, private kernels::Ops {
 public:
  explicit RecordingDevice(int in_flight_depth = 0) : depth_(in_flight_depth) {}

  std::string Description() const override { return "recording"; }
  int InFlightDepth() const override { return depth_; }
  size_t AvailableBytes() const override { return memory_limit - allocated_bytes; }

  kernels::DeviceStatus Allocate(size_t bytes, kernels::DeviceBuffer* buffer) override {
    if (allocated_bytes + bytes > memory_limit) {
      return {kernels::DeviceStatus::Code::kOutOfMemory, "out of memory"};
    }
    allocated_bytes += bytes;
    *buffer = kernels::DeviceBuffer(this, new std::byte[bytes], bytes);
    return {};
  }
  kernels::DeviceStatus PackLinear(const kernels::HostMatrix* parts, int num_parts,
                                   kernels::DType compute,
                                   std::unique_ptr<kernels::PackedWeights>* weights) override {
    *weights = std::make_unique<RecordedWeights>(parts, num_parts, compute);
    return {};
  }
  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
    std::memcpy(device, host, bytes);
  }
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
    std::memcpy(host, device, bytes);
  }
  std::unique_ptr<kernels::Event> RecordEvent() override {
    class DoneEvent final : public kernels::Event {
      bool Done() const override { return true; }
      void Wait() override {}
    };
    return std::make_unique<DoneEvent>();
  }
  kernels::DeviceStatus CheckError() override { return error; }
  kernels::Ops& ops() override { return *this; }

  std::vector<std::string> log;
  kernels::DeviceStatus error;
  size_t allocated_bytes = 0;
  size_t memory_limit = SIZE_MAX;
  int32_t id_base = 0;
  std::vector<int32_t> embedded_ids;      // token ids of the last step, negative ones looked up
  std::vector<const float*> rope_tables;  // of every RopeWriteKv
  std::vector<kernels::SamplingRow> sampling;  // of the last Sample
  std::vector<int32_t> history;                // of the last Sample

 private:
  void Free(std::byte* data, size_t bytes) override {
    allocated_bytes -= bytes;
    delete[] data;
  }

  kernels::DeviceStatus Prepare(const kernels::PrepareParams&) override { return {}; }
  void BeginStep(const kernels::BatchView& batch, const kernels::BatchHostView&) override {
    log.push_back(absl::StrCat("BeginStep ", batch.counts->tokens));
  }
  void Embed(const kernels::EmbedParams& p) override {
    embedded_ids.clear();
    for (int32_t t = 0; t < p.batch->counts->tokens; ++t) {
      const int32_t id = p.batch->token_ids[t];
      embedded_ids.push_back(id >= 0 ? id : p.previous[-1 - id].token_id);
    }
    log.push_back(p.scale == 1 ? "Embed" : absl::StrCat("Embed * ", p.scale));
  }
  void RmsNorm(const kernels::RmsNormParams& p) override {
    log.push_back(p.logit_rows_only ? "RmsNorm of logit rows" : "RmsNorm");
  }
  void Linear(const kernels::LinearParams& p) override {
    log.push_back(absl::StrCat("Linear ", *p.rows, "x", p.weights->rows(), "x", p.weights->cols(),
                               p.bias != nullptr ? " +bias" : "", p.accumulate ? " +=" : ""));
  }
  void RopeWriteKv(const kernels::RopeWriteKvParams& p) override {
    log.push_back(absl::StrCat("RopeWriteKv at ", p.kv.layer_offset, " rotating ", p.rotary_dim,
                               p.q_norm != nullptr ? " with norms" : ""));
    rope_tables.push_back(p.cos_sin);
  }
  void PagedAttention(const kernels::PagedAttentionParams& p) override {
    log.push_back(absl::StrCat("PagedAttention at ", p.kv.layer_offset, " heads ", p.num_heads,
                               " window ", p.window, " scale ", p.scale, " softcap ", p.softcap));
  }
  void AddRmsNorm(const kernels::AddRmsNormParams&) override { log.push_back("AddRmsNorm"); }
  void GateMul(const kernels::GateMulParams& p) override {
    log.push_back(
        absl::StrCat(p.kind == kernels::GateKind::kSilu ? "SiluMul " : "GeluTanhMul ", p.width));
  }
  void SoftCap(const kernels::SoftCapParams& p) override {
    log.push_back(absl::StrCat("SoftCap ", p.cap));
  }
  void Sample(const kernels::SampleParams& p) override {
    const int32_t rows = p.batch->counts->logit_rows;
    sampling.assign(p.rows, p.rows + rows);
    history.clear();
    for (const kernels::SamplingRow& row : sampling) {
      const int32_t* ids = p.history + row.history_start;
      history.insert(history.end(), ids, ids + row.history_count);
    }
    for (int32_t row = 0; row < rows; ++row) p.out[row] = {.token_id = id_base + row, .logprob = 0};
    log.push_back(absl::StrCat("Sample ", rows));
  }

  int depth_;
};

}  // namespace quire::testing
