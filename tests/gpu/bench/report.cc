#include "tests/gpu/bench/report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

namespace quire::bench {
namespace {

std::chrono::steady_clock::time_point After(double seconds) {
  return std::chrono::steady_clock::now() +
         std::chrono::milliseconds(static_cast<int64_t>(1e3 * seconds));
}

nlohmann::ordered_json ToJson(const Cell& cell) {
  if (!cell.is_number) return cell.text;
  return nlohmann::ordered_json::parse(cell.text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

Cell::Cell(double number, int decimals) : is_number(true) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), "%.*f", decimals, number);
  text = buffer;
}

Report::Report(std::string json_path, double limit_seconds)
    : json_path_(std::move(json_path)), end_(After(limit_seconds)) {}

void Report::Fact(const std::string& name, const Cell& value) { facts_.emplace_back(name, value); }

void Report::BeginTable(const std::string& name, std::initializer_list<const char*> columns) {
  Save();
  tables_.push_back({.name = name, .columns = {columns.begin(), columns.end()}, .rows = {}});
  std::fprintf(stderr, "gpu_bench: %s\n", name.c_str());
}

void Report::Row(std::vector<Cell> cells) { tables_.back().rows.push_back(std::move(cells)); }

bool Report::HasTime() {
  if (std::chrono::steady_clock::now() < end_) return true;
  ++skipped_;
  return false;
}

void Report::Save() const {
  if (json_path_.empty()) return;
  nlohmann::ordered_json json;
  for (const auto& [name, value] : facts_) json["facts"][name] = ToJson(value);
  json["skipped_for_lack_of_time"] = skipped_;
  for (const Table& table : tables_) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const std::vector<Cell>& cells : table.rows) {
      nlohmann::ordered_json row;
      for (size_t i = 0; i < cells.size(); ++i) row[table.columns[i]] = ToJson(cells[i]);
      rows.push_back(row);
    }
    json["tables"][table.name] = rows;
  }
  std::FILE* file = std::fopen(json_path_.c_str(), "w");
  const std::string text = json.dump(1) + "\n";
  const bool written =
      file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file != nullptr) std::fclose(file);
  if (!written) std::fprintf(stderr, "gpu_bench: cannot write %s\n", json_path_.c_str());
}

void Report::PrintTable(const Table& table) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    size_t width = table.columns[i].size();
    for (const auto& row : table.rows) {
      if (i < row.size()) width = std::max(width, row[i].text.size());
    }
    widths.push_back(width);
  }
  const auto print = [&](size_t i, const std::string& text) {
    std::printf("%s%*s", i == 0 ? "" : "  ", static_cast<int>(widths[i]), text.c_str());
  };
  std::printf("\n%s\n", table.name.c_str());
  for (size_t i = 0; i < table.columns.size(); ++i) print(i, table.columns[i]);
  std::printf("\n");
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) print(i, row[i].text);
    std::printf("\n");
  }
}

void Report::Print() const {
  for (const Table& table : tables_) PrintTable(table);
  std::printf("\n");
  for (const auto& [name, value] : facts_) {
    std::printf("%s: %s\n", name.c_str(), value.text.c_str());
  }
  if (skipped_ > 0) std::printf("left out for lack of time: %d measurements\n", skipped_);
}

}  // namespace quire::bench
