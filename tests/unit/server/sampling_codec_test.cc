#include "server/rpc/sampling_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "server/rpc/request_codec.h"
#include "tests/unit/server/byte_tokenizer.h"

// What a Generate call says about its tokens and its answers, and how each part of it is refused.

namespace quire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class SamplingCodecTest : public ::testing::Test {
 protected:
  SamplingCodecTest() {
    model_.vocab_size = 300;
    limits_.sampling.max_logit_biases = 2;
    limits_.sampling.max_allowed_token_ids = 2;
    limits_.sampling.max_bad_words = 4;
    limits_.sampling.max_bad_word_tokens = 5;
    limits_.sampling.max_top_logprobs = 5;
    limits_.bad_word_bytes = 6;
    limits_.max_answers = 3;
    message_.set_text("prompt");
    message_.set_max_tokens(20);
  }

  absl::StatusOr<GenerateCall> Decode() const {
    return RequestCodec(&model_, &tokenizer_, 100, limits_)
        .DecodeGenerate(message_, Caller(), TimePoint(std::chrono::seconds(1000)), kNoDeadline);
  }
  SamplingParams Sampling() const {
    const absl::StatusOr<GenerateCall> call = Decode();
    EXPECT_TRUE(call.ok()) << call.status();
    return call.ok() ? call->request.sampling : SamplingParams();
  }
  std::vector<std::vector<TokenId>> Ids(const std::vector<std::string>& words) const {
    std::vector<std::vector<TokenId>> ids;
    ids.reserve(words.size());
    for (const std::string& word : words) ids.emplace_back(word.begin(), word.end());
    return ids;
  }

  ByteTokenizer tokenizer_;
  ModelConfig model_;
  RequestLimits limits_;
  v1::GenerateRequest message_;
};

TEST_F(SamplingCodecTest, FieldsLeftOutAreOff) {
  const absl::StatusOr<GenerateCall> call = Decode();
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->answers, 1);
  EXPECT_EQ(call->message_interval, 1);
  EXPECT_FALSE(call->echo);
  const SamplingParams& p = call->request.sampling;
  EXPECT_EQ(p.frequency_penalty, 0);
  EXPECT_EQ(p.presence_penalty, 0);
  EXPECT_THAT(p.logit_bias, IsEmpty());
  EXPECT_THAT(p.allowed_token_ids, IsEmpty());
  EXPECT_THAT(p.bad_words, IsEmpty());
  EXPECT_EQ(p.min_tokens, 0);
  EXPECT_EQ(p.top_logprobs, 0);
  EXPECT_EQ(p.prompt_logprobs, -1);
  EXPECT_FALSE(p.logprobs);
  EXPECT_FALSE(p.include_stop);
  EXPECT_TRUE(p.skip_special_tokens);
}

TEST_F(SamplingCodecTest, GivenFieldsReachTheirPlaces) {
  message_.set_frequency_penalty(1.5f);
  message_.set_presence_penalty(-0.5f);
  (*message_.mutable_logit_bias())[299] = -100;
  (*message_.mutable_logit_bias())[7] = 2;
  message_.set_min_tokens(20);
  message_.add_allowed_token_ids(7);
  message_.set_top_logprobs(0);
  message_.set_prompt_logprobs(5);
  message_.set_echo(true);
  message_.set_include_stop(true);
  message_.set_skip_special_tokens(false);
  message_.set_message_interval(4);
  message_.set_n(3);
  const absl::StatusOr<GenerateCall> call = Decode();
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->answers, 3);
  EXPECT_EQ(call->message_interval, 4);
  EXPECT_TRUE(call->echo);
  const SamplingParams& p = call->request.sampling;
  EXPECT_EQ(p.frequency_penalty, 1.5f);
  EXPECT_EQ(p.presence_penalty, -0.5f);
  ASSERT_EQ(p.logit_bias.size(), 2u);
  EXPECT_EQ(p.logit_bias[0].token, 7) << "sorted by token";
  EXPECT_EQ(p.logit_bias[1].token, 299);
  EXPECT_EQ(p.logit_bias[1].bias, -100);
  EXPECT_EQ(p.min_tokens, 20);
  EXPECT_THAT(p.allowed_token_ids, ElementsAre(7));
  EXPECT_TRUE(p.logprobs) << "top_logprobs turns them on, even at 0";
  EXPECT_EQ(p.top_logprobs, 0);
  EXPECT_EQ(p.prompt_logprobs, 5);
  EXPECT_TRUE(p.include_stop);
  EXPECT_FALSE(p.skip_special_tokens);
}

TEST_F(SamplingCodecTest, ABadWordIsAvoidedByItselfAndBehindASpace) {
  message_.add_bad_words("ab");
  message_.add_bad_words("  c");
  EXPECT_EQ(Sampling().bad_words, Ids({"ab", " ab", "c", " c"}));
}

TEST_F(SamplingCodecTest, BadWordsMayBeIds) {
  message_.add_bad_words("x");
  message_.add_bad_word_ids()->add_ids(299);
  const auto two = message_.add_bad_word_ids();
  two->add_ids(1);
  two->add_ids(2);
  auto expected = Ids({"x", " x"});
  expected.push_back({299});
  expected.push_back({1, 2});
  EXPECT_EQ(Sampling().bad_words, expected);
}

