#include "server/cli/bench_timed_device.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/clock.h"

namespace quire::cli {
namespace {

using kernels::BatchView;

// Pairs of a query token and a token that it sees, and tokens of KV that are read, of all
// sequences.
struct AttentionWork {
  double pairs = 0;
  double tokens = 0;
};

AttentionWork WorkOf(const BatchView& batch, int32_t window) {
  AttentionWork work;
  for (int32_t s = 0; s < batch.counts->sequences; ++s) {
    const int32_t q_len = batch.q_start[s + 1] - batch.q_start[s];
    const int32_t length = batch.kv_len[s];
    for (int32_t seen = length - q_len + 1; seen <= length; ++seen) {
      work.pairs += window > 0 ? std::min(seen, window) : seen;
    }
    work.tokens += window > 0 ? std::min(length, window + q_len - 1) : length;
  }
  return work;
}

}  // namespace

class TimedDevice::TimedOps final : public kernels::Ops {
 public:
  explicit TimedOps(kernels::Ops* ops) : ops_(*ops) {}

  std::vector<OpTime> TakeTimes() { return std::exchange(times_, {}); }

  kernels::DeviceStatus Prepare(const kernels::PrepareParams& params) override {
    return ops_.Prepare(params);
  }
  size_t WorkBytes() const override { return ops_.WorkBytes(); }
  void BeginStep(const BatchView& batch, const kernels::BatchHostView& host) override {
    ops_.BeginStep(batch, host);
  }
  void Embed(const kernels::EmbedParams& params) override {
    Time("embed", [&] { ops_.Embed(params); });
  }
  void RmsNorm(const kernels::RmsNormParams& params) override {
    Time("rms_norm", [&] { ops_.RmsNorm(params); });
  }
  void AddRmsNorm(const kernels::AddRmsNormParams& params) override {
    Time("add_rms_norm", [&] { ops_.AddRmsNorm(params); });
  }
  void Linear(const kernels::LinearParams& params) override {
    const kernels::PackedWeights& weights = *params.weights;
    OpTime& time = Time(absl::StrCat("linear ", weights.rows(), " x ", weights.cols()),
                        [&] { ops_.Linear(params); });
    const auto products = static_cast<double>(weights.rows()) * static_cast<double>(weights.cols());
    time.flops += 2 * products * *params.rows;
    time.bytes += static_cast<double>(weights.bytes());
  }
  void RopeWriteKv(const kernels::RopeWriteKvParams& params) override {
    Time("rope_write_kv", [&] { ops_.RopeWriteKv(params); });
  }
  void PagedAttention(const kernels::PagedAttentionParams& params) override {
    const kernels::KvLayerView& kv = params.kv;
    OpTime& time = Time(absl::StrCat("attention G ", kv.kv_groups, " D ", kv.head_dim),
                        [&] { ops_.PagedAttention(params); });
    const AttentionWork work = WorkOf(*params.batch, params.window);
    // Scores and weighted sum are 2 flops each.
    time.flops += 4.0 * params.num_heads * kv.head_dim * work.pairs;
    time.bytes += static_cast<double>(kv.LayerBytes()) / kv.block_tokens * work.tokens;
  }
  void GateMul(const kernels::GateMulParams& params) override {
    Time("gate_mul", [&] { ops_.GateMul(params); });
  }
  void SoftCap(const kernels::SoftCapParams& params) override {
    Time("soft_cap", [&] { ops_.SoftCap(params); });
  }
  void Sample(const kernels::SampleParams& params) override {
    Time("sample", [&] { ops_.Sample(params); });
  }

 private:
  template <typename Run>
  OpTime& Time(const std::string& name, Run&& run) {
    const TimePoint start = clock_.Now();
    run();
    const double seconds = ToSeconds(clock_.Now() - start);
    auto it = std::find_if(times_.begin(), times_.end(),
                           [&](const OpTime& time) { return time.name == name; });
    if (it == times_.end()) it = times_.insert(times_.end(), {.name = name});
    ++it->calls;
    it->seconds += seconds;
    return *it;
  }

  kernels::Ops& ops_;
  SteadyClock clock_;
  std::vector<OpTime> times_;
};

TimedDevice::TimedDevice(std::unique_ptr<kernels::Device> device)
    : device_(std::move(device)), ops_(std::make_unique<TimedOps>(&device_->ops())) {
  QUIRE_CHECK(device_->InFlightDepth() == 0);
}

TimedDevice::~TimedDevice() = default;

std::vector<OpTime> TimedDevice::TakeTimes() { return ops_->TakeTimes(); }

kernels::Ops& TimedDevice::ops() { return *ops_; }

}  // namespace quire::cli
