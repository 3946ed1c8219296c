#include "server/metrics/exporter.h"

#include <prometheus/exposer.h>

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::server {

Exporter::Exporter() = default;
Exporter::~Exporter() = default;

absl::StatusOr<std::unique_ptr<Exporter>> Exporter::Listen(const ListenAddress& address) {
  auto result = std::unique_ptr<Exporter>(new Exporter());
  result->address_ = address;
  std::vector<int> ports;
  try {
    result->exposer_ = std::make_unique<prometheus::Exposer>(address.ToString());
    ports = result->exposer_->GetListeningPorts();
  } catch (const std::exception&) {
    // Its text says no more than that the server could not be started.
  }
  if (ports.empty()) {
    return absl::UnavailableError(
        absl::StrCat("--metrics-listen: cannot listen on ", address.ToString(),
                     "; is another program using the port? Choose another one, or 'off'"));
  }
  result->address_.port = ports.front();
  return result;
}

void Exporter::Add(std::shared_ptr<prometheus::Collectable> collectable) {
  exposer_->RegisterCollectable(collectable);
  collectables_.push_back(std::move(collectable));
}

}  // namespace quire::server
