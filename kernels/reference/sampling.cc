#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "kernels/reference/reference.h"

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

}  // namespace

std::vector<double> TokenProbabilities(const std::vector<float>& logits, const SamplingRow& row,
                                       const std::vector<int32_t>& seen) {
  std::vector<double> x(logits.begin(), logits.end());
  for (int32_t id : std::set<int32_t>(seen.begin(), seen.end())) {
    double& logit = x[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / row.repetition_penalty : logit * row.repetition_penalty;
  }
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
