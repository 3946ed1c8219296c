#include "server/cli/fleet/step_time_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <vector>

namespace quire::cli {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

constexpr StepTimeModel kModel = {.step = 1e-3,
                                  .weights = 8e-3,
                                  .token = 1e-3,
                                  .decode_row = 1.5e-3,
                                  .decode_kv_token = 2e-6,
                                  .prompt_kv_token = 1e-7,
                                  .cached_kv_tokens = 2000,
                                  .far_kv_token = 3e-6};

std::vector<StepSample> SamplesOf(const StepTimeModel& model) {
  std::vector<StepSample> samples;
  for (const int32_t rows : {0, 1, 2, 4, 8, 16, 32}) {
    for (const int32_t chunk : {0, 16, 64, 256}) {
      for (const int32_t start : {0, 500}) {
        StepSample sample;
        for (int32_t row = 0; row < rows; ++row) sample.work.Add(start, 1);
        if (chunk > 0) sample.work.Add(start, chunk);
        if (rows + chunk == 0) continue;
        sample.seconds = model.Seconds(sample.work);
        samples.push_back(sample);
      }
    }
  }
  return samples;
}

TEST(StepWorkTest, ARowLooksAtWhatIsBeforeItAndAtItself) {
  StepWork work;
  work.Add(9, 1);
  work.Add(0, 1);
  EXPECT_EQ(work.decode_rows, 2);
  EXPECT_EQ(work.decode_kv, 10 + 1);
  work.Add(10, 3);
  EXPECT_EQ(work.prompt_tokens, 3);
  EXPECT_EQ(work.prompt_kv, 11 + 12 + 13);
}

TEST(StepTimeModelTest, TheSlowerOfReadingWeightsAndMultiplyingCounts) {
  StepWork work;
  work.Add(99, 1);
  EXPECT_DOUBLE_EQ(kModel.Seconds(work), 1e-3 + 8e-3 + 100 * 2e-6);
  work.Add(0, 7);
  EXPECT_DOUBLE_EQ(kModel.Seconds(work), 1e-3 + 7e-3 + 1.5e-3 + 100 * 2e-6 + 28 * 1e-7);
}

TEST(StepTimeModelTest, KvThatIsInNoCacheCostsMore) {
  StepWork work;
  work.Add(1999, 1);
  EXPECT_DOUBLE_EQ(kModel.Seconds(work), 1e-3 + 8e-3 + 2000 * 2e-6);
  work.Add(99, 1);
  EXPECT_DOUBLE_EQ(kModel.Seconds(work), 1e-3 + 8e-3 + 2100 * 2e-6 + 100 * 3e-6);
  work.shared_kv = 64;
  EXPECT_DOUBLE_EQ(kModel.Seconds(work), 1e-3 + 8e-3 + 2100 * 2e-6 + 36 * 3e-6);
}

TEST(StepTimeModelTest, AFitFindsTheTimesThatItIsShown) {
  for (const double weights : {0.0, 8e-3}) {
    StepTimeModel model = kModel;
    model.weights = weights;
    const std::vector<StepSample> samples = SamplesOf(model);
    const StepTimeModel fit = FitStepTimes(samples);
    EXPECT_LT(ErrorOf(fit, samples).max, 0.02) << weights;
    EXPECT_NEAR(fit.step + fit.weights, model.step + model.weights, 2e-4 + 1.5e-3);
    EXPECT_NEAR(fit.token, model.token, 3e-5);
    EXPECT_NEAR(fit.decode_row, model.decode_row, 5e-5);
    EXPECT_NEAR(fit.decode_kv_token, model.decode_kv_token, 2e-7);
    EXPECT_NEAR(fit.prompt_kv_token, model.prompt_kv_token, 3e-8);
    EXPECT_NEAR(fit.cached_kv_tokens, model.cached_kv_tokens, 300);
    EXPECT_NEAR(fit.far_kv_token, model.far_kv_token, 3e-7);
  }
}

TEST(StepTimeModelTest, NoCoefficientIsBelowZeroHoweverTheTimesScatter) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> noise(0.7, 1.3);
  for (int round = 0; round < 10; ++round) {
    std::vector<StepSample> samples =
        SamplesOf({.step = 1e-3, .token = 1e-4, .decode_row = 1e-4, .prompt_kv_token = 1e-8});
    for (StepSample& sample : samples) sample.seconds *= noise(random);
    const StepTimeModel fit = FitStepTimes(samples);
    for (const double value : {fit.step, fit.weights, fit.token, fit.decode_row,
                               fit.decode_kv_token, fit.prompt_kv_token, fit.far_kv_token}) {
      EXPECT_GE(value, 0);
    }
    EXPECT_LT(ErrorOf(fit, samples).median, 0.25);
  }
}

TEST(StepTimeModelTest, OneSampleIsMet) {
  StepSample sample;
  sample.work.Add(0, 1);
  sample.seconds = 0.25;
  EXPECT_NEAR(FitStepTimes({&sample, 1}).Seconds(sample.work), 0.25, 1e-6);
}

// No model has a token cost more in a longer chunk. Were both to count alike, it would be 10 % off.
TEST(StepTimeModelTest, LongChunksCountMoreThanShortOnes) {
  StepSample samples[2];
  samples[0].work.prompt_tokens = 8;
  samples[0].seconds = 8;
  samples[1].work.prompt_tokens = 512;
  samples[1].seconds = 512 * 1.2;
  EXPECT_NEAR(FitStepTimes(samples).Seconds(samples[1].work) / samples[1].seconds, 1, 0.01);
}

TEST(StepTimeModelTest, ErrorsAreOfWhatWasMeasured) {
  std::vector<StepSample> samples(10);
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i].work.Add(0, 1);
    samples[i].seconds = i < 9 ? 1.0 : 2.0;
  }
  const StepTimeModel model = {.step = 1.1};
  const StepTimeError error = ErrorOf(model, samples);
  EXPECT_NEAR(error.median, 0.1, 1e-9);
  EXPECT_NEAR(error.p90, 0.1, 1e-9);
  EXPECT_NEAR(error.max, 0.45, 1e-9);
}

TEST(StepTimeModelTest, WhatIsWrittenIsRead) {
  const auto read = ReadStepTimes(StepTimesJson(kModel));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(StepTimesJson(*read), StepTimesJson(kModel));
  EXPECT_EQ(StepTimesJson(kModel).size(), 8u);
}

TEST(StepTimeModelTest, WhatMakesNoSenseIsNamed) {
  const auto error = [](const char* text) {
    return std::string(ReadStepTimes(Json::parse(text)).status().message());
  };
  EXPECT_THAT(error("[1]"), HasSubstr("no object"));
  EXPECT_THAT(error(R"({"step": 1, "tokn": 1})"), HasSubstr("'tokn' is not known"));
  EXPECT_THAT(error(R"({"step": -1})"), HasSubstr("'step' is not a number from 0 to 1000"));
  EXPECT_THAT(error(R"({"step": "1"})"), HasSubstr("'step' is not a number from 0 to 1000"));
  EXPECT_THAT(error(R"({"step": 1e9})"), HasSubstr("'step' is not a number from 0 to 1000"));
  EXPECT_THAT(error(R"({"decode_row": 1, "decode_kv_token": 1})"),
              HasSubstr("some steps take no time"));
}

}  // namespace
}  // namespace quire::cli
