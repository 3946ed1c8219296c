#include "server/rpc/call_counter.h"

#include <algorithm>
#include <chrono>

namespace quire::server {
namespace {

using grpc::experimental::InterceptionHookPoints;
using Time = std::chrono::steady_clock::time_point;

Time Now() { return std::chrono::steady_clock::now(); }
double SecondsSince(Time time) { return std::chrono::duration<double>(Now() - time).count(); }

// Of one call. gRPC calls it for one batch of operations at a time, but that the status may be
// sent while a message is on its way: so each has its own time.
class CallCounter final : public grpc::experimental::Interceptor {
 public:
  CallCounter(GrpcMetrics* metrics, GrpcMethodCounters* method)
      : metrics_(metrics), method_(method), began_(Now()) {
    ++method_->started;
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    const auto has = [batch](InterceptionHookPoints point) {
      return batch->QueryInterceptionHookPoint(point);
    };
    if (has(InterceptionHookPoints::POST_RECV_MESSAGE) && batch->GetRecvMessage() != nullptr) {
      ++method_->received;
    }
    if (has(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      ++method_->sent;
      write_began_ = Now();
    }
    if (has(InterceptionHookPoints::POST_SEND_MESSAGE)) {
      metrics_->stream_writes().Observe(kStreamWriteEdges, SecondsSince(write_began_));
    }
    if (has(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const auto code = static_cast<size_t>(batch->GetSendStatus().error_code());
      ++method_->handled[std::min(code, kNumGrpcCodes - 1)];
      method_->handling.Observe(kHandlingEdges, SecondsSince(began_));
    }
    batch->Proceed();
  }

 private:
  GrpcMetrics* const metrics_;
  GrpcMethodCounters* const method_;
  const Time began_;
  Time write_began_{};
};

}  // namespace

grpc::experimental::Interceptor* CallCounterFactory::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* call) {
  return new CallCounter(metrics_, metrics_->Find(call->method()));
}

}  // namespace quire::server
