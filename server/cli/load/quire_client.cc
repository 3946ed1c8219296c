#include "server/cli/load/quire_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <unordered_set>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/mutex.h"
#include "core/base/status_macros.h"
#include "quire/v1/inference.grpc.pb.h"
#include "server/cli/tls/channel_credentials.h"

namespace quire::cli {
namespace {

constexpr auto kConnectTimeout = std::chrono::seconds(10);

std::string CodeName(const grpc::Status& status) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
}

// Whether a refusal says when to come back: gRFC A6's trailer or google.rpc.RetryInfo.
bool HasRetryHint(const grpc::ClientContext& context, const grpc::Status& status) {
  return context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms") > 0 ||
         status.error_details().find("google.rpc.RetryInfo") != std::string::npos;
}

// Waits until it is known; a refusal counts at once, where WaitForConnected would try again.
bool IsConnected(grpc::Channel* channel, std::chrono::system_clock::time_point deadline) {
  grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/true);
  while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE) {
    if (!channel->WaitForStateChange(state, deadline)) return false;
    state = channel->GetState(/*try_to_connect=*/true);
  }
  return state == GRPC_CHANNEL_READY;
}

// One connection.
struct Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::InferenceService::Stub> stub;
  int32_t streams = 0;
};

class Call;

class CallOwner {
 public:
  virtual ~CallOwner() = default;
  // The call has reported how it went; destroys it.
  virtual void OnEnded(Call* call) = 0;
};

// One call. Lives until its owner hears that it has ended.
class Call final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  Call(v1::GenerateRequest request, size_t connection, LoadClient::Done done, CallOwner* owner)
      : request_(std::move(request)),
        connection_(connection),
        done_(std::move(done)),
        owner_(owner) {}

  size_t connection() const { return connection_; }
  grpc::ClientContext* context() { return &context_; }
  void Start(v1::InferenceService::Stub* stub) {
    result_.sent = std::chrono::steady_clock::now();
    stub->async()->Generate(&context_, &request_, this);
    StartRead(&message_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (const int32_t tokens = message_.token_ids_size(); tokens > 0) {
      result_.messages.push_back({std::chrono::steady_clock::now(), tokens});
      result_.output_tokens += tokens;
    }
    StartRead(&message_);
  }
  void OnDone(const grpc::Status& status) override {
    result_.ended = std::chrono::steady_clock::now();
    if (!status.ok()) {
      const bool refused =
          status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && result_.messages.empty();
      result_.outcome = refused ? Outcome::kRejected : Outcome::kFailed;
      result_.code = CodeName(status);
      result_.detail = status.error_message();
      result_.retry_hint = HasRetryHint(context_, status);
    }
    done_(std::move(result_));
    owner_->OnEnded(this);
  }

 private:
  grpc::ClientContext context_;
  const v1::GenerateRequest request_;
  v1::GenerateResponse message_;
  CallResult result_;
  const size_t connection_;
  const LoadClient::Done done_;
  CallOwner* const owner_;
};

class QuireClient final : public LoadClient, private CallOwner {
 public:
  QuireClient(const ClientOptions& options, std::shared_ptr<grpc::ChannelCredentials> credentials)
      : options_(options), credentials_(std::move(credentials)) {}
  ~QuireClient() override {
    // The last call has reported before it left the set.
    MutexLock lock(&mu_);
    mu_.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return calls_.empty(); });
  }

  absl::StatusOr<ServerLimits> Connect() override;
  void Start(ClientRequest request, Done done) override;
  void CancelAll() override;

 private:
  void AddConnection() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  size_t PickConnection() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PrepareContext(int32_t tenant, grpc::ClientContext* context) const;
  v1::GenerateRequest MakeRequest(const ClientRequest& request) const;
  void OnEnded(Call* call) override;

  const ClientOptions options_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  Mutex mu_;
  std::vector<Connection> connections_ ABSL_GUARDED_BY(mu_);
  std::unordered_set<Call*> calls_ ABSL_GUARDED_BY(mu_);
};

