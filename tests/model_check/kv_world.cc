#include "tests/model_check/kv_world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/model_check/kv_state_reader.h"

namespace quire::testing {
namespace {

// A request is in a step with none of its tokens, up to its next stop, or with all of its prompt.
constexpr size_t kChoices = 3;

}  // namespace

KvWorld::KvWorld(const KvScenario& scenario)
    : scenario_(scenario),
      arena_(SmallLayout().BlockBytes() * static_cast<size_t>(scenario.num_blocks()),
             SmallLayout().BlockBytes() * static_cast<size_t>(scenario.blocks_per_slab)),
      kv_({SmallLayout()}, &arena_, /*in_flight_tokens=*/kBlockTokens),
      shadow_(&scenario) {
  if (!kv_.EnablePrefixCache()) violations_.push_back("no prefix cache");
  KvStateReader::LetHashesCollide(&kv_);
}

std::vector<KvWorld::Action> KvWorld::Enabled() const {
  std::vector<Action> actions;
  for (size_t r = 0; r < scenario_.requests.size(); ++r) {
    if (shadow_.CanAdmit(r)) {
      actions.push_back(Make(Kind::kAdmit, r));
      if (!shadow_.Find(r).empty()) actions.push_back(Make(Kind::kAdmitCold, r));
    }
    if (!shadow_.IsLive(r)) continue;
    actions.push_back(Make(Kind::kFree, r));
    if (shadow_.IsFindable(r)) actions.push_back(Make(Kind::kForget, r));
  }
  if (shadow_.in_flight() > 0) actions.push_back(Make(Kind::kComplete, 0));
  if (shadow_.in_flight() < scenario_.max_in_flight) AddSteps(&actions);
  return actions;
}

// KV lengths after the next step that the request may choose from.
std::vector<int64_t> KvWorld::EndsOf(size_t r) const {
  const KvRequest& request = scenario_.requests[r];
  const int64_t launched = shadow_.launched(r);
  if (!shadow_.IsLive(r) || launched == request.stops.back()) return {};
  const auto next = std::upper_bound(request.stops.begin(), request.stops.end(), launched);
  if (*next >= request.prompt_tokens) return {*next};
  return {*next, *std::lower_bound(next, request.stops.end(), request.prompt_tokens)};
}

// Choice number `choices % 3` is the first request's, and so on. Empty: there is no such step.
std::vector<KvShadow::Row> KvWorld::RowsOf(size_t choices) const {
  std::vector<KvShadow::Row> rows;
  for (size_t r = 0; r < scenario_.requests.size(); ++r, choices /= kChoices) {
    const size_t choice = choices % kChoices;
    if (choice == 0) continue;
    const std::vector<int64_t> ends = EndsOf(r);
    if (choice > ends.size()) return {};
    rows.push_back({r, ends[choice - 1]});
  }
  return rows;
}

void KvWorld::AddSteps(std::vector<Action>* actions) const {
  size_t all = 1;
  for (size_t r = 0; r < scenario_.requests.size(); ++r) all *= kChoices;
  for (size_t choices = 1; choices < all; ++choices) {
    if (RowsOf(choices).empty()) continue;
    actions->push_back(Make(Kind::kLaunch, choices));
    actions->push_back(Make(Kind::kRollBack, choices));
  }
}

void KvWorld::Apply(Action action) {
  const size_t argument = ArgumentOf(action);
  switch (KindOf(action)) {
    case Kind::kAdmit:
    case Kind::kAdmitCold:
      return Admit(argument, KindOf(action) == Kind::kAdmit);
    case Kind::kLaunch:
    case Kind::kRollBack:
      return Step(RowsOf(argument), KindOf(action) == Kind::kLaunch);
    case Kind::kComplete:
      return Complete();
    case Kind::kFree:
      kv_.Free(SequenceId(argument), StepId(shadow_.last_launched()));
      return shadow_.Free(argument);
    case Kind::kForget:
      kv_.ForgetPrefix(SequenceId(argument));
      return shadow_.Forget(argument);
  }
}

void KvWorld::Admit(size_t r, bool warm) {
  const KvRequest& request = scenario_.requests[r];
  const std::span<const TokenId> prompt =
      std::span(request.tokens).first(static_cast<size_t>(request.prompt_tokens));
  KvBudget budget = kv_.Budget();
  if (!budget.TryTake(kv_.PromiseFor(request.stops.back()))) {
    violations_.push_back(absl::StrCat("request ", r, " does not fit though it should"));
  }
  kv_.Admit(SequenceId(r), request.stops.back());
  const int64_t found =
      kv_.SharePrefix(SequenceId(r), warm ? prompt : std::span<const TokenId>(), request.scope);
  shadow_.Admit(r, warm);
  if (found != shadow_.launched(r) || TableOf(r) != shadow_.Table(r)) {
    violations_.push_back(absl::StrCat("request ", r, " finds ", found, " tokens, not ",
                                       shadow_.launched(r), ", or elsewhere"));
  }
}

void KvWorld::Step(const std::vector<KvShadow::Row>& rows, bool commit) {
  std::vector<KvNeed> needs;
  needs.reserve(rows.size());
  for (const KvShadow::Row& row : rows) needs.push_back({SequenceId(row.request), row.end});
  KvReservation reservation = kv_.Reserve(needs);
  shadow_.Reserve(rows, [this](size_t r) { return TableOf(r); });
  if (!commit) return shadow_.RollBack(rows);
  reservation.Commit();
  shadow_.Launch(rows);
}

void KvWorld::Complete() {
  const std::vector<KvShadow::Row> rows = shadow_.Complete();
  kv_.StepCompleted(StepId(shadow_.completed()));
  for (const KvShadow::Row& row : rows) {
    const SequenceId sequence(row.request);
    kv_.Pass(sequence, row.end);
    kv_.Publish(
        sequence,
        std::span(scenario_.requests[row.request].tokens).first(static_cast<size_t>(row.end)));
  }
}

KvShadow::Blocks KvWorld::TableOf(size_t r) const {
  KvShadow::Blocks places;
  for (BlockId block : kv_.Table(SequenceId(r)).blocks) {
    places.push_back(KvStateReader::PlaceOf(kv_, block));
  }
  return places;
}

std::string KvWorld::Describe(Action action) const {
  const size_t argument = ArgumentOf(action);
  std::string rows;
  switch (KindOf(action)) {
    case Kind::kAdmit:
      return absl::StrCat("admit ", argument);
    case Kind::kAdmitCold:
      return absl::StrCat("admit ", argument, " and look nothing up");
    case Kind::kLaunch:
    case Kind::kRollBack:
      for (const KvShadow::Row& row : RowsOf(argument)) {
        absl::StrAppend(&rows, rows.empty() ? "" : ", ", row.request, " to ", row.end);
      }
      return absl::StrCat(KindOf(action) == Kind::kLaunch ? "launch " : "roll back ", rows);
    case Kind::kComplete:
      return "complete";
    case Kind::kFree:
      return absl::StrCat("free ", argument);
    case Kind::kForget:
      return absl::StrCat("forget ", argument);
  }
  return "";
}

bool KvWorld::IsProgress(Action action) const {
  const Kind kind = KindOf(action);
  return kind == Kind::kLaunch || kind == Kind::kComplete ||
         (kind == Kind::kFree && shadow_.IsDone(ArgumentOf(action)));
}

bool KvWorld::IsIdle() const { return shadow_.Promised() == 0 && shadow_.in_flight() == 0; }

std::vector<std::string> KvWorld::Violations() const {
  std::vector<std::string> violations = violations_;
  for (std::string& violation : kv_.CheckInvariants()) violations.push_back(std::move(violation));
  shadow_.Check(&violations);
  CheckSnapshot(&violations);
  CheckPrefixes(&violations);
  return violations;
}

void KvWorld::CheckSnapshot(std::vector<std::string>* violations) const {
  const auto expect = [&](const char* what, int64_t is, int64_t wanted) {
    if (is != wanted) violations->push_back(absl::StrCat(what, ": ", is, ", not ", wanted));
  };
  const KvClassSnapshot snapshot = kv_.Snapshot().classes[0];
  expect("active blocks", snapshot.active_blocks, shadow_.Held());
  expect("fenced blocks", snapshot.fenced_blocks, shadow_.Fenced());
  expect("cached blocks", snapshot.cached_blocks, shadow_.Cached());
  expect("free blocks", snapshot.free_blocks, shadow_.Available());
  expect("promised blocks", snapshot.promised_blocks, shadow_.Promised() - shadow_.References());
  expect("filled slots", snapshot.filled_slots, shadow_.FilledSlots());
  expect("prefix nodes", KvStateReader::PrefixNodes(kv_), shadow_.num_nodes());
  expect("slabs needed", kv_.Budget().SlabsNeeded(), shadow_.SlabsNeeded());
  for (size_t r = 0; r < scenario_.requests.size(); ++r) {
    if (shadow_.IsLive(r) && TableOf(r) != shadow_.Table(r)) {
      violations->push_back(absl::StrCat("the table of request ", r, " has other blocks"));
    }
    KvBudget budget = kv_.Budget();
    const bool fits = budget.TryTake(kv_.PromiseFor(scenario_.requests[r].stops.back()));
    if (!shadow_.IsLive(r)) expect("a request fits", fits ? 1 : 0, shadow_.CanAdmit(r) ? 1 : 0);
  }
}

// Each prompt is found where the shadow finds it, in whatever state it is not yet admitted.
void KvWorld::CheckPrefixes(std::vector<std::string>* violations) const {
  for (size_t r = 0; r < scenario_.requests.size(); ++r) {
    const KvRequest& request = scenario_.requests[r];
    KvShadow::Blocks found;
    PrefixCache::Key key{.scope = request.scope, .tokens = {}};
    for (int64_t b = 0; b < (request.prompt_tokens - 1) / kBlockTokens; ++b) {
      key.tokens =
          std::span(request.tokens).subspan(static_cast<size_t>(b) * kBlockTokens, kBlockTokens);
      const PrefixCache::Node node = kv_.cache_class(0).prefixes().Find(key);
      if (node.id == PrefixCache::kRoot) break;
      found.push_back(KvStateReader::PlaceOf(kv_, node.block));
      key = {.parent = node.id, .scope = {}, .tokens = {}};
    }
    if (found != shadow_.Find(r)) {
      violations->push_back(absl::StrCat("the prompt of request ", r, " is found elsewhere"));
    }
  }
}

StateKey::Digest KvWorld::Key() const {
  StateKey key(scenario_.blocks_per_slab);
  std::vector<SequenceId> sequences;
  for (size_t r = 0; r < scenario_.requests.size(); ++r) sequences.emplace_back(r);
  KvStateReader::AddTo(kv_, sequences, &key);
  shadow_.AddTo(&key);
  return key.digest();
}

}  // namespace quire::testing
