#include "tests/model_check/kv_shadow.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace quire::testing {
namespace {

bool Contains(const std::vector<int32_t>& blocks, int32_t block) {
  return std::find(blocks.begin(), blocks.end(), block) != blocks.end();
}

}  // namespace

template <typename... Parts>
void KvShadow::Report(const Parts&... parts) {
  violations_.push_back(absl::StrCat(parts...));
}

bool KvShadow::IsNamed(int32_t block) const {
  return std::any_of(sequences_.begin(), sequences_.end(),
                     [&](const Sequence& s) { return Contains(s.table, block); });
}

bool KvShadow::IsInFlight(int32_t block) const {
  for (const Step& step : steps_) {
    for (const StepRow& row : step.rows) {
      if (Contains(row.blocks, block)) return true;
    }
  }
  return false;
}

const KvShadow::Node* KvShadow::NodeOf(int32_t block) const {
  const auto node =
      std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.block == block; });
  return node == nodes_.end() ? nullptr : &*node;
}

const KvShadow::Node* KvShadow::FindNode(uint64_t parent, int32_t content) const {
  const auto node = std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& n) {
    return n.parent == parent && n.content == content;
  });
  return node == nodes_.end() ? nullptr : &*node;
}

KvShadow::Blocks KvShadow::Find(size_t r) const {
  const KvRequest& request = scenario_->requests[r];
  Blocks found;
  uint64_t parent = 0;
  // Its last token is computed in any case.
  for (int64_t b = 0; b < (request.prompt_tokens - 1) / kBlockTokens; ++b) {
    const Node* node = FindNode(parent, request.ContentsOf(static_cast<size_t>(b)).back());
    if (node == nullptr) break;
    found.push_back(node->block);
    parent = node->id;
  }
  return found;
}

bool KvShadow::CanAdmit(size_t r) const {
  return !sequences_[r].live &&
         Promised() + Fenced() + BlocksFor(MaxTokens(r)) <= scenario_->num_blocks();
}

void KvShadow::Admit(size_t r, bool warm) {
  Sequence& sequence = sequences_[r];
  sequence = {};
  sequence.live = sequence.findable = true;
  sequence.admission = ++last_admission_;
  if (!warm) return;
  sequence.table = Find(r);
  for (int32_t block : sequence.table) {
    if (At(block).writer > completed_) Report("block ", block, " is shared before it is computed");
    const bool was_unused = std::erase(unused_, block) > 0;
    const bool was_fenced =
        std::erase_if(fences_, [&](const Fence& fence) { return fence.block == block; }) > 0;
    events_ |= was_unused ? kSharedUnused : was_fenced ? kSharedFenced : kSharedLive;
    sequence.cursor = NodeOf(block)->id;
    ++sequence.cursor_blocks;
  }
  sequence.launched = sequence.completed =
      static_cast<int64_t>(sequence.table.size()) * kBlockTokens;
}

void KvShadow::Reserve(std::span<const Row> rows, const std::function<Blocks(size_t)>& tables) {
  for (const Row& row : rows) {
    Blocks& table = sequences_[row.request].table;
    const Blocks grown = tables(row.request);
    if (static_cast<int64_t>(grown.size()) != BlocksFor(row.end)) {
      Report("request ", row.request, " has ", grown.size(), " blocks for ", row.end, " tokens");
    }
    if (grown.size() < table.size() || !std::equal(table.begin(), table.end(), grown.begin())) {
      return Report("the table of request ", row.request, " has lost blocks");
    }
    for (size_t b = table.size(); b < grown.size(); ++b) {
      Take(grown[b]);
      table.push_back(grown[b]);
    }
  }
}

// Judges a block that was handed out.
void KvShadow::Take(int32_t block) {
  if (IsNamed(block)) Report("block ", block, " is handed out and a table names it");
  if (IsInFlight(block)) Report("block ", block, " is handed out and a step may still touch it");
  for (const Fence& fence : fences_) {
    if (fence.block == block) Report("block ", block, " is handed out behind a fence");
  }
  if (!Contains(unused_, block)) return;
  if (Available() > 0) Report("block ", block, " is evicted though another one is free");
  if (unused_.front() != block) Report("block ", block, " is evicted before its turn");
  std::erase(unused_, block);
  events_ |= kEvicted;
  Remove(*NodeOf(block));
}

