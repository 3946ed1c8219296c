#include "server/cli/fleet/step_time_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace quire::cli {
namespace {

struct Coefficient {
  const char* name;
  double StepTimeModel::*value;
};
constexpr std::array<Coefficient, 8> kCoefficients = {{
    {"step", &StepTimeModel::step},
    {"weights", &StepTimeModel::weights},
    {"token", &StepTimeModel::token},
    {"decode_row", &StepTimeModel::decode_row},
    {"decode_kv_token", &StepTimeModel::decode_kv_token},
    {"prompt_kv_token", &StepTimeModel::prompt_kv_token},
    {"cached_kv_tokens", &StepTimeModel::cached_kv_tokens},
    {"far_kv_token", &StepTimeModel::far_kv_token},
}};

constexpr size_t kTerms = 5;
using Terms = std::array<double, kTerms>;

// What bends the model, and is searched for.
struct Bends {
  double row = 1;     // what a decode row's token costs, to a prompt's
  double tokens = 0;  // so many of those take as long as reading the weights
  double kv = 0;      // tokens of decode rows' KV that stay in the caches
};

// What is multiplied with the coefficients.
Terms TermsOf(const StepWork& work, const Bends& bends) {
  return {1, std::max(bends.tokens, work.prompt_tokens + bends.row * work.decode_rows),
          work.decode_kv, work.prompt_kv,
          bends.kv > 0 ? std::max(0.0, work.decode_kv - work.shared_kv - bends.kv) : 0};
}

// Of a squared error. Of shorter chunks a prompt has so many more, so they count by their tokens;
// one of the usual length as much as a step with decode rows alone.
double WeightOf(const StepWork& work) {
  constexpr double kUsualChunk = 128;
  return work.prompt_tokens > 0 ? work.prompt_tokens / kUsualChunk : 1;
}

// One equation: so much of each unknown is to sum to `right`.
struct Equation {
  Terms left{};
  double right = 1;
};

// Least squares with no unknown below 0, one unknown at a time (Franc, Hlavac and Navara,
// "Sequential Coordinate-Wise Algorithm for the Non-negative Least Squares Problem", 2005). A term
// that no row has gets 0.
Terms SolveNonNegative(const std::vector<Equation>& equations) {
  constexpr int kMostRounds = 20000;
  constexpr double kClose = 1e-10;
  std::array<Terms, kTerms> products{};
  Terms right{};
  for (const Equation& equation : equations) {
    const Terms& left = equation.left;
    for (size_t i = 0; i < kTerms; ++i) {
      right[i] += left[i] * equation.right;
      for (size_t j = 0; j < kTerms; ++j) products[i][j] += left[i] * left[j];
    }
  }
  Terms solution{};
  for (int round = 0; round < kMostRounds; ++round) {
    double moved = 0;
    for (size_t i = 0; i < kTerms; ++i) {
      if (products[i][i] == 0) continue;
      double rest = right[i];
      for (size_t j = 0; j < kTerms; ++j) rest -= products[i][j] * solution[j];
      const double next = std::max(0.0, solution[i] + rest / products[i][i]);
      moved = std::max(moved, std::abs(next - solution[i]));
      solution[i] = next;
    }
    if (moved < kClose) break;
  }
  return solution;
}

StepTimeModel FitWithBends(std::span<const StepSample> samples, const Bends& bends) {
  Terms scale{};  // so that all unknowns are of one size
  for (const StepSample& sample : samples) {
    const Terms terms = TermsOf(sample.work, bends);
    for (size_t i = 0; i < kTerms; ++i) scale[i] = std::max(scale[i], terms[i] / sample.seconds);
  }
  std::vector<Equation> equations;
  for (const StepSample& sample : samples) {
    const double weight = std::sqrt(WeightOf(sample.work));
    Equation& equation =
        equations.emplace_back(Equation{.left = TermsOf(sample.work, bends), .right = weight});
    for (size_t i = 0; i < kTerms; ++i) {
      double& term = equation.left[i];
      term = scale[i] > 0 ? weight * term / sample.seconds / scale[i] : 0;
    }
  }
  Terms found = SolveNonNegative(equations);
  for (size_t i = 0; i < kTerms; ++i) found[i] = scale[i] > 0 ? found[i] / scale[i] : 0;
  return {.step = found[0],
          .weights = found[1] * bends.tokens,
          .token = found[1],
          .decode_row = found[1] * bends.row,
          .decode_kv_token = found[2],
          .prompt_kv_token = found[3],
          .cached_kv_tokens = bends.kv,
          .far_kv_token = found[4]};
}

double SquaredError(const StepTimeModel& model, std::span<const StepSample> samples) {
  double sum = 0;
  for (const StepSample& sample : samples) {
    const double error = model.Seconds(sample.work) / sample.seconds - 1;
    sum += WeightOf(sample.work) * error * error;
  }
  return sum;
}

// One of the bends, the values to try, each by `finer` above the one before, and what it is where
// it is of no use.
struct Search {
  double Bends::*bend;
  double least;
  double most;
  double finer;
  double none;
};

// The others stay.
void Improve(std::span<const StepSample> samples, const Search& search, Bends* bends) {
  Bends tried = *bends;
  tried.*search.bend = search.none;
  double error = SquaredError(FitWithBends(samples, tried), samples) * 0.99;
  Bends best = tried;
  for (tried.*search.bend = search.least; tried.*search.bend < search.most;
       tried.*search.bend *= search.finer) {
    const double next = SquaredError(FitWithBends(samples, tried), samples);
    if (next >= error) continue;
    best = tried;
    error = next;
  }
  *bends = best;
}

}  // namespace

