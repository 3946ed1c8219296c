#include "server/metrics/process_metrics.h"

#include <prometheus/metric_family.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace quire::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// What we use of /proc/self/stat, see proc(5).
struct ProcStat {
  double cpu_ticks = 0;  // utime + stime
  double threads = 0;
  double start_ticks = 0;  // since boot
  double virtual_bytes = 0;
  double resident_pages = 0;
};

std::optional<ProcStat> ReadStat() {
  const std::string text = ReadFile("/proc/self/stat");
  // The second field is the program's name in parentheses and may hold anything.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string state;
  fields >> state;         // field 3
  double values[25] = {};  // index is the field's number
  for (int i = 4; i <= 24; ++i) {
    if (!(fields >> values[i])) return std::nullopt;
  }
  return ProcStat{values[14] + values[15], values[20], values[22], values[23], values[24]};
}

std::optional<double> BootUnixSeconds() {
  const std::string text = ReadFile("/proc/stat");
  const size_t at = text.find("\nbtime ");
  if (at == std::string::npos) return std::nullopt;
  return std::strtod(text.c_str() + at + 7, nullptr);
}

std::optional<double> OpenFiles() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  if (error) return std::nullopt;
  return count - 1;  // without the one that reads the folder
}

void Add(const char* name, const char* help, MetricType type, double value,
         std::vector<MetricFamily>* families) {
  ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  families->push_back({name, help, type, {metric}});
}

void AddStat(const ProcStat& stat, std::vector<MetricFamily>* families) {
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  Add("process_cpu_seconds_total", "CPU time spent, user and system.", MetricType::Counter,
      stat.cpu_ticks / ticks, families);
  Add("process_resident_memory_bytes", "Resident memory.", MetricType::Gauge,
      stat.resident_pages * page, families);
  Add("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge, stat.virtual_bytes,
      families);
  Add("process_threads", "Threads.", MetricType::Gauge, stat.threads, families);
  if (const std::optional<double> boot = BootUnixSeconds()) {
    Add("process_start_time_seconds", "When the process started, in Unix time.", MetricType::Gauge,
        *boot + stat.start_ticks / ticks, families);
  }
}

}  // namespace

std::vector<MetricFamily> ProcessMetrics::Collect() const {
  std::vector<MetricFamily> families;
  if (const std::optional<ProcStat> stat = ReadStat()) AddStat(*stat, &families);
  if (const std::optional<double> files = OpenFiles()) {
    Add("process_open_fds", "Open file descriptors.", MetricType::Gauge, *files, &families);
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    Add("process_max_fds", "Most file descriptors that may be open.", MetricType::Gauge,
        static_cast<double>(limit.rlim_cur), &families);
  }
  return families;
}

}  // namespace quire::server