void KvShadow::Remove(const Node& node) {
  const uint64_t id = node.id;
  std::erase_if(nodes_, [&](const Node& n) { return n.id == id; });
  if (std::any_of(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.parent == id; })) {
    events_ |= kOrphaned;
  }
}

void KvShadow::Launch(std::span<const Row> rows) {
  Step step{.id = ++last_launched_, .rows = {}};
  for (const Row& row : rows) Write(row, step.id);
  for (const Row& row : rows) {
    Sequence& sequence = sequences_[row.request];
    step.rows.push_back({row, sequence.admission, sequence.table});
    sequence.launched = row.end;
  }
  steps_.push_back(std::move(step));
}

// What the device will have done once the step is complete: steps run in order.
void KvShadow::Write(const Row& row, uint64_t step) {
  const Sequence& sequence = sequences_[row.request];
  for (int64_t p = sequence.launched; p < row.end; ++p) {
    const auto b = static_cast<size_t>(p / kBlockTokens);
    if (b >= sequence.table.size()) return Report("a step writes where there is no block");
    const int32_t block = sequence.table[b];
    if (NodeOf(block) != nullptr) Report("block ", block, " is written and can be found");
    for (const Sequence& other : sequences_) {
      if (&other != &sequence && Contains(other.table, block)) Report("a shared block is written");
    }
    for (const Step& on_its_way : steps_) {
      for (const StepRow& other : on_its_way.rows) {
        if (other.admission != sequence.admission && Contains(other.blocks, block)) {
          Report("block ", block, " is written and another's step may still touch it");
        }
      }
    }
    const auto at = static_cast<size_t>(p);
    At(block).contents[at % kBlockTokens] = scenario_->requests[row.request].contents[at];
    At(block).writer = step;
  }
}

void KvShadow::RollBack(std::span<const Row> rows) {
  for (const Row& row : rows) {
    Sequence& sequence = sequences_[row.request];
    sequence.table.resize(static_cast<size_t>(BlocksFor(sequence.launched)));
  }
}

std::vector<KvShadow::Row> KvShadow::Complete() {
  const Step step = std::move(steps_.front());
  steps_.pop_front();
  completed_ = step.id;
  while (!fences_.empty() && fences_.front().step <= completed_) {
    LetGo(fences_.front().block);
    fences_.erase(fences_.begin());
  }
  std::vector<Row> rows;
  for (const StepRow& row : step.rows) {
    Sequence& sequence = sequences_[row.row.request];
    if (!sequence.live || sequence.admission != row.admission) {
      events_ |= kEndedInFlight;
      continue;
    }
    rows.push_back(row.row);
    sequence.completed = row.row.end;
    Publish(row.row);
  }
  return rows;
}

void KvShadow::Publish(const Row& row) {
  Sequence& sequence = sequences_[row.request];
  if (!sequence.findable) return;
  for (size_t& b = sequence.cursor_blocks; static_cast<int64_t>(b + 1) * kBlockTokens <= row.end;
       ++b) {
    const int32_t content = scenario_->requests[row.request].ContentsOf(b).back();
    const Node* node = FindNode(sequence.cursor, content);
    if (node == nullptr) {
      nodes_.push_back({++last_node_, sequence.cursor, content, sequence.table[b]});
      node = &nodes_.back();
    } else {
      events_ |= kTwin;
    }
    sequence.cursor = node->id;
  }
}

void KvShadow::LetGo(int32_t block) {
  if (NodeOf(block) != nullptr) unused_.push_back(block);
}

void KvShadow::Free(size_t r) {
  Sequence& sequence = sequences_[r];
  while (!sequence.table.empty()) {
    const int32_t block = sequence.table.back();
    sequence.table.pop_back();
    if (IsNamed(block)) continue;
    if (steps_.empty()) {
      LetGo(block);
    } else {
      fences_.push_back({block, last_launched_});
    }
  }
  sequence = {};
}

void KvShadow::Forget(size_t r) {
  Sequence& sequence = sequences_[r];
  sequence.findable = false;
  for (int32_t block : sequence.table) {
    if (const Node* node = NodeOf(block); node != nullptr) Remove(*node);
    for (const Sequence& other : sequences_) {
      if (&other != &sequence && Contains(other.table, block)) events_ |= kForgotShared;
    }
  }
}

