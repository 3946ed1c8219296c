#include "server/cli/load/openai_client.h"

#include <curl/curl.h>

#include <deque>
#include <thread>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/mutex.h"
#include "core/base/status_macros.h"
#include "server/cli/load/openai_messages.h"
#include "server/cli/load/openai_transfer.h"

namespace quire::cli {
namespace {

constexpr size_t kMostOfAList = size_t{1} << 20;  // bytes of the list of models
constexpr size_t kMostQuoted = 1024;
constexpr long kListTimeoutMs = 10000;
constexpr int kLongestPollMs = 1000;

std::string BaseUrl(std::string target, bool tls) {
  if (!absl::StrContains(target, "://")) {
    return absl::StrCat(tls ? "https://" : "http://", target, "/v1");
  }
  while (absl::EndsWith(target, "/")) target.pop_back();
  return target;
}

class OpenAiClient final : public LoadClient {
 public:
  explicit OpenAiClient(const ClientOptions& options)
      : options_(options),
        base_url_(BaseUrl(options.target, options.tls.on)),
        multi_(curl_multi_init()) {
    QUIRE_CHECK(multi_ != nullptr) << "curl_multi_init failed";
    thread_ = std::thread([this] { Run(); });
  }
  ~OpenAiClient() override {
    {
      MutexLock lock(&mu_);
      stopping_ = true;
    }
    curl_multi_wakeup(multi_);
    thread_.join();
    curl_multi_cleanup(multi_);
  }

  absl::StatusOr<ServerLimits> Connect() override;
  void Start(ClientRequest request, Done done) override;
  void CancelAll() override;

 private:
  void Run();
  // Takes over what Start and CancelAll left; false at the end.
  bool TakeOrders();
  void FinishEnded();
  void FinishAll();

  const ClientOptions options_;
  const std::string base_url_;
  std::string model_;
  CURLM* const multi_;
  std::unordered_map<CURL*, std::unique_ptr<Transfer>> running_;  // the thread's own

  Mutex mu_;
  std::deque<std::unique_ptr<Transfer>> started_ ABSL_GUARDED_BY(mu_);
  bool cancel_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses all of the above
};

size_t AppendBounded(char* bytes, size_t size, size_t count, void* body) {
  auto* text = static_cast<std::string*>(body);
  if (text->size() + size * count > kMostOfAList) return 0;
  text->append(bytes, size * count);
  return size * count;
}

absl::StatusOr<ServerLimits> OpenAiClient::Connect() {
  const CurlHandle easy(curl_easy_init());
  QUIRE_CHECK(easy != nullptr) << "curl_easy_init failed";
  const std::string url = base_url_ + "/models";
  std::string body;
  SetUpHttp(easy.get(), url, options_.tls);
  const HttpHeaders headers = MakeHttpHeaders(options_.tenant_headers.front());
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS, kListTimeoutMs);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &AppendBounded);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &body);
  const CURLcode code = curl_easy_perform(easy.get());
  if (code != CURLE_OK) {
    return absl::UnavailableError(absl::StrCat(url, ": ", curl_easy_strerror(code)));
  }
  long http = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &http);
  if (http != 200) {
    return absl::UnavailableError(
        absl::StrCat(url, ": HTTP ", http, ": ", body.substr(0, kMostQuoted)));
  }
  QUIRE_ASSIGN_OR_RETURN(ServerLimits limits, ReadModels(body, options_.model));
  model_ = limits.model;
  return limits;
}

void OpenAiClient::Start(ClientRequest request, Done done) {
  const auto tenant = static_cast<size_t>(request.tenant);
  auto transfer = std::make_unique<Transfer>(
      options_, base_url_ + "/completions", MakeCompletionBody(options_, model_, request),
      MakeHttpHeaders(options_.tenant_headers[tenant]), std::move(done));
  {
    MutexLock lock(&mu_);
    started_.push_back(std::move(transfer));
  }
  curl_multi_wakeup(multi_);
}

void OpenAiClient::CancelAll() {
  {
    MutexLock lock(&mu_);
    cancel_ = true;
  }
  curl_multi_wakeup(multi_);
}

void OpenAiClient::Run() {
  while (TakeOrders()) {
    int running = 0;
    curl_multi_perform(multi_, &running);
    FinishEnded();
    curl_multi_poll(multi_, nullptr, 0, kLongestPollMs, nullptr);
  }
}

bool OpenAiClient::TakeOrders() {
  std::deque<std::unique_ptr<Transfer>> started;
  bool cancel = false;
  bool stopping = false;
  {
    MutexLock lock(&mu_);
    started.swap(started_);
    std::swap(cancel, cancel_);
    stopping = stopping_;
  }
  for (auto& transfer : started) {
    CURL* const easy = transfer->easy();
    transfer->MarkSent();
    const CURLMcode code = curl_multi_add_handle(multi_, easy);
    QUIRE_CHECK(code == CURLM_OK) << curl_multi_strerror(code);
    running_.emplace(easy, std::move(transfer));
  }
  if (cancel || stopping) FinishAll();
  return !stopping;
}

void OpenAiClient::FinishEnded() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    auto ended = running_.extract(message->easy_handle);
    curl_multi_remove_handle(multi_, ended.key());
    ended.mapped()->Finish(code == CURLE_OK ? absl::OkStatus()
                                            : absl::UnavailableError(curl_easy_strerror(code)));
  }
}

void OpenAiClient::FinishAll() {
  for (auto& [easy, transfer] : running_) {
    curl_multi_remove_handle(multi_, easy);
    transfer->Finish(absl::CancelledError("cancelled"));
  }
  running_.clear();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadClient>> MakeOpenAiClient(const ClientOptions& options) {
  // libcurl reads them by itself, and does not say which it could not.
  QUIRE_RETURN_IF_ERROR(ReadTlsFiles(options.tls).status());
  const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) return absl::InternalError(curl_easy_strerror(code));
  return std::make_unique<OpenAiClient>(options);
}

}  // namespace quire::cli
