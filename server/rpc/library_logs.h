#pragma once

#include "server/log/log_line.h"

namespace quire::server {

// Has what gRPC and Protocol Buffers say for themselves go to ProcessLog(), in the bounds of what
// clients cause; with LogFormat::kText gRPC writes on, as GRPC_VERBOSITY and GRPC_TRACE have it.
// Before other threads.
void RouteLibraryLogs(LogFormat format);

}  // namespace quire::server