int64_t KvShadow::Held() const {
  std::set<int32_t> held;
  for (const Sequence& s : sequences_) held.insert(s.table.begin(), s.table.end());
  return static_cast<int64_t>(held.size());
}

int64_t KvShadow::References() const {
  int64_t references = 0;
  for (const Sequence& s : sequences_) references += static_cast<int64_t>(s.table.size());
  return references;
}

int64_t KvShadow::Promised() const {
  int64_t promised = 0;
  for (size_t r = 0; r < sequences_.size(); ++r) {
    if (sequences_[r].live) promised += BlocksFor(MaxTokens(r));
  }
  return promised;
}

int64_t KvShadow::FilledSlots() const {
  std::set<int32_t> seen;
  int64_t filled = 0;
  for (const Sequence& s : sequences_) {
    for (size_t b = 0; b < s.table.size(); ++b) {
      if (!seen.insert(s.table[b]).second) continue;
      filled +=
          std::min<int64_t>(s.launched - static_cast<int64_t>(b) * kBlockTokens, kBlockTokens);
    }
  }
  return filled;
}

int64_t KvShadow::SlabsNeeded() const {
  std::set<int32_t> claimed;
  const auto claim = [&](int32_t block) { claimed.insert(block / scenario_->blocks_per_slab); };
  for (const Sequence& s : sequences_) std::for_each(s.table.begin(), s.table.end(), claim);
  for (const Fence& fence : fences_) claim(fence.block);
  std::for_each(unused_.begin(), unused_.end(), claim);
  const int64_t spoken_for = Promised() + Fenced();
  return std::max(static_cast<int64_t>(claimed.size()),
                  (spoken_for + scenario_->blocks_per_slab - 1) / scenario_->blocks_per_slab);
}

void KvShadow::Check(std::vector<std::string>* violations) const {
  violations->insert(violations->end(), violations_.begin(), violations_.end());
  for (size_t r = 0; r < sequences_.size(); ++r) {
    const Sequence& s = sequences_[r];
    for (int64_t p = 0; p < s.launched; ++p) {
      const auto at = static_cast<size_t>(p);
      const int32_t block = s.table[at / kBlockTokens];
      if (At(block).contents[at % kBlockTokens] == scenario_->requests[r].contents[at]) continue;
      violations->push_back(
          absl::StrCat("block ", block, " has not what request ", r, " needs at ", p));
      break;
    }
  }
  for (const Node& node : nodes_) {
    if (At(node.block).writer > completed_ || At(node.block).contents.back() != node.content) {
      violations->push_back(absl::StrCat("block ", node.block, " is found by what it has not"));
    }
  }
  if (Promised() - References() > Available() + Cached()) {
    violations->push_back("more is promised than can be had");
  }
}

void KvShadow::AddTo(StateKey* key) const {
  for (const Sequence& s : sequences_) {
    key->Add(s.live ? s.launched : -1);
    if (!s.live) continue;
    key->Add(s.completed * 2 + (s.findable ? 1 : 0));
    for (int32_t block : s.table) key->AddBlock(block);
    key->Add(static_cast<int64_t>(s.cursor_blocks));
    key->AddNode(0, s.cursor);
  }
  for (const Step& step : steps_) {
    key->Add(static_cast<int64_t>(step.rows.size()));
    for (const StepRow& row : step.rows) {
      const bool live = sequences_[row.row.request].admission == row.admission;
      key->Add(live ? static_cast<int64_t>(row.row.request) : -1);
      key->Add(live ? row.row.end : 0);
      key->Add(static_cast<int64_t>(row.blocks.size()));
      for (int32_t block : row.blocks) key->AddBlock(block);
    }
  }
  key->Add(Fenced());
  for (const Fence& fence : fences_) {
    key->Add(static_cast<int64_t>(fence.step - completed_));
    key->AddBlock(fence.block);
  }
  key->Add(Cached());
  for (int32_t block : unused_) key->AddBlock(block);
  key->Add(num_nodes());
  for (int32_t block : std::vector(key->blocks())) {
    const Node* node = NodeOf(block);
    key->Add(node == nullptr ? 0 : node->content);
    if (node == nullptr) continue;
    key->AddNode(0, node->id);
    key->AddNode(0, node->parent);
  }
}

}  // namespace quire::testing
