#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/cli/load/load_schedule.h"
#include "server/cli/tls/tls_options.h"

namespace quire::cli {

enum class Outcome {
  kOk,
  kRejected,    // refused for want of room, before its first token
  kFailed,      // ended in any other way
  kUnfinished,  // still going when the run was over, and cancelled
};

// Tokens that came together.
struct TokenArrival {
  TimePoint at;
  int32_t tokens = 0;
};

// How one call went. `messages` has 16 bytes for each message that brought tokens.
struct CallResult {
  TimePoint sent;
  TimePoint ended;
  std::vector<TokenArrival> messages;
  // Of the whole answer, as the server counted them; messages may count differently where the
  // protocol does not say how many tokens one brings.
  int64_t output_tokens = 0;
  Outcome outcome = Outcome::kOk;
  std::string code = "OK";  // a gRPC status, "HTTP 429" or a transport's error
  std::string detail;       // the server's words
  bool retry_hint = false;  // a refusal that said when to come back
};

struct ClientRequest {
  int32_t tenant = 0;
  std::vector<uint32_t> prompt_ids;
  int32_t output_tokens = 0;
};

// What a client needs to know besides the requests.
struct ClientOptions {
  std::string target;  // host:port; for HTTP also a URL that /completions is appended to
  std::string model;   // empty: the only one
  double temperature = 0;
  bool ignore_eos = true;       // answers have the length that was asked for
  double deadline_seconds = 0;  // of a request; 0: none
  TlsOptions tls = {};
  int32_t connections = 4;           // opened before the run
  int32_t connection_streams = 100;  // more of them open one more connection
  using Headers = std::vector<std::pair<std::string, std::string>>;
  std::vector<Headers> tenant_headers;             // by tenant
  std::vector<std::optional<int32_t>> priorities;  // by tenant
};

// A server under load. Start is called by one thread at a time; `done` comes exactly once, on any
// thread, and must not wait. Destroyed only when every call has ended.
class LoadClient {
 public:
  using Done = std::function<void(CallResult)>;
  virtual ~LoadClient() = default;

  // Connects, and asks what the server can do; before the first Start.
  virtual absl::StatusOr<ServerLimits> Connect() = 0;
  virtual void Start(ClientRequest request, Done done) = 0;
  // Ends all calls soon; they report whatever they got.
  virtual void CancelAll() = 0;
};

}  // namespace quire::cli
