#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace quire::cli {

// Lines over the same few places on the x axis. Plain data.
struct Chart {
  struct Line {
    std::string name;
    std::vector<double> values;  // one a place, all above 0
  };
  std::string title;
  std::string unit;                 // of the values
  std::vector<std::string> places;  // two or more
  std::vector<Line> lines;
};

// The charts side by side as one SVG picture, the values on a logarithmic axis.
void WriteSvg(const std::vector<Chart>& charts, std::ostream& out);

}  // namespace quire::cli