TEST_F(SamplingCodecTest, ATruncatedPromptKeepsItsEnd) {
  for (const auto& [keep, left] : {std::pair{1u, "t"}, {3u, "mpt"}, {100u, "<end>prompt"}}) {
    message_.set_truncate_prompt_tokens(keep);
    const absl::StatusOr<GenerateCall> call = Decode();
    ASSERT_TRUE(call.ok()) << call.status();
    EXPECT_EQ(tokenizer_.Decode(call->request.prompt, false), left);
  }
  message_.set_text(std::string(500, 'x') + "y");
  limits_.prompt_bytes = 1000;
  message_.set_truncate_prompt_tokens(80);
  EXPECT_TRUE(Decode().ok()) << "only what is kept must fit the context";
}

TEST_F(SamplingCodecTest, AnswersShareAllButTheirSeedAndTheFirstScoresThePrompt) {
  message_.set_n(3);
  message_.set_seed(42);
  message_.set_prompt_logprobs(1);
  const RequestId ids[] = {RequestId(5), RequestId(6), RequestId(7)};
  const std::vector<Request> requests = Decode()->MakeRequests(ids);
  ASSERT_EQ(requests.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(requests[i].id, ids[i]);
    EXPECT_EQ(requests[i].prompt, requests[0].prompt);
    EXPECT_EQ(requests[i].sampling.max_tokens, 20);
    EXPECT_EQ(requests[i].sampling.seed, SeedOfAnswer(42, static_cast<int32_t>(i)));
    EXPECT_EQ(requests[i].sampling.prompt_logprobs, i == 0 ? 1 : -1);
  }
}

TEST_F(SamplingCodecTest, ABadFieldIsRefusedWithItsNameValueAndRange) {
  using M = v1::GenerateRequest*;
  const struct {
    std::function<void(M)> spoil;
    std::vector<const char*> says;  // all of these
  } cases[] = {
      {[](M m) { m->set_frequency_penalty(2.5f); }, {"frequency_penalty is 2.5", "-2 to 2"}},
      {[](M m) { m->set_presence_penalty(kNan); }, {"presence_penalty is nan", "-2 to 2"}},
      {[](M m) { (*m->mutable_logit_bias())[300] = 1; }, {"logit_bias holds 300", "0 to 299"}},
      {[](M m) { (*m->mutable_logit_bias())[4000000000u] = 1; }, {"logit_bias holds 4000000000"}},
      {[](M m) { (*m->mutable_logit_bias())[1] = 101; }, {"logit_bias[1] is 101", "to 100"}},
      {[](M m) { (*m->mutable_logit_bias())[1] = kNan; }, {"logit_bias[1] is nan"}},
      {[](M m) {
         for (uint32_t id : {1, 2, 3}) (*m->mutable_logit_bias())[id] = 1;
       },
       {"logit_bias has 3 entries", "at most 2"}},
      {[](M m) { m->set_min_tokens(21); }, {"min_tokens is 21", "from 0 to 20"}},
      {[](M m) { m->set_min_tokens(4294967295u); }, {"min_tokens is 4294967295"}},
      {[](M m) { m->add_allowed_token_ids(300); }, {"allowed_token_ids[0] is 300", "0 to 299"}},
      {[](M m) {
         for (uint32_t id : {1, 2, 3}) m->add_allowed_token_ids(id);
       },
       {"allowed_token_ids has 3 ids", "at most 2"}},
      {[](M m) { m->add_bad_words(""); }, {R"(bad_words holds "")", "1 to 6"}},
      {[](M m) { m->add_bad_words("   "); }, {R"(bad_words holds "   ")", "more than spaces"}},
      {[](M m) { m->add_bad_words("1234567"); }, {R"(bad_words holds "1234567" (7 bytes))"}},
      {[](M m) { m->add_bad_words("123456"); }, {"bad_words has 6 ids", "at most 5"}},
      {[](M m) {
         for (int i = 0; i < 3; ++i) m->add_bad_words("a");
       },
       {"bad_words has 6 token sequences", "at most 4"}},
      {[](M m) {
         for (int i = 0; i < 5; ++i) m->add_bad_words("a");
       },
       {"bad_words and bad_word_ids have 5 entries", "at most 4"}},
      {[](M m) { m->add_bad_word_ids(); }, {"bad_words holds an empty one"}},
      {[](M m) { m->add_bad_word_ids()->add_ids(300); }, {"bad_word_ids[0].ids[0] is 300"}},
      {[](M m) { m->set_top_logprobs(6); }, {"top_logprobs is 6", "from 0 to 5"}},
      {[](M m) { m->set_prompt_logprobs(6); }, {"prompt_logprobs is 6", "from 0 to 5"}},
      {[](M m) { m->set_truncate_prompt_tokens(0); }, {"truncate_prompt_tokens is 0", "from 1"}},
      {[](M m) { m->set_message_interval(0); }, {"message_interval is 0", "from 1"}},
      {[](M m) { m->set_n(0); }, {"n is 0", "from 1 to 3"}},
      {[](M m) { m->set_n(4); }, {"n is 4", "from 1 to 3"}},
  };
  const v1::GenerateRequest good = message_;
  for (const auto& c : cases) {
    message_ = good;
    c.spoil(&message_);
    const absl::Status status = Decode().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message_.DebugString();
    for (const char* part : c.says) EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
}

}  // namespace
}  // namespace quire::server
