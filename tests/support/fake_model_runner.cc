#include "tests/support/fake_model_runner.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire::testing {
absl::Status FakeModelRunner::LaunchForward(const BatchInput& input) {
  if (launches_++ == options_.fail_launch) return Fail("planted launch failure");
  QUIRE_CHECK(launched_.size() <= static_cast<size_t>(options_.depth));
  max_step_tokens_seen_ = std::max<int64_t>(max_step_tokens_seen_, input.counts.tokens);
  max_logit_rows_seen_ = std::max<int64_t>(max_logit_rows_seen_, input.counts.logit_rows);
  CheckAliasing(input);
  launched_.push_back({input, false});
  if (device_ != nullptr) device_->LaunchStep();
  return absl::OkStatus();
}

absl::Status FakeModelRunner::LaunchSample(const BatchInput& input) {
  QUIRE_CHECK(!launched_.empty() && launched_.back().input.step == input.step);
  launched_.back().sampled = true;
  return absl::OkStatus();
}

absl::StatusOr<std::span<const kernels::SampledToken>> FakeModelRunner::Complete() {
  if (completions_++ == options_.fail_complete) return Fail("planted device loss");
  QUIRE_CHECK(!launched_.empty() && launched_.front().sampled);
  if (device_ != nullptr) device_->CompleteStep();
  const Launched step = std::move(launched_.front());
  launched_.pop_front();
  result_.clear();
  alternatives_.clear();
  hashes_.clear();
  for (size_t s = 0; s < step.input.kv_len.size(); ++s) RunSequence(step.input, s);
  for (size_t i = 0; i < step.input.logit_rows.size(); ++i) {
    const uint64_t hash = hashes_.at(static_cast<size_t>(step.input.logit_rows[i]));
    const kernels::SamplingRow& row = step.input.sampling.at(i);
    result_.push_back(Sample(step.input, row, hash));
    std::vector<kernels::TokenLogprob>& alternatives = alternatives_.emplace_back();
    for (int32_t n = 0; n < row.alternatives; ++n) {
      alternatives.push_back(AlternativeAt(options_, hash, n));
    }
  }
  previous_ = result_;
  return std::span<const kernels::SampledToken>(result_);
}

absl::Status FakeModelRunner::Fail(const char* message) {
  if (device_ != nullptr) device_->Lose();
  return absl::InternalError(message);
}

kernels::SampledToken FakeModelRunner::Sample(const BatchInput& input,
                                              const kernels::SamplingRow& row,
                                              uint64_t hash) const {
  if (row.target >= 0) return {row.target, ScoreOf(hash, row.target)};
  const auto part = [](const auto& all, int32_t start, int32_t count) {
    return std::span(all).subspan(static_cast<size_t>(start), static_cast<size_t>(count));
  };
  const TokenId last =
      row.history_row < 0 ? -1 : previous_.at(static_cast<size_t>(row.history_row)).token_id;
  if (row.history_row >= 0 && last < 0) return {};
  if (row.repetition_penalty != 1 || row.frequency_penalty != 0 || row.presence_penalty != 0) {
    const auto known = part(input.history, row.history_start, row.history_count);
    std::vector<TokenId> history(known.begin(), known.end());
    if (last >= 0) history.push_back(last);
    hash = Penalised(hash, history, row.history_generated + (last >= 0 ? 1 : 0));
  }
  hash = Seeded(hash, row.seed, row.counter);
  const auto edits = part(input.edits, row.edits_start, row.edits_count);
  return DrawToken(options_, hash, part(input.allowed, row.allowed_start, row.allowed_count),
                   [&](TokenId id) {
                     return std::ranges::any_of(edits, [&](const kernels::LogitEdit& edit) {
                       return edit.token == id && std::isinf(edit.bias) &&
                              (edit.after < 0 || edit.after == last);
                     });
                   });
}

void FakeModelRunner::RunSequence(const BatchInput& input, size_t s) {
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
    hashes_.push_back(hash);
    for (size_t c = 0; c < options_.windows.size(); ++c) {
      CellAt(input, c, s, input.positions[static_cast<size_t>(row)]) = {start + row - first, token,
                                                                        hash};
    }
  }
  if (input.kv_len[s] != start + end - first) Violation("kv_len is not the last position plus one");
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
  const int32_t slot = position % options_.block_tokens;
  if (arena_ == nullptr) return cells_[{offset, slot}];
  static_assert(sizeof(Cell) <= 64, "of a token's KV in EngineHarness::Layout");
  return reinterpret_cast<Cell*>(arena_ + size_t{offset} * kernels::kKvOffsetUnit)[slot];
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
        const bool written = e - tables.start[s] >= start / options_.block_tokens;
        const Owner owner{offset + options_.block_units[c], c, s, written};
        const auto [it, inserted] = owners.emplace(offset, owner);
        if (inserted) continue;
        if (written || it->second.written) Violation("a block that is written is in two tables");
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
      if (it->first == offset && it->second.cache_class == before.cache_class &&
          !it->second.written && !before.written) {
        continue;
      }
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
