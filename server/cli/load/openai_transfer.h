#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/cli/load/load_client.h"
#include "server/cli/load/sse_parser.h"

namespace quire::cli {

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HttpHeaders = std::unique_ptr<curl_slist, ListDeleter>;

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using CurlHandle = std::unique_ptr<CURL, EasyDeleter>;

HttpHeaders MakeHttpHeaders(const ClientOptions::Headers& headers);

// What all requests have in common.
void SetUpHttp(CURL* easy, const std::string& url, const TlsOptions& tls);

// One request and its answer. Not thread-safe: its owner's thread runs the handle.
class Transfer {
 public:
  Transfer(const ClientOptions& options, const std::string& url, std::string body,
           HttpHeaders headers, LoadClient::Done done);

  CURL* easy() const { return easy_.get(); }
  void MarkSent() { result_.sent = std::chrono::steady_clock::now(); }
  // Reports how it went; once, when the handle no longer runs. `status` is an error where the
  // transfer did not come to its end.
  void Finish(absl::Status status);

 private:
  // As libcurl calls it: another result than the number of bytes ends the transfer.
  static size_t Write(char* bytes, size_t size, size_t count, void* transfer);
  bool Take(std::string_view bytes);
  void OnEvent(std::string_view data);
  void Fail(const std::string& code, const std::string& detail);

  CurlHandle easy_;
  const std::string body_;
  const HttpHeaders headers_;
  const LoadClient::Done done_;
  SseParser parser_;
  CallResult result_;
  std::string error_body_;
  absl::Status broken_;  // what is wrong with the answer's events
  bool complete_ = false;
};

}  // namespace quire::cli
