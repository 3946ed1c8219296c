#include "tests/support/fake_model_runner.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire::testing {
namespace {

constexpr uint64_t kEmptyPrefix = 0x9e3779b97f4a7c15u;

uint64_t Mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdu;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

uint64_t Extend(uint64_t prefix_hash, TokenId token) {
  return Mix(prefix_hash * 31 + static_cast<uint64_t>(token) + 1);
}

}  // namespace

std::optional<TokenId> FakeModelRunner::ExpectedToken(const Options& options,
                                                      std::span<const TokenId> prefix) {
  uint64_t hash = kEmptyPrefix;
  for (TokenId token : prefix) hash = Extend(hash, token);
  const TokenId id = Sample(options, hash).token_id;
  return id < 0 ? std::nullopt : std::optional<TokenId>(id);
}

kernels::SampledToken FakeModelRunner::Sample(const Options& options, uint64_t prefix_hash) {
  const uint64_t draw = Mix(prefix_hash ^ 0x5bd1e995);
  if (options.nan_period > 0 && draw % options.nan_period == 0) return {};
  if (options.eos >= 0 && (draw >> 20) % options.eos_period == 0) return {options.eos, -1.0f};
  const auto id = static_cast<TokenId>((draw >> 32) % static_cast<uint64_t>(options.vocab));
  return {id, -static_cast<float>(draw % 1000) / 100.0f};
}

absl::Status FakeModelRunner::LaunchForward(const BatchInput& input) {
  if (launches_++ == options_.fail_launch) return absl::InternalError("planted launch failure");
  QUIRE_CHECK(launched_.size() <= static_cast<size_t>(options_.depth));
  max_step_tokens_seen_ = std::max<int64_t>(max_step_tokens_seen_, input.counts.tokens);
  CheckAliasing(input);
  launched_.push_back({input, false});
  return absl::OkStatus();
}

absl::Status FakeModelRunner::LaunchSample(const BatchInput& input) {
  QUIRE_CHECK(!launched_.empty() && launched_.back().input.step == input.step);
  launched_.back().sampled = true;
  return absl::OkStatus();
}

absl::StatusOr<std::span<const kernels::SampledToken>> FakeModelRunner::Complete() {
  if (completions_++ == options_.fail_complete) return absl::InternalError("planted device loss");
  QUIRE_CHECK(!launched_.empty() && launched_.front().sampled);
  const Launched step = std::move(launched_.front());
  launched_.pop_front();
  result_.clear();
  for (size_t s = 0; s < step.input.kv_len.size(); ++s) {
    const uint64_t hash = RunSequence(step.input, s);
    const auto& rows = step.input.logit_rows;
    const int32_t last = step.input.q_start[s + 1] - 1;
    if (std::find(rows.begin(), rows.end(), last) == rows.end()) continue;
    result_.push_back(Sample(options_, hash));
  }
  QUIRE_CHECK(result_.size() == step.input.logit_rows.size());
  previous_ = result_;
  return std::span<const kernels::SampledToken>(result_);
}

uint64_t FakeModelRunner::RunSequence(const BatchInput& input, size_t s) {
  const int32_t first = input.q_start[s], end = input.q_start[s + 1];
  const int32_t start = input.positions[static_cast<size_t>(first)];
  uint64_t hash = ReadPrefix(input, 0, s, start);
  for (size_t c = 1; c < options_.windows.size(); ++c) {
    if (ReadPrefix(input, c, s, start) != hash) Violation("cache classes disagree");
  }
  for (int32_t row = first; row < end; ++row) {
    TokenId token = input.token_ids[static_cast<size_t>(row)];
    if (token < 0) token = previous_.at(static_cast<size_t>(-1 - token)).token_id;
    hash = Extend(hash, token);
    for (size_t c = 0; c < options_.windows.size(); ++c) {
      CellAt(input, c, s, input.positions[static_cast<size_t>(row)]) = {start + row - first, token,
                                                                        hash};
    }
  }
  if (input.kv_len[s] != start + end - first) Violation("kv_len is not the last position plus one");
  return hash;
}

uint64_t FakeModelRunner::ReadPrefix(const BatchInput& input, size_t c, size_t s, int32_t end) {
  const int32_t window = options_.windows[c];
  const int32_t begin = window == 0 ? 0 : std::max(end - window + 1, 0);
  uint64_t hash = kEmptyPrefix;
  for (int32_t position = begin; position < end; ++position) {
    const Cell& cell = CellAt(input, c, s, position);
    // What came before a window is not seen: its hash is taken on trust.
    hash = position == begin && begin > 0 ? cell.prefix_hash : Extend(hash, cell.token);
    if (cell.position != position || cell.prefix_hash != hash) {
      Violation(absl::StrCat("step ", input.step.value(), ": position ", position,
                             " reads another sequence's cell, of position ", cell.position));
    }
  }
  return hash;
}

FakeModelRunner::Cell& FakeModelRunner::CellAt(const BatchInput& input, size_t c, size_t s,
                                               int32_t position) {
  const BlockTables& tables = input.tables[c];
  const int32_t entry = tables.start[s] + position / options_.block_tokens;
  QUIRE_CHECK(entry < tables.start[s + 1]) << "position " << position << " has no block";
  const uint32_t offset = tables.offsets[static_cast<size_t>(entry)];
  QUIRE_CHECK(offset != kNoBlockOffset) << "position " << position << " has lost its block";
  return cells_[{offset, position % options_.block_tokens}];
}

FakeModelRunner::Owners FakeModelRunner::OwnersOf(const BatchInput& input) {
  Owners owners;
  for (size_t c = 0; c < options_.windows.size(); ++c) {
    const BlockTables& tables = input.tables[c];
    for (size_t s = 0; s < input.kv_len.size(); ++s) {
      const int32_t start = input.positions[static_cast<size_t>(input.q_start[s])];
      const int32_t window = options_.windows[c];
      // The step may name blocks behind its window, but does not look at them.
      const int32_t seen = window == 0 ? 0 : std::max(start - window + 1, 0);
      const int32_t first = tables.start[s] + seen / options_.block_tokens;
      for (int32_t e = first; e < tables.start[s + 1]; ++e) {
        const uint32_t offset = tables.offsets[static_cast<size_t>(e)];
        if (offset == kNoBlockOffset) continue;
        const Owner owner{offset + options_.block_units[c], c, s};
        if (!owners.emplace(offset, owner).second)
          Violation("a block is in two tables of one step");
      }
    }
  }
  for (auto it = owners.begin(); it != owners.end(); ++it) {
    const auto next = std::next(it);
    if (next != owners.end() && next->first < it->second.end) {
      Violation("blocks of two cache classes overlap");
    }
  }
  return owners;
}

void FakeModelRunner::CheckAliasing(const BatchInput& input) {
  const Owners owners = OwnersOf(input);
  for (const Launched& step : launched_) {
    for (const auto& [offset, before] : OwnersOf(step.input)) {
      auto it = owners.lower_bound(before.end);
      if (it == owners.begin() || (--it)->second.end <= offset) continue;
      // Only the same sequence, going on where that step leaves it, may name the block again.
      const size_t s = it->second.sequence;
      const int32_t start = input.positions[static_cast<size_t>(input.q_start[s])];
      if (it->first != offset || it->second.cache_class != before.cache_class ||
          start != step.input.kv_len[before.sequence]) {
        Violation("a block is reused before its step completed");
      }
    }
  }
}

void FakeModelRunner::Violation(std::string text) {
  if (violations_.size() < 10) violations_.push_back(std::move(text));
}

}  // namespace quire::testing
