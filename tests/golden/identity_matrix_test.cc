#include <algorithm>
#include <cstddef>
#include <iostream>
#include <random>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/model_harness.h"

// Every answer of the real CPU back end is the same, bit for bit, alone and beside any number of
// others, in chunks of any size, with the beginning of its prompt found or computed, preempted or
// not, on one thread or two: tokens and logprobs of 16 requests against what each gets alone.

namespace quire::testing {
namespace {

constexpr uint64_t kSeed = 20261128;
constexpr size_t kRequests = 16;
constexpr int32_t kMaxTokens = 12;
constexpr size_t kSharedTokens = 40;
constexpr int32_t kBlockTokens = 16;
constexpr TenantId kBorrower(0), kOwner(1);
// Requests that take the whole KV cache together, each of whole blocks and within the context.
constexpr int32_t kOwners = 3;
constexpr int32_t kOwnedTokens = 62 * kBlockTokens;

struct Answer {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;

  friend bool operator==(const Answer&, const Answer&) = default;
};

// All begin alike, and go on for different lengths.
std::vector<std::vector<TokenId>> Prompts(int32_t vocab) {
  std::mt19937_64 rng(kSeed);
  const auto token = [&] { return std::uniform_int_distribution<TokenId>(1, vocab - 1)(rng); };
  std::vector<TokenId> shared(kSharedTokens);
  for (TokenId& id : shared) id = token();
  std::vector<std::vector<TokenId>> prompts(kRequests, shared);
  for (size_t i = 0; i < kRequests; ++i) {
    for (size_t n = 1 + i * 7 % 50; n > 0; --n) prompts[i].push_back(token());
  }
  return prompts;
}

struct Setting {
  int32_t chunk = 0;
  bool found = false;
  bool preempted = false;
  int32_t threads = 1;
};

ModelHarness::Options HarnessOptions(const Setting& setting) {
  ModelHarness::Options options;
  options.model_dir = QUIRE_SOURCE_DIR "/deploy/models/quire-demo";
  options.threads = setting.threads;
  options.block_tokens = kBlockTokens;
  options.prefix_cache = setting.found;
  options.engine.max_step_tokens = setting.chunk;
  options.kv_bytes = size_t{2} << 20;  // what the requests need, and a little more
  options.engine.max_running_requests = std::min<int32_t>(setting.chunk, kRequests + kOwners);
  options.engine.max_context_tokens = 1024;
  options.engine.max_prefix_wait_steps = 0;  // or all would wait for the first
  return options;
}

class Matrix {
 public:
  explicit Matrix(const Setting& setting)
      : setting_(setting),
        harness_(HarnessOptions(setting)),
        prompts_(Prompts(harness_.config().vocab_size)) {
    TenantTable tenants(2);
    tenants[kBorrower.value()].name = "borrower";
    tenants[kOwner.value()].name = "owner";
    tenants[kOwner.value()].kv_reserved_bytes = harness_.kv().TotalBytes();
    EXPECT_TRUE(harness_.engine().SetTenants(tenants).ok());
    if (setting.found) Run({MakeRequest(0)}, 0);
  }

  // The answers to `count` requests from `first` on, all at the same time. With preemption, at
  // about step `when` of theirs.
  std::vector<Answer> Serve(size_t first, size_t count, int when) {
    std::vector<Request> requests;
    for (size_t i = 0; i < count; ++i) requests.push_back(MakeRequest((first + i) % kRequests));
    return Run(std::move(requests), when);
  }

 private:
  Request MakeRequest(size_t i) {
    Request request = harness_.MakeRequest(prompts_[i], kMaxTokens);
    request.tenant = kBorrower;
    request.sampling.temperature = i % 2 == 0 ? 0.0f : 0.9f;
    request.sampling.seed = i;
    request.sampling.repetition_penalty = 1.1f;
    request.sampling.ignore_eos = true;
    return request;
  }

