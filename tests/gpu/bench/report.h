#pragma once

#include <chrono>
#include <initializer_list>
#include <string>
#include <vector>

namespace quire::bench {

// A number with so many decimals, or a word.
struct Cell {
  Cell(const char* word) : text(word) {}                               // NOLINT: as in a table
  Cell(const std::string& word) : text(word) {}                        // NOLINT
  Cell(int number) : text(std::to_string(number)), is_number(true) {}  // NOLINT
  Cell(double number, int decimals);

  std::string text;
  bool is_number = false;
};

// The tables of a run: printed at its end, and kept in a JSON file that is complete after every
// table, in case the run is cut off.
class Report {
 public:
  // `json_path` may be empty. No measurement begins later than `limit_seconds` from now.
  Report(std::string json_path, double limit_seconds);

  void Fact(const std::string& name, const Cell& value);
  void BeginTable(const std::string& name, std::initializer_list<const char*> columns);
  void Row(std::vector<Cell> cells);
  // Whether there is time for another measurement; counts those that there was none for.
  bool HasTime();

  // Keeps what there is so far.
  void Save() const;
  void Print() const;

 private:
  struct Table {
    std::string name;
    std::vector<std::string> columns;
    std::vector<std::vector<Cell>> rows;
  };
  void PrintTable(const Table& table) const;

  const std::string json_path_;
  const std::chrono::steady_clock::time_point end_;
  std::vector<std::pair<std::string, Cell>> facts_;
  std::vector<Table> tables_;
  int skipped_ = 0;
};

}  // namespace quire::bench