void StepWork::Add(int32_t start, int32_t tokens) {
  if (tokens == 1) {
    decode_rows += 1;
    decode_kv += start + 1;
    return;
  }
  const double n = tokens;
  prompt_tokens += n;
  prompt_kv += n * start + n * (n + 1) / 2;
}

double StepTimeModel::Seconds(const StepWork& work) const {
  return step + std::max(weights, token * work.prompt_tokens + decode_row * work.decode_rows) +
         decode_kv_token * work.decode_kv + prompt_kv_token * work.prompt_kv +
         far_kv_token * std::max(0.0, work.decode_kv - work.shared_kv - cached_kv_tokens);
}

StepTimeModel FitStepTimes(std::span<const StepSample> samples) {
  QUIRE_CHECK(!samples.empty());
  double most_tokens = 0, most_kv = 0;
  for (const StepSample& sample : samples) {
    most_tokens = std::max(most_tokens, sample.work.prompt_tokens + sample.work.decode_rows);
    most_kv = std::max(most_kv, sample.work.decode_kv);
  }
  constexpr double kCoarse = 1.15, kFine = 1.01;
  constexpr int kRounds = 4;  // 2 leave a bend where the others had it before they moved
  const Search searches[] = {{&Bends::tokens, 1, most_tokens, kCoarse, 0},
                             {&Bends::row, 0.5, 5, kCoarse, 1},
                             {&Bends::kv, 16, most_kv, kCoarse, 0}};
  Bends bends;
  for (int round = 0; round < kRounds; ++round) {
    for (const Search& search : searches) Improve(samples, search, &bends);
  }
  for (int round = 0; round < kRounds; ++round) {
    for (const Search& search : searches) {
      const double found = bends.*search.bend;
      Improve(samples, {search.bend, found / kCoarse, found * kCoarse, kFine, search.none}, &bends);
    }
  }
  return FitWithBends(samples, bends);
}

StepTimeError ErrorOf(const StepTimeModel& model, std::span<const StepSample> samples) {
  std::vector<double> errors;
  for (const StepSample& sample : samples) {
    errors.push_back(std::abs(model.Seconds(sample.work) / sample.seconds - 1));
  }
  std::sort(errors.begin(), errors.end());
  const auto rank = [&](size_t percent) {
    return errors[(errors.size() * percent + 99) / 100 - 1];
  };
  return {.median = rank(50), .p90 = rank(90), .max = errors.back()};
}

absl::StatusOr<StepTimeModel> ReadStepTimes(const nlohmann::ordered_json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("no object of names and seconds");
  StepTimeModel model;
  for (const auto& [name, value] : json.items()) {
    const std::string& wanted = name;  // clang captures no structured binding
    const auto known = std::find_if(kCoefficients.begin(), kCoefficients.end(),
                                    [&](const Coefficient& c) { return c.name == wanted; });
    if (known == kCoefficients.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", name, "' is not known: step, weights, token, decode_row, ",
                       "decode_kv_token, prompt_kv_token, cached_kv_tokens and far_kv_token are"));
    }
    const double number = value.is_number() ? value.get<double>() : -1;
    const double most = known->value == &StepTimeModel::cached_kv_tokens ? 1e12 : 1e3;
    if (!(number >= 0 && number <= most)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", name, "' is not a number from 0 to ", most));
    }
    model.*known->value = number;
  }
  if (model.step + model.weights > 0 || (model.token > 0 && model.decode_row > 0)) return model;
  return absl::InvalidArgumentError(
      "some steps take no time: give step or weights, or both token "
      "and decode_row");
}

nlohmann::ordered_json StepTimesJson(const StepTimeModel& model) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const Coefficient& coefficient : kCoefficients) {
    json[coefficient.name] = model.*coefficient.value;
  }
  return json;
}

}  // namespace quire::cli
