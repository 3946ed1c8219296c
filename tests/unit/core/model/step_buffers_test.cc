#include "core/model/step_buffers.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/core/model/recording_device.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using testing::RecordingDevice;

constexpr kernels::BatchCapacity kWhole = {
    .tokens = 8, .sequences = 4, .table_entries = 6, .logit_rows = 4};
constexpr kernels::BatchCapacity kSmall = {
    .tokens = 4, .sequences = 2, .table_entries = 6, .logit_rows = 2};
constexpr int32_t kClasses = 2;

// Two sequences of 1 and 2 tokens, with tables in two classes; every array holds other numbers.
BatchInput TwoSequences() {
  BatchInput input;
  input.counts = {.tokens = 3, .sequences = 2, .logit_rows = 2};
  input.token_ids = {11, 12, 13};
  input.positions = {21, 22, 23};
  input.q_start = {0, 1, 3};
  input.kv_len = {31, 32};
  input.logit_rows = {0, 2};
  input.num_classes = kClasses;
  input.tables[0] = {.start = {0, 2, 3}, .offsets = {41, 42, 43}};
  input.tables[1] = {.start = {0, 1, 2}, .offsets = {51, 52}};
  input.sampling.resize(2);
  input.sampling[1].top_k = 61;
  input.history = {71, 72, 73};
  input.edits = {{.token = 81, .after = 82, .bias = 0.5f}};
  input.allowed = {91, 92};
  return input;
}

template <typename T>
std::vector<T> Read(const T* device, size_t count) {
  return std::vector<T>(device, device + count);
}

class StepBuffersTest : public ::testing::Test {
 protected:
  StepBuffersTest() {
    auto buffers = StepBuffers::Create(&device_, kWhole, kClasses, /*history=*/3,
                                       {.edits = 2, .allowed = 2, .alternatives = 2});
    EXPECT_TRUE(buffers.ok()) << buffers.status();
    buffers_.emplace(*std::move(buffers));
  }

  RecordingDevice device_;
  std::optional<StepBuffers> buffers_;
};

TEST_F(StepBuffersTest, BringsEveryArrayToTheDeviceInOneCopyAndOneForEachClass) {
  for (const kernels::BatchCapacity& capacity : {kSmall, kWhole}) {
    device_.host_copies.clear();
    const kernels::BatchView view = buffers_->UploadBatch(TwoSequences(), capacity, &device_);
    EXPECT_EQ(device_.host_copies.size(), 3u);
    EXPECT_EQ(view.capacity.tokens, capacity.tokens);
    EXPECT_EQ(view.num_classes, kClasses);
    EXPECT_EQ(view.counts->tokens, 3);
    EXPECT_EQ(view.counts->logit_rows, 2);
    EXPECT_THAT(Read(view.token_ids, 3), ElementsAre(11, 12, 13));
    EXPECT_THAT(Read(view.positions, 3), ElementsAre(21, 22, 23));
    EXPECT_THAT(Read(view.q_start, 3), ElementsAre(0, 1, 3));
    EXPECT_THAT(Read(view.kv_len, 2), ElementsAre(31, 32));
    EXPECT_THAT(Read(view.logit_rows, 2), ElementsAre(0, 2));
    EXPECT_THAT(Read(view.tables[0].start, 3), ElementsAre(0, 2, 3));
    EXPECT_THAT(Read(view.tables[0].offsets, 3), ElementsAre(41u, 42u, 43u));
    EXPECT_THAT(Read(view.tables[1].start, 3), ElementsAre(0, 1, 2));
    EXPECT_THAT(Read(view.tables[1].offsets, 2), ElementsAre(51u, 52u));
  }
}

TEST_F(StepBuffersTest, BringsSamplingRowsWithWhatTheyPointIntoInOneCopy) {
  const kernels::BatchView batch = buffers_->UploadBatch(TwoSequences(), kWhole, &device_);
  device_.host_copies.clear();
  const SamplingView view = buffers_->UploadSampling(TwoSequences(), &device_);
  EXPECT_EQ(device_.host_copies.size(), 1u);
  EXPECT_EQ(view.rows[1].top_k, 61);
  EXPECT_THAT(Read(view.history, 3), ElementsAre(71, 72, 73));
  EXPECT_EQ(view.edits[0].token, 81);
  EXPECT_EQ(view.edits[0].bias, 0.5f);
  EXPECT_THAT(Read(view.allowed, 2), ElementsAre(91, 92));
  EXPECT_THAT(Read(batch.tables[1].offsets, 2), ElementsAre(51u, 52u)) << "not overwritten";
}

TEST_F(StepBuffersTest, BatchesOfOneCapacityLieAtTheSameAddresses) {
  const kernels::BatchView first = buffers_->UploadBatch(TwoSequences(), kSmall, &device_);
  BatchInput smaller = TwoSequences();
  smaller.counts.tokens = 2;
  smaller.token_ids = {14, 15};
  smaller.positions = {24, 25};
  smaller.q_start = {0, 1, 2};
  smaller.tables[0] = {.start = {0, 1, 2}, .offsets = {44, 45}};
  buffers_->UploadBatch(TwoSequences(), kWhole, &device_);
  const kernels::BatchView second = buffers_->UploadBatch(smaller, kSmall, &device_);
  EXPECT_EQ(first.counts, second.counts);
  EXPECT_EQ(first.token_ids, second.token_ids);
  EXPECT_EQ(first.positions, second.positions);
  EXPECT_EQ(first.q_start, second.q_start);
  EXPECT_EQ(first.kv_len, second.kv_len);
  EXPECT_EQ(first.logit_rows, second.logit_rows);
  for (int32_t c = 0; c < kClasses; ++c) {
    EXPECT_EQ(first.tables[c].start, second.tables[c].start);
    EXPECT_EQ(first.tables[c].offsets, second.tables[c].offsets);
  }
  EXPECT_THAT(Read(first.token_ids, 2), ElementsAre(14, 15));
}

TEST_F(StepBuffersTest, BringsResultsBack) {
  for (int32_t i = 0; i < 2; ++i) buffers_->sampled()[i] = {.token_id = 5 + i, .logprob = 0};
  for (int32_t i = 0; i < 4; ++i) buffers_->alternatives()[i] = {.token_id = 7 + i, .logprob = 0};
  buffers_->DownloadSampled(2, /*with_alternatives=*/true, &device_);
  EXPECT_EQ(buffers_->host_sampled()[1].token_id, 6);
  EXPECT_EQ(buffers_->host_alternatives()[3].token_id, 10);
}

TEST_F(StepBuffersTest, DiesOnMoreThanItsCapacity) {
  BatchInput input = TwoSequences();
  input.allowed = {1, 2, 3};
  EXPECT_DEATH(buffers_->UploadSampling(input, &device_), "3 entries in a place for 2");
  input.token_ids.resize(5);
  EXPECT_DEATH(buffers_->UploadBatch(input, kSmall, &device_), "5 entries in a place for 4");
  kernels::BatchCapacity larger = kWhole;
  larger.sequences = 5;
  EXPECT_DEATH(buffers_->UploadBatch(TwoSequences(), larger, &device_), "check failed");
}

}  // namespace
}  // namespace quire
