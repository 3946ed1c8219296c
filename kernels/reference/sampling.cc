#include "kernels/reference/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

namespace quire::kernels::reference {
namespace {

std::vector<double> Softmax(const std::vector<double>& logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  std::transform(logits.begin(), logits.end(), p.begin(),
                 [max](double x) { return std::exp(x - max); });
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

void Renormalise(std::vector<double>* p) {
  const double sum = std::accumulate(p->begin(), p->end(), 0.0);
  for (double& x : *p) x /= sum;
}

// Ids from the most to the least probable, the lower id first where they are equal.
std::vector<size_t> Ranking(const std::vector<double>& p) {
  std::vector<size_t> ids(p.size());
  std::iota(ids.begin(), ids.end(), size_t{0});
  std::stable_sort(ids.begin(), ids.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  return ids;
}

void KeepFirst(const std::vector<size_t>& ranking, size_t count, std::vector<double>* p) {
  for (size_t i = count; i < ranking.size(); ++i) (*p)[ranking[i]] = 0;
  Renormalise(p);
}

// Rules 1 to 4.
std::vector<double> RuledLogits(const std::vector<float>& logits, const SamplingRow& row,
                                const SamplingContext& context) {
  std::vector<double> x(logits.size(), -std::numeric_limits<double>::infinity());
  for (size_t id = 0; id < x.size(); ++id) {
    const auto& allowed = context.allowed;
    const bool is_allowed = std::count(allowed.begin(), allowed.end(), static_cast<int32_t>(id));
    if (allowed.empty() || is_allowed) x[id] = logits[id];
  }
  std::vector<int32_t> seen = context.prompt;
  seen.insert(seen.end(), context.generated.begin(), context.generated.end());
  for (const LogitEdit& edit : context.edits) {
    const bool applies =
        edit.after < 0 || (context.last_on_device && context.generated.back() == edit.after);
    if (applies) x[static_cast<size_t>(edit.token)] += edit.bias;
  }
  for (int32_t id : std::set<int32_t>(seen.begin(), seen.end())) {
    double& logit = x[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    const auto times = std::count(context.generated.begin(), context.generated.end(), id);
    if (times > 0) logit -= static_cast<double>(times) * row.frequency_penalty;
    if (times > 0) logit -= row.presence_penalty;
  }
  return x;
}

}  // namespace

std::vector<double> TokenProbabilities(const std::vector<float>& logits, const SamplingRow& row,
                                       const SamplingContext& context) {
  std::vector<double> x = RuledLogits(logits, row, context);
  if (!std::isfinite(*std::max_element(x.begin(), x.end()))) return {};
  if (row.temperature <= 0) {
    std::vector<double> p(x.size(), 0.0);
    p[static_cast<size_t>(std::max_element(x.begin(), x.end()) - x.begin())] = 1;
    return p;
  }
  for (double& logit : x) logit /= row.temperature;
  std::vector<double> p = Softmax(x);
  const std::vector<size_t> ranking = Ranking(p);
  if (row.top_k > 0) KeepFirst(ranking, static_cast<size_t>(row.top_k), &p);
  if (row.top_p < 1) {
    size_t count = 0;
    for (double sum = 0; count < ranking.size() && (count == 0 || sum < row.top_p); ++count) {
      sum += p[ranking[count]];
    }
    KeepFirst(ranking, count, &p);
  }
  const double best = p[ranking[0]];
  for (double& probability : p) {
    if (probability < row.min_p * best) probability = 0;
  }
  Renormalise(&p);
  return p;
}

std::vector<double> LogSoftmax(const std::vector<float>& logits) {
  std::vector<double> result(logits.begin(), logits.end());
  const std::vector<double> p = Softmax(result);
  const auto best = static_cast<size_t>(std::max_element(p.begin(), p.end()) - p.begin());
  const double log_sum = result[best] - std::log(p[best]);
  for (double& x : result) x -= log_sum;
  return result;
}

}  // namespace quire::kernels::reference
