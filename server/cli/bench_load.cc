#include "server/cli/bench_load.h"

#include <algorithm>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "core/engine/engine.h"
#include "core/kv/kv_cache_manager.h"
#include "core/kv/slab_arena.h"

namespace quire::cli {
namespace {

constexpr uint64_t kSeed = 1;

// Sends the requests and takes their tokens, all on the engine's thread.
class ClosedLoop final : public OutputSink {
 public:
  ClosedLoop(const LoadOptions& options, int32_t vocab_size, const Clock* clock)
      : options_(options),
        clock_(clock),
        token_(0, vocab_size - 1),
        first_token_(static_cast<size_t>(options.requests), kSeed) {}

  absl::StatusOr<LoadResult> Run(Engine* engine) {
    const TimePoint start = clock_->Now();
    for (int32_t user = 0; user < std::min(options_.users, options_.requests); ++user) {
      QUIRE_RETURN_IF_ERROR(Send(engine));
    }
    LoadResult result;
    while (engine->live_requests() > 0) {
      if (!engine->Step()) engine->WaitForWork();
      result.most_running = std::max(result.most_running, engine->Stats().running);
      QUIRE_RETURN_IF_ERROR(failure_);
      for (; ended_ > 0; --ended_) {
        if (sent_ < options_.requests) QUIRE_RETURN_IF_ERROR(Send(engine));
      }
    }
    result.first_token = first_token_.Summarize();
    result.tokens_per_second = static_cast<double>(tokens_) / ToSeconds(clock_->Now() - start);
    return result;
  }

  void Deliver(std::vector<TokenEvent> events) override {
    const TimePoint now = clock_->Now();
    for (const TokenEvent& event : events) {
      if (event.token >= 0) {
        ++tokens_;
        if (const auto waiting = waiting_.extract(event.request); !waiting.empty()) {
          first_token_.Add(ToSeconds(now - waiting.mapped()));
        }
      }
      if (event.finish == nullptr) continue;
      ++ended_;
      failure_.Update(event.finish->status);
    }
  }

 private:
  absl::Status Send(Engine* engine) {
    Request request;
    request.id = engine->NextRequestId();
    request.prompt.resize(static_cast<size_t>(options_.prompt));
    for (TokenId& token : request.prompt) token = token_(random_);
    request.sampling.temperature = 0;
    request.sampling.max_tokens = options_.output;
    request.sampling.ignore_eos = true;
    request.arrival = clock_->Now();
    waiting_.emplace(request.id, request.arrival);
    ++sent_;
    return engine->Submit(std::move(request));
  }

  const LoadOptions& options_;
  const Clock* const clock_;
  std::mt19937_64 random_{kSeed};
  std::uniform_int_distribution<TokenId> token_;
  absl::flat_hash_map<RequestId, TimePoint> waiting_;  // for their first token, since then
  SampleSet first_token_;
  int64_t tokens_ = 0;
  int32_t sent_ = 0;
  int32_t ended_ = 0;  // and not yet followed by the user's next
  absl::Status failure_;
};

}  // namespace

BenchSizes LoadSizes(const LoadOptions& options, int64_t block_bytes) {
  return {.sequences = options.users,
          .step_tokens = std::max(options.max_step_tokens, options.users),
          .context = options.prompt + options.output,
          .kv_blocks = (options.kv_bytes + block_bytes - 1) / block_bytes};
}

absl::StatusOr<LoadResult> MeasureLoad(BenchModel* model, const LoadOptions& options) {
  EngineOptions engine_options;
  engine_options.max_step_tokens = std::max(options.max_step_tokens, options.users);
  engine_options.max_running_requests = options.users;
  engine_options.max_queued_requests = options.users;
  engine_options.max_queued_tokens = int64_t{options.users} * options.prompt;
  engine_options.max_context_tokens = options.prompt + options.output;
  QUIRE_RETURN_IF_ERROR(engine_options.Validate());
  const KvLayouts layouts = {model->layout()};
  const auto bytes = static_cast<size_t>(options.kv_bytes);
  SlabArena arena(bytes, KvCacheManager::SlabBytes(layouts, bytes));
  const SteadyClock clock;
  ClosedLoop loop(options, model->config().vocab_size, &clock);
  KvCacheManager kv(layouts, &arena,
                    engine_options.InFlightTokens(model->runner()->in_flight_depth()));
  EngineDependencies dependencies;
  dependencies.runner = model->runner();
  dependencies.kv = &kv;
  dependencies.sink = &loop;
  dependencies.clock = &clock;
  dependencies.stop_rules.token_bytes = [](TokenId) { return std::string_view(); };
  Engine engine(engine_options, std::move(dependencies));
  return loop.Run(&engine);
}

}  // namespace quire::cli
