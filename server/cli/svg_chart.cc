#include "server/cli/svg_chart.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/base/check.h"

namespace quire::cli {
namespace {

constexpr double kWidth = 460, kHeight = 340;
constexpr double kLeft = 64, kRight = 20, kTop = 40, kBottom = 46, kLegendLine = 18;
// Told apart by who sees few colours as well (Okabe and Ito, 2008).
constexpr std::array<const char*, 6> kColours = {"#0072B2", "#D55E00", "#009E73",
                                                 "#CC79A7", "#E69F00", "#56B4E9"};

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

void WriteText(double x, double y, const char* anchor, const std::string& text, std::ostream& out) {
  out << absl::StrFormat(R"(<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>)", x, y, anchor,
                         Escape(text))
      << '\n';
}

// Where values and places lie in a chart whose left edge is at `left`.
class Axes {
 public:
  Axes(const Chart& chart, double left) : left_(left), places_(chart.places.size()) {
    QUIRE_CHECK(places_ >= 2 && !chart.lines.empty()) << chart.title;
    double low = HUGE_VAL, high = 0;
    for (const Chart::Line& line : chart.lines) {
      QUIRE_CHECK(line.values.size() == places_) << line.name;
      for (const double value : line.values) {
        QUIRE_CHECK(value > 0) << line.name;
        low = std::min(low, value);
        high = std::max(high, value);
      }
    }
    low_ = static_cast<int>(std::floor(std::log2(low)));
    high_ = std::max(static_cast<int>(std::ceil(std::log2(high))), low_ + 1);
  }

  double X(size_t place) const {
    return left_ + kLeft +
           (kWidth - kLeft - kRight) * static_cast<double>(place) /
               static_cast<double>(places_ - 1);
  }
  double Y(double value) const {
    return kTop + (kHeight - kTop - kBottom) * (high_ - std::log2(value)) / (high_ - low_);
  }
  int low() const { return low_; }  // powers of two
  int high() const { return high_; }

 private:
  double left_;
  size_t places_;
  int low_ = 0, high_ = 0;
};

void WriteGrid(const Chart& chart, const Axes& axes, std::ostream& out) {
  const size_t last = chart.places.size() - 1;
  const int every = std::max(1, (axes.high() - axes.low() + 7) / 8);
  for (int power = axes.low(); power <= axes.high(); power += every) {
    const double value = std::exp2(power);
    out << absl::StrFormat(R"(<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>)",
                           axes.X(0), axes.Y(value), axes.X(last), axes.Y(value));
    WriteText(axes.X(0) - 8, axes.Y(value) + 4, "end", absl::StrFormat("%g", value), out);
  }
  for (size_t place = 0; place <= last; ++place) {
    WriteText(axes.X(place), kHeight - kBottom + 20, "middle", chart.places[place], out);
  }
}

void WriteLine(const Chart::Line& line, const Axes& axes, size_t number, std::ostream& out) {
  const char* const colour = kColours[number % kColours.size()];
  out << R"(<polyline fill="none" stroke-width="2" stroke=")" << colour << R"(" points=")";
  for (size_t place = 0; place < line.values.size(); ++place) {
    out << absl::StrFormat("%.1f,%.1f ", axes.X(place), axes.Y(line.values[place]));
  }
  out << "\"/>\n";
  for (size_t place = 0; place < line.values.size(); ++place) {
    out << absl::StrFormat(R"(<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>)", axes.X(place),
                           axes.Y(line.values[place]), colour);
  }
  const double y = kHeight + kLegendLine * static_cast<double>(number);
  out << absl::StrFormat(R"(<rect x="%.1f" y="%.1f" width="14" height="4" fill="%s"/>)", axes.X(0),
                         y - 6, colour);
  WriteText(axes.X(0) + 22, y, "start", line.name, out);
}

}  // namespace

void WriteSvg(const std::vector<Chart>& charts, std::ostream& out) {
  size_t most = 0;
  for (const Chart& chart : charts) most = std::max(most, chart.lines.size());
  const double width = kWidth * static_cast<double>(charts.size());
  const double height = kHeight + kLegendLine * static_cast<double>(most);
  out << absl::StrFormat(
             R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" )"
             R"(height="%.0f" font-family="sans-serif" font-size="12">)",
             width, height, width, height)
      << "\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  double left = 0;
  for (const Chart& chart : charts) {
    const Axes axes(chart, left);
    WriteText(left + kLeft, 20, "start", chart.title + ", " + chart.unit, out);
    WriteGrid(chart, axes, out);
    for (size_t i = 0; i < chart.lines.size(); ++i) WriteLine(chart.lines[i], axes, i, out);
    left += kWidth;
  }
  out << "</svg>\n";
}

}  // namespace quire::cli