  std::vector<Answer> Run(std::vector<Request> requests, int when) {
    std::vector<RequestId> ids(requests.size());
    std::transform(requests.begin(), requests.end(), ids.begin(),
                   [](const Request& request) { return request.id; });
    Engine& engine = harness_.engine();
    EXPECT_TRUE(engine.Submit(std::move(requests)).ok());
    if (setting_.preempted && when > 0) {
      for (int step = 0; step < when; ++step) engine.Step();
      TakeEverythingBack();
    }
    std::vector<Answer> answers;
    for (const RequestId id : ids) {
      while (harness_.sink().of(id).terminals == 0) engine.Step();
      answers.push_back({harness_.sink().of(id).tokens, harness_.sink().of(id).logprobs});
    }
    return answers;
  }

  // The owner asks for the whole KV cache, for a moment: all that is on loan is preempted.
  void TakeEverythingBack() {
    Engine& engine = harness_.engine();
    const auto running = engine.Tenants()[kBorrower.value()].load.running;
    const auto before = engine.Tenants()[kBorrower.value()].load.preempted;
    std::vector<RequestId> owners;
    const int64_t longest = harness_.kv().LongestSequence(1 << 20);
    for (int64_t left = longest; left > 0; left -= kOwnedTokens) {
      const auto tokens = static_cast<int32_t>(std::min<int64_t>(left, kOwnedTokens));
      Request request = harness_.MakeRequest({1}, tokens);
      request.tenant = kOwner;
      owners.push_back(request.id);
      EXPECT_TRUE(engine.Submit(std::move(request)).ok());
    }
    EXPECT_EQ(owners.size(), static_cast<size_t>(kOwners));
    engine.Step();
    EXPECT_EQ(engine.Tenants()[kBorrower.value()].load.preempted - before,
              static_cast<uint64_t>(running));
    for (const RequestId id : owners) engine.Cancel(id);
  }

  const Setting setting_;
  ModelHarness harness_;
  const std::vector<std::vector<TokenId>> prompts_;
};

const std::vector<Answer>& AnswersAlone() {
  static const std::vector<Answer>* const answers = [] {
    auto* const alone = new std::vector<Answer>;
    Matrix matrix({.chunk = 512});
    for (size_t i = 0; i < kRequests; ++i) alone->push_back(matrix.Serve(i, 1, 0)[0]);
    return alone;
  }();
  return *answers;
}

class IdentityMatrix : public ::testing::TestWithParam<std::tuple<int32_t, bool, bool, int32_t>> {};

TEST_P(IdentityMatrix, AnswersAreThoseOfTheLoneRequest) {
  const auto [chunk, found, preempted, threads] = GetParam();
  const std::vector<Answer>& expected = AnswersAlone();
  Matrix matrix({.chunk = chunk, .found = found, .preempted = preempted, .threads = threads});
  int compared = 0;
  const size_t most = std::min<size_t>(kRequests, static_cast<size_t>(chunk - kOwners));
  for (size_t batch = 1; batch <= most; ++batch) {
    const size_t first = batch * 5 % kRequests;
    const std::vector<Answer> answers =
        matrix.Serve(first, batch, 1 + static_cast<int>(batch * 3 % 14));
    for (size_t i = 0; i < batch; ++i, ++compared) {
      ASSERT_EQ(answers[i].tokens.size(), static_cast<size_t>(kMaxTokens));
      ASSERT_TRUE(answers[i] == expected[(first + i) % kRequests])
          << "request " << (first + i) % kRequests << " of " << batch;
    }
  }
  std::cout << compared << " answers are bit-identical\n";
}

INSTANTIATE_TEST_SUITE_P(Settings, IdentityMatrix,
                         ::testing::Combine(::testing::Values(16, 64, 2048), ::testing::Bool(),
                                            ::testing::Bool(), ::testing::Values(1, 2)),
                         [](const auto& p) {
                           return absl::StrCat("chunk", std::get<0>(p.param),
                                               std::get<1>(p.param) ? "_found" : "",
                                               std::get<2>(p.param) ? "_preempted" : "", "_threads",
                                               std::get<3>(p.param));
                         });

}  // namespace
}  // namespace quire::testing