void QuireClient::AddConnection() {
  grpc::ChannelArguments arguments;
  // A proxy from the environment is meant for the web, not for a server that was named.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Channels to one address would share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  Connection connection;
  connection.channel = grpc::CreateCustomChannel(options_.target, credentials_, arguments);
  connection.stub = v1::InferenceService::NewStub(connection.channel);
  connections_.push_back(std::move(connection));
}

absl::StatusOr<ServerLimits> QuireClient::Connect() {
  MutexLock lock(&mu_);
  const auto deadline = std::chrono::system_clock::now() + kConnectTimeout;
  while (connections_.size() < static_cast<size_t>(options_.connections)) AddConnection();
  for (const Connection& connection : connections_) {
    if (IsConnected(connection.channel.get(), deadline)) continue;
    return absl::UnavailableError(
        absl::StrCat("no connection to ", options_.target, kNoServerHint));
  }
  grpc::ClientContext context;
  context.set_deadline(deadline);
  for (const auto& [name, value] : options_.tenant_headers[0]) context.AddMetadata(name, value);
  v1::GetModelRequest request;
  request.set_model(options_.model);
  v1::GetModelResponse response;
  const grpc::Status status = connections_[0].stub->GetModel(&context, request, &response);
  if (!status.ok()) {
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                        absl::StrCat("GetModel: ", CodeName(status), ": ", status.error_message()));
  }
  const v1::Model& model = response.model();
  ServerLimits limits;
  limits.model = model.name();
  limits.context_tokens = static_cast<int32_t>(model.context_length());
  limits.vocab_size = model.vocab_size();
  limits.end_tokens.assign(model.eos_token_ids().begin(), model.eos_token_ids().end());
  return limits;
}

size_t QuireClient::PickConnection() {
  size_t best = 0;
  for (size_t i = 1; i < connections_.size(); ++i) {
    if (connections_[i].streams < connections_[best].streams) best = i;
  }
  if (connections_[best].streams < options_.connection_streams) return best;
  AddConnection();
  return connections_.size() - 1;
}

void QuireClient::PrepareContext(int32_t tenant, grpc::ClientContext* context) const {
  const auto index = static_cast<size_t>(tenant);
  for (const auto& [name, value] : options_.tenant_headers[index]) {
    context->AddMetadata(name, value);
  }
  if (options_.deadline_seconds <= 0) return;
  context->set_deadline(std::chrono::system_clock::now() + FromSeconds(options_.deadline_seconds));
}

v1::GenerateRequest QuireClient::MakeRequest(const ClientRequest& request) const {
  v1::GenerateRequest message;
  message.set_model(options_.model);
  message.mutable_token_ids()->mutable_ids()->Add(request.prompt_ids.begin(),
                                                  request.prompt_ids.end());
  message.set_max_tokens(static_cast<uint32_t>(request.output_tokens));
  message.set_temperature(static_cast<float>(options_.temperature));
  message.set_ignore_eos(options_.ignore_eos);
  if (const auto priority = options_.priorities[static_cast<size_t>(request.tenant)]) {
    message.set_priority(static_cast<uint32_t>(*priority));
  }
  return message;
}

void QuireClient::Start(ClientRequest request, Done done) {
  v1::InferenceService::Stub* stub = nullptr;
  Call* call = nullptr;
  {
    MutexLock lock(&mu_);
    const size_t connection = PickConnection();
    call = new Call(MakeRequest(request), connection, std::move(done), this);
    PrepareContext(request.tenant, call->context());
    stub = connections_[connection].stub.get();
    ++connections_[connection].streams;
    calls_.insert(call);
  }
  call->Start(stub);
}

void QuireClient::OnEnded(Call* call) {
  MutexLock lock(&mu_);
  --connections_[call->connection()].streams;
  calls_.erase(call);
  delete call;
}

void QuireClient::CancelAll() {
  MutexLock lock(&mu_);
  for (Call* call : calls_) call->context()->TryCancel();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadClient>> MakeQuireClient(const ClientOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(auto credentials, MakeChannelCredentials(options.tls));
  return std::make_unique<QuireClient>(options, std::move(credentials));
}

}  // namespace quire::cli
