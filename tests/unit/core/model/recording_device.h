#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/api/device.h"
#include "kernels/api/ops.h"

namespace quire::testing {

// Packed weights that remember what they were made of.
class RecordedWeights final : public kernels::PackedWeights {
 public:
  RecordedWeights(const kernels::HostMatrix* parts, int num_parts, kernels::DType dtype,
                  kernels::WeightFormat kept_in)
      : compute(dtype), format(kept_in) {
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
  kernels::WeightFormat format;
  std::string content;  // the parts' bytes, one after the other

 private:
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

// A device that computes nothing: it records which operations come in which order, what the step's
// input was, and samples token `id_base + row` for every row. Copies happen at once, so a step in
// flight has always run. A graph runs its operations anew, after a line that says so.
class RecordingDevice final : public kernels::Device, private kernels::Ops {
 public:
  explicit RecordingDevice(int in_flight_depth = 0) : depth_(in_flight_depth) {}

  std::string Description() const override { return "recording"; }
  int InFlightDepth() const override { return depth_; }
  size_t AvailableBytes() const override { return memory_limit - allocated_bytes; }
  kernels::DType NarrowKv() const override { return kernels::DType::kF8E4M3; }

  kernels::DeviceStatus Allocate(size_t bytes, kernels::DeviceBuffer* buffer) override {
    if (allocated_bytes + bytes > memory_limit) {
      return {kernels::DeviceStatus::Code::kOutOfMemory, "out of memory"};
    }
    allocated_bytes += bytes;
    *buffer = kernels::DeviceBuffer(this, new std::byte[bytes], bytes);
    return {};
  }
  kernels::DeviceStatus AllocateHost(size_t bytes, kernels::HostBuffer* buffer) override {
    auto* const data = new std::byte[bytes];
    host_buffers.emplace(data, bytes);
    *buffer = kernels::HostBuffer(this, data, bytes);
    return {};
  }
  kernels::DeviceStatus PackLinear(const kernels::HostMatrix* parts, int num_parts,
                                   kernels::DType compute, kernels::WeightFormat format,
                                   std::unique_ptr<kernels::PackedWeights>* weights) override {
    *weights = std::make_unique<RecordedWeights>(parts, num_parts, compute, format);
    return {};
  }
  void CopyToDevice(std::byte* device, const void* host, size_t bytes) override {
    std::memcpy(device, host, bytes);
    host_copies.push_back(host);
  }
  void CopyToHost(void* host, const std::byte* device, size_t bytes) override {
    std::memcpy(host, device, bytes);
    host_copies.push_back(host);
  }
  std::unique_ptr<kernels::Event> RecordEvent() override {
    class DoneEvent final : public kernels::Event {
      bool Done() const override { return true; }
      void Wait() override {}
    };
    return std::make_unique<DoneEvent>();
  }
  kernels::DeviceStatus CheckError() override { return error; }

  bool CanCapture() const override { return can_capture; }
  void BeginCapture() override {
    log.push_back("BeginCapture");
    capturing_ = true;
  }
  std::unique_ptr<kernels::DeviceGraph> EndCapture() override {
    class Graph final : public kernels::DeviceGraph {
     public:
      Graph(RecordingDevice* device, std::vector<std::function<std::string()>> operations)
          : device_(device), operations_(std::move(operations)) {}
      void Launch() override {
        device_->log.push_back("Launch");
        for (const auto& operation : operations_) device_->log.push_back(operation());
      }
      size_t bytes() const override { return kGraphBytes; }

     private:
      RecordingDevice* const device_;
      const std::vector<std::function<std::string()>> operations_;
    };
    capturing_ = false;
    log.push_back("EndCapture");
    auto operations = std::exchange(captured_, {});
    if (capture_fails) return nullptr;
    return std::make_unique<Graph>(this, std::move(operations));
  }
  kernels::Ops& ops() override { return *this; }

  static constexpr size_t kGraphBytes = 1000;

  // Whether all of a copy's host memory came from AllocateHost.
  bool IsHostBuffer(const void* host) const {
    const auto* const data = static_cast<const std::byte*>(host);
    return std::any_of(host_buffers.begin(), host_buffers.end(), [&](const auto& buffer) {
      return data >= buffer.first && data < buffer.first + buffer.second;
    });
  }

  std::vector<std::string> log;
  bool can_capture = false;
  bool capture_fails = false;
  std::map<const std::byte*, size_t> host_buffers;
  std::vector<const void*> host_copies;            // the host's end of every copy
  std::vector<kernels::BatchCapacity> capacities;  // of every BeginStep
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

  void FreeHost(std::byte* data, size_t) override {
    host_buffers.erase(data);
    delete[] data;
  }

  // `operation` returns its line of the log.
  void Run(std::function<std::string()> operation) {
    if (capturing_) {
      captured_.push_back(std::move(operation));
    } else {
      log.push_back(operation());
    }
  }
  void Run(const std::string& line) {
    Run([line] { return line; });
  }

  kernels::DeviceStatus Prepare(const kernels::PrepareParams&) override { return {}; }
  void BeginStep(const kernels::BatchView& batch, const kernels::BatchHostView&) override {
    capacities.push_back(batch.capacity);
    Run(absl::StrCat("BeginStep ", batch.counts->tokens));
  }
  void Embed(const kernels::EmbedParams& p) override {
    Run([this, p, batch = *p.batch] {
      embedded_ids.clear();
      for (int32_t t = 0; t < batch.counts->tokens; ++t) {
        const int32_t id = batch.token_ids[t];
        embedded_ids.push_back(id >= 0 ? id : p.previous[-1 - id].token_id);
      }
      return p.scale == 1 ? "Embed" : absl::StrCat("Embed * ", p.scale);
    });
  }
  void RmsNorm(const kernels::RmsNormParams& p) override {
    Run(p.logit_rows_only ? "RmsNorm of logit rows" : "RmsNorm");
  }
  void Linear(const kernels::LinearParams& p) override {
    Run([p] {
      return absl::StrCat("Linear ", *p.rows, "x", p.weights->rows(), "x", p.weights->cols(),
                          p.bias != nullptr ? " +bias" : "", p.accumulate ? " +=" : "");
    });
  }
  void RopeWriteKv(const kernels::RopeWriteKvParams& p) override {
    Run(absl::StrCat("RopeWriteKv at ", p.kv.layer_offset, " rotating ", p.rotary_dim,
                     p.q_norm != nullptr ? " with norms" : ""));
    rope_tables.push_back(p.cos_sin);
  }
  void PagedAttention(const kernels::PagedAttentionParams& p) override {
    Run(absl::StrCat("PagedAttention at ", p.kv.layer_offset, " heads ", p.num_heads, " window ",
                     p.window, " scale ", p.scale, " softcap ", p.softcap));
  }
  void AddRmsNorm(const kernels::AddRmsNormParams&) override { Run("AddRmsNorm"); }
  void GateMul(const kernels::GateMulParams& p) override {
    Run(absl::StrCat(p.kind == kernels::GateKind::kSilu ? "SiluMul " : "GeluTanhMul ", p.width));
  }
  void SoftCap(const kernels::SoftCapParams& p) override { Run(absl::StrCat("SoftCap ", p.cap)); }
  void Sample(const kernels::SampleParams& p) override {
    const int32_t rows = p.batch->counts->logit_rows;
    sampling.assign(p.rows, p.rows + rows);
    history.clear();
    for (const kernels::SamplingRow& row : sampling) {
      const int32_t* ids = p.history + row.history_start;
      history.insert(history.end(), ids, ids + row.history_count);
    }
    for (int32_t row = 0; row < rows; ++row) p.out[row] = {.token_id = id_base + row, .logprob = 0};
    Run(absl::StrCat("Sample ", rows));
  }

  int depth_;
  bool capturing_ = false;
  std::vector<std::function<std::string()>> captured_;
};

}  // namespace quire::testing
