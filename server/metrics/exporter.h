#pragma once

#include <prometheus/collectable.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/listen_address.h"

namespace prometheus {
class Exposer;
}

namespace quire::server {

// Serves /metrics over HTTP. Listens at once, so that a busy port is found before a model is
// loaded. Not thread-safe; scrapes come on threads of its own.
class Exporter {
 public:
  // Errors say which address could not be bound.
  static absl::StatusOr<std::unique_ptr<Exporter>> Listen(const ListenAddress& address);
  ~Exporter();

  // With the port that was bound.
  const ListenAddress& address() const { return address_; }

  // Adds to what scrapes report, until the exporter ends.
  void Add(std::shared_ptr<prometheus::Collectable> collectable);

 private:
  Exporter();

  ListenAddress address_;
  std::vector<std::shared_ptr<prometheus::Collectable>> collectables_;  // the exposer's are weak
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace quire::server
