#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/output_stream.h"

namespace quire::server {

// Stands in for a client's call: records what it is told. A write stays in flight until the test
// takes it with FinishWrite.
class FakeStreamWriter final : public StreamWriter {
 public:
  void StartWrite(OutputChunk chunk) override {
    std::lock_guard lock(mu_);
    writes_overlap_ |= write_in_flight_;
    write_in_flight_ = true;
    AddLocked(std::move(chunk));
  }
  void StartWriteAndFinish(OutputChunk last, const absl::Status& status) override {
    std::lock_guard lock(mu_);
    last_message_ = std::make_unique<FinishInfo>(*last.finish);
    totals_ = std::make_unique<AnswerTotals>(*last.totals);
    AddLocked(std::move(last));
    EndLocked(status);
  }
  void Finish(const absl::Status& status) override {
    std::lock_guard lock(mu_);
    EndLocked(status);
  }
  void Abort() override {
    std::lock_guard lock(mu_);
    ++aborts_;
  }
  void CancelRequest(CancelCause cause) override {
    std::lock_guard lock(mu_);
    cancels_.push_back(cause);
  }
  void PauseRequest(bool paused) override {
    std::lock_guard lock(mu_);
    pauses_.push_back(paused);
  }

  // Ends the write in flight, if there is one, as gRPC would.
  bool FinishWrite(OutputStream* stream, bool ok = true) {
    {
      std::lock_guard lock(mu_);
      if (!write_in_flight_) return false;
      write_in_flight_ = false;
    }
    stream->WriteDone(ok);
    return true;
  }
  void AwaitStatus() {
    std::unique_lock lock(mu_);
    ended_.wait(lock, [this] { return !statuses_.empty(); });
  }

  std::string text() const { return Get(text_); }
  std::vector<TokenId> tokens() const { return Get(tokens_); }
  std::vector<float> logprobs() const { return Get(logprobs_); }
  std::vector<float> prompt_logprobs() const { return Get(prompt_logprobs_); }
  std::vector<Alternatives> alternatives() const { return Get(alternatives_); }
  std::vector<CancelCause> cancels() const { return Get(cancels_); }
  std::vector<bool> pauses() const { return Get(pauses_); }
  std::vector<absl::Status> statuses() const { return Get(statuses_); }
  int messages() const { return Get(messages_); }
  int aborts() const { return Get(aborts_); }
  bool write_in_flight() const { return Get(write_in_flight_); }
  // Something was written while a write was in flight or after the status, or a gap was seen.
  bool broke_the_rules() const { return Get(writes_overlap_) || Get(gap_); }
  // What the last message said; null without one. Once the status is there.
  const FinishInfo* last_message() const { return last_message_.get(); }
  const AnswerTotals* totals() const { return totals_.get(); }
  // Each message: "index:text", with "." for the end of its answer and "|" for a prompt's echo.
  std::vector<std::string> summaries() const { return Get(summaries_); }

 private:
  template <typename T>
  T Get(const T& member) const {
    std::lock_guard lock(mu_);
    return member;
  }
  void AddLocked(OutputChunk chunk) {
    int64_t& offset = offsets_[chunk.index];
    gap_ |= chunk.token_offset != offset || !statuses_.empty();
    offset += static_cast<int64_t>(chunk.tokens.size());
    summaries_.push_back(std::to_string(chunk.index) + ":" +
                         (chunk.prompt.empty() ? "" : chunk.prompt.text + "|") + chunk.text +
                         (chunk.finish != nullptr ? "." : ""));
    prompt_logprobs_.insert(prompt_logprobs_.end(), chunk.prompt.logprobs.begin(),
                            chunk.prompt.logprobs.end());
    alternatives_.insert(alternatives_.end(), chunk.alternatives.begin(), chunk.alternatives.end());
    ++messages_;
    text_ += chunk.text;
    tokens_.insert(tokens_.end(), chunk.tokens.begin(), chunk.tokens.end());
    logprobs_.insert(logprobs_.end(), chunk.logprobs.begin(), chunk.logprobs.end());
  }
  void EndLocked(const absl::Status& status) {
    writes_overlap_ |= write_in_flight_;
    statuses_.push_back(status);
    ended_.notify_all();
  }

  mutable std::mutex mu_;
  std::condition_variable ended_;
  std::string text_;
  std::vector<TokenId> tokens_;
  std::vector<float> logprobs_;
  std::vector<CancelCause> cancels_;
  std::vector<bool> pauses_;
  std::vector<absl::Status> statuses_;
  std::map<int32_t, int64_t> offsets_;  // by index
  std::vector<std::string> summaries_;
  std::vector<float> prompt_logprobs_;
  std::vector<Alternatives> alternatives_;
  std::unique_ptr<FinishInfo> last_message_;
  std::unique_ptr<AnswerTotals> totals_;
  int messages_ = 0;
  int aborts_ = 0;
  bool write_in_flight_ = false;
  bool writes_overlap_ = false;
  bool gap_ = false;
};

inline OutputChunk TokenChunk(TokenId token, std::string text, int32_t index = 0) {
  OutputChunk chunk;
  chunk.index = index;
  chunk.tokens = {token};
  chunk.text = std::move(text);
  return chunk;
}

inline OutputChunk EndChunk(FinishReason reason, absl::Status status = absl::OkStatus(),
                            int32_t index = 0) {
  OutputChunk chunk;
  chunk.index = index;
  chunk.finish = std::make_unique<FinishInfo>();
  chunk.finish->reason = reason;
  chunk.finish->status = std::move(status);
  return chunk;
}

}  // namespace quire::server
