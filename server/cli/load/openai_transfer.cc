#include "server/cli/load/openai_transfer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "server/cli/load/openai_messages.h"

namespace quire::cli {
namespace {

constexpr size_t kMostOfAnError = 1024;  // bytes of an error's body that are kept
constexpr long kConnectTimeoutMs = 10000;

void AddHeader(const std::string& line, HttpHeaders* list) {
  curl_slist* longer = curl_slist_append(list->get(), line.c_str());
  QUIRE_CHECK(longer != nullptr) << "no memory for a header";
  static_cast<void>(list->release());
  list->reset(longer);
}

}  // namespace

HttpHeaders MakeHttpHeaders(const ClientOptions::Headers& headers) {
  HttpHeaders list;
  AddHeader("Content-Type: application/json", &list);
  AddHeader("Accept: text/event-stream", &list);
  // Without it libcurl would wait for a "100 Continue" before it sends a long prompt.
  AddHeader("Expect:", &list);
  for (const auto& [name, value] : headers) AddHeader(absl::StrCat(name, ": ", value), &list);
  return list;
}

void SetUpHttp(CURL* easy, const std::string& url, const TlsOptions& tls) {
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, tls.on ? "https" : "http,https");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  // A proxy from the environment is meant for the web, not for a server that was named.
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  if (!tls.roots_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, tls.roots_file.c_str());
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);  // where the system's are
  }
  if (tls.certificate_file.empty()) return;
  curl_easy_setopt(easy, CURLOPT_SSLCERT, tls.certificate_file.c_str());
  curl_easy_setopt(easy, CURLOPT_SSLKEY, tls.key_file.c_str());
}

Transfer::Transfer(const ClientOptions& options, const std::string& url, std::string body,
                   HttpHeaders headers, LoadClient::Done done)
    : easy_(curl_easy_init()),
      body_(std::move(body)),
      headers_(std::move(headers)),
      done_(std::move(done)) {
  QUIRE_CHECK(easy_ != nullptr) << "curl_easy_init failed";
  SetUpHttp(easy_.get(), url, options.tls);
  curl_easy_setopt(easy_.get(), CURLOPT_POSTFIELDS, body_.data());
  curl_easy_setopt(easy_.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body_.size()));
  curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, headers_.get());
  curl_easy_setopt(easy_.get(), CURLOPT_WRITEFUNCTION, &Transfer::Write);
  curl_easy_setopt(easy_.get(), CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_.get(), CURLOPT_TIMEOUT_MS,
                   static_cast<long>(options.deadline_seconds * 1e3));
}

size_t Transfer::Write(char* bytes, size_t size, size_t count, void* transfer) {
  return static_cast<Transfer*>(transfer)->Take({bytes, size * count}) ? size * count : 0;
}

bool Transfer::Take(std::string_view bytes) {
  long http = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &http);
  if (http != 200) {
    error_body_ += bytes.substr(0, kMostOfAnError - std::min(kMostOfAnError, error_body_.size()));
    return true;
  }
  const absl::Status fed = parser_.Feed(bytes, [this](std::string_view data) { OnEvent(data); });
  if (broken_.ok()) broken_ = fed;
  return broken_.ok();
}

void Transfer::OnEvent(std::string_view data) {
  if (!broken_.ok()) return;
  const auto event = ReadCompletionEvent(data);
  if (!event.ok()) {
    broken_ = event.status();
    return;
  }
  if (!event->error.empty()) broken_ = absl::InternalError(event->error);
  if (event->has_token) {
    result_.messages.push_back({std::chrono::steady_clock::now(), 1});
  }
  if (event->completion_tokens.has_value()) result_.output_tokens = *event->completion_tokens;
  complete_ = complete_ || event->is_end;
}

void Transfer::Fail(const std::string& code, const std::string& detail) {
  result_.outcome = Outcome::kFailed;
  result_.code = code;
  result_.detail = detail;
}

void Transfer::Finish(absl::Status status) {
  result_.ended = std::chrono::steady_clock::now();
  long http = 0;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &http);
  curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &retry_after);
  if (result_.output_tokens == 0) {
    result_.output_tokens = static_cast<int64_t>(result_.messages.size());
  }
  if (!broken_.ok()) {
    Fail("broken answer", std::string(broken_.message()));
  } else if (!status.ok()) {
    Fail("transport", std::string(status.message()));
  } else if (http != 200) {
    Fail(absl::StrCat("HTTP ", http), error_body_);
    if (http == 429 || http == 503) result_.outcome = Outcome::kRejected;
    result_.retry_hint = retry_after > 0;
  } else if (!complete_) {
    Fail("cut off", "the stream ended without a finish reason");
  }
  done_(std::move(result_));
}

}  // namespace quire::cli
