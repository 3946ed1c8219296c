#pragma once

#include <cstdint>

namespace quire {

// A sequence's life: kWaiting -> kRunning -> kFinished, back to kWaiting where it is preempted, and
// kWaiting -> kFinished.
enum class RequestStatus : uint8_t { kWaiting, kRunning, kFinished };

// Why a request ended. Every accepted request ends with exactly one of these.
enum class FinishReason : uint8_t {
  kStop,       // end token, stop token id or stop string
  kLength,     // max_tokens or the model's context reached
  kCancelled,  // the client went away, asked for it, or stopped reading
  kDeadline,   // the request's deadline passed, in the queue or while running
  kError,      // this request failed (its logits were not finite) or the device did
  kShutdown,   // the server ended it while draining
};

inline constexpr int kNumFinishReasons = 6;

constexpr const char* FinishReasonName(FinishReason reason) {
  constexpr const char* kNames[kNumFinishReasons] = {"stop",     "length", "cancelled",
                                                     "deadline", "error",  "shutdown"};
  return kNames[static_cast<int>(reason)];
}

}  // namespace quire
