#include "server/cli/bench_serve_command.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/mutex.h"
#include "core/base/status_macros.h"
#include "kernels/api/device_factory.h"
#include "server/cli/bench_report.h"
#include "server/cli/bench_serve_options.h"
#include "server/cli/bench_serve_report.h"
#include "server/cli/interrupt_canceller.h"
#include "server/cli/load/load_runner.h"
#include "server/cli/load/openai_client.h"
#include "server/cli/load/quire_client.h"
#include "server/file_limit.h"

namespace quire::cli {
namespace {

constexpr char kName[] = "quire-bench serve";
// Where a server does not tell: small, since every model has these ids.
constexpr uint32_t kUsualVocabulary = 1000;

double ProcessorSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::function<void(const RunProgress&)> ProgressLine() {
  if (isatty(STDERR_FILENO) == 0) return nullptr;
  return [](const RunProgress& progress) {
    std::cerr << absl::StrFormat("\r%5.0f s  %d in flight, %d ok, %d rejected, %d failed \033[K",
                                 progress.seconds, progress.in_flight, progress.ok,
                                 progress.rejected, progress.failed)
              << std::flush;
  };
}

ServerLimits WithOverrides(ServerLimits limits, const ServeOptions& options) {
  if (options.context > 0) limits.context_tokens = options.context;
  if (options.vocabulary > 0) limits.vocab_size = static_cast<uint32_t>(options.vocabulary);
  if (limits.vocab_size == 0) limits.vocab_size = kUsualVocabulary;
  return limits;
}

// A benchmark and what it needs, from the connection to the report.
class ServeBenchmark {
 public:
  ServeBenchmark(const ServeOptions& options, LoadPlan plan)
      : options_(options), plan_(std::move(plan)) {}

  absl::StatusOr<int> Run();

 private:
  // Nothing is there to print before the run.
  void OnInterrupt();
  void Measure(const ServerLimits& limits);
  void SetRunner(LoadRunner* runner);
  void DescribeRun(const ServerLimits& limits);
  Window MakeWindow(TimePoint start) const;

  const ServeOptions options_;
  const LoadPlan plan_;
  std::unique_ptr<LoadClient> client_;
  std::unique_ptr<LoadCollector> results_;
  ServeReport report_;

  Mutex mu_;
  LoadRunner* runner_ ABSL_GUARDED_BY(mu_) = nullptr;
};

absl::StatusOr<int> ServeBenchmark::Run() {
  // A stream over HTTP/1.1 is a connection, and the usual limit is 1,024 files. Few may do.
  server::RaiseFileLimit(0).IgnoreError();
  const InterruptCanceller interrupt([this] { OnInterrupt(); });
  const ClientOptions client_options = MakeClientOptions(options_, plan_);
  QUIRE_ASSIGN_OR_RETURN(client_, options_.api == "openai" ? MakeOpenAiClient(client_options)
                                                           : MakeQuireClient(client_options));
  QUIRE_ASSIGN_OR_RETURN(const ServerLimits told, client_->Connect());
  const ServerLimits limits = WithOverrides(told, options_);
  QUIRE_RETURN_IF_ERROR(CheckFits(plan_, limits));
  if (limits.end_tokens.size() >= limits.vocab_size) {
    return absl::InvalidArgumentError("--vocab-size leaves no token but the model's end tokens");
  }
  Measure(limits);
  PrintServeReport(report_, std::cout);
  QUIRE_RETURN_IF_ERROR(WriteJsonFile(ServeReportJson(report_), options_.json_file));
  if (report_.summary.end == RunEnd::kInterrupted) return kExitInterrupted;
  const LoadGroup& total = results_->total();
  return report_.summary.end == RunEnd::kComplete && total.failed == 0 && total.ok > 0 ? kExitOk
                                                                                       : kExitError;
}

void ServeBenchmark::OnInterrupt() {
  MutexLock lock(&mu_);
  if (runner_ == nullptr) std::_Exit(kExitInterrupted);
  runner_->Interrupt();
}

Window ServeBenchmark::MakeWindow(TimePoint start) const {
  const TimePoint begin = start + plan_.warmup;
  return {begin, plan_.max_requests > 0 ? TimePoint::max() : begin + plan_.duration};
}

void ServeBenchmark::Measure(const ServerLimits& limits) {
  const PromptSource prompts(plan_.seed, limits.vocab_size, limits.end_tokens,
                             options_.prefix_per_tenant);
  LoadSchedule schedule(plan_, limits.context_tokens);
  const TimePoint start = SteadyClock().Now();
  const double processor_start = ProcessorSeconds();
  const Window window = MakeWindow(start);
  results_ = std::make_unique<LoadCollector>(plan_.tenants, MakeSlo(options_), window,
                                             static_cast<size_t>(options_.max_samples), plan_.seed);
  const auto progress = ProgressLine();
  LoadRunner runner(MakeRunnerOptions(options_), &schedule, &prompts, client_.get(), results_.get(),
                    progress);
  SetRunner(&runner);
  report_.summary = runner.Run(start, window);
  SetRunner(nullptr);
  if (progress) std::cerr << "\r\033[K" << std::flush;
  report_.client_cores =
      (ProcessorSeconds() - processor_start) / ToSeconds(SteadyClock().Now() - start);
  DescribeRun(limits);
}

void ServeBenchmark::SetRunner(LoadRunner* runner) {
  MutexLock lock(&mu_);
  runner_ = runner;
}

void ServeBenchmark::DescribeRun(const ServerLimits& limits) {
  report_.api = options_.api;
  report_.target = options_.target;
  report_.model = limits.model;
  report_.seed = plan_.seed;
  report_.warmup_seconds = ToSeconds(plan_.warmup);
  report_.tenants = plan_.tenants;
  report_.slo = MakeSlo(options_);
  report_.results = results_.get();
  report_.machine_cores = kernels::UsableCores();
}

int RunServe(const ServeOptions& options) {
  auto plan = MakeServePlan(options);
  if (!plan.ok()) {
    ReportError(kName, plan.status());
    return kExitUsage;
  }
  ServeBenchmark benchmark(options, *std::move(plan));
  const auto code = benchmark.Run();
  return code.ok() ? *code : ReportError(kName, code.status());
}

}  // namespace

Command AddBenchServeCommand(CLI::App* root) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* app = root->add_subcommand(
      "serve", "Load on a running server: latencies, rates and goodput of one or many tenants");
  AddServeOptions(app, options.get());
  return {app, [options] { return RunServe(*options); }};
}

}  // namespace quire::cli
