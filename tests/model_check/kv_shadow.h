#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "tests/model_check/kv_scenario.h"
#include "tests/model_check/state_key.h"

namespace quire::testing {

// What the KV blocks of a scenario must look like, kept the naive way: by looking through
// everything. Blocks are numbered by where they are in the arena. It learns from the real tables
// only which blocks were handed out, and judges that; everything else it knows by itself.
class KvShadow {
 public:
  struct Row {
    size_t request = 0;
    int64_t end = 0;  // KV length after the step
  };
  using Blocks = std::vector<int32_t>;

  // What has happened on the way here, as bits: an exploration that never meets a case proves
  // nothing about it.
  enum Event : uint32_t {
    kSharedLive = 1,       // a block that another table names is shared
    kSharedFenced = 2,     // one that no table names but a step may touch
    kSharedUnused = 4,     // one that was only kept
    kEvicted = 8,          // a block is handed out that could be found
    kOrphaned = 16,        // the block before one that can be found goes
    kTwin = 32,            // two sequences have computed the same block
    kForgotShared = 64,    // a block is forgotten that others name
    kEndedInFlight = 128,  // a step completes whose sequence has ended
    kAllEvents = 255,
  };

  explicit KvShadow(const KvScenario* scenario)
      : scenario_(scenario),
        sequences_(scenario->requests.size()),
        blocks_(static_cast<size_t>(scenario->num_blocks())) {}

  bool IsLive(size_t r) const { return sequences_[r].live; }
  bool IsFindable(size_t r) const { return sequences_[r].findable; }
  bool IsDone(size_t r) const { return sequences_[r].completed == MaxTokens(r); }
  int64_t launched(size_t r) const { return sequences_[r].launched; }
  size_t in_flight() const { return steps_.size(); }
  uint64_t last_launched() const { return last_launched_; }
  uint64_t completed() const { return completed_; }
  const Blocks& Table(size_t r) const { return sequences_[r].table; }

  bool CanAdmit(size_t r) const;
  // `warm`: its prompt is looked up.
  void Admit(size_t r, bool warm);
  // The real tables have grown for a step: `tables(r)` are a request's blocks now.
  void Reserve(std::span<const Row> rows, const std::function<Blocks(size_t)>& tables);
  // After Reserve: one of the two.
  void Launch(std::span<const Row> rows);
  void RollBack(std::span<const Row> rows);
  // The oldest step is complete; its rows whose sequences are still there.
  std::vector<Row> Complete();
  void Free(size_t r);
  void Forget(size_t r);

  // Blocks in which the prompt of a request is found, as far as there are any.
  Blocks Find(size_t r) const;
  int64_t num_nodes() const { return static_cast<int64_t>(nodes_.size()); }
  int64_t Held() const;  // distinct blocks
  int64_t References() const;
  int64_t Fenced() const { return static_cast<int64_t>(fences_.size()); }
  int64_t Cached() const { return static_cast<int64_t>(unused_.size()); }
  int64_t Available() const { return scenario_->num_blocks() - Held() - Fenced() - Cached(); }
  int64_t Promised() const;
  int64_t FilledSlots() const;  // of distinct blocks
  int64_t SlabsNeeded() const;

  // Appends what is wrong with the contents and the promises.
  void Check(std::vector<std::string>* violations) const;
  uint32_t events() const { return events_; }
  const std::vector<std::string>& violations() const { return violations_; }
  void AddTo(StateKey* key) const;

 private:
  struct Block {
    std::array<int32_t, kBlockTokens> contents{};
    uint64_t writer = 0;  // the last step that writes it
  };
  // A block that can be found, behind the node `parent` (0: at the beginning).
  struct Node {
    uint64_t id = 0, parent = 0;
    int32_t content = 0;  // of its last slot
    int32_t block = 0;
  };
  struct Sequence {
    bool live = false, findable = false;
    uint64_t admission = 0;
    int64_t launched = 0, completed = 0;
    Blocks table;
    size_t cursor_blocks = 0;  // how far its blocks are nodes, or have twins that are
    uint64_t cursor = 0;       // the last of those
  };
  struct StepRow {
    Row row;
    uint64_t admission = 0;
    Blocks blocks;
  };
  struct Step {
    uint64_t id = 0;
    std::vector<StepRow> rows;
  };
  struct Fence {
    int32_t block = 0;
    uint64_t step = 0;
  };

  int64_t MaxTokens(size_t r) const { return scenario_->requests[r].stops.back(); }
  static int64_t BlocksFor(int64_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }
  Block& At(int32_t block) { return blocks_[static_cast<size_t>(block)]; }
  const Block& At(int32_t block) const { return blocks_[static_cast<size_t>(block)]; }
  bool IsNamed(int32_t block) const;     // by a table
  bool IsInFlight(int32_t block) const;  // named by a step on its way
  const Node* NodeOf(int32_t block) const;
  const Node* FindNode(uint64_t parent, int32_t content) const;
  void Take(int32_t block);
  void Write(const Row& row, uint64_t step);
  void Publish(const Row& row);
  void LetGo(int32_t block);
  void Remove(const Node& node);
  template <typename... Parts>
  void Report(const Parts&... parts);

  const KvScenario* scenario_;
  std::vector<Sequence> sequences_;
  std::vector<Block> blocks_;
  std::vector<Node> nodes_;
  std::vector<int32_t> unused_;  // blocks of nodes, the longest unused first
  std::vector<Fence> fences_;    // in the order of release
  std::deque<Step> steps_;
  uint64_t last_launched_ = 0, completed_ = 0, last_node_ = 0, last_admission_ = 0;
  uint32_t events_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace quire::testing
